//! `mplug inspect`: what a model folder or a weight file holds, without running it. The counting is `mplug::checkpoint`'s.

mod adapter;
mod facts;
mod lines;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use mplug::checkpoint::adapter::{Adapter, is_adapter};
use mplug::checkpoint::{Checkpoint, ModelFolder, summarize};
use mplug::config::{ConfigOverrides, Task};
use mplug_bulk::{JsonPath, Record};
use mplug_data::message::one_line;
use serde::Serialize;

use self::adapter::AdapterFacts;
use self::facts::{ModelFacts, WeightFacts};
use self::lines::line;
use crate::args::StrictArg;
use crate::eval::TaskArg;
use crate::model::{self, open_folder};
use crate::output::OutputArgs;
use crate::status::Status;

/// Show the contents of a model or weight file
#[derive(Args, Debug)]
#[command(after_help = "\
A weight file without its model folder is inspected too; the reason why its model is unknown is shown.
So are weights in several files with an index, and the folder of a LoRA adapter.

Examples:
  mplug inspect caption-base-zh
  mplug inspect backbone-base-en --task ask
  mplug inspect \"$(mplug pull caption-base-zh)/pytorch_model.bin\" --format json")]
pub(crate) struct InspectArgs {
    /// Model folder, weight file, adapter folder, or the name of a downloaded model
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Task of a model whose folder does not say it, such as a pre-trained backbone
    #[arg(long, value_enum)]
    task: Option<TaskArg>,
    #[command(flatten)]
    strict: StrictArg,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
pub(crate) fn run(args: &InspectArgs) -> anyhow::Result<Status> {
    let mut writer = args.output.create(None)?;
    let found = model::find(&args.model)?;
    if is_adapter(&found) {
        let adapter = Adapter::open(&found)?;
        writer.write(&AdapterFacts::new(&args.model, &adapter))?;
        writer.finish()?;
        return Ok(Status::Good);
    }
    let overrides = ConfigOverrides { task: args.task.map(Task::from), ..ConfigOverrides::default() };
    let report = match open_folder(&args.model, &overrides, args.strict, None) {
        Ok(folder) => Inspection::of_folder(&args.model, &folder),
        Err(error) => match Checkpoint::open(&found) {
            Ok(checkpoint) => Inspection::of_checkpoint(&args.model, &checkpoint, error.to_string()),
            Err(_) => return Err(error),
        },
    };
    writer.write(&report)?;
    writer.finish()?;
    Ok(Status::Good)
}

/// What was found.
#[derive(Serialize)]
struct Inspection {
    #[serde(flatten)]
    path: JsonPath,
    #[serde(flatten)]
    model: Option<ModelFacts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_unknown: Option<String>,
    #[serde(flatten)]
    weights: WeightFacts,
}

impl Inspection {
    fn of_folder(path: &Path, folder: &ModelFolder) -> Self {
        let summary = summarize(folder.checkpoint(), Some(&folder.config));
        let model = ModelFacts::new(folder);
        Self { path: path.into(), model: Some(model), model_unknown: None, weights: summary.into() }
    }

    fn of_checkpoint(path: &Path, checkpoint: &Checkpoint, reason: String) -> Self {
        let weights = summarize(checkpoint, None).into();
        Self { path: path.into(), model: None, model_unknown: Some(reason), weights }
    }
}

impl Record for Inspection {
    fn write_text(&self, to: &mut dyn Write) -> io::Result<()> {
        if let Some(model) = &self.model {
            model.write_text(to)?;
        }
        if let Some(reason) = &self.model_unknown {
            line(to, "model", &format!("unknown: {}", one_line(reason)))?;
        }
        self.weights.write_text(to)
    }
}
