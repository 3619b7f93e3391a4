//! The crate's integration tests: public API against the original's own numbers.

mod preprocess;
