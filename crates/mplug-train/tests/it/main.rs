//! Tests of training: the original's losses and gradients, learning and resuming on a toy data, recipes.

mod annotated;
#[path = "../../../mplug-nn/tests/it/common.rs"]
mod common;
mod golden;
mod objectives;
mod partial;
mod recipe;
mod run_folder;
mod skipped_steps;
mod toy;
