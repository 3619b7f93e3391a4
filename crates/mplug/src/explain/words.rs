//! The words of a caption: which of its tokens belong together.

use std::ops::Range;

use crate::preprocess::text::{Tokenizer, is_chinese};

/// A word of a caption.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// Its tokens among those of the text.
    pub(super) tokens: Range<usize>,
}

/// The words of a text in tokens. Word pieces are joined, Chinese characters too where a dictionary is built in (feature `keywords`).
/// Punctuation, special tokens and the end token are in no word.
pub(super) fn words(tokenizer: &Tokenizer, token_ids: &[u32]) -> Vec<Word> {
    let tokens = token_ids.iter().map(|&id| tokenizer.token(id));
    let mut units: Vec<Word> = Vec::new();
    for (index, token) in tokens.enumerate() {
        let Some(token) = token else { continue };
        let piece = token.strip_prefix("##");
        match (piece, units.last_mut()) {
            (Some(piece), Some(word)) if word.tokens.end == index => {
                word.text.push_str(piece);
                word.tokens.end = index + 1;
            }
            _ => units.push(Word { text: piece.unwrap_or(token).to_owned(), tokens: index..index + 1 }),
        }
    }
    let mut words = Vec::new();
    let mut rest = units.into_iter().peekable();
    while let Some(unit) = rest.next() {
        if !is_written_in_chinese(&unit.text) {
            words.extend(Some(unit).filter(|unit| unit.text.contains(char::is_alphanumeric)));
            continue;
        }
        let mut run = vec![unit];
        while let Some(next) = rest.next_if(|next| {
            is_written_in_chinese(&next.text) && next.tokens.start == run[run.len() - 1].tokens.end
        }) {
            run.push(next);
        }
        words.extend(chinese_words(run));
    }
    words
}

fn is_written_in_chinese(text: &str) -> bool {
    text.chars().all(is_chinese)
}

/// Chinese characters that follow each other, as words. A token that lies in two words makes them one.
fn chinese_words(run: Vec<Word>) -> Vec<Word> {
    let text: String = run.iter().map(|unit| unit.text.as_str()).collect();
    let mut ends = cut(&text).into_iter().scan(0, |end, word| {
        *end += word.len();
        Some(*end)
    });
    let mut words: Vec<Word> = Vec::new();
    let (mut read, mut end) = (0, 0);
    for unit in run {
        let begins_word = read >= end;
        read += unit.text.len();
        while end < read {
            end = ends.next().unwrap_or(read);
        }
        match words.last_mut() {
            Some(word) if !begins_word => {
                word.text.push_str(&unit.text);
                word.tokens.end = unit.tokens.end;
            }
            _ => words.push(unit),
        }
    }
    words
}

#[cfg(feature = "keywords")]
use crate::keywords::cut;

/// Without a dictionary each character is a word.
#[cfg(not(feature = "keywords"))]
fn cut(text: &str) -> Vec<&str> {
    text.split("").filter(|character| !character.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCAB: &str =
        "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nun\n##able\n一\n只\n红\n色\n的\n，\n.\n汽\n##车\n2\n";

    fn words_of(tokens: &[&str]) -> Vec<(String, Range<usize>)> {
        let tokenizer = Tokenizer::from_vocab(VOCAB).unwrap();
        let id = |token: &&str| VOCAB.lines().position(|line| line == *token).unwrap() as u32;
        let ids: Vec<u32> = tokens.iter().map(id).collect();
        words(&tokenizer, &ids).into_iter().map(|word| (word.text, word.tokens)).collect()
    }

    fn expected(words: &[(&str, Range<usize>)]) -> Vec<(String, Range<usize>)> {
        words.iter().map(|(text, tokens)| ((*text).to_owned(), tokens.clone())).collect()
    }

    #[test]
    fn pieces_are_joined_and_punctuation_left_out() {
        let found = words_of(&["a", "un", "##able", ".", "2", "[SEP]"]);
        assert_eq!(found, expected(&[("a", 0..1), ("unable", 1..3), ("2", 4..5)]));
        assert_eq!(words_of(&["##able", "[UNK]", "##able"]), expected(&[("able", 0..1), ("able", 2..3)]));
        assert_eq!(words_of(&[]), []);
    }

    #[cfg(feature = "keywords")]
    #[test]
    fn chinese_characters_are_grouped_by_the_dictionary() {
        let found = words_of(&["一", "只", "红", "色", "的", "汽", "##车", "，", "一", "a"]);
        let grouped =
            [("一只", 0..2), ("红色", 2..4), ("的", 4..5), ("汽车", 5..7), ("一", 8..9), ("a", 9..10)];
        assert_eq!(found, expected(&grouped));
    }

    #[cfg(not(feature = "keywords"))]
    #[test]
    fn each_chinese_character_is_a_word() {
        let found = words_of(&["红", "色", "汽", "##车", "，", "一"]);
        assert_eq!(found, expected(&[("红", 0..1), ("色", 1..2), ("汽车", 2..4), ("一", 5..6)]));
    }
}
