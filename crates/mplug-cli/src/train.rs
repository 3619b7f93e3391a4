//! `mplug train`: fine-tuning and pre-training from a recipe. The work is `mplug-train`'s; this is its door, and in a build
//! without the feature `train` it says how to get one.

use std::path::PathBuf;

use clap::Args;

use crate::status::Status;

/// Train a model from a recipe (in builds with the feature `train`)
#[derive(Args, Debug)]
#[command(after_help = "\
Training is a feature of the build: cargo install --path crates/mplug-cli --features train

Examples:
  mplug train configs/demo.toml
  mplug train configs/demo.toml --set num_epochs=2 --set output_dir=out
  mplug train configs/demo.toml --resume")]
pub(crate) struct TrainArgs {
    /// The recipe, as TOML
    #[arg(value_name = "CONFIG.toml")]
    config: PathBuf,
    /// Set a value of the recipe, whatever the file says; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    settings: Vec<(String, String)>,
    /// Go on from the last checkpoint in the output folder
    #[arg(long)]
    resume: bool,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("`key=value` is wanted".to_owned()),
    }
}

/// Runs the command.
#[cfg(not(feature = "train"))]
pub(crate) fn run(args: &TrainArgs) -> anyhow::Result<Status> {
    anyhow::bail!(
        "{}: this build cannot train; build one that can: `cargo build --release -p mplug-cli --features train`",
        args.config.display()
    )
}
