//! The languages of captions, questions and answers, under one name for settings, files and arguments: `zh` and `en`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The language of a text. Written and read as its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Language {
    /// `zh`: joined without spaces.
    #[serde(rename = "zh")]
    Chinese,
    /// `en`: words with spaces, in lower case.
    #[serde(rename = "en")]
    English,
}

/// A text that is no language's code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a language, `zh` or `en`, found `{found}`")]
pub struct UnknownLanguage {
    /// The text.
    pub found: String,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Chinese, Self::English];

    /// Its code: `zh` or `en`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Chinese => "zh",
            Self::English => "en",
        }
    }

    /// The language of text `number` where both are used in turn: Chinese, English, Chinese, and so on.
    pub fn in_turn(number: u64) -> Self {
        if number.is_multiple_of(2) { Self::Chinese } else { Self::English }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl FromStr for Language {
    type Err = UnknownLanguage;

    fn from_str(code: &str) -> Result<Self, UnknownLanguage> {
        let unknown = || UnknownLanguage { found: code.to_owned() };
        Self::ALL.into_iter().find(|language| language.code() == code).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_written_and_read_as_its_code() {
        for language in Language::ALL {
            assert_eq!(language.to_string().parse(), Ok(language));
            let json = serde_json::to_string(&language).unwrap();
            assert_eq!(json, format!("\"{}\"", language.code()));
            assert_eq!(serde_json::from_str::<Language>(&json).unwrap(), language);
        }
        let error = "ZH".parse::<Language>().unwrap_err().to_string();
        assert_eq!(error, "expected a language, `zh` or `en`, found `ZH`");
    }
}
