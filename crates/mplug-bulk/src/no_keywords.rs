//! What stands for `mplug::keywords` in a build without the feature `keywords`, where no run requests any.

use mplug::tasks::Caption;
use serde::Serialize;

/// A word of a picture's captions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Keyword {
    /// The word.
    #[serde(rename = "tag")]
    pub(crate) word: String,
    /// The share of the captions' probability that has it.
    pub(crate) weight: f32,
}

/// None: a plan that requests keywords is refused before it comes here.
pub(crate) fn keywords(_captions: &[Caption], _most: usize) -> Vec<Keyword> {
    Vec::new()
}
