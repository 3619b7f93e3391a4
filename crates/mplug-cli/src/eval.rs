//! `mplug eval`: how many captions of freshly drawn pictures are true, checked by program against what was drawn.
//! Draws with `mplug-data`, captions with the engine, judges with `mplug-data`; this file only joins the three.

use std::io::{self, Write};

use clap::Args;
use mplug::{config::Task, tasks::Captioner};
use mplug_data::synth::{EVAL_SEED, FamilyTruth, Share, SynthExample, TruthReport, check_caption, draw};
use rayon::prelude::*;
use serde::Serialize;

use crate::{
    args::{BatchArg, EngineArgs, OptionalModelArg, SearchArgs, between},
    model,
    output::{OutputArgs, Record, RecordWriter},
    pool, precision,
    progress::Progress,
    status::Status,
};

/// Measure how many captions of drawn pictures are true
#[derive(Args, Debug)]
#[command(after_help = "\
Each caption is parsed and compared with the scene that was drawn. Over all pictures and for each
family of scenes the report has the share of captions that are true in full, that are understood,
that name every main object, and whose kind, colour, number, relation and place are right where
they speak of them.

Examples:
  mplug eval
  mplug eval --synth-seed 7 --count 1000 --model runs/demo/best --format json")]
pub(crate) struct EvalArgs {
    /// Seed of the pictures; never one that the model was trained on
    #[arg(long, value_name = "N", default_value_t = EVAL_SEED)]
    synth_seed: u64,
    /// Pictures to draw
    #[arg(long, value_name = "N", default_value = "1000", value_parser = between::<1, 1_000_000>)]
    count: usize,
    #[command(flatten)]
    model: OptionalModelArg,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    batch: BatchArg,
    #[command(flatten)]
    search: SearchArgs,
}

/// Runs the command.
pub(crate) fn run(args: EvalArgs) -> anyhow::Result<Status> {
    pool::run(args.engine.threads, move || evaluate(&args))
}

fn evaluate(args: &EvalArgs) -> anyhow::Result<Status> {
    let mut writer = RecordWriter::create(&args.output)?;
    let folder =
        model::open_or_demo(args.model.model.as_deref(), args.engine.image_size, Task::ImageCaptioning)?;
    let captioner = Captioner::load_with(&folder, &precision::load_options(&folder, args.engine.precision))?;
    let options = args.search.options(captioner.default_options())?;
    let progress = Progress::new(args.count, "pictures");
    let mut truth = TruthReport::default();
    let indices: Vec<u64> = (0..args.count as u64).collect();
    for batch in indices.chunks(args.batch.batch_size) {
        let examples: Vec<SynthExample> =
            batch.par_iter().map(|&index| draw(args.synth_seed, index)).collect();
        let (images, scenes): (Vec<_>, Vec<_>) =
            examples.into_iter().map(|example| (example.image, example.scene)).unzip();
        let captions = captioner.caption_batch(&images, &options)?;
        for (scene, captions) in scenes.iter().zip(captions) {
            let text = captions.first().map_or("", |caption| caption.text.as_str());
            truth.add(scene.family, check_caption(scene, text));
        }
        progress.advance(batch.len());
    }
    writer.write(&Evaluation { synth_seed: args.synth_seed, count: args.count, truth })?;
    writer.finish()?;
    Ok(Status::Good)
}

/// The report and what it is of.
#[derive(Serialize)]
struct Evaluation {
    synth_seed: u64,
    count: usize,
    #[serde(flatten)]
    truth: TruthReport,
}

/// A column of the table and where its figures are.
type Column = (&'static str, fn(&FamilyTruth) -> Share);

const COLUMNS: [Column; 8] = [
    ("true", |truth| truth.fully_true),
    ("understood", |truth| truth.understood),
    ("complete", |truth| truth.complete),
    ("kind", |truth| truth.kind),
    ("colour", |truth| truth.colour),
    ("count", |truth| truth.count),
    ("relation", |truth| truth.relation),
    ("place", |truth| truth.place),
];

impl Record for Evaluation {
    fn write_text(&self, to: &mut dyn Write) -> io::Result<()> {
        writeln!(
            to,
            "{} pictures of seed {}: per cent of captions that are right",
            self.count, self.synth_seed
        )?;
        write!(to, "{:<10} {:>8}", "family", "pictures")?;
        for (name, _) in COLUMNS {
            write!(to, " {name:>10}")?;
        }
        writeln!(to)?;
        write_row(to, "all", &self.truth.all)?;
        self.truth.families.iter().try_for_each(|(family, truth)| {
            // The family's own name, as JSON has it.
            let name = serde_json::to_value(family).map_err(io::Error::from)?;
            write_row(to, name.as_str().unwrap_or_default(), truth)
        })
    }
}

fn write_row(to: &mut dyn Write, name: &str, truth: &FamilyTruth) -> io::Result<()> {
    write!(to, "{name:<10} {:>8}", truth.fully_true.judged)?;
    for (_, share_of) in COLUMNS {
        match share_of(truth).share() {
            Some(share) => write!(to, " {:>10.1}", 100.0 * share)?,
            None => write!(to, " {:>10}", "-")?,
        }
    }
    writeln!(to)
}
