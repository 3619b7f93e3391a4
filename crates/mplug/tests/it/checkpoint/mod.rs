//! Weight files and model folders: round trips of every format, and files made to do harm.

mod attacks;
mod build;
mod formats;
mod golden;
mod numbers;
mod pytorch_write;
mod real_folders;
