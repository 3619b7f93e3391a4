//! Training of mPLUG: `training_data -> batch -> objective (mplug-nn, loss) -> backward -> clip -> optimizer + schedule -> checkpoint ->
//! evaluate`, in one visible loop ([`trainer`]).
//!
//! [`train`] runs a recipe (a TOML file, [`config::TrainConfig`]) and reports through a callback; nothing here prints.
//! A killed run resumes from its folder and then takes the very steps it would have taken.

pub mod average;
pub mod batch;
pub mod checkpoint;
pub mod classes;
pub mod config;
pub mod device;
pub mod engine_copy;
pub mod entry;
pub mod error;
pub mod estimate;
pub mod evaluate;
pub mod features;
pub mod fine_tuning;
pub mod generation;
pub mod gradients;
pub mod init;
pub mod initial_weights;
pub mod log;
pub mod loss;
pub mod loss_scale;
pub mod model_files;
pub mod objective;
pub mod optimizer;
pub mod preflight;
pub mod ranks;
pub mod run_length;
pub mod schedule;
mod seed;
pub mod trainer;
pub mod training_data;

pub use config::TrainConfig;
pub use entry::{Entry, Resume};
pub use error::TrainError;
pub use log::{Progress, StepReport};
pub use trainer::{Summary, check, train, train_on};
