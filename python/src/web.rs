//! Pictures of web addresses, where the caller allows them: public ones, and hosts that he names.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mplug_bulk::HubFetcher;
use mplug_data::source::FetchPicture;
use mplug_hub::fetch::{FetchOptions, PictureFetcher, Resolve, SystemResolver};

use crate::errors::Fault;

/// Names whose addresses the user of this machine sets, as `host=address:port`, several with commas between. A mirror, a gateway or
/// a test stands behind such a name.
const VARIABLE: &str = "MPLUG_RESOLVE";

/// Fetches pictures.
pub(crate) struct Fetcher {
    pictures: Arc<HubFetcher>,
    source: Arc<dyn FetchPicture>,
}

impl Fetcher {
    /// One for public hosts and for those of `allowed_hosts`.
    pub(crate) fn new(allowed_hosts: &[String]) -> Result<Self, Fault> {
        let names = Names::from_environment()?;
        let mut options = FetchOptions::default();
        for host in allowed_hosts.iter().map(String::as_str).chain(names.0.iter().map(|(host, _)| &host[..]))
        {
            let allowed =
                host.parse().map_err(|fault| Fault::Option(format!("allowed_hosts: `{host}`: {fault}")))?;
            options.allowed_hosts.push(allowed);
        }
        options.resolver = Arc::new(names);
        let pictures = Arc::new(HubFetcher(PictureFetcher::new(options)));
        Ok(Self { source: Arc::clone(&pictures) as Arc<dyn FetchPicture>, pictures })
    }

    /// The bytes at an address.
    pub(crate) fn get(&self, address: &str, most: u64) -> Result<Vec<u8>, Fault> {
        Ok(self.pictures.0.get(address, most)?)
    }

    /// What opens the addresses of a list.
    pub(crate) fn source(&self) -> &Arc<dyn FetchPicture> {
        &self.source
    }
}

/// Names with addresses that are set; all others are the system's.
#[derive(Debug)]
struct Names(Vec<(String, SocketAddr)>);

impl Names {
    fn from_environment() -> Result<Self, Fault> {
        let text = std::env::var(VARIABLE).unwrap_or_default();
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let entry = |entry: &str| {
            let found = entry
                .split_once('=')
                .and_then(|(host, address)| Some((host.to_owned(), address.parse().ok()?)));
            found.ok_or_else(|| {
                Fault::Option(format!("{VARIABLE}: expected host=address:port, found `{entry}`"))
            })
        };
        entries.map(entry).collect::<Result<_, _>>().map(Self)
    }

    fn find(&self, host: &str) -> Option<SocketAddr> {
        self.0.iter().find(|(name, _)| name == host).map(|(_, address)| *address)
    }
}

impl Resolve for Names {
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        match self.find(host) {
            Some(address) => Ok(vec![address.ip()]),
            None => SystemResolver.resolve(host),
        }
    }

    fn port(&self, host: &str, port: u16) -> u16 {
        self.find(host).map_or(port, |address| address.port())
    }
}
