//! A picture at a web address. What an address is, and whether it may be fetched, whoever fetches it knows; nothing here opens a
//! connection.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use mplug::preprocess::image::ImageFault;

use super::check_len;

/// Who fetches pictures of web addresses.
pub trait FetchPicture: fmt::Debug + Send + Sync {
    /// The bytes at `url`, no more than `max_bytes` of them.
    ///
    /// # Errors
    /// Why they did not come.
    fn fetch(&self, url: &str, max_bytes: u64) -> Result<Vec<u8>, NotFetched>;
}

/// Why a picture of a web address did not come.
#[derive(Debug)]
pub struct NotFetched {
    /// The reason, in words that do not name the address again.
    pub source: Box<dyn Error + Send + Sync>,
    /// Whether it may come later.
    pub is_passing: bool,
}

/// A reason that its host would have to be allowed by name.
#[derive(Debug)]
pub struct HostNotAllowed(pub Box<dyn Error + Send + Sync>);

impl fmt::Display for HostNotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for HostNotAllowed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// A picture at a web address.
#[derive(Debug, Clone)]
pub struct RemotePicture {
    url: String,
    fetcher: Arc<dyn FetchPicture>,
}

impl RemotePicture {
    /// The picture at `url`, which `fetcher` gets each time that it is read.
    pub fn new(url: String, fetcher: Arc<dyn FetchPicture>) -> Self {
        Self { url, fetcher }
    }

    pub(super) fn read(&self, limit: u64) -> Result<Vec<u8>, ImageFault> {
        let bytes = self.fetcher.fetch(&self.url, limit);
        let bytes =
            bytes.map_err(|NotFetched { source, is_passing }| ImageFault::Fetch { source, is_passing })?;
        check_len(bytes.len() as u64, limit)?;
        Ok(bytes)
    }
}

impl fmt::Display for RemotePicture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}
