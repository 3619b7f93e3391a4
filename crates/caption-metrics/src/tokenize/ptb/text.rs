//! The text under the rules: what stands at a position, and how far a run of characters goes.
//!
//! Places are byte offsets at character boundaries. This file knows nothing of tokens.

use super::chars::{Class, class_of, is_any_apostrophe, is_apostrophe};

/// A text that rules look at by position; every question about a position past the end has an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) text: &'a str,
}

impl Text<'_> {
    pub(super) fn len(self) -> usize {
        self.text.len()
    }

    /// The byte at a position, 0 past the end.
    pub(super) fn byte(self, at: usize) -> u8 {
        self.text.as_bytes().get(at).copied().unwrap_or(0)
    }

    pub(super) fn char(self, at: usize) -> Option<char> {
        self.text.get(at..).and_then(|rest| rest.chars().next())
    }

    pub(super) fn class(self, at: usize) -> Class {
        match self.char(at) {
            Some(character) => class_of(character),
            None => Class::End,
        }
    }

    /// The position after the character at `at`, which must not be past the end.
    pub(super) fn after(self, at: usize) -> usize {
        at + self.char(at).map_or(1, char::len_utf8)
    }

    /// The position after `count` characters as Java counts them (UTF-16), if the text has that many.
    pub(super) fn after_utf16(self, at: usize, count: usize) -> Option<usize> {
        let mut units = 0;
        for (offset, character) in self.text[at..].char_indices() {
            if units >= count {
                return Some(at + offset);
            }
            units += character.len_utf16();
        }
        (units >= count).then_some(self.len())
    }

    /// The end of the run of characters from `at` that `belongs` accepts.
    pub(super) fn run(self, at: usize, belongs: impl Fn(char) -> bool) -> usize {
        let rest = &self.text[at..];
        at + rest.find(|character| !belongs(character)).unwrap_or(rest.len())
    }

    /// The end of the run of bytes from `at` that `belongs` accepts, for rules that know ASCII only.
    pub(super) fn ascii_run(self, at: usize, belongs: impl Fn(u8) -> bool) -> usize {
        let rest = &self.text.as_bytes()[at.min(self.len())..];
        at + rest.iter().position(|&byte| byte >= 0x80 || !belongs(byte)).unwrap_or(rest.len())
    }

    /// The end of `word` (ASCII, lower case) if it stands at `at` in any case.
    pub(super) fn word(self, at: usize, word: &str) -> Option<usize> {
        let end = at + word.len();
        let found = self.text.as_bytes().get(at..end)?;
        found.eq_ignore_ascii_case(word.as_bytes()).then_some(end)
    }

    /// The position after a straight or closing apostrophe, or its entity.
    pub(super) fn apostrophe(self, at: usize) -> Option<usize> {
        match self.char(at)? {
            '&' => self.text[at..].starts_with("&apos;").then(|| at + "&apos;".len()),
            character => is_apostrophe(character).then(|| at + character.len_utf8()),
        }
    }

    /// The position after an apostrophe of any sort, or its entity.
    pub(super) fn any_apostrophe(self, at: usize) -> Option<usize> {
        match self.char(at)? {
            '&' => self.text[at..].starts_with("&apos;").then(|| at + "&apos;".len()),
            character => is_any_apostrophe(character).then(|| at + character.len_utf8()),
        }
    }
}
