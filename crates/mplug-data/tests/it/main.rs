//! The crate from outside: drawing, writing a folder, reading it back, judging; opening what others annotated.

mod folder;
mod mutated;
mod opening;
mod pictures;
