//! What training reads: examples by number, each a picture's pixels and its caption's token ids. It is a pure function
//! of the split and the number, so that any thread can make any example and a resumed run sees what it would have seen.
//! Knows no batches. Datasets of pictures and texts are `mplug-data`'s; this is how the trainer sees them.

mod annotated_pictures;
mod drawn_pictures;

pub use annotated_pictures::AnnotatedPictures;
pub use drawn_pictures::DrawnPictures;

use mplug::preprocess::text::Tokenizer;

use crate::error::TrainError;

/// Which part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// To learn from.
    Train,
    /// To evaluate on; never learned from.
    HeldOut,
}

/// A picture and its caption as the network takes them.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedExample {
    /// Normalised pixels `(3, size, size)`.
    pub pixel_values: Vec<f32>,
    /// The caption: start token, tokens, end token.
    pub input_ids: Vec<u32>,
}

/// A source of examples.
pub trait TrainingData: Sync {
    /// The example `index` of `split`; the same whenever it is asked for.
    fn example(&self, split: Split, index: u64) -> Result<EncodedExample, TrainError>;

    /// The vocabulary file's text, one token a line.
    fn vocabulary(&self) -> &str;

    /// The ids of padding, start and end.
    fn special_ids(&self) -> SpecialIds;

    /// The text of token ids.
    fn decode(&self, ids: &[u32]) -> String;

    /// Whether `caption` is true of the held-out picture `index`, if the dataset can tell.
    fn judge(&self, index: u64, caption: &str) -> Option<bool>;

    /// What people wrote about the held-out picture `index`; none if the dataset does not say.
    fn references(&self, _index: u64) -> Vec<String> {
        Vec::new()
    }

    /// How many held-out pictures there are; `None` if they never end.
    fn held_out_len(&self) -> Option<u64> {
        None
    }

    /// How many pictures could not be read and were passed over.
    fn skipped(&self) -> usize {
        0
    }
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
}

impl SpecialIds {
    /// Those of `tokenizer`.
    fn of(tokenizer: &Tokenizer) -> Self {
        Self { pad: tokenizer.pad_token_id(), start: tokenizer.bos_token_id(), end: tokenizer.eos_token_id() }
    }
}
