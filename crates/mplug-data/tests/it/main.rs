//! The crate from outside: drawing, writing a folder, reading it back, judging; opening what others annotated;
//! varying pictures for training.

mod augment;
mod folder;
mod mutated;
mod opening;
mod pictures;
