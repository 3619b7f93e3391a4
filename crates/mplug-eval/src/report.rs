//! The report of an evaluation: as text for people, and as JSON whose form is fixed by a schema (`--print-schema`).

use std::io::{self, Write};

use caption_metrics::evaluation::{Column, Evaluation, NotComputed};
use mplug_data::annotation::PictureId;
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    answers_report::{AnswerLine, AnswerReport},
    pairs_report::PairsReport,
};

/// The form of the JSON; raised whenever a key changes its meaning or goes.
const VERSION: u32 = 1;

/// Figures of captions against references. Higher is better throughout.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Report {
    /// Version of this form.
    version: u32,
    /// Pictures that were scored.
    images: usize,
    /// References of all of them together.
    references: usize,
    /// Pictures that could not be captioned; they are not scored.
    failed: usize,
    /// How captions became tokens: figures of different ones cannot be compared.
    tokenization: String,
    /// Figures of all pictures.
    scores: Figures,
    /// Figures of each domain's pictures as if they were all (NoCaps); empty without domains.
    domains: Vec<DomainReport>,
    /// Metrics that were asked for and could not be computed.
    not_computed: Vec<Missing>,
    /// What a reader of the figures should know.
    notes: Vec<String>,
}

/// Figures of one domain.
#[derive(Serialize, JsonSchema)]
struct DomainReport {
    /// Its name: `in-domain`, `near-domain`, `out-domain`.
    domain: String,
    /// Its pictures.
    images: usize,
    /// Their figures.
    scores: Figures,
}

/// A metric without a figure.
#[derive(Serialize, JsonSchema)]
struct Missing {
    /// The key that it would have had among the figures.
    metric: String,
    /// Why, and what to do.
    reason: String,
}

/// Figures by metric; those that were not asked for are left out.
#[derive(Default, Serialize, JsonSchema)]
pub(crate) struct Figures {
    /// BLEU-1, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    bleu_1: Option<f64>,
    /// BLEU-2, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    bleu_2: Option<f64>,
    /// BLEU-3, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    bleu_3: Option<f64>,
    /// BLEU-4, 0 to 1; over all pictures' counts, not a mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    bleu_4: Option<f64>,
    /// METEOR 1.5, 0 to 1, with its official data.
    #[serde(skip_serializing_if = "Option::is_none")]
    meteor: Option<f64>,
    /// METEOR with its exact and stem modules alone, 0 to 1: not comparable with METEOR.
    #[serde(skip_serializing_if = "Option::is_none")]
    meteor_exact_stem: Option<f64>,
    /// ROUGE-L, 0 to 1; the mean over pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    rouge_l: Option<f64>,
    /// CIDEr-D, which everybody calls CIDEr, 0 to 10 (papers show it times 100); the mean over pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    cider: Option<f64>,
    /// CIDEr without clipping and length penalty, 0 to 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    plain_cider: Option<f64>,
    /// SPICE, 0 to 1, by its official program.
    #[serde(skip_serializing_if = "Option::is_none")]
    spice: Option<f64>,
    /// Share of candidates that equal a reference exactly.
    #[serde(skip_serializing_if = "Option::is_none")]
    accuracy: Option<f64>,
}

impl Figures {
    /// One figure of each column: `figure` chooses which.
    pub(crate) fn of(columns: &[Column], figure: impl Fn(&Column) -> f64) -> Self {
        let mut figures = Self::default();
        for column in columns {
            let place = match column.key {
                "bleu_1" => &mut figures.bleu_1,
                "bleu_2" => &mut figures.bleu_2,
                "bleu_3" => &mut figures.bleu_3,
                "bleu_4" => &mut figures.bleu_4,
                "meteor" => &mut figures.meteor,
                "meteor_exact_stem" => &mut figures.meteor_exact_stem,
                "rouge_l" => &mut figures.rouge_l,
                "cider" => &mut figures.cider,
                "plain_cider" => &mut figures.plain_cider,
                "spice" => &mut figures.spice,
                "accuracy" => &mut figures.accuracy,
                key => unreachable!("a column {key} without a place in the report"),
            };
            *place = Some(figure(column));
        }
        figures
    }
}

/// What the report is of.
pub(crate) struct Scored<'e> {
    /// Pictures that are scored.
    pub(crate) images: usize,
    /// References of all pictures together.
    pub(crate) references: usize,
    /// Pictures that are not scored, for their captions are missing.
    pub(crate) failed: usize,
    /// `ptb`, `char`, …
    pub(crate) tokenization: String,
    /// The figures of all pictures.
    pub(crate) evaluation: &'e Evaluation,
    /// Domains by name, each with its number of pictures and its figures.
    pub(crate) domains: &'e [(String, usize, Evaluation)],
}

impl Scored<'_> {
    /// The JSON form.
    pub(crate) fn report(&self) -> Report {
        let missing = |missing: &NotComputed| Missing {
            metric: missing.metric.to_owned(),
            reason: missing.reason.clone(),
        };
        let domain = |(domain, images, evaluation): &(String, usize, Evaluation)| DomainReport {
            domain: domain.clone(),
            images: *images,
            scores: Figures::of(&evaluation.columns, |column| column.scores.corpus),
        };
        Report {
            version: VERSION,
            images: self.images,
            references: self.references,
            failed: self.failed,
            tokenization: self.tokenization.clone(),
            scores: Figures::of(&self.evaluation.columns, |column| column.scores.corpus),
            domains: self.domains.iter().map(domain).collect(),
            not_computed: self.evaluation.not_computed.iter().map(missing).collect(),
            notes: self.evaluation.notes.clone(),
        }
    }

    /// The text form: a line a figure, with a column for each domain.
    pub(crate) fn write_text(&self, to: &mut dyn Write) -> io::Result<()> {
        writeln!(
            to,
            "{} images, {} references, tokens: {}",
            self.images, self.references, self.tokenization
        )?;
        if !self.domains.is_empty() {
            write!(to, "{:<22} {:>9}", "", "all")?;
            self.domains.iter().try_for_each(|(name, ..)| write!(to, " {name:>12}"))?;
            writeln!(to)?;
            write!(to, "{:<22} {:>9}", "images", self.images)?;
            self.domains.iter().try_for_each(|(_, images, _)| write!(to, " {images:>12}"))?;
            writeln!(to)?;
        }
        for column in &self.evaluation.columns {
            write!(to, "{:<22} {:>9.4}", column.label, column.scores.corpus)?;
            for (_, _, evaluation) in self.domains {
                write!(to, " {:>12.4}", evaluation.corpus(column.key).unwrap_or(f64::NAN))?;
            }
            writeln!(to)?;
        }
        for missing in &self.evaluation.not_computed {
            writeln!(to, "{:<22} not computed: {}", missing.metric, missing.reason)?;
        }
        self.evaluation.notes.iter().try_for_each(|note| writeln!(to, "note: {note}"))
    }
}

/// A line of `--per-image`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ImageReport<'i> {
    /// The picture's id as its annotation file has it.
    #[schemars(with = "serde_json::Value")]
    pub(crate) image_id: &'i PictureId,
    /// The picture's name in its annotation file, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file_name: Option<&'i str>,
    /// The caption that was scored.
    pub(crate) candidate: &'i str,
    /// What it was scored against.
    pub(crate) references: &'i [String],
    /// The picture's figures.
    pub(crate) scores: Figures,
}

/// The schemas of the reports of each task on files and datasets, and of the lines of `--per-image`, as one JSON document.
pub(crate) fn schema() -> serde_json::Value {
    serde_json::json!({
        "report": schemars::schema_for!(Report),
        "per_image": schemars::schema_for!(ImageReport<'static>),
        "answers": schemars::schema_for!(AnswerReport),
        "per_image_of_answers": schemars::schema_for!(AnswerLine<'static>),
        "retrieval": schemars::schema_for!(PairsReport),
    })
}
