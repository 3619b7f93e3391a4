//! How many captions of freshly drawn pictures are true, checked by program against what was drawn.
//! Draws with `mplug-data`, captions with the engine, judges with `mplug-data`; this file only joins the three.

use std::io::{self, Write};

use mplug::{config::Task, tasks::Captioner};
use mplug_data::synth::{EVAL_SEED, FamilyTruth, Share, SynthExample, TruthReport, check_caption, draw};
use rayon::prelude::*;
use serde::Serialize;

use super::EvalArgs;
use crate::{model, precision, progress::Progress, status::Status};

/// Pictures that are drawn where nothing else is typed.
const DEFAULT_COUNT: usize = 1000;

/// Draws, captions, judges and reports.
pub(super) fn evaluate(args: &EvalArgs) -> anyhow::Result<Status> {
    let folder =
        model::open_or_demo(args.model.model.as_deref(), args.engine.image_size, Task::ImageCaptioning)?;
    let captioner = Captioner::load_with(&folder, &precision::load_options(&folder, args.engine.precision))?;
    let options = args.search.options(captioner.default_options())?;
    let (synth_seed, count) = (args.synth_seed.unwrap_or(EVAL_SEED), args.count.unwrap_or(DEFAULT_COUNT));
    let progress = Progress::new(count, "pictures");
    let mut truth = TruthReport::default();
    let indices: Vec<u64> = (0..count as u64).collect();
    for batch in indices.chunks(args.batch.batch_size) {
        let examples: Vec<SynthExample> = batch.par_iter().map(|&index| draw(synth_seed, index)).collect();
        let (images, scenes): (Vec<_>, Vec<_>) =
            examples.into_iter().map(|example| (example.image, example.scene)).unzip();
        let captions = captioner.caption_batch(&images, &options)?;
        for (scene, captions) in scenes.iter().zip(captions) {
            let text = captions.first().map_or("", |caption| caption.text.as_str());
            truth.add(scene.family, check_caption(scene, text));
        }
        progress.advance(batch.len());
    }
    let report = DrawnReport { synth_seed, count, truth };
    args.output.write_form(|to| report.write_text(to), || serde_json::to_value(&report))?;
    Ok(Status::Good)
}

/// The report and what it is of.
#[derive(Serialize)]
struct DrawnReport {
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

impl DrawnReport {
    fn write_text(&self, to: &mut Vec<u8>) -> io::Result<()> {
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
