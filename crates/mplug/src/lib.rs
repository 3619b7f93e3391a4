//! mPLUG as a CPU engine.

pub mod checkpoint;
pub mod config;
pub mod preprocess;
