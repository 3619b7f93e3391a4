//! Everything of mPLUG that opens a network connection: models of ModelScope's hub, found on this machine or downloaded
//! ([`Hub`], feature `hub`), and pictures of web addresses ([`fetch`], feature `fetch`).
//!
//! ```no_run
//! use std::ops::ControlFlow;
//!
//! use mplug_hub::{Hub, HubOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::new(HubOptions::from_env()?)?;
//! let pulled = hub.pull(&"caption-base-zh".parse()?, None, &|_| ControlFlow::Continue(()))?;
//! println!("{}", pulled.folder.display());
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "fetch")]
pub mod fetch;
#[cfg(any(feature = "fetch", feature = "hub"))]
mod http;
#[cfg(feature = "hub")]
mod hub;

#[cfg(feature = "hub")]
pub use hub::{
    Cache, CacheLayout, CachedModel, DEFAULT_ENDPOINT, DEFAULT_REVISION, Hub, HubError, HubOptions, ModelId,
    OpenError, PUBLISHED, Progress, PublishedModel, Pulled, TOKEN_VARIABLE, Token, find_model, open,
    published_model,
};
