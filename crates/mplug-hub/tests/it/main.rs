//! The crate's integration tests: models and pictures from servers on this machine.

#[cfg(feature = "fetch")]
mod fetch;
#[cfg(feature = "hub")]
mod hub;
