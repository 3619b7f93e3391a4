//! The command line as its users meet it: the built program, its output, its messages and its exit codes.

mod captions;
mod engine;
mod eval;
mod eval_tasks;
mod help;
mod input_names;
mod models;
mod outputs;
mod precision;
mod support;
mod tidy;
mod usage;
