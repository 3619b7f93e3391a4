//! The report of captions against references: as text for people, and as JSON whose form [`schema`] fixes.

use std::io::{self, Write};

use caption_metrics::evaluation::{Column, Evaluation, Figure, NotComputed};
use caption_metrics::tokenize::Tokenization;
use mplug_data::annotation::PictureId;
use schemars::JsonSchema;
use serde::Serialize;

use crate::answers_report::{AnswerLine, AnswerReport};
use crate::pairs_report::PairsReport;

/// The form of the JSON; raised whenever a key changes its meaning or goes.
const VERSION: u32 = 1;

/// Figures of captions against references. Higher is better throughout.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Report {
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
    /// Metrics that were requested and could not be computed.
    not_computed: Vec<Missing>,
    /// What a reader of the figures should know.
    notes: Vec<String>,
}

/// Figures of one domain.
#[derive(Debug, Serialize, JsonSchema)]
struct DomainReport {
    /// Its name: `in-domain`, `near-domain`, `out-domain`.
    domain: String,
    /// Its pictures.
    images: usize,
    /// Their figures.
    scores: Figures,
}

/// A metric without a figure.
#[derive(Debug, Serialize, JsonSchema)]
struct Missing {
    /// The key that it would have had among the figures.
    metric: String,
    /// Why, and what to do.
    reason: String,
}

/// Figures by metric; those that were not requested are left out.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Figures {
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
    /// One figure of each column, which `figure` chooses: that of all pictures, or of one of them.
    pub fn of(columns: &[Column], figure: impl Fn(&Column) -> f64) -> Self {
        let mut figures = Self::default();
        for column in columns {
            *figures.of_figure(column.figure) = Some(figure(column));
        }
        figures
    }

    fn of_figure(&mut self, figure: Figure) -> &mut Option<f64> {
        match figure {
            Figure::Bleu1 => &mut self.bleu_1,
            Figure::Bleu2 => &mut self.bleu_2,
            Figure::Bleu3 => &mut self.bleu_3,
            Figure::Bleu4 => &mut self.bleu_4,
            Figure::Meteor => &mut self.meteor,
            Figure::MeteorExactStem => &mut self.meteor_exact_stem,
            Figure::RougeL => &mut self.rouge_l,
            Figure::Cider => &mut self.cider,
            Figure::PlainCider => &mut self.plain_cider,
            Figure::Spice => &mut self.spice,
            Figure::Accuracy => &mut self.accuracy,
        }
    }
}

/// Captions with their figures.
#[derive(Clone, Debug)]
pub struct Scored {
    /// Pictures that are scored.
    pub images: usize,
    /// References of all pictures together.
    pub references: usize,
    /// Pictures that are not scored, for their captions are missing.
    pub failed: usize,
    /// How captions became tokens.
    pub tokenization: Tokenization,
    /// The figures of all pictures.
    pub evaluation: Evaluation,
    /// The figures of each domain's pictures as if they were all, by the domain's name; empty without domains.
    pub domains: Vec<Domain>,
}

/// The pictures of one domain.
#[derive(Clone, Debug)]
pub struct Domain {
    /// Its name: `in-domain`, `near-domain`, `out-domain`.
    pub name: String,
    /// How many pictures it has.
    pub images: usize,
    /// Their figures.
    pub evaluation: Evaluation,
}

impl Scored {
    /// The JSON form.
    pub fn report(&self) -> Report {
        let missing = |missing: &NotComputed| Missing {
            metric: missing.figure.key().to_owned(),
            reason: missing.reason.clone(),
        };
        let domain = |domain: &Domain| DomainReport {
            domain: domain.name.clone(),
            images: domain.images,
            scores: Figures::of(&domain.evaluation.columns, |column| column.scores.corpus),
        };
        Report {
            version: VERSION,
            images: self.images,
            references: self.references,
            failed: self.failed,
            tokenization: self.tokenization.name().to_owned(),
            scores: Figures::of(&self.evaluation.columns, |column| column.scores.corpus),
            domains: self.domains.iter().map(domain).collect(),
            not_computed: self.evaluation.not_computed.iter().map(missing).collect(),
            notes: self.evaluation.notes.clone(),
        }
    }

    /// The text form: a line a figure, with a column for each domain.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write_text(&self, to: &mut dyn Write) -> io::Result<()> {
        writeln!(
            to,
            "{} images, {} references, tokens: {}",
            self.images,
            self.references,
            self.tokenization.name()
        )?;
        if !self.domains.is_empty() {
            write!(to, "{:<22} {:>9}", "", "all")?;
            self.domains.iter().try_for_each(|domain| write!(to, " {:>12}", domain.name))?;
            writeln!(to)?;
            write!(to, "{:<22} {:>9}", "images", self.images)?;
            self.domains.iter().try_for_each(|domain| write!(to, " {:>12}", domain.images))?;
            writeln!(to)?;
        }
        for column in &self.evaluation.columns {
            write!(to, "{:<22} {:>9.4}", column.label, column.scores.corpus)?;
            for domain in &self.domains {
                let corpus = domain.evaluation.corpus(column.figure);
                write!(to, " {:>12.4}", corpus.unwrap_or(f64::NAN))?;
            }
            writeln!(to)?;
        }
        for missing in &self.evaluation.not_computed {
            writeln!(to, "{:<22} not computed: {}", missing.figure.key(), missing.reason)?;
        }
        self.evaluation.notes.iter().try_for_each(|note| writeln!(to, "note: {note}"))
    }
}

/// A line of `--per-image`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ImageReport<'i> {
    /// The picture's id as its annotation file has it.
    #[schemars(with = "serde_json::Value")]
    pub image_id: &'i PictureId,
    /// The picture's name in its annotation file, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_name: Option<&'i str>,
    /// The caption that was scored.
    pub candidate: &'i str,
    /// What it was scored against.
    pub references: &'i [String],
    /// The picture's figures.
    pub scores: Figures,
}

/// The schemas of the reports of each task on files and data sets, and of the lines for each picture or question, as one JSON
/// document.
pub fn schema() -> serde_json::Value {
    serde_json::json!({
        "report": schemars::schema_for!(Report),
        "per_image": schemars::schema_for!(ImageReport<'static>),
        "answers": schemars::schema_for!(AnswerReport),
        "per_image_of_answers": schemars::schema_for!(AnswerLine<'static>),
        "retrieval": schemars::schema_for!(PairsReport),
    })
}

#[cfg(test)]
mod tests {
    use caption_metrics::Scores;
    use serde_json::{Value, json};

    use super::*;

    const ALL: [Figure; 11] = [
        Figure::Bleu1,
        Figure::Bleu2,
        Figure::Bleu3,
        Figure::Bleu4,
        Figure::Meteor,
        Figure::MeteorExactStem,
        Figure::RougeL,
        Figure::Cider,
        Figure::PlainCider,
        Figure::Spice,
        Figure::Accuracy,
    ];

    fn columns(figures: &[Figure]) -> Vec<Column> {
        let column = |(n, &figure): (usize, &Figure)| {
            let scores = Scores { corpus: n as f64 / 16.0, images: vec![n as f64 / 8.0] };
            Column { figure, label: "", scores }
        };
        figures.iter().enumerate().map(column).collect()
    }

    #[test]
    fn every_figure_has_its_key_and_the_schema_knows_it() {
        let figures = Figures::of(&columns(&ALL), |column| column.scores.corpus);
        let json = serde_json::to_value(figures).unwrap();
        for (n, figure) in ALL.iter().enumerate() {
            assert_eq!(json[figure.key()], n as f64 / 16.0, "{}", figure.key());
        }
        let schema = schemars::schema_for!(Figures);
        let properties = schema.get("properties").and_then(Value::as_object).unwrap();
        let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert_eq!(keys, properties.keys().collect::<Vec<_>>());
    }

    #[test]
    fn figures_stand_in_the_order_of_the_schema_and_others_are_left_out() {
        let figures =
            Figures::of(&columns(&[Figure::Cider, Figure::Bleu4]), |column| column.scores.images[0]);
        assert_eq!(serde_json::to_string(&figures).unwrap(), "{\"bleu_4\":0.125,\"cider\":0.0}");
        assert_eq!(serde_json::to_value(Figures::of(&[], |_| 0.0)).unwrap(), json!({}));
    }
}
