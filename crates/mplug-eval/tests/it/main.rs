//! The crate's integration tests: tiny models with weights drawn by formula, on drawn pictures.

mod runs;
