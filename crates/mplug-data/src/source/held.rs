//! A picture whose bytes are in memory already: one that came by standard input.

use std::fmt;
use std::sync::Arc;

use mplug::preprocess::image::ImageFault;

use super::check_len;

/// The bytes of a picture file, and what messages call it.
#[derive(Clone)]
pub struct HeldPicture {
    name: Arc<str>,
    bytes: Arc<[u8]>,
}

impl HeldPicture {
    /// A picture that messages call `name`.
    pub fn new(name: &str, bytes: &[u8]) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
    }

    pub(super) fn read(&self, limit: u64) -> Result<Vec<u8>, ImageFault> {
        check_len(self.bytes.len() as u64, limit)?;
        Ok(self.bytes.to_vec())
    }
}

impl fmt::Debug for HeldPicture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldPicture")
            .field("name", &self.name)
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for HeldPicture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
