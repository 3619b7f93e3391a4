//! Several languages that are requested together, under one name for settings, files and arguments: `zh,en`.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::language::{Language, UnknownLanguage};

/// Languages in an order, each once; none where nothing was requested. Read from `null`, a code, or a list of codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Languages([Option<Language>; Language::ALL.len()]);

/// Texts or languages that are no list of languages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LanguagesError {
    /// A text that is no language's code.
    #[error(transparent)]
    Unknown(#[from] UnknownLanguage),
    /// A language that comes again.
    #[error("expected each language once, found `{0}` twice")]
    Twice(Language),
}

impl Languages {
    /// Languages in this order.
    ///
    /// # Errors
    /// If one comes twice.
    pub fn new(languages: impl IntoIterator<Item = Language>) -> Result<Self, LanguagesError> {
        let mut list = Self::default();
        for (number, language) in languages.into_iter().enumerate() {
            if list.contains(language) {
                return Err(LanguagesError::Twice(language));
            }
            // There are as many places as languages, and this one had none.
            list.0[number] = Some(language);
        }
        Ok(list)
    }

    /// The languages in their order.
    pub fn iter(self) -> impl Iterator<Item = Language> {
        self.0.into_iter().flatten()
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.iter().count()
    }

    /// Whether nothing was requested.
    pub fn is_empty(self) -> bool {
        self.0[0].is_none()
    }

    /// Whether there are several, so that a text says which one it is of.
    pub fn are_several(self) -> bool {
        self.len() > 1
    }

    /// Whether the language is one of them.
    pub fn contains(self, language: Language) -> bool {
        self.0.contains(&Some(language))
    }
}

impl From<Language> for Languages {
    fn from(language: Language) -> Self {
        let mut list = Self::default();
        list.0[0] = Some(language);
        list
    }
}

/// Codes with commas between them.
impl fmt::Display for Languages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codes: Vec<&str> = self.iter().map(Language::code).collect();
        f.pad(&codes.join(","))
    }
}

/// Reads at least one code, commas between several.
impl FromStr for Languages {
    type Err = LanguagesError;

    fn from_str(text: &str) -> Result<Self, LanguagesError> {
        let languages: Result<Vec<Language>, _> = text.split(',').map(str::parse).collect();
        Self::new(languages?)
    }
}

impl Serialize for Languages {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.are_several() { serializer.collect_seq(self.iter()) } else { self.0[0].serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Languages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;

        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Languages;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a language or a list of languages")
            }

            fn visit_unit<E: Error>(self) -> Result<Languages, E> {
                Ok(Languages::default())
            }

            fn visit_str<E: Error>(self, code: &str) -> Result<Languages, E> {
                code.parse::<Language>().map(Languages::from).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut codes: A) -> Result<Languages, A::Error> {
                let mut languages = Languages::default();
                while let Some(language) = codes.next_element()? {
                    languages =
                        Languages::new(languages.iter().chain([language])).map_err(A::Error::custom)?;
                }
                Ok(languages)
            }
        }

        deserializer.deserialize_any(OneOrMore)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_written_and_read() {
        let both = Languages::new([Language::English, Language::Chinese]).unwrap();
        assert_eq!((both.to_string().as_str(), "en,zh".parse()), ("en,zh", Ok(both)));
        assert!(both.are_several() && both.contains(Language::Chinese));
        for (languages, json) in [
            (Languages::default(), "null"),
            (Languages::from(Language::English), r#""en""#),
            (both, r#"["en","zh"]"#),
        ] {
            assert_eq!(serde_json::to_string(&languages).unwrap(), json);
            assert_eq!(serde_json::from_str::<Languages>(json).unwrap(), languages);
        }
        assert_eq!(serde_json::from_str::<Languages>(r#"["en"]"#).unwrap(), Language::English.into());
        assert!(serde_json::from_str::<Languages>("[]").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let error = |text: &str| text.parse::<Languages>().unwrap_err().to_string();
        assert_eq!(error("zh,fr"), "expected a language, `zh` or `en`, found `fr`");
        assert_eq!(error(""), "expected a language, `zh` or `en`, found ``");
        assert_eq!(error("zh,en,zh"), "expected each language once, found `zh` twice");
        for json in [r#""fr""#, r#"["zh","zh"]"#, r#"["fr"]"#, "3"] {
            assert!(serde_json::from_str::<Languages>(json).is_err(), "{json}");
        }
    }
}
