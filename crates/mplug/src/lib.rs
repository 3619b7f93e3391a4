//! mPLUG as a CPU engine.

pub mod config;
pub mod checkpoint;
pub mod preprocess;
