//! Captions of freshly drawn pictures: how many are true, checked by program against what was drawn, and how much they are
//! like the captions that the generator writes itself. Draws with `mplug-data`, captions with the engine, judges with
//! `mplug-data` and `caption-metrics`; this file only joins them.

use std::io::{self, Write};

use caption_metrics::{bleu::bleu, cider::cider, corpus::Corpus, tokenize::Tokenization};
use mplug::{checkpoint::ModelFolder, config, tasks::Captioner};
use mplug_data::{
    dataset::Language,
    synth::{FamilyTruth, Share, SynthExample, TruthReport, check_caption, draw},
};
use rayon::prelude::*;
use serde::Serialize;

use super::{
    EvalArgs,
    drawn::{Drawn, code, json_name, write_share},
};
use crate::{model, precision, progress::Progress, status::Status};

/// Draws, captions, judges and reports.
pub(super) fn evaluate(args: &EvalArgs, folder: &ModelFolder) -> anyhow::Result<Status> {
    let captioner = Captioner::load_with(folder, &precision::load_options(folder, args.engine.precision))?;
    let drawn = Drawn::of(args);
    let language = drawn.language.unwrap_or_else(|| first_language(folder));
    let mut options = args.search.options(captioner.default_options())?;
    options.prompt = model::prompt(folder, Some(code(language)))?;
    let progress = Progress::new(drawn.count, "pictures");
    let mut truth = TruthReport::default();
    let mut written = Written::default();
    for batch in drawn.indices().chunks(args.batch.batch_size) {
        let examples: Vec<SynthExample> = batch.par_iter().map(|&index| draw(drawn.seed, index)).collect();
        let (mut images, mut scenes) = (Vec::new(), Vec::new());
        for example in examples {
            images.push(example.image);
            scenes.push(example.scene);
            written.references.push(match language {
                Language::Chinese => example.captions_zh,
                Language::English => example.captions_en,
            });
        }
        let captions = captioner.caption_batch(&images, &options)?;
        for (scene, captions) in scenes.iter().zip(captions) {
            let text = captions.into_iter().next().map(|caption| caption.text).unwrap_or_default();
            truth.add(scene.family, check_caption(scene, &text));
            written.candidates.push(text);
        }
        progress.advance(batch.len());
    }
    let [cider, bleu_4] = written.agreement()?;
    let report =
        Report { synth_seed: drawn.seed, count: drawn.count, language: code(language), cider, bleu_4, truth };
    args.output.write_form(|to| report.write_text(to), || serde_json::to_value(&report))?;
    Ok(Status::Good)
}

/// The language that a model writes unasked.
fn first_language(folder: &ModelFolder) -> Language {
    match config::language(folder.vocabulary()) {
        config::Language::Chinese => Language::Chinese,
        config::Language::English => Language::English,
    }
}

/// What was written, beside what the generator writes.
#[derive(Default)]
struct Written {
    candidates: Vec<String>,
    references: Vec<Vec<String>>,
}

impl Written {
    /// CIDEr-D and BLEU-4.
    fn agreement(&self) -> anyhow::Result<[f64; 2]> {
        let suited = Tokenization::suited_to(self.references.iter().flatten().map(String::as_str));
        let candidates = suited.tokenize(&self.candidates)?;
        let references = suited.tokenize_images(&self.references)?;
        let corpus = Corpus::new(&candidates, &references)?;
        Ok([cider(&corpus).corpus, bleu(&corpus).corpus[3]])
    }
}

/// The report and what it is of.
#[derive(Serialize)]
struct Report {
    synth_seed: u64,
    count: usize,
    /// The language of the captions that are wanted and of those they are compared with.
    language: &'static str,
    /// CIDEr-D against the generator's captions, 0 to 10.
    cider: f64,
    /// BLEU-4 likewise, 0 to 1.
    bleu_4: f64,
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

impl Report {
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
        for (family, truth) in &self.truth.families {
            write_row(to, &json_name(family)?, truth)?;
        }
        writeln!(to, "against the generator's captions ({}):", self.language)?;
        writeln!(to, "{:<10} {:>8.4}", "CIDEr", self.cider)?;
        writeln!(to, "{:<10} {:>8.4}", "BLEU-4", self.bleu_4)
    }
}

fn write_row(to: &mut dyn Write, name: &str, truth: &FamilyTruth) -> io::Result<()> {
    write!(to, "{name:<10} {:>8}", truth.fully_true.judged)?;
    for (_, share_of) in COLUMNS {
        write_share(to, share_of(truth), 10)?;
    }
    writeln!(to)
}
