//! Freshly drawn pictures: which, how many, and in which language they are written, asked or searched about; and the table in
//! which shares are shown. Draws nothing itself: that is `mplug-data`'s.

use std::io::{self, Write};

use mplug_data::{
    dataset::Language,
    synth::{EVAL_SEED, Share},
};

use super::EvalArgs;

/// Pictures that are drawn where nothing else is typed.
const DEFAULT_COUNT: usize = 1000;

/// The pictures that are drawn.
pub(super) struct Drawn {
    pub(super) seed: u64,
    pub(super) count: usize,
    /// `None` for both in turn.
    pub(super) language: Option<Language>,
}

impl Drawn {
    /// Those that were asked for.
    pub(super) fn of(args: &EvalArgs) -> Self {
        Self {
            seed: args.synth_seed.unwrap_or(EVAL_SEED),
            count: args.count.unwrap_or(DEFAULT_COUNT),
            language: args.reading.language(),
        }
    }

    /// Their numbers.
    pub(super) fn indices(&self) -> Vec<u64> {
        (0..self.count as u64).collect()
    }

    /// The language of the text about picture `index`.
    pub(super) fn language_of(&self, index: u64) -> Language {
        self.language.unwrap_or_else(|| Language::in_turn(index))
    }
}

/// The code of a language, as it is typed.
pub(super) fn code(language: Language) -> &'static str {
    match language {
        Language::Chinese => "zh",
        Language::English => "en",
    }
}

/// The name of a plain enum's value as JSON has it.
pub(super) fn json_name(value: impl serde::Serialize) -> io::Result<String> {
    let name = serde_json::to_value(value).map_err(io::Error::from)?;
    Ok(name.as_str().unwrap_or_default().to_owned())
}

/// A share in per cent, or a dash where nothing was judged.
pub(super) fn write_share(to: &mut dyn Write, share: Share, width: usize) -> io::Result<()> {
    match share.share() {
        Some(share) => write!(to, " {:>width$.1}", 100.0 * share),
        None => write!(to, " {:>width$}", "-"),
    }
}
