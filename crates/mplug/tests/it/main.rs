//! The crate's integration tests: files in, numbers and texts out, against the original's own.

mod adapters;
mod checkpoint;
mod engine;
mod explain;
mod folders;
mod golden;
mod jpeg;
mod outliers;
mod pictures;
mod precision;
mod preprocess;
