//! What training reads: examples by number, each a picture's pixels and its caption's token ids. It is a pure function
//! of the split and the number, so that any thread can make any example and a resumed run sees what it would have seen.
//! Knows no batches. Datasets of pictures and texts are `mplug-data`'s; this is how the trainer sees them.

mod annotated_pictures;
mod cleaning;
mod drawn_pictures;
mod view;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use annotated_pictures::{AnnotatedPictures, DataFacts, TextFacts};
pub use drawn_pictures::DrawnPictures;
use mplug::preprocess::text::{Tokenizer, TokenizerSettings};
pub use view::Views;

use crate::classes::Class;
use crate::error::TrainError;
use crate::seed::seed_of;

/// Which part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// To learn from.
    Train,
    /// To evaluate on; never learned from.
    HeldOut,
}

/// What is made of a dataset's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// A picture and one of its captions, which is to be written: one example a caption.
    Captions,
    /// A picture alone: one example a picture.
    Pictures,
    /// A picture, a question, and its answers, which are to be written: one example a question.
    Questions,
    /// A picture and one of its captions, which is read: one example a caption.
    Pairs,
}

/// A text to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Start token, tokens, end token.
    pub ids: Vec<u32>,
    /// Tokens after the start token that are given, not learned.
    pub given: usize,
    /// What each of its labels counts.
    pub weight: f32,
}

/// A picture and its texts as the network takes them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EncodedExample {
    /// Normalised pixels `(3, size, size)`.
    pub pixel_values: Vec<f32>,
    /// Which picture of the data it is.
    pub picture: u64,
    /// What is read beside it: start token, tokens, end token; empty where there is nothing.
    pub text: Vec<u32>,
    /// What is to be written.
    pub targets: Vec<Target>,
}

impl EncodedExample {
    /// Tokens of its longest text.
    pub fn longest(&self) -> usize {
        self.targets.iter().map(|target| target.ids.len()).max().unwrap_or(0).max(self.text.len())
    }
}

/// A picture that could not be read and was skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedPicture {
    /// As its data name it.
    pub name: String,
    /// Why it could not be read.
    pub reason: String,
}

/// A source of examples.
pub trait TrainingData: Sync {
    /// The example `index` of `split`; the same whenever it is requested.
    fn example(&self, split: Split, index: u64) -> Result<EncodedExample, TrainError>;

    /// Of the held-out example `index` the number of its picture and the text that is read, where its picture is not wanted.
    fn held_out_text(&self, index: u64) -> Result<(u64, Vec<u32>), TrainError> {
        let example = self.example(Split::HeldOut, index)?;
        Ok((example.picture, example.text))
    }

    /// The vocabulary file's text, one token a line.
    fn vocabulary(&self) -> &str;

    /// The ids of padding, start and end.
    fn special_ids(&self) -> SpecialIds;

    /// The text of token ids.
    fn decode(&self, ids: &[u32]) -> String;

    /// The tokens that are given before anything is written about the picture of that number.
    fn prompt(&self, _picture: u64) -> &[u32] {
        &[]
    }

    /// How right `text`, written about the held-out example `index`, is, if the dataset can judge it: from 0 to 1.
    fn judge(&self, index: u64, text: &str) -> Option<f64>;

    /// What would be right to write about the held-out example `index`, if the dataset says.
    fn expected(&self, _index: u64) -> Option<String> {
        None
    }

    /// The kind of the held-out example `index`, if the dataset has kinds: evaluations show which of them the model is worst at.
    fn class(&self, _index: u64) -> Option<Class> {
        None
    }

    /// What people wrote about the picture of that number; none if the dataset does not say.
    fn references(&self, _split: Split, _picture: u64) -> Vec<String> {
        Vec::new()
    }

    /// What messages call a picture to learn from.
    fn name(&self, picture: u64) -> String {
        picture.to_string()
    }

    /// How many examples an epoch has; `None` if they never end.
    fn train_len(&self) -> Option<u64> {
        None
    }

    /// How many pictures there are to learn from; `None` if they never end.
    fn train_pictures(&self) -> Option<u64> {
        None
    }

    /// How many held-out examples there are; `None` if they never end.
    fn held_out_len(&self) -> Option<u64> {
        None
    }

    /// A number that is another one where the first `examples` held-out examples are: by their pictures' names and by their texts,
    /// not by pixels. Scores on other examples cannot be compared.
    fn held_out_hash(&self, examples: usize) -> u64 {
        let count = self.held_out_len().map_or(examples, |len| examples.min(len as usize));
        let expected = |index: usize| self.expected(index as u64).unwrap_or_default();
        hash_of((0..count).map(expected))
    }

    /// How many pictures could not be read and were skipped.
    fn skipped(&self) -> usize {
        0
    }

    /// Those of them that no call has given before.
    fn take_skipped(&self) -> Vec<SkippedPicture> {
        Vec::new()
    }
}

/// A number of texts in their order. It is the same on every machine.
fn hash_of(texts: impl Iterator<Item = String>) -> u64 {
    texts.fold(1, |hash, text| {
        let (len, bytes) = (text.len() as u64, text.bytes().map(u64::from));
        bytes.fold(seed_of(&[hash, len]), |hash, byte| seed_of(&[hash, byte]))
    })
}

/// The texts of the files that make a tokenizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenizerFiles {
    /// The vocabulary, one token a line.
    pub vocabulary: String,
    /// `tokenizer_config.json` with its path, if there is one.
    pub settings: Option<(PathBuf, String)>,
}

/// A vocabulary alone.
impl From<String> for TokenizerFiles {
    fn from(vocabulary: String) -> Self {
        Self { vocabulary, settings: None }
    }
}

impl TokenizerFiles {
    /// The tokenizer, as the engine has it for a model with these files.
    ///
    /// # Errors
    /// [`TrainError::Recipe`] for a vocabulary without special tokens, and for settings that are not supported.
    pub fn tokenizer(&self) -> Result<Tokenizer, TrainError> {
        let wrong = |error: mplug::preprocess::text::TokenizerError| TrainError::Recipe(error.to_string());
        let settings = match &self.settings {
            Some((path, text)) => TokenizerSettings::from_json(text, path).map_err(wrong)?,
            None => TokenizerSettings::default(),
        };
        Tokenizer::with_settings(&self.vocabulary, settings).map_err(wrong)
    }
}

/// The tokens of each language's prompt.
///
/// # Errors
/// [`TrainError::Value`] for a prompt with tokens that the vocabulary lacks.
fn encode_prompts(
    tokenizer: &Tokenizer,
    prompts: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, Vec<u32>>, TrainError> {
    let encode = |(language, prompt): (&String, &String)| {
        let ids = tokenizer.encode(prompt, usize::MAX); // start token, tokens, end token
        if ids.contains(&tokenizer.unk_token_id()) {
            return Err(TrainError::Value {
                field: "prompts",
                expected: "words and characters of the vocabulary".to_owned(),
                found: format!("`{prompt}` for {language}"),
            });
        }
        Ok((language.clone(), ids[1..ids.len() - 1].to_vec()))
    };
    prompts.iter().map(encode).collect()
}

/// A text to be written after a prompt, of at most `max_len` tokens in all.
fn prompted(tokenizer: &Tokenizer, prompt: &[u32], text: &str, max_len: usize) -> Target {
    let mut ids = tokenizer.encode(text, max_len.saturating_sub(prompt.len()).max(2));
    ids.splice(1..1, prompt.iter().copied());
    Target { ids, given: prompt.len(), weight: 1.0 }
}

/// Token ids that the trainer must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecialIds {
    /// Fills short captions.
    pub pad: u32,
    /// Starts a caption.
    pub start: u32,
    /// Ends a caption.
    pub end: u32,
    /// Stands for a token to predict.
    pub mask: u32,
}

impl SpecialIds {
    /// Those of `tokenizer`.
    fn of(tokenizer: &Tokenizer) -> Self {
        Self {
            pad: tokenizer.pad_token_id(),
            start: tokenizer.bos_token_id(),
            end: tokenizer.eos_token_id(),
            mask: tokenizer.mask_token_id(),
        }
    }
}
