//! The annotation formats, by name.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::de::IgnoredAny;

use crate::error::DataError;
use crate::text::Lines;

/// How an annotation file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// COCO captions: one object of `images` and `annotations`; NoCaps, `coco_karpathy_*_gt.json`, and the references
    /// of AI Challenger's evaluator.
    Coco,
    /// One JSON object a line: a picture and its captions.
    JsonLines,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 2] = [Self::Coco, Self::JsonLines];

    /// The format's name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Coco => "coco",
            Self::JsonLines => "jsonl",
        }
    }

    /// The format of a file, by its beginning.
    ///
    /// # Errors
    /// [`DataError::UnknownFormat`] if no reader knows it; [`DataError::Io`] if it cannot be read.
    pub fn detect(path: &Path) -> Result<Self, DataError> {
        let first = Lines::open(path)?.next_or_cut()?.unwrap_or_default();
        let text = first.trim_start();
        if text.starts_with('{') {
            let is_line = serde_json::from_str::<IgnoredAny>(text).is_ok() && !text.contains("\"images\"");
            return Ok(if is_line { Self::JsonLines } else { Self::Coco });
        }
        let shown: String = text.chars().take(40).collect();
        let what = format!("starts with {shown:?}");
        Err(DataError::UnknownFormat { path: path.to_path_buf(), what, known: Self::names() })
    }

    /// The names of all formats, for messages.
    pub(crate) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|format| format.name() == name);
        known.ok_or_else(|| format!("no format {name:?}; known formats: {}", Self::names()))
    }
}
