//! `mplug train --init`: a recipe to begin with.

#[cfg(feature = "train")]
use std::path::Path;
use std::path::PathBuf;

use clap::Args;

/// What a recipe is made from.
#[derive(Args, Debug)]
#[command(next_help_heading = "A recipe to begin with")]
pub(super) struct InitArgs {
    /// Write a commented recipe for fine-tuning --model on --data on this machine to DIR/recipe.toml, and train nothing
    #[arg(long, value_name = "DIR", requires_all = ["model", "data"], conflicts_with_all = ["config", "settings", "resume"])]
    pub(super) init: Option<PathBuf>,
    /// Model folder, or the name of a downloaded model
    #[arg(long, short, value_name = "DIR|NAME", requires = "init")]
    model: Option<PathBuf>,
    /// Annotation file, or the folder of one, in any format that `mplug eval --dataset` reads
    #[arg(long, value_name = "FILE|DIR", requires = "init")]
    data: Option<PathBuf>,
}

impl InitArgs {
    /// Where the recipe is to be, the model and the data, if a recipe is requested.
    #[cfg(feature = "train")]
    pub(super) fn request(&self) -> Option<(&Path, &Path, &Path)> {
        Some((self.init.as_deref()?, self.model.as_deref()?, self.data.as_deref()?))
    }
}

/// Writes the recipe.
#[cfg(feature = "train")]
pub(super) fn run(folder: &Path, model: &Path, data: &Path) -> anyhow::Result<crate::status::Status> {
    use mplug_train::init::{InitRequest, init};

    let model = crate::model::find(model)?;
    let chosen = init(&InitRequest { folder: folder.to_owned(), model, data: data.to_owned() })?;
    let line = format!(
        "{}: {}, {} pictures, {} texts, {} steps, about {} min; `mplug train` with it begins\n",
        chosen.recipe.display(),
        if chosen.is_lora { "LoRA" } else { "the text side alone" },
        chosen.pictures,
        chosen.texts,
        chosen.steps,
        (chosen.seconds / 60.0).ceil()
    );
    crate::output::write_whole(line.as_bytes(), None)?;
    Ok(crate::status::Status::Good)
}
