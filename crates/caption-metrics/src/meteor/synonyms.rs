//! WordNet's synonym sets as METEOR's jar lists them, and the morphology that leads an inflected word to its base.
//!
//! Source: `synonym/english.synsets` and `english.exceptions` of the jar; the suffix rules are those of WordNet's `morphy`
//! (Miller 1995), all parts of speech in one list. It knows nothing of sentences.

use std::ops::Range;
use std::path::Path;

use rustc_hash::FxHashMap;

use super::error::MeteorError;

/// Suffix and what stands in its place, in the order of trial: nouns, verbs, adjectives.
const SUFFIX_RULES: [(&str, &str); 20] = [
    ("s", ""),
    ("ses", "s"),
    ("xes", "x"),
    ("zes", "z"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("men", "man"),
    ("ies", "y"),
    ("s", ""),
    ("ies", "y"),
    ("es", "e"),
    ("es", ""),
    ("ed", "e"),
    ("ed", ""),
    ("ing", "e"),
    ("ing", ""),
    ("er", ""),
    ("est", ""),
    ("er", "e"),
    ("est", "e"),
];

/// Which synonym sets a word belongs to.
#[derive(Debug)]
pub(crate) struct Synonyms {
    /// Each word's part of `sets`.
    words: FxHashMap<Box<str>, Range<u32>>,
    sets: Vec<u32>,
    /// Irregular forms and their bases.
    exceptions: FxHashMap<Box<str>, Vec<Box<str>>>,
}

impl Synonyms {
    /// Reads both texts; the paths are for messages only.
    pub(crate) fn parse(synsets: (&Path, &str), exceptions: (&Path, &str)) -> Result<Self, MeteorError> {
        let mut synonyms =
            Self { words: FxHashMap::default(), sets: Vec::new(), exceptions: FxHashMap::default() };
        for (line, word, numbers) in line_pairs(synsets)? {
            let start = synonyms.sets.len() as u32;
            for number in numbers.split_whitespace() {
                let number = number.parse().map_err(|_| MeteorError::Format {
                    path: synsets.0.to_path_buf(),
                    line: line + 1,
                    expected: "numbers of synonym sets",
                    found: excerpt(number),
                })?;
                synonyms.sets.push(number);
            }
            synonyms.words.insert(word.into(), start..synonyms.sets.len() as u32);
        }
        for (_, base, forms) in line_pairs(exceptions)? {
            for form in forms.split_whitespace() {
                synonyms.exceptions.entry(form.into()).or_default().push(base.into());
            }
        }
        Ok(synonyms)
    }

    /// Appends the sets of `word` and of its base forms to `out`, sorted, each once.
    pub(crate) fn append_sets(&self, word: &str, out: &mut Vec<u32>) {
        let start = out.len();
        out.extend(self.sets_of(word));
        if let Some(bases) = self.exceptions.get(word) {
            for base in bases {
                out.extend(self.sets_of(base));
            }
        } else if let Some(base) = self.base_form(word) {
            out.extend(self.sets_of(&base));
        }
        let mut sets = out.split_off(start);
        sets.sort_unstable();
        sets.dedup();
        out.append(&mut sets);
    }

    fn sets_of(&self, word: &str) -> &[u32] {
        self.words.get(word).map_or(&[], |range| &self.sets[range.start as usize..range.end as usize])
    }

    /// The first word of the dictionary that a suffix rule leads to. Short words and those in `-ss` have none.
    fn base_form(&self, word: &str) -> Option<String> {
        if word.ends_with("ss") || word.chars().count() <= 2 {
            return None;
        }
        SUFFIX_RULES.iter().find_map(|(suffix, replacement)| {
            let base = format!("{}{replacement}", word.strip_suffix(suffix)?);
            self.words.contains_key(base.as_str()).then_some(base)
        })
    }
}

/// The lines of a text two by two, with the number of the first (from one).
fn line_pairs<'a>(
    (path, text): (&Path, &'a str),
) -> Result<impl Iterator<Item = (usize, &'a str, &'a str)>, MeteorError> {
    let lines = text.lines().count();
    if lines == 0 || lines % 2 != 0 {
        return Err(MeteorError::Format {
            path: path.to_path_buf(),
            line: 0,
            expected: "an even number of lines (word, then its list)",
            found: format!("{lines} lines"),
        });
    }
    let pairs = text.lines().step_by(2).zip(text.lines().skip(1).step_by(2));
    Ok(pairs.enumerate().map(|(pair, (first, second))| (2 * pair + 1, first, second)))
}

/// The beginning of a text, for a message.
pub(crate) fn excerpt(text: &str) -> String {
    format!("`{}`", text.chars().take(40).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn synonyms() -> Synonyms {
        let synsets = "dog\n3 1\nhound\n1\nbox\n7\ngood\n20\nwell\n21 22\nrace\n9\nglas\n30\n";
        let exceptions = "good\nbetter best\nwell\nbetter\n";
        Synonyms::parse((Path::new("synsets"), synsets), (Path::new("exceptions"), exceptions)).unwrap()
    }

    fn sets(word: &str) -> Vec<u32> {
        let mut out = vec![99];
        synonyms().append_sets(word, &mut out);
        out.split_off(1)
    }

    #[test]
    fn words_and_their_bases() {
        assert_eq!(sets("dog"), [1, 3]);
        assert_eq!(sets("dogs"), [1, 3]);
        assert_eq!(sets("boxes"), [7]);
        assert_eq!(sets("raced"), [9]);
        assert_eq!(sets("better"), [20, 21, 22]); // all bases of an irregular form
        assert_eq!(sets("glass"), [0_u32; 0]); // no rule for -ss
        assert_eq!(sets("cat"), [0_u32; 0]);
    }

    #[test]
    fn bad_texts_are_errors() {
        let good = (Path::new("exceptions"), "a\nb\n");
        assert!(Synonyms::parse((Path::new("synsets"), "a\n1\nb\n"), good).is_err());
        let error = Synonyms::parse((Path::new("synsets"), "a\n1\nb\nx\n"), good).unwrap_err();
        assert!(error.to_string().contains("`synsets` line 4"), "{error}");
    }
}
