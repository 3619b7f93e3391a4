//! `mplug train`: fine-tuning and pre-training from a recipe. The work is `mplug-train`'s; this is its door, and in a build
//! without the feature `train` it says how to get one.

mod init;

use std::path::PathBuf;

use clap::Args;

use crate::status::Status;

/// Train a model as a recipe says (builds with the feature `train`)
#[derive(Args, Debug)]
#[command(after_help = "\
Training is a feature of the build: cargo install --path crates/mplug-cli --features train

configs/ has recipes for captioning, CIDEr optimisation, question answering, retrieval and
pre-training; docs/training.md describes the settings. The output folder receives checkpoints
(step-..., to which best and last lead), logs and an HTML report. Other files in it are not
changed: if one has a name that the run needs (best, last, recipe.toml, log.jsonl, ...), the
run does not start.

A resumed run may have another recipe, but for its model: a lower rate, more steps, other
batches or data. What differs is listed.

A step with a loss or gradient that is not finite is skipped and reported. After
run.max_skipped_steps (10) in a row the run ends with advice.

The first Ctrl-C or SIGTERM ends the run after the step at hand, saves it and says how to go
on; a second one ends the program at once.

Examples:
  mplug train --init runs/mine --model caption-base-zh --data photos.jsonl
  mplug train runs/mine/recipe.toml
  mplug train configs/demo.toml
  mplug train configs/caption-base.toml --set start.model=caption-base-zh --set data.train=mine.jsonl \\
    --set data.held_out=others.jsonl
  mplug train configs/demo.toml --set run.steps=100 --set output=runs/try
  mplug train configs/demo.toml --resume
  mplug train configs/demo.toml --resume --from 4000 --set optimizer.learning_rate=1e-5
  mpirun -n 2 mplug train configs/demo.toml      (builds with the feature mpi)
  mplug train configs/demo.toml --set run.device=gpu --set run.threads=1 --set run.precision=f16
                                                 (builds with the feature wgpu)")]
pub(crate) struct TrainArgs {
    /// Recipe file (TOML)
    #[arg(value_name = "CONFIG.toml", required_unless_present = "init")]
    config: Option<PathBuf>,
    /// Override a value of the recipe, such as run.steps=100; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    settings: Vec<(String, String)>,
    /// Treat the CSV column or JSON key OLD as NEW (`image`, `caption`, `question`, `answer`, `language` or `split`); may be
    /// repeated
    #[arg(long, value_name = "OLD=NEW", value_parser = crate::dataset::renaming)]
    rename_column: Vec<(String, String)>,
    /// Check the recipe, the data and what the run needs, and write nothing
    #[arg(long, conflicts_with = "resume")]
    check: bool,
    /// Continue from the last checkpoint in the output folder
    #[arg(long)]
    resume: bool,
    /// With --resume: continue from the checkpoint of this step; later ones are set aside
    #[arg(long, value_name = "STEP", requires = "resume")]
    from: Option<u64>,
    #[command(flatten)]
    strict: crate::args::StrictArg,
    #[command(flatten)]
    init: init::InitArgs,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("expected key=value".to_owned()),
    }
}

/// Runs the command.
#[cfg(feature = "train")]
pub(crate) fn run(args: &TrainArgs) -> anyhow::Result<Status> {
    use std::ops::ControlFlow;

    use anyhow::Context;
    use mplug_train::{Entry, Progress, Resume, TrainConfig, check, train};

    if let Some((folder, model, data)) = args.init.request() {
        return init::run(folder, model, data);
    }
    let path = args.config.as_deref().context("expected a recipe, found none")?;
    let mut settings = args.settings.clone();
    // As TOML, so that no name of a column is taken for a number.
    settings.extend(args.rename_column.iter().map(|(old, new)| {
        (format!("data.columns.{new}"), serde_json::Value::from(old.as_str()).to_string())
    }));
    let mut config = TrainConfig::open(path, &settings).with_context(|| path.display().to_string())?;
    let start = config.start.as_mut().and_then(|start| start.model.as_mut());
    let weights = config.model.as_mut().and_then(|model| model.weights.as_mut());
    for path in [start, weights].into_iter().flatten() {
        *path = crate::model::find(path)?;
    }
    config.strict = args.strict.strict;
    // A run that counts epochs knows its steps once it has seen its data.
    let mut steps = config.run.steps.unwrap_or_default();
    let interrupt = crate::interrupt::Interrupt::listen()?;
    interrupt.answer("the run ends after the step at hand and saves it; a second signal ends it at once")?;
    let resume = if args.resume { args.from.map_or(Resume::Last, Resume::From) } else { Resume::Never };
    let mut bar = None;
    let mut listener = |event: &Progress| {
        crate::progress::show_step(&mut bar, event);
        if let Progress::Started { steps: all, .. } = event {
            steps = *all;
        }
        let message = match event {
            Progress::Unexpected { file, names } => Some(crate::model::unexpected(file, names)),
            event => event.text(steps),
        };
        message.into_iter().for_each(crate::report::info);
        if interrupt.came() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let with_hint = |error| crate::hint::of_training(error, |more| args.to_resume(more));
    if args.check {
        check(&config, &mut listener).map_err(with_hint)?;
        crate::report::info("nothing is wrong that can be known before the first step; nothing was written");
        return Ok(Status::Good);
    }
    let entry = Entry { resume, stop: interrupt.flag() };
    let summary = train(&config, entry, &mut listener).map_err(with_hint)?;
    drop(bar);
    conclude(&summary, args, &config.output)
}

#[cfg(feature = "train")]
impl TrainArgs {
    /// The command that resumes this run with further settings.
    fn to_resume(&self, more: &[(String, String)]) -> String {
        let mut words = vec!["mplug".to_owned(), "train".to_owned()];
        words.extend(self.config.iter().map(|path| path.display().to_string()));
        let is_kept = |(key, _): &&(String, String)| more.iter().all(|(other, _)| other != key);
        for (key, value) in self.settings.iter().filter(is_kept).chain(more) {
            words.extend(["--set".to_owned(), format!("{key}={value}")]);
        }
        for (old, new) in &self.rename_column {
            words.extend(["--rename-column".to_owned(), format!("{old}={new}")]);
        }
        words.extend(self.strict.strict.then(|| "--strict".to_owned()));
        words.push("--resume".to_owned());
        mplug_data::message::shell_command(&words)
    }
}

/// What is said at the end of a run.
#[cfg(feature = "train")]
fn conclude(
    summary: &mplug_train::Summary,
    args: &TrainArgs,
    output: &std::path::Path,
) -> anyhow::Result<Status> {
    let status = if summary.interrupted { Status::Interrupted } else { Status::Good };
    if !summary.leads {
        return Ok(status);
    }
    if summary.skipped > 0 {
        crate::report::message(format!(
            "{} pictures could not be read and were passed over",
            summary.skipped
        ));
    }
    if summary.skipped_steps > 0 {
        crate::report::message(format!(
            "{} steps were skipped, for their loss or gradient was not finite",
            summary.skipped_steps
        ));
    }
    if summary.interrupted {
        let command = args.to_resume(&[]);
        crate::report::message(format!("interrupted after step {}; to go on: {command}", summary.steps));
        return Ok(status);
    }
    let best = summary.best.map_or_else(String::new, |[score, loss]| {
        format!(", best evaluation: score {score:.4}, loss {loss:.4}")
    });
    let line = format!(
        "{} steps{}{}{best}; the model is in {}\n",
        summary.steps,
        if summary.stopped_early { " (stopped early: nothing became better)" } else { "" },
        summary.loss.map_or_else(String::new, |loss| format!(", loss {loss:.4}")),
        output.display()
    );
    crate::output::write_whole(line.as_bytes(), None)?;
    Ok(status)
}

/// Runs the command.
#[cfg(not(feature = "train"))]
pub(crate) fn run(args: &TrainArgs) -> anyhow::Result<Status> {
    anyhow::bail!(
        "{}: this build cannot train; build one that can: `cargo build --release -p mplug-cli --features train`",
        args.config
            .as_ref()
            .or(args.init.init.as_ref())
            .map_or_else(String::new, |path| path.display().to_string())
    )
}
