//! The crate from outside: drawing, writing a folder, reading it back, judging.

mod folder;
mod pictures;
