//! What annotated pictures have that training would find late: files that are missing or cannot be decoded, texts that are
//! longer than the model's, words that its vocabulary lacks. Nothing is changed, and nothing is learned.

use std::collections::HashSet;
use std::path::Path;

use mplug::preprocess::text::lowercase;
use mplug_data::annotation::Annotation;
use mplug_data::dataset::{AnnotatedDataset, Dataset};
use rayon::prelude::*;
use serde::Serialize;

use super::AnnotatedPictures;
use crate::config::{AnnotationsSection, BestBy, TrainConfig};
use crate::error::TrainError;
use crate::training_data::Reading;
use crate::training_data::cleaning::cleaned;

/// Texts that are looked at: all of fewer, or else this number, evenly spread.
const TEXTS: usize = 20_000;
/// Held-out pictures that are opened: all of fewer, or else this number, evenly spread.
const HELD_OUT_PICTURES: usize = 10_000;
/// Pictures, and words, that a message names.
const NAMED: usize = 8;

/// What is known of a run's data before its first step.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DataFacts {
    /// Examples of an epoch; none if they never end.
    pub examples: Option<u64>,
    /// Pictures to learn from; none if they never end.
    pub pictures: Option<u64>,
    /// Held-out examples that an evaluation reads.
    pub held_out: u64,
    /// Held-out pictures that were opened.
    pub opened: usize,
    /// Pictures to learn from that are not where the data say.
    pub missing: usize,
    /// The first of them.
    pub missing_names: Vec<String>,
    /// The texts to learn from.
    pub texts: TextFacts,
}

/// What is known of texts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TextFacts {
    /// Texts there are.
    pub all: usize,
    /// Texts that were looked at.
    pub looked_at: usize,
    /// Of these, texts longer than the model's.
    pub cut: usize,
    /// Their tokens.
    pub tokens: usize,
    /// Of these, tokens that the vocabulary lacks.
    pub unknown: usize,
    /// Some of those words.
    pub unknown_words: Vec<String>,
}

impl TextFacts {
    /// The share of texts that are cut.
    pub fn cut_share(&self) -> f64 {
        self.cut as f64 / self.looked_at.max(1) as f64
    }

    /// The share of tokens that the vocabulary lacks.
    pub fn unknown_share(&self) -> f64 {
        self.unknown as f64 / self.tokens.max(1) as f64
    }
}

impl AnnotatedPictures {
    /// Looks at all that a run of `config` will read, as far as that takes no more time than an evaluation.
    ///
    /// # Errors
    /// For held-out pictures that cannot be read or lack what the metric needs, for missing pictures if none may be skipped, and
    /// for texts that lose more than the recipe allows.
    pub fn inspect(
        &self,
        config: &TrainConfig,
        section: &AnnotationsSection,
    ) -> Result<DataFacts, TrainError> {
        let held_out = if config.evaluation.every == 0 { 0 } else { config.evaluation.pictures };
        let held_out = held_out.min(self.held_out_examples.len());
        self.check_references(config, held_out)?;
        let (missing, missing_names) = self.missing()?;
        let texts = self.text_facts();
        check_texts(&texts, section, self.max_len)?;
        Ok(DataFacts {
            examples: Some(self.examples.len() as u64),
            pictures: Some(distinct(&self.train, self.examples.iter()).len() as u64),
            held_out: held_out as u64,
            opened: self.open_held_out(held_out)?,
            missing,
            missing_names,
            texts,
        })
    }

    /// The figure that decides can be had of all held-out pictures.
    fn check_references(&self, config: &TrainConfig, held_out: usize) -> Result<(), TrainError> {
        let wanted =
            config.evaluation.metric.as_ref().map_or(config.objective.best_by(), std::slice::from_ref);
        if !wanted.iter().all(|metric| metric.needs_references()) {
            return Ok(());
        }
        let records = &self.held_out.annotations().records;
        let examples = self.held_out_examples[..held_out].iter();
        let bare: Vec<&str> = examples
            .map(|(record, _)| &records[*record])
            .filter(|found| found.references.is_empty())
            .map(Annotation::picture_name)
            .collect();
        if bare.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = wanted.iter().copied().map(BestBy::name).collect();
        Err(TrainError::Value {
            field: "evaluation.metric",
            expected: format!("captions of all {held_out} held-out pictures, for {}", names.join(", ")),
            found: format!("none of {}: {}", bare.len(), first_of(&bare)),
        })
    }

    /// How many pictures to learn from are not where the data say, and the first of them.
    fn missing(&self) -> Result<(usize, Vec<String>), TrainError> {
        let records = distinct(&self.train, self.examples.iter());
        let missing: Vec<(String, String)> = records
            .par_iter()
            .filter_map(|record| {
                let error = self.train.picture(*record).err()?;
                Some((self.train.annotations().records[*record].picture_name().to_owned(), error.to_string()))
            })
            .collect();
        let path = &self.train.annotations().path;
        let names: Vec<&str> = missing.iter().map(|(name, _)| name.as_str()).collect();
        let of = records.len();
        if let (Some((_, reason)), None) = (missing.first(), &self.skipped) {
            let problem = format!(
                "{} of {of} pictures to learn from are not there: {} ({reason}); with data.unreadable = \"skip\" they are skipped",
                missing.len(),
                first_of(&names),
            );
            return Err(TrainError::content(path, problem));
        }
        if let Some(skipped) = &self.skipped {
            let most = skipped.lock().unwrap_or_else(std::sync::PoisonError::into_inner).most();
            if missing.len() > most {
                let problem = format!(
                    "{} of {of} pictures to learn from are not there, and `data.max_skipped` allows {most}: {}",
                    missing.len(),
                    first_of(&names)
                );
                return Err(TrainError::content(path, problem));
            }
        }
        Ok((missing.len(), names.iter().take(NAMED).map(ToString::to_string).collect()))
    }

    /// Opens the pictures of the first `held_out` examples as evaluations will; gives their number.
    fn open_held_out(&self, held_out: usize) -> Result<usize, TrainError> {
        let records = distinct(&self.held_out, self.held_out_examples[..held_out].iter());
        let step = records.len().div_ceil(HELD_OUT_PICTURES).max(1);
        let records: Vec<usize> = records.into_iter().step_by(step).collect();
        let bad: Vec<String> = records
            .par_iter()
            .filter_map(|record| self.held_out.example(*record).err().map(|error| error.to_string()))
            .collect();
        if bad.is_empty() {
            return Ok(records.len());
        }
        let bad_ones: Vec<&str> = bad.iter().map(String::as_str).collect();
        let problem = format!(
            "{} of {} held-out pictures cannot be read; every evaluation needs them all: {}",
            bad.len(),
            records.len(),
            first_of(&bad_ones)
        );
        Err(TrainError::content(&self.held_out.annotations().path, problem))
    }

    /// Looks at the texts to learn from.
    fn text_facts(&self) -> TextFacts {
        let records = &self.train.annotations().records;
        let texts_of = |(record, caption): &(usize, usize)| -> Vec<String> {
            let found = &records[*record];
            let learned = |text: &String| if self.cleans { cleaned(text) } else { text.clone() };
            match self.reading {
                Reading::Captions => found.references.get(*caption).map(learned).into_iter().collect(),
                Reading::Pairs => {
                    let text = found.references.get(*caption).map(learned);
                    text.map(|text| lowercase(&text)).into_iter().collect()
                }
                Reading::Pictures => found.references.clone(),
                Reading::Questions => {
                    let question = found.question.as_deref().map(lowercase);
                    question
                        .into_iter()
                        .chain(found.answers.iter().map(|answer| answer.text.clone()))
                        .collect()
                }
            }
        };
        let step = self.examples.len().div_ceil(TEXTS).max(1);
        let most = self.max_len.saturating_sub(if self.reading == Reading::Captions {
            self.prompt.len()
        } else {
            0
        });
        let mut facts = TextFacts::default();
        let mut words = Vec::new();
        let unknown = self.tokenizer.unk_token_id();
        for example in self.examples.iter().step_by(step) {
            for text in texts_of(example) {
                let ids = self.tokenizer.encode(&text, usize::MAX);
                let lacking = ids.iter().filter(|id| **id == unknown).count();
                facts.looked_at += 1;
                // Nobody writes references: no label is cut.
                facts.cut += usize::from(ids.len() > most && self.reading != Reading::Pictures);
                facts.tokens += ids.len() - 2;
                facts.unknown += lacking;
                if lacking > 0 && words.len() < NAMED {
                    self.add_unknown_words(&text, &mut words);
                }
            }
        }
        facts.unknown_words = words;
        facts.all = if step == 1 {
            facts.looked_at
        } else {
            facts.looked_at * self.examples.len() / self.examples.len().div_ceil(step)
        };
        facts
    }

    /// Adds words, or characters where there are no spaces, that the vocabulary lacks.
    fn add_unknown_words(&self, text: &str, words: &mut Vec<String>) {
        let is_unknown =
            |piece: &str| self.tokenizer.encode(piece, usize::MAX).contains(&self.tokenizer.unk_token_id());
        for word in text.split_whitespace().filter(|word| is_unknown(word)) {
            let character = word.chars().map(String::from).find(|character| is_unknown(character));
            let found = character.unwrap_or_else(|| word.chars().take(24).collect());
            if words.len() < NAMED && !words.contains(&found) {
                words.push(found);
            }
        }
    }
}

/// The records of examples that have different pictures, in their order.
fn distinct<'e>(data: &AnnotatedDataset, examples: impl Iterator<Item = &'e (usize, usize)>) -> Vec<usize> {
    let records = &data.annotations().records;
    let mut seen = HashSet::new();
    examples
        .map(|(record, _)| *record)
        .filter(|record| seen.insert(records[*record].picture_name()))
        .collect()
}

/// Texts lose no more than the recipe allows.
fn check_texts(texts: &TextFacts, section: &AnnotationsSection, max_len: usize) -> Result<(), TrainError> {
    if texts.unknown_share() > section.max_unknown {
        return Err(TrainError::Value {
            field: "data.max_unknown",
            expected: format!(
                "at most {} of the tokens of {} missing in the vocabulary: a model of the texts' language",
                section.max_unknown,
                shown(&section.train)
            ),
            found: format!("{:.3}, such as {}", texts.unknown_share(), texts.unknown_words.join(", ")),
        });
    }
    if texts.cut_share() > section.max_cut {
        return Err(TrainError::Value {
            field: "data.max_cut",
            expected: format!(
                "at most {} of the texts of {} longer than the model's {max_len} tokens (`start.max_text_tokens`, or \
                 `model.max_position_embeddings`)",
                section.max_cut,
                shown(&section.train)
            ),
            found: format!("{:.3}", texts.cut_share()),
        });
    }
    Ok(())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The first of some names, and how many more there are.
fn first_of(names: &[&str]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let first = names[..names.len() - more].join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}
