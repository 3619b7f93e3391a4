//! What the network learns from.

use std::path::PathBuf;

use mplug::config::Language;
use mplug_data::augment::{Augmentation, Overflow};
use serde::{Deserialize, Serialize};

use super::check::ensure;
use crate::error::TrainError;

/// What the network learns from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase", tag = "kind")]
pub enum DataSection {
    /// Pictures drawn on the fly; no example comes twice unless their number is given.
    Synth {
        /// The language of the texts.
        language: DrawnLanguage,
        /// Seed of the pictures to learn from.
        seed: u64,
        /// Seed of the pictures to evaluate on.
        held_out_seed: u64,
        /// The number of pictures to learn from, again and again; endless if absent.
        pictures: Option<u64>,
    },
    /// Annotated pictures, in any format that `mplug eval --dataset` reads.
    Annotations(Box<AnnotationsSection>),
}

/// Annotated pictures to learn from and to evaluate on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnnotationsSection {
    /// The annotation file, or the folder of one, to learn from.
    pub train: PathBuf,
    /// Only this split of it.
    pub train_split: Option<String>,
    /// The annotation file to evaluate on; `train` if absent, and then another split of it.
    pub held_out: Option<PathBuf>,
    /// Only this split of it.
    pub held_out_split: Option<String>,
    /// Where the pictures are: a folder, a zip or a tar; beside the annotations if absent.
    pub images: Option<PathBuf>,
    /// The language of the captions, where a file has several.
    pub language: Option<Language>,
    /// The vocabulary file of a model trained from scratch; a model to start from has its own.
    pub vocabulary: Option<PathBuf>,
    /// Whether captions are cleaned as the research code cleans those that are read (its `pre_caption`): no marks, hyphens as
    /// spaces, at most 30 words.
    #[serde(default)]
    pub clean_captions: bool,
    /// Whether an epoch has the examples in an order of its own, drawn from the seed; in that of the file otherwise.
    #[serde(default = "default_shuffle")]
    pub shuffle: bool,
    /// What the columns of a table, or the keys of JSON Lines, are called that hold something we look for.
    #[serde(default, skip_serializing_if = "ColumnsSection::is_empty")]
    pub columns: ColumnsSection,
    /// What a picture that cannot be read does to the run.
    #[serde(default)]
    pub unreadable: Unreadable,
    /// Most pictures that may be skipped before the run ends: a number, or a share of those to learn from.
    #[serde(default)]
    pub max_skipped: MaxSkipped,
    /// Most tokens of the texts to learn from that the vocabulary may lack, as a share; more are an error before the first step.
    #[serde(default = "default_most_lost")]
    pub max_unknown: f64,
    /// Most texts to learn from that may be longer than the model's, as a share; more are an error before the first step.
    #[serde(default = "default_most_lost")]
    pub max_cut: f64,
}

fn default_shuffle() -> bool {
    true
}

fn default_most_lost() -> f64 {
    0.2
}

/// What columns are called in the files, where that is not our name for what they hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ColumnsSection {
    /// Paths of pictures.
    pub image: Option<String>,
    /// What people wrote about a picture.
    pub caption: Option<String>,
    /// What is asked about it.
    pub question: Option<String>,
    /// What people answered.
    pub answer: Option<String>,
    /// The language of a row, a code such as `zh`.
    pub language: Option<String>,
    /// The part of the data, such as `train`.
    pub split: Option<String>,
}

impl ColumnsSection {
    /// Whether all have our names.
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The columns that are to be called otherwise, old name and new.
    pub fn renamed(&self) -> Vec<(String, String)> {
        let columns = [
            (&self.image, "image"),
            (&self.caption, "caption"),
            (&self.question, "question"),
            (&self.answer, "answer"),
            (&self.language, "language"),
            (&self.split, "split"),
        ];
        let renamed = |(old, new): (&Option<String>, &str)| old.clone().map(|old| (old, new.to_owned()));
        columns.into_iter().filter_map(renamed).collect()
    }
}

/// Most pictures that may be skipped.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number of pictures, such as 100, or a share of them, such as 0.1")]
pub enum MaxSkipped {
    /// A number of them.
    Number(usize),
    /// A share of those to learn from, from 0 to 1.
    Share(f64),
}

impl Default for MaxSkipped {
    fn default() -> Self {
        Self::Share(0.1)
    }
}

impl MaxSkipped {
    /// The number, of `pictures` to learn from; a share is rounded up.
    pub fn of(self, pictures: usize) -> usize {
        match self {
            Self::Number(number) => number,
            Self::Share(share) => (share * pictures as f64).ceil() as usize,
        }
    }
}

impl AnnotationsSection {
    /// Checks what types cannot say.
    pub(super) fn check(&self) -> Result<(), TrainError> {
        let share_of_skipped = match self.max_skipped {
            MaxSkipped::Number(_) => 0.0,
            MaxSkipped::Share(share) => share,
        };
        for (field, share) in [
            ("data.max_skipped", share_of_skipped),
            ("data.max_unknown", self.max_unknown),
            ("data.max_cut", self.max_cut),
        ] {
            ensure((0.0..=1.0).contains(&share), field, || {
                ("a share from 0 to 1".to_owned(), share.to_string())
            })?;
        }
        Ok(())
    }
}

/// What a picture that cannot be read does to a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unreadable {
    /// Ends it with an error.
    #[default]
    Fail,
    /// The next example takes its place; such pictures are counted. Held-out pictures must be readable all the same.
    Skip,
}

/// The language of drawn pictures' texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DrawnLanguage {
    /// Chinese.
    Zh,
    /// English.
    En,
    /// Chinese and English in turn.
    Both,
}

/// Random views of the pictures to learn from: crop, mirror, distortions (the research code's, with its settings by default).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentSection {
    /// Least and greatest share of a picture that a crop covers; 0.2 to 1 in pre-training.
    pub scale: [f64; 2],
    /// The probability of mirroring; 0 where texts distinguish left from right.
    pub flip: f64,
    /// Distortions drawn for a picture, each applied with the probability 1/2.
    pub operations: usize,
    /// Their strength, of 10.
    pub level: u8,
    /// What two of them do where a value leaves its byte.
    pub overflow: OverflowKind,
}

/// What two distortions do where a value leaves its byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OverflowKind {
    /// It stays at the end, as in Pillow.
    Clamp,
    /// It wraps, as in the research code, whose `AutoContrast` thereby turns a channel without black white.
    Wrap,
}

impl Default for AugmentSection {
    fn default() -> Self {
        let original = Augmentation::fine_tuning();
        Self {
            scale: [original.scale.0, original.scale.1],
            flip: original.flip_probability,
            operations: original.num_operations,
            level: original.level,
            overflow: OverflowKind::Clamp,
        }
    }
}

impl AugmentSection {
    /// Checks what types cannot say.
    pub(super) fn check(&self) -> Result<(), TrainError> {
        let [least, most] = self.scale;
        ensure(0.0 < least && least <= most && most <= 1.0, "augment.scale", || {
            ("two shares above 0 and up to 1, the smaller first".to_owned(), format!("{:?}", self.scale))
        })?;
        ensure((0.0..=1.0).contains(&self.flip), "augment.flip", || {
            ("0 to 1".to_owned(), self.flip.to_string())
        })?;
        ensure(self.operations <= 10, "augment.operations", || {
            ("at most 10".to_owned(), self.operations.to_string())
        })?;
        ensure(self.level <= 10, "augment.level", || ("0 to 10".to_owned(), self.level.to_string()))
    }

    /// The augmentation that it describes.
    pub fn augmentation(&self) -> Augmentation {
        Augmentation {
            scale: (self.scale[0], self.scale[1]),
            flip_probability: self.flip,
            num_operations: self.operations,
            level: self.level,
            overflow: match self.overflow {
                OverflowKind::Clamp => Overflow::Clamp,
                OverflowKind::Wrap => Overflow::Wrap,
            },
            ..Augmentation::fine_tuning()
        }
    }
}
