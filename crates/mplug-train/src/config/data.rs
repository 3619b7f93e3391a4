//! What the network learns from.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What the network learns from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase", tag = "kind")]
pub enum DataSection {
    /// Pictures drawn on the fly; no example comes twice.
    Synth {
        /// The language of the texts.
        language: DrawnLanguage,
        /// Seed of the pictures to learn from.
        seed: u64,
        /// Seed of the pictures to evaluate on.
        held_out_seed: u64,
    },
    /// Annotated pictures, in any format that `mplug eval --dataset` reads.
    Annotations(AnnotationsSection),
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
    /// What a picture that cannot be read does to the run.
    #[serde(default)]
    pub unreadable: Unreadable,
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

/// The language of captions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Chinese.
    Zh,
    /// English.
    En,
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
