//! Annotated pictures of any format that `mplug-data` reads. Each caption of a picture is an example, or each question, or
//! each picture; an epoch goes through all of them once, in an order drawn from the seed and the epoch, or in that of the file. Knows
//! no formats.

mod inspection;
mod skipped;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use caption_metrics::vqa::soft_score;
use mplug::preprocess::text::{Tokenizer, lowercase};
use mplug_data::annotation::{Annotation, Answer};
use mplug_data::dataset::{self, AnnotatedDataset, Dataset, OpenOptions};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;

pub use self::inspection::{DataFacts, TextFacts};
use self::skipped::Skipped;
use super::cleaning::cleaned;
use super::{
    EncodedExample, Reading, SkippedPicture, SpecialIds, Split, Target, TokenizerFiles, TrainingData, Views,
    encode_prompts, hash_of, prompted,
};
use crate::classes::Class;
use crate::config::{AnnotationsSection, Unreadable};
use crate::error::TrainError;

/// Orders that are kept: data threads may be in two epochs at once.
const KEPT_ORDERS: usize = 2;

/// Annotated pictures and their captions.
pub struct AnnotatedPictures {
    train: AnnotatedDataset,
    held_out: AnnotatedDataset,
    reading: Reading,
    /// The examples of an epoch: record and caption.
    examples: Vec<(usize, usize)>,
    /// The held-out examples.
    held_out_examples: Vec<(usize, usize)>,
    views: Views,
    /// Whether every epoch has an order of its own.
    shuffles: bool,
    /// Whether captions are cleaned.
    cleans: bool,
    max_len: usize,
    vocabulary: String,
    tokenizer: Tokenizer,
    /// What is given before a caption.
    prompt: Vec<u32>,
    /// Orders of epochs, the newest last.
    orders: Mutex<Vec<(u64, Arc<[usize]>)>>,
    /// Pictures that could not be read; none where the recipe does not skip them.
    skipped: Option<Mutex<Skipped>>,
}

impl AnnotatedPictures {
    /// Opens the datasets of a recipe, to be read as `reading`, as `views` show the pictures, with texts of at most `max_len`
    /// tokens of the tokenizer of `files`; of the `prompts` that of the section's language is given before captions.
    ///
    /// # Errors
    /// When a dataset cannot be read, or has nothing of what is wanted.
    pub fn open(
        section: &AnnotationsSection,
        reading: Reading,
        views: Views,
        max_len: usize,
        files: impl Into<TokenizerFiles>,
        prompts: &BTreeMap<String, String>,
    ) -> Result<Self, TrainError> {
        let files = files.into();
        let tokenizer = files.tokenizer()?;
        let vocabulary = files.vocabulary;
        let mut prompts = encode_prompts(&tokenizer, prompts)?;
        let prompt =
            section.language.and_then(|language| prompts.remove(language.code())).unwrap_or_default();
        let language = section.language;
        let open = |path: &Path, split: &Option<String>| -> Result<AnnotatedDataset, TrainError> {
            let images = section.images.clone();
            let columns = section.columns.renamed();
            let options =
                OpenOptions { split: split.clone(), images, language, columns, ..OpenOptions::default() };
            Ok(dataset::open(path, &options)?)
        };
        let held_out_path = section.held_out.as_ref().unwrap_or(&section.train);
        let train = open(&section.train, &section.train_split)?;
        let held_out = open(held_out_path, &section.held_out_split)?;
        let (examples, held_out_examples) = (examples_of(&train, reading), held_out_of(&held_out, reading));
        for (path, examples) in [(&section.train, &examples), (held_out_path, &held_out_examples)] {
            if examples.is_empty() {
                let wanted = match reading {
                    Reading::Questions => "questions with answers",
                    _ => "captions",
                };
                return Err(TrainError::content(path, format!("has no {wanted}")));
            }
        }
        let skipped = || Mutex::new(Skipped::new(section.max_skipped, train.len()));
        Ok(Self {
            skipped: (section.unreadable == Unreadable::Skip).then(skipped),
            train,
            held_out,
            reading,
            examples,
            held_out_examples,
            views,
            shuffles: section.shuffle,
            cleans: section.clean_captions,
            max_len,
            vocabulary,
            tokenizer,
            prompt,
            orders: Mutex::default(),
        })
    }

    /// Data for a model with `rows` word embeddings, where that is known: an example that needs others is an error.
    #[must_use]
    pub fn for_rows(self, rows: Option<usize>) -> Self {
        let tokenizer = self.tokenizer.with_rows(rows.unwrap_or(usize::MAX));
        Self { tokenizer, ..self }
    }

    /// The examples of an epoch in its order.
    fn order(&self, epoch: u64) -> Arc<[usize]> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, order)) = orders.iter().find(|(of, _)| *of == epoch) {
            return Arc::clone(order);
        }
        let mut order: Vec<usize> = (0..self.examples.len()).collect();
        // Odd multipliers keep different epochs of different seeds apart.
        let seed =
            self.views.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ epoch.wrapping_mul(0xd134_2543_de82_ef95);
        if self.shuffles {
            order.shuffle(&mut Pcg64::seed_from_u64(seed));
        }
        let order: Arc<[usize]> = order.into();
        if orders.len() == KEPT_ORDERS {
            orders.remove(0);
        }
        orders.push((epoch, Arc::clone(&order)));
        order
    }

    fn encode(
        &self,
        data: &AnnotatedDataset,
        (record, caption): (usize, usize),
        training_index: Option<u64>,
    ) -> Result<EncodedExample, TrainError> {
        let image = data.example(record)?.image;
        let pixel_values = match training_index {
            Some(index) => self.views.training(&image, index),
            None => self.views.plain(&image),
        };
        drop(image);
        let (text, targets) = self.texts(data.annotation(record)?, caption)?;
        Ok(EncodedExample { pixel_values, picture: record as u64, text, targets })
    }

    /// What is read beside a picture, and what is to be written about it.
    fn texts(&self, found: &Annotation, caption: usize) -> Result<(Vec<u32>, Vec<Target>), TrainError> {
        let check = |text: &str, ids: &[u32]| {
            self.tokenizer.check_ids(text, ids).map_err(|error| TrainError::Recipe(error.to_string()))
        };
        let ids = |text: &str| {
            let ids = self.tokenizer.encode(text, self.max_len);
            check(text, &ids).map(|()| ids)
        };
        let caption = found.references.get(caption).map_or("", String::as_str);
        let caption = if self.cleans { &cleaned(caption) } else { caption };
        Ok(match self.reading {
            Reading::Captions => {
                let target = prompted(&self.tokenizer, &self.prompt, caption, self.max_len);
                check(caption, &target.ids)?;
                (Vec::new(), vec![target])
            }
            Reading::Pictures => (Vec::new(), Vec::new()),
            Reading::Pairs => (ids(&lowercase(caption))?, Vec::new()),
            Reading::Questions => {
                let target =
                    |answer: &Answer| Ok(Target { ids: ids(&answer.text)?, given: 0, weight: answer.weight });
                let targets = found.answers.iter().map(target).collect::<Result<_, TrainError>>()?;
                (ids(&lowercase(found.question.as_deref().unwrap_or_default()))?, targets)
            }
        })
    }

    /// The example `index` of the run, whose epoch has `order`, or the next one whose picture can be read, where the recipe
    /// allows that.
    fn train_example(&self, order: &[usize], index: u64) -> Result<EncodedExample, TrainError> {
        let position = (index % order.len() as u64) as usize;
        for step in 0..order.len() {
            let example = self.examples[order[(position + step) % order.len()]];
            match (self.encode(&self.train, example, Some(index)), &self.skipped) {
                // What is wrong with a picture, and not with its texts.
                (Err(TrainError::Data(error)), Some(skipped)) => {
                    let mut skipped = skipped.lock().unwrap_or_else(PoisonError::into_inner);
                    skipped.add(example.0, &error);
                    skipped.check(&self.train.annotations().path)?;
                }
                (outcome, _) => return outcome,
            }
        }
        Err(TrainError::content(&self.train.annotations().path, "none of its pictures can be read"))
    }
}

impl TrainingData for AnnotatedPictures {
    fn example(&self, split: Split, index: u64) -> Result<EncodedExample, TrainError> {
        match split {
            Split::Train => {
                let len = self.examples.len() as u64;
                self.train_example(&self.order(index / len), index)
            }
            Split::HeldOut => self.encode(&self.held_out, self.held_out_examples[index as usize], None),
        }
    }

    fn held_out_text(&self, index: u64) -> Result<(u64, Vec<u32>), TrainError> {
        let (record, caption) = self.held_out_examples[index as usize];
        Ok((record as u64, self.texts(self.held_out.annotation(record)?, caption)?.0))
    }

    fn vocabulary(&self) -> &str {
        &self.vocabulary
    }

    fn special_ids(&self) -> SpecialIds {
        SpecialIds::of(&self.tokenizer)
    }

    fn decode(&self, ids: &[u32]) -> String {
        Tokenizer::join_chinese(&self.tokenizer.decode(ids))
    }

    fn prompt(&self, _picture: u64) -> &[u32] {
        &self.prompt
    }

    fn judge(&self, index: u64, text: &str) -> Option<f64> {
        let (record, _) = self.held_out_examples[index as usize];
        let answers = &self.held_out.annotation(record).ok()?.answers;
        // Most models' tokens know no capitals.
        let texts: Vec<String> = answers.iter().map(|answer| lowercase(answer.text.trim())).collect();
        let weights = answers.iter().map(|answer| f64::from(answer.weight));
        let labels: Vec<(&str, f64)> = texts.iter().map(String::as_str).zip(weights).collect();
        (self.reading == Reading::Questions).then(|| soft_score(&lowercase(text), &labels))
    }

    fn references(&self, split: Split, picture: u64) -> Vec<String> {
        let data = match split {
            Split::Train => &self.train,
            Split::HeldOut => &self.held_out,
        };
        data.annotation(picture as usize).map(|found| found.references.clone()).unwrap_or_default()
    }

    fn name(&self, picture: u64) -> String {
        let found = self.train.annotation(picture as usize).ok();
        found.map_or_else(
            || picture.to_string(),
            |found| found.file_name.clone().unwrap_or_else(|| found.id.to_string()),
        )
    }

    /// Questions by their first two words: `how many`, `what color`. Questions without spaces have no kinds.
    fn class(&self, index: u64) -> Option<Class> {
        let (record, _) = self.held_out_examples[index as usize];
        let question = self.held_out.annotation(record).ok()?.question.as_deref()?;
        let words: Vec<String> = question.split_whitespace().take(2).map(lowercase).collect();
        let is_of_words = self.reading == Reading::Questions && words.len() == 2;
        is_of_words.then(|| Class { by: "question", class: words.join(" ") })
    }

    fn expected(&self, index: u64) -> Option<String> {
        let (record, caption) = self.held_out_examples[index as usize];
        let found = self.held_out.annotation(record).ok()?;
        match self.reading {
            Reading::Questions => found.answers.first().map(|answer| answer.text.clone()),
            _ => found.references.get(caption).cloned(),
        }
    }

    fn train_len(&self) -> Option<u64> {
        Some(self.examples.len() as u64)
    }

    fn train_pictures(&self) -> Option<u64> {
        Some(self.train.len() as u64)
    }

    fn held_out_len(&self) -> Option<u64> {
        Some(self.held_out_examples.len() as u64)
    }

    fn held_out_hash(&self, examples: usize) -> u64 {
        let text = |(record, caption): &(usize, usize)| {
            let found = self.held_out.annotation(*record).ok();
            found.map_or_else(String::new, |found| {
                let answers: Vec<&str> = found.answers.iter().map(|answer| &answer.text[..]).collect();
                let (id, question) = (&found.id, &found.question);
                format!(
                    "{id} {:?} {caption} {:?} {question:?} {answers:?}",
                    found.file_name, found.references
                )
            })
        };
        hash_of(self.held_out_examples.iter().take(examples).map(text))
    }

    fn skipped(&self) -> usize {
        let skipped = self.skipped.as_ref();
        skipped.map_or(0, |skipped| skipped.lock().unwrap_or_else(PoisonError::into_inner).len())
    }

    fn take_skipped(&self) -> Vec<SkippedPicture> {
        let Some(skipped) = &self.skipped else { return Vec::new() };
        let taken = skipped.lock().unwrap_or_else(PoisonError::into_inner).take();
        let named =
            |(picture, reason): (usize, String)| SkippedPicture { name: self.name(picture as u64), reason };
        taken.into_iter().map(named).collect()
    }
}

/// What can be learned from: record and caption.
fn examples_of(data: &AnnotatedDataset, reading: Reading) -> Vec<(usize, usize)> {
    let records = data.annotations().records.iter().enumerate();
    match reading {
        Reading::Captions | Reading::Pairs => records
            .flat_map(|(record, found)| {
                let captions = found.references.iter().enumerate();
                // A blank caption teaches nothing.
                captions
                    .filter(|(_, text)| !text.trim().is_empty())
                    .map(move |(caption, _)| (record, caption))
            })
            .collect(),
        Reading::Pictures => records
            .filter(|(_, found)| found.references.iter().any(|text| !text.trim().is_empty()))
            .map(|(record, _)| (record, 0))
            .collect(),
        Reading::Questions => records
            .filter(|(_, found)| found.question.is_some() && !found.answers.is_empty())
            .map(|(record, _)| (record, 0))
            .collect(),
    }
}

/// What can be evaluated on: texts are written once a picture, whatever captions it has.
fn held_out_of(data: &AnnotatedDataset, reading: Reading) -> Vec<(usize, usize)> {
    match reading {
        Reading::Captions | Reading::Pictures => (0..data.len()).map(|record| (record, 0)).collect(),
        Reading::Questions | Reading::Pairs => examples_of(data, reading),
    }
}
