//! From a text to words: BERT's "basic tokenizer", step for step.
//!
//! Source: the `BasicTokenizer` of transformers 4.57 (Python). The steps: delete control and unassigned characters, make every space a blank, put blanks
//! around Chinese characters, NFC, cut at blanks, lower-case, NFD without accents, cut at punctuation. Characters
//! are classed by Unicode 14.0 (Python 3.11's tables), whatever the standard library's version is.
//!
//! Refuses to know vocabularies and special tokens.

use unicode_normalization::UnicodeNormalization;

use super::TokenizerSettings;
use super::unicode14::{NONSPACING_MARK, OTHER, PUNCTUATION, SPACE_SEPARATOR, UNASSIGNED};

/// Blocks of Chinese characters that BERT puts blanks around (not kana, not hangul, not full-width forms).
const CHINESE: [(u32, u32); 8] = [
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0x2F800, 0x2FA1F),
];

#[derive(Debug)]
pub(super) struct BasicTokenizer {
    settings: TokenizerSettings,
}

impl BasicTokenizer {
    pub(super) fn new(settings: TokenizerSettings) -> Self {
        Self { settings }
    }

    /// The words and punctuation marks of a text, in order.
    pub(super) fn words(&self, text: &str) -> Vec<String> {
        let clean: String = self.clean(text).nfc().collect();
        let mut words = Vec::new();
        for word in clean.split_whitespace() {
            push_cut_at_punctuation(&self.normalize(word), &mut words);
        }
        words
    }

    /// Characters to keep, lower-cased one by one (so a capital sigma never takes its final form), Chinese apart.
    fn clean<'t>(&self, text: &'t str) -> impl Iterator<Item = char> + use<'t> {
        let TokenizerSettings { do_lower_case, tokenize_chinese_chars, .. } = self.settings;
        let lower = move |character: char| {
            let lowered = do_lower_case.then(|| character.to_lowercase());
            lowered.into_iter().flatten().chain((!do_lower_case).then_some(character))
        };
        text.chars().filter(|&character| is_kept(character)).flat_map(lower).flat_map(move |character| {
            let blank = (tokenize_chinese_chars && is_chinese(character)).then_some(' ');
            let character = if is_space(character) { ' ' } else { character };
            blank.into_iter().chain([character]).chain(blank)
        })
    }

    /// Lower-cases what composing has brought forth, and strips accents.
    fn normalize(&self, word: &str) -> String {
        let word = if self.settings.do_lower_case { word.to_lowercase() } else { word.to_owned() };
        if self.settings.strip_accents.unwrap_or(self.settings.do_lower_case) {
            word.nfd().filter(|&character| !contains(NONSPACING_MARK, character)).collect()
        } else {
            word
        }
    }
}

/// Each punctuation mark is a word of its own.
fn push_cut_at_punctuation(word: &str, words: &mut Vec<String>) {
    let mut plain = String::new();
    for character in word.chars() {
        if !is_punctuation(character) {
            plain.push(character);
            continue;
        }
        if !plain.is_empty() {
            words.push(std::mem::take(&mut plain));
        }
        words.push(character.to_string());
    }
    if !plain.is_empty() {
        words.push(plain);
    }
}

/// Python's `str.lower()` (3.11): whole-text lower-casing, final sigma included.
pub fn lowercase(text: &str) -> String {
    // Capitals that Unicode 14.0 does not know have no lower case there; what stands between them is lower-cased as
    // a whole, for a sigma's form hangs on its neighbours.
    let is_unassigned = |character| contains(UNASSIGNED, character);
    let known = text.split(is_unassigned).map(str::to_lowercase);
    let unknown = text.chars().filter(|&character| is_unassigned(character)).map(Some).chain([None]);
    known.zip(unknown).fold(String::with_capacity(text.len()), |mut lowered, (part, character)| {
        lowered.push_str(&part);
        lowered.extend(character);
        lowered
    })
}

/// Sorted, inclusive ranges.
fn contains(ranges: &[(u32, u32)], character: char) -> bool {
    let code = character as u32;
    let after = ranges.partition_point(|&(first, _)| first <= code);
    after > 0 && code <= ranges[after - 1].1
}

fn is_kept(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r')
        || character != char::REPLACEMENT_CHARACTER && !contains(OTHER, character)
}

fn is_space(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r') || contains(SPACE_SEPARATOR, character)
}

/// ASCII signs such as `$` and `^` count as punctuation, though Unicode classes them as symbols.
fn is_punctuation(character: char) -> bool {
    character.is_ascii_punctuation() || contains(PUNCTUATION, character)
}

/// Whether BERT takes the character for Chinese.
pub fn is_chinese(character: char) -> bool {
    contains_unsorted(&CHINESE, character)
}

fn contains_unsorted(ranges: &[(u32, u32)], character: char) -> bool {
    ranges.iter().any(|&(first, last)| (first..=last).contains(&(character as u32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        BasicTokenizer::new(TokenizerSettings::default()).words(text)
    }

    #[test]
    fn steps_in_order() {
        assert_eq!(words("Café\u{0}s, 中国$x\u{3000}ΑΣ"), ["cafes", ",", "中", "国", "$", "x", "ασ"]);
        assert!(words(" \u{200B}\u{E000}\u{FFFD}\t").is_empty());
        assert_eq!(words("a\u{2028}b"), ["a", "b"]);
    }

    #[test]
    fn characters_after_unicode_14_are_deleted() {
        assert_eq!(words("a\u{1FAE8}b"), ["ab"]); // shaking face, Unicode 15.0
        assert_eq!(words("a\u{1FAE1}b"), ["a\u{1FAE1}b"]); // saluting face, Unicode 14.0
        assert_eq!(words(&lowercase("x\u{A7CB}y")), ["xy"]); // a capital of Unicode 16.0 with an old small letter
    }

    #[test]
    fn settings_are_followed() {
        let cased = TokenizerSettings { do_lower_case: false, ..TokenizerSettings::default() };
        assert_eq!(BasicTokenizer::new(cased).words("É中a"), ["É", "中", "a"]);
        let stripped =
            TokenizerSettings { strip_accents: Some(true), tokenize_chinese_chars: false, ..cased };
        assert_eq!(BasicTokenizer::new(stripped).words("É中a"), ["E中a"]);
        let accents = TokenizerSettings { strip_accents: Some(false), ..TokenizerSettings::default() };
        assert_eq!(BasicTokenizer::new(accents).words("É"), ["é"]);
    }

    #[test]
    fn lower_case_is_pythons() {
        assert_eq!(lowercase("ΟΔΟΣ İ [SEP]"), "οδος i\u{307} [sep]");
        assert_eq!(lowercase("AΣ\u{A7CB}Σ\u{FFFD}"), "aς\u{A7CB}σ\u{FFFD}");
    }
}
