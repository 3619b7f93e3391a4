//! What is made of a model's text before it is written: words replaced, keywords beside or behind it, fixed text around it. The model
//! knows nothing of that: scores and tokens stay those of what it wrote.

use std::str::FromStr;

use mplug::config::Language;
use mplug::preprocess::text::is_chinese;

/// Where a picture's keywords go, where there are any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeywordsPlace {
    /// Beside the caption: in a column or a field, in the last line of a text file.
    #[default]
    Apart,
    /// Behind the caption, on its line: `caption, tag, tag`. Fields and columns of their own have them too.
    Behind,
    /// In the caption's place: `tag, tag`.
    Alone,
}

/// What stands between a caption and keywords, and between an old text and a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Separators {
    /// In texts with Chinese characters.
    pub chinese: String,
    /// In all others.
    pub english: String,
}

impl Default for Separators {
    fn default() -> Self {
        Self { chinese: ", ".to_owned(), english: ", ".to_owned() }
    }
}

impl Separators {
    /// Sets that of a language, or of both.
    pub fn set(&mut self, language: Option<Language>, separator: &str) {
        if language != Some(Language::English) {
            separator.clone_into(&mut self.chinese);
        }
        if language != Some(Language::Chinese) {
            separator.clone_into(&mut self.english);
        }
    }

    /// That of a text's language.
    pub(crate) fn of(&self, text: &str) -> &str {
        if text.chars().any(is_chinese) { &self.chinese } else { &self.english }
    }
}

/// What is made of a text before it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wording {
    /// What is replaced by what, one after the other, in captions and keywords.
    pub replace: Vec<(String, String)>,
    /// Text before what is written of a caption.
    pub prepend: String,
    /// Text behind it.
    pub append: String,
    /// Where keywords go.
    pub keywords: KeywordsPlace,
    /// What stands between.
    pub separators: Separators,
}

impl Wording {
    /// A text of the model with what is replaced in it.
    pub(crate) fn replaced(&self, text: &str) -> String {
        self.replace.iter().fold(text.to_owned(), |text, (old, new)| text.replace(old, new))
    }

    /// What is written of a caption: `text` is the model's, `keywords` are those of the picture with what is replaced in them.
    pub(crate) fn of<'w>(&self, text: &str, keywords: impl Iterator<Item = &'w str>) -> String {
        let text = &self.replaced(text);
        let separator = self.separators.of(text);
        let mut written = self.prepend.clone();
        let mut is_begun = self.keywords != KeywordsPlace::Alone && !text.is_empty();
        if is_begun {
            written.push_str(text);
        }
        for keyword in keywords.filter(|_| self.keywords != KeywordsPlace::Apart) {
            if is_begun {
                written.push_str(separator);
            }
            written.push_str(keyword);
            is_begun = true;
        }
        written + &self.append
    }
}

/// A replacement: `OLD=NEW`. NEW may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// What is replaced.
    pub old: String,
    /// By what.
    pub new: String,
}

impl FromStr for Replacement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((old, new)) if !old.is_empty() => Ok(Self { old: old.to_owned(), new: new.to_owned() }),
            _ => Err(format!("expected OLD=NEW, found {text:?}")),
        }
    }
}

/// A separator, of one language or of both: `zh=，`, `, `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Separator {
    /// The language; both if absent.
    pub language: Option<Language>,
    /// What stands between.
    pub text: String,
}

impl FromStr for Separator {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let of_language = text.split_once('=').and_then(|(code, rest)| Some((code.parse().ok()?, rest)));
        let (language, text) = of_language.map_or((None, text), |(language, rest)| (Some(language), rest));
        Ok(Self { language, text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_worded_as_trainers_want_them() {
        let mut wording = Wording { prepend: "sks style, ".to_owned(), ..Wording::default() };
        let tags = || ["cat", "moon"].into_iter();
        assert_eq!(wording.of("a cat", tags()), "sks style, a cat");
        wording.keywords = KeywordsPlace::Behind;
        assert_eq!(wording.of("a cat", tags()), "sks style, a cat, cat, moon");
        wording.replace.push(("cat".to_owned(), "dog".to_owned()));
        wording.append = ", photo".to_owned();
        assert_eq!(wording.of("a cat", ["dog"].into_iter()), "sks style, a dog, dog, photo");
        wording.keywords = KeywordsPlace::Alone;
        assert_eq!(wording.of("a cat", tags()), "sks style, cat, moon, photo");
    }

    #[test]
    fn a_separator_is_that_of_the_texts_language() {
        let mut wording = Wording { keywords: KeywordsPlace::Behind, ..Wording::default() };
        wording.separators.set(Some(Language::Chinese), "，");
        assert_eq!(wording.of("一只猫", ["猫"].into_iter()), "一只猫，猫");
        assert_eq!(wording.of("a cat", ["cat"].into_iter()), "a cat, cat");
        let parsed = |text: &str| text.parse::<Separator>().unwrap();
        assert_eq!(parsed("en= | "), Separator { language: Some(Language::English), text: " | ".to_owned() });
        assert_eq!(parsed("="), Separator { language: None, text: "=".to_owned() });
        assert!("=x".parse::<Replacement>().is_err() && "x".parse::<Replacement>().is_err());
        assert_eq!("a==b".parse::<Replacement>().unwrap().new, "=b");
        wording.separators.set(None, ";");
        assert_eq!(wording.of("一只猫", ["猫"].into_iter()), "一只猫;猫");
    }
}
