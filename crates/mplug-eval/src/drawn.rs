//! Freshly drawn pictures: which, how many, and in which language they are written, asked or searched about; and the table in
//! which shares are shown. Draws nothing itself: that is `mplug-data`'s.

use std::io::{self, Write};

use mplug_data::dataset::Language;
use mplug_data::synth::{EVAL_SEED, Share};

/// Pictures that are drawn where nothing else is requested.
pub const DEFAULT_COUNT: usize = 1000;

/// Pictures to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// The seed they are drawn with; never one that the model was trained on.
    pub seed: u64,
    /// How many.
    pub count: usize,
    /// The language of the texts about them; `None` for both in turn.
    pub language: Option<Language>,
}

impl Default for Drawn {
    /// A thousand of the seed that is kept for evaluation, in both languages.
    fn default() -> Self {
        Self { seed: EVAL_SEED, count: DEFAULT_COUNT, language: None }
    }
}

impl Drawn {
    /// Their indices among the pictures of the seed.
    pub fn indices(&self) -> Vec<u64> {
        (0..self.count as u64).collect()
    }

    /// The language of the text about picture `index`.
    pub fn language_of(&self, index: u64) -> Language {
        self.language.unwrap_or_else(|| Language::in_turn(index))
    }
}

/// The name of a plain enum's value as JSON has it.
pub(crate) fn json_name(value: impl serde::Serialize) -> io::Result<String> {
    let name = serde_json::to_value(value).map_err(io::Error::from)?;
    Ok(name.as_str().unwrap_or_default().to_owned())
}

/// A share in per cent, or a dash where nothing was judged.
pub(crate) fn write_share(to: &mut dyn Write, share: Share, width: usize) -> io::Result<()> {
    match share.share() {
        Some(share) => write!(to, " {:>width$.1}", 100.0 * share),
        None => write!(to, " {:>width$}", "-"),
    }
}
