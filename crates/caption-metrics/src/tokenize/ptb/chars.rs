//! What the tokeniser takes each character for.
//!
//! The classes and their ranges were measured: every character of the Basic Multilingual Plane was put into some sixty
//! contexts before CoreNLP 3.4.1's PTBTokenizer, and characters that behaved alike share a class. This file knows
//! nothing of tokens. The reference predates a good part of today's Unicode, and so does this table on purpose.

use super::char_ranges::RANGES;

/// The behaviour of one character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Class {
    /// Past the last character.
    End,
    /// A letter of any script.
    Letter,
    /// A combining mark: part of words, not of hyphenated things.
    Mark,
    /// The soft hyphen: part of words and numbers, deleted from the token.
    Soft,
    /// A decimal digit of any script.
    Digit,
    /// A hyphen beyond ASCII: joins words, deleted when it stands alone.
    Hyphen,
    /// A separator of numbers beyond ASCII (Arabic), deleted when it stands alone.
    NumberSeparator,
    /// Quotation marks beyond ASCII.
    Quote,
    /// Raised and lowered digits, low quotation marks: runs of them are one token.
    Raised,
    /// White space within a line.
    Space,
    /// A line break.
    Break,
    /// ASCII punctuation, which the rules look at by itself, and symbols that are tokens by themselves.
    Symbol,
    /// Deleted, as white space is.
    Unknown,
}

static TABLE: [Class; 0x1_0000] = table();

#[expect(clippy::large_stack_arrays, reason = "evaluated by the compiler only")]
const fn table() -> [Class; 0x1_0000] {
    let mut table = [Class::Unknown; 0x1_0000];
    let mut code = 0;
    while code < 0x80 {
        table[code] = ascii(code as u8);
        code += 1;
    }
    let mut range = 0;
    while range < RANGES.len() {
        let end = if range + 1 < RANGES.len() { RANGES[range + 1].0 as usize } else { 0x1_0000 };
        while code < end {
            table[code] = RANGES[range].1;
            code += 1;
        }
        range += 1;
    }
    table
}

const fn ascii(byte: u8) -> Class {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' => Class::Letter,
        b'0'..=b'9' => Class::Digit,
        b' ' | b'\t' => Class::Space,
        b'\n' | b'\r' | 0x0b | 0x0c => Class::Break,
        b'!'..=b'~' => Class::Symbol,
        _ => Class::Unknown,
    }
}

/// The class of a character; beyond the Basic Multilingual Plane all are unknown.
pub(super) fn class_of(character: char) -> Class {
    TABLE.get(character as usize).copied().unwrap_or(Class::Unknown)
}

/// Whether the character counts as an upper-case letter where a sentence might start.
pub(super) fn is_uppercase(character: char) -> bool {
    match character {
        // Cherokee became a cased script after the reference was written.
        '\u{13a0}'..='\u{13f5}' => false,
        // Circled letters and Roman numerals, upper case though no letters.
        '\u{24b6}'..='\u{24cf}' | '\u{2160}'..='\u{216f}' => true,
        _ => class_of(character) == Class::Letter && character.is_uppercase(),
    }
}

/// An apostrophe of any sort, as contractions and shortened words take it.
pub(super) fn is_any_apostrophe(character: char) -> bool {
    matches!(character, '`' | '\u{91}' | '\u{2018}' | '\u{201b}') || is_apostrophe(character)
}

/// A straight or a closing apostrophe.
pub(super) fn is_apostrophe(character: char) -> bool {
    matches!(character, '\'' | '\u{92}' | '\u{2019}')
}
