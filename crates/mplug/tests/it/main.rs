//! The crate's integration tests: files in, numbers and texts out, against the original's own.

mod checkpoint;
mod golden;
mod precision;
mod preprocess;
