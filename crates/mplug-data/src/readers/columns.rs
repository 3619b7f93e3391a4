//! What columns of a table, and keys of JSON Lines, may be called, and which rows are of the language that is wanted. Knows no
//! format.

use mplug::config::Language;

/// What a column can hold, by the name that it is given.
pub(super) const NAMES: [&str; 6] = ["image", "caption", "question", "answer", "language", "split"];

/// Refuses new names that no reader looks for, and two columns of one new name.
pub(super) fn check_names(renamed: &[(String, String)]) -> Result<(), String> {
    for (index, (old, new)) in renamed.iter().enumerate() {
        if !NAMES.contains(&new.as_str()) {
            return Err(format!(
                "the column {old:?} is to be called {new:?}: expected one of {}",
                NAMES.join(", ")
            ));
        }
        if let Some((other, _)) = renamed[..index].iter().find(|(_, known)| known == new) {
            return Err(format!("both the columns {other:?} and {old:?} are to be called {new:?}"));
        }
    }
    Ok(())
}

/// Which rows are of the language that is wanted.
pub(crate) struct LanguageChoice {
    wanted: Option<Language>,
    /// The first language that a row named.
    seen: Option<String>,
}

impl LanguageChoice {
    pub(crate) fn new(wanted: Option<Language>) -> Self {
        Self { wanted, seen: None }
    }

    /// Whether a row is taken, whose language is `language` where it says one: a code such as `zh` or `zh-CN`.
    pub(crate) fn takes(&mut self, language: Option<&str>) -> Result<bool, String> {
        let Some(language) = language.map(str::trim).filter(|language| !language.is_empty()) else {
            return Ok(true);
        };
        if let Some(wanted) = self.wanted {
            let code = language.split(['-', '_']).next().unwrap_or_default();
            return Ok(code.eq_ignore_ascii_case(wanted.code()));
        }
        let seen = self.seen.get_or_insert_with(|| language.to_owned());
        if seen != language {
            return Err(format!("is in {language}, and others are in {seen}: a language must be chosen"));
        }
        Ok(true)
    }
}
