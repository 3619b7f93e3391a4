//! The command line as its users meet it: the built program, its output, its messages and its exit codes.

mod archives;
mod bulk;
mod caption_files;
mod captions;
mod compare;
#[cfg(feature = "train")]
mod dependencies;
mod engine;
mod eval;
mod eval_tasks;
mod explain;
mod field;
mod field_models;
#[cfg(feature = "train")]
mod fine_tuning;
mod foreign;
mod help;
#[cfg(feature = "hub")]
mod hub;
mod input_names;
#[cfg(all(unix, feature = "train"))]
mod kills;
mod languages;
mod messages;
mod model_folders;
mod models;
mod outputs;
#[cfg(feature = "parquet")]
mod parquet;
mod passing;
mod precision;
#[cfg(feature = "mpi")]
mod ranks;
#[cfg(all(unix, feature = "serve"))]
mod serve;
mod support;
mod tensors;
mod tidy;
#[cfg(feature = "train")]
mod training;
#[cfg(feature = "urls")]
mod urls;
mod usage;
mod words;
