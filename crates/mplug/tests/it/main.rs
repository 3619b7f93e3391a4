//! The crate's integration tests: files in, numbers and texts out, against the original's own.

mod checkpoint;
#[cfg(feature = "fetch")]
mod fetch;
mod folders;
mod golden;
#[cfg(feature = "hub")]
mod hub;
mod jpeg;
mod outliers;
mod precision;
mod preprocess;
