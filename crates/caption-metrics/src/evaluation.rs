//! All figures of a set of captions at once: what a command or a trainer reports.
//!
//! An [`Evaluator`] says which metrics, over which tokens, with which of the user's files; [`Evaluator::prepare`] tokenises
//! once, and [`Prepared::evaluate`] scores all images or some of them. What cannot be computed is named with its reason, and
//! figures that mislead come with a note.

use crate::accuracy::accuracy;
use crate::bleu::bleu;
use crate::cider::{CiderVariant, DocumentFrequencies, cider};
use crate::corpus::Corpus;
use crate::meteor::{MeteorData, meteor};
use crate::rouge_l::rouge_l;
use crate::spice::Spice;
use crate::tokenize::{Tokenization, ptb};
use crate::{Error, Scores};

/// The longest caption that is scored: 8 KiB.
pub const MAX_CAPTION_BYTES: usize = 8 << 10;

/// A figure that can be requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// BLEU-1 to BLEU-4: four columns.
    Bleu,
    /// METEOR 1.5; with its own data or as "METEOR (exact+stem)".
    Meteor,
    /// ROUGE-L.
    RougeL,
    /// CIDEr-D, which everybody calls CIDEr.
    Cider,
    /// CIDEr without clipping and length penalty.
    PlainCider,
    /// SPICE, by its official program.
    Spice,
    /// Exact match, over captions as they are.
    Accuracy,
}

/// What to compute, and with what.
#[derive(Debug)]
pub struct Evaluator {
    /// The metrics, in the order of the report.
    pub metrics: Vec<Metric>,
    /// How captions become tokens; by the references' language if `None`.
    pub tokenization: Option<Tokenization>,
    /// METEOR, with its data or without.
    pub meteor: MeteorData,
    /// SPICE's program, or why there is none.
    pub spice: Result<Spice, String>,
    /// CIDEr's document frequencies; those of the references scored against if `None`.
    pub document_frequencies: Option<DocumentFrequencies>,
}

/// A figure that a report has. One metric may give several, or one of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// BLEU-1.
    Bleu1,
    /// BLEU-2.
    Bleu2,
    /// BLEU-3.
    Bleu3,
    /// BLEU-4.
    Bleu4,
    /// METEOR 1.5 with its official data.
    Meteor,
    /// METEOR with its exact and stem modules alone.
    MeteorExactStem,
    /// ROUGE-L.
    RougeL,
    /// CIDEr-D.
    Cider,
    /// CIDEr without clipping and length penalty.
    PlainCider,
    /// SPICE.
    Spice,
    /// Exact match.
    Accuracy,
}

impl Figure {
    /// The key in reports: `bleu_1`, `cider`.
    pub fn key(self) -> &'static str {
        match self {
            Self::Bleu1 => "bleu_1",
            Self::Bleu2 => "bleu_2",
            Self::Bleu3 => "bleu_3",
            Self::Bleu4 => "bleu_4",
            Self::Meteor => "meteor",
            Self::MeteorExactStem => "meteor_exact_stem",
            Self::RougeL => "rouge_l",
            Self::Cider => "cider",
            Self::PlainCider => "plain_cider",
            Self::Spice => "spice",
            Self::Accuracy => "accuracy",
        }
    }
}

/// A figure for all and for each image.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Which figure.
    pub figure: Figure,
    /// The name for people: `BLEU-1`, `CIDEr`.
    pub label: &'static str,
    /// The figures.
    pub scores: Scores,
}

/// A metric that was requested and is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotComputed {
    /// The figure that the metric would have given.
    pub figure: Figure,
    /// Why, and what to do.
    pub reason: String,
}

/// The figures of a set of images.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// One for each metric, four for BLEU, in the order requested.
    pub columns: Vec<Column>,
    /// Metrics without figures.
    pub not_computed: Vec<NotComputed>,
    /// What a reader of the figures should know.
    pub notes: Vec<String>,
}

/// Captions with their tokens.
#[derive(Debug)]
pub struct Prepared<'c> {
    evaluator: &'c Evaluator,
    tokenization: Tokenization,
    captions: Captions<&'c str>,
    tokens: Captions<String>,
}

/// Candidates and references, side by side.
#[derive(Debug, Clone, Default)]
pub struct Captions<S> {
    /// One for each image.
    pub candidates: Vec<S>,
    /// At least one for each image.
    pub references: Vec<Vec<S>>,
}

impl<S: AsRef<str> + Clone> Captions<S> {
    /// Fails if candidates and references do not belong together, or if something is too long to be a caption.
    fn check(&self) -> Result<(), Error> {
        let (candidates, references) = (self.candidates.len(), self.references.len());
        if candidates != references {
            return Err(Error::Lengths { candidates, references });
        }
        for (image, (candidate, references)) in self.candidates.iter().zip(&self.references).enumerate() {
            if references.is_empty() {
                return Err(Error::NoReferences { image });
            }
            let lengths = std::iter::once(candidate).chain(references).map(|caption| caption.as_ref().len());
            let bytes = lengths.max().unwrap_or(0);
            if bytes > MAX_CAPTION_BYTES {
                return Err(Error::CaptionTooLong { image, bytes });
            }
        }
        Ok(())
    }

    fn select(&self, images: &[usize]) -> Self {
        Self {
            candidates: images.iter().map(|&image| self.candidates[image].clone()).collect(),
            references: images.iter().map(|&image| self.references[image].clone()).collect(),
        }
    }
}

impl Evaluator {
    /// Tokenises captions.
    ///
    /// # Errors
    /// [`Error::Lengths`] and [`Error::NoReferences`] for sets that do not belong together, [`Error::NoJieba`] for words in
    /// a build without jieba, [`Error::CaptionTooLong`] for what is no caption.
    pub fn prepare<'c>(&'c self, captions: Captions<&'c str>) -> Result<Prepared<'c>, Error> {
        captions.check()?;
        let suited = || Tokenization::suited_to(captions.references.iter().flatten().copied());
        let tokenization = self.tokenization.unwrap_or_else(suited);
        let tokens = Captions {
            candidates: tokenization.tokenize(&captions.candidates)?,
            references: tokenization.tokenize_images(&captions.references)?,
        };
        Ok(Prepared { evaluator: self, tokenization, captions, tokens })
    }
}

impl Prepared<'_> {
    /// How the captions became tokens.
    pub fn tokenization(&self) -> Tokenization {
        self.tokenization
    }

    /// How many images there are.
    pub fn len(&self) -> usize {
        self.captions.candidates.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Scores all images.
    ///
    /// # Errors
    /// None that [`Evaluator::prepare`] has not found already.
    pub fn evaluate(&self) -> Result<Evaluation, Error> {
        let mut evaluation = self.evaluate_captions(&self.captions, &self.tokens)?;
        evaluation.notes = self.notes();
        Ok(evaluation)
    }

    /// Scores some images as if they were all: document frequencies are of their references.
    ///
    /// # Errors
    /// As [`Prepared::evaluate`].
    pub fn evaluate_subset(&self, images: &[usize]) -> Result<Evaluation, Error> {
        self.evaluate_captions(&self.captions.select(images), &self.tokens.select(images))
    }

    fn evaluate_captions(
        &self,
        captions: &Captions<&str>,
        tokens: &Captions<String>,
    ) -> Result<Evaluation, Error> {
        let corpus = Corpus::new(&tokens.candidates, &tokens.references)?;
        let mut evaluation = Evaluation { columns: Vec::new(), not_computed: Vec::new(), notes: Vec::new() };
        for &metric in &self.evaluator.metrics {
            match metric {
                Metric::Bleu => evaluation.columns.extend(bleu_columns(&corpus)),
                Metric::Meteor => evaluation.columns.push(self.meteor_column(tokens)?),
                Metric::RougeL => evaluation.push(Figure::RougeL, "ROUGE-L", rouge_l(&corpus)),
                Metric::Cider => evaluation.push(Figure::Cider, "CIDEr", self.cider(&corpus, tokens)?),
                Metric::PlainCider => {
                    evaluation.push(Figure::PlainCider, "CIDEr (plain)", self.plain_cider(tokens)?);
                }
                Metric::Spice => match self.spice(tokens) {
                    Ok(scores) => evaluation.push(Figure::Spice, "SPICE", scores),
                    Err(reason) => {
                        evaluation.not_computed.push(NotComputed { figure: Figure::Spice, reason });
                    }
                },
                Metric::Accuracy => {
                    let scores = accuracy(&captions.candidates, &captions.references)?;
                    evaluation.push(Figure::Accuracy, "accuracy", scores);
                }
            }
        }
        Ok(evaluation)
    }

    fn meteor_column(&self, tokens: &Captions<String>) -> Result<Column, Error> {
        let data = &self.evaluator.meteor;
        let scores = meteor(data, &tokens.candidates, &tokens.references)?;
        let figure = if data.is_complete() { Figure::Meteor } else { Figure::MeteorExactStem };
        Ok(Column { figure, label: data.label(), scores })
    }

    fn cider(&self, corpus: &Corpus, tokens: &Captions<String>) -> Result<Scores, Error> {
        match &self.evaluator.document_frequencies {
            Some(given) => given.score(&tokens.candidates, &tokens.references, CiderVariant::CiderD),
            None => Ok(cider(corpus)),
        }
    }

    fn plain_cider(&self, tokens: &Captions<String>) -> Result<Scores, Error> {
        let own;
        let frequencies = if let Some(given) = &self.evaluator.document_frequencies {
            given
        } else {
            own = DocumentFrequencies::of_references(&tokens.references)?;
            &own
        };
        frequencies.score(&tokens.candidates, &tokens.references, CiderVariant::Cider)
    }

    fn spice(&self, tokens: &Captions<String>) -> Result<Scores, String> {
        let spice = self.evaluator.spice.as_ref().map_err(Clone::clone)?;
        spice.score(&tokens.candidates, &tokens.references).map_err(|error| error.to_string())
    }

    fn notes(&self) -> Vec<String> {
        let requests = |metric| self.evaluator.metrics.contains(&metric);
        let has_cider = requests(Metric::Cider) || requests(Metric::PlainCider);
        let mut notes = Vec::new();
        if self.len() == 1 && has_cider && self.evaluator.document_frequencies.is_none() {
            notes.push(
                "CIDEr is 0: with one image every n-gram of its references occurs in every image, and weighs nothing"
                    .to_owned(),
            );
        }
        let empty = self.tokens.candidates.iter().filter(|tokens| tokens.is_empty()).count();
        if empty > 0 {
            notes.push(format!("{empty} of {} candidates are empty", self.len()));
        }
        let uses_ptb = matches!(self.tokenization, Tokenization::Ptb | Tokenization::Aic);
        let all = || self.captions.candidates.iter().chain(self.captions.references.iter().flatten());
        let separated = all().filter(|caption| uses_ptb && ptb::has_line_separator(caption)).count();
        if separated > 0 {
            notes.push(format!(
                "{separated} captions have a line separator, taken for a space here; the reference evaluator would \
                 shift all captions after it by one"
            ));
        }
        if requests(Metric::Meteor) && matches!(self.tokenization, Tokenization::Char | Tokenization::Jieba) {
            notes.push(
                "METEOR has no Chinese stems, synonyms or paraphrases: it compares characters".to_owned(),
            );
        }
        notes
    }
}

impl Evaluation {
    fn push(&mut self, figure: Figure, label: &'static str, scores: Scores) {
        self.columns.push(Column { figure, label, scores });
    }

    /// The corpus figure of a column, if it was computed.
    pub fn corpus(&self, figure: Figure) -> Option<f64> {
        self.columns.iter().find(|column| column.figure == figure).map(|column| column.scores.corpus)
    }
}

fn bleu_columns(corpus: &Corpus) -> impl Iterator<Item = Column> {
    const NAMES: [(Figure, &str); 4] = [
        (Figure::Bleu1, "BLEU-1"),
        (Figure::Bleu2, "BLEU-2"),
        (Figure::Bleu3, "BLEU-3"),
        (Figure::Bleu4, "BLEU-4"),
    ];
    let bleu = bleu(corpus);
    NAMES.into_iter().enumerate().map(move |(n, (figure, label))| {
        let images = bleu.images.iter().map(|scores| scores[n]).collect();
        Column { figure, label, scores: Scores { corpus: bleu.corpus[n], images } }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluator(metrics: &[Metric]) -> Evaluator {
        Evaluator {
            metrics: metrics.to_vec(),
            tokenization: None,
            meteor: MeteorData::without_resources(),
            spice: Err("no program".to_owned()),
            document_frequencies: None,
        }
    }

    fn captions<'c>(pairs: &[(&'c str, &[&'c str])]) -> Captions<&'c str> {
        Captions {
            candidates: pairs.iter().map(|(candidate, _)| *candidate).collect(),
            references: pairs.iter().map(|(_, of)| of.to_vec()).collect(),
        }
    }

    #[test]
    fn columns_come_in_the_requested_order() {
        let evaluator =
            evaluator(&[Metric::Cider, Metric::Spice, Metric::Bleu, Metric::Meteor, Metric::Accuracy]);
        let set = captions(&[("A dog.", &["a dog", "the dog"]), ("two cats", &["two cats"]), ("x", &["y"])]);
        let prepared = evaluator.prepare(set).unwrap();
        assert_eq!((prepared.tokenization(), prepared.len()), (Tokenization::Ptb, 3));
        let evaluation = prepared.evaluate().unwrap();
        let keys: Vec<&str> = evaluation.columns.iter().map(|column| column.figure.key()).collect();
        assert_eq!(keys, ["cider", "bleu_1", "bleu_2", "bleu_3", "bleu_4", "meteor_exact_stem", "accuracy"]);
        let missing = NotComputed { figure: Figure::Spice, reason: "no program".to_owned() };
        assert_eq!(evaluation.not_computed, [missing]);
        assert!(evaluation.columns.iter().all(|column| column.scores.images.len() == 3));
        assert_eq!(
            evaluation.corpus(Figure::Accuracy),
            Some(1.0 / 3.0),
            "accuracy compares captions as they are"
        );
        let subset = prepared.evaluate_subset(&[1]).unwrap();
        assert_eq!((subset.corpus(Figure::Accuracy), subset.corpus(Figure::Cider)), (Some(1.0), Some(0.0)));
    }

    #[test]
    fn what_does_not_belong_together_or_is_no_caption_is_refused() {
        let evaluator = evaluator(&[Metric::Bleu]);
        let mut set = captions(&[("a", &["a"])]);
        set.candidates.push("b");
        assert_eq!(evaluator.prepare(set).unwrap_err(), Error::Lengths { candidates: 2, references: 1 });
        assert_eq!(evaluator.prepare(captions(&[("a", &[])])).unwrap_err(), Error::NoReferences { image: 0 });
        let long = "a,".repeat(MAX_CAPTION_BYTES);
        let error = evaluator.prepare(captions(&[("a", &["a"]), ("b", &[&long])])).unwrap_err();
        assert_eq!(error, Error::CaptionTooLong { image: 1, bytes: 2 * MAX_CAPTION_BYTES });
    }
}
