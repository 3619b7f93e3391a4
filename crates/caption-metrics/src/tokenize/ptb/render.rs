//! How tokens are written: normalised as the Penn Treebank has them, in lower case or as they came.
//!
//! Follows PTBTokenizer 3.4.1 as watched from outside. Knows nothing of where tokens begin and end.

use super::lexer::Kind;

/// What becomes of the case of letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Lower,
    Kept,
}

/// Writes one token after what is written already; white space and line breaks are not tokens.
pub(super) fn write(out: &mut String, token: &str, kind: Kind, case: Case) {
    match kind {
        Kind::Nothing | Kind::LineBreak => {}
        Kind::Plain => write_cased(out, token, case),
        Kind::LowerCase => write_cased(out, token, Case::Lower),
        Kind::Word => write_word(out, token, case),
        Kind::Abbreviation => {
            write_cased(out, token, case);
            out.push('.');
        }
        Kind::Joined => write_joined(out, token, case),
        Kind::Contraction => write_contraction(out, token, case),
        Kind::Ampersand => write_ampersand(out, token, case),
        Kind::Quotes => token.chars().for_each(|mark| out.push_str(spelled_out(mark))),
        Kind::Fixed(text) => write_cased(out, text, case),
    }
}

/// Lower case goes by character but for the Greek sigma, whose form depends on where it stands in the token.
fn write_cased(out: &mut String, text: &str, case: Case) {
    match case {
        Case::Kept => out.push_str(text),
        Case::Lower if text.is_ascii() => {
            let start = out.len();
            out.push_str(text);
            out[start..].make_ascii_lowercase();
        }
        Case::Lower if text.contains('\u{3a3}') => out.push_str(&text.to_lowercase()),
        Case::Lower => text.chars().for_each(|character| out.extend(character.to_lowercase())),
    }
}

/// Soft hyphens are deleted, but for a token of nothing else.
fn write_word(out: &mut String, token: &str, case: Case) {
    if token.is_ascii() || !token.contains('\u{ad}') {
        return write_cased(out, token, case);
    }
    let word = token.replace('\u{ad}', "");
    write_cased(out, if word.is_empty() { "-" } else { &word }, case);
}

fn write_joined(out: &mut String, token: &str, case: Case) {
    for character in token.chars() {
        match character {
            ' ' => out.push('\u{a0}'),
            '(' => write_cased(out, "-LRB-", case),
            ')' => write_cased(out, "-RRB-", case),
            _ => write_cased(out, character.encode_utf8(&mut [0; 4]), case),
        }
    }
}

fn write_contraction(out: &mut String, token: &str, case: Case) {
    if let Some((left, right)) = token.split_once("&apos;") {
        write_cased(out, left, case);
        out.push('\'');
        return write_cased(out, right, case);
    }
    for character in token.chars() {
        match character {
            '\u{92}' | '\u{2019}' => out.push('\''),
            '\u{91}' | '\u{2018}' | '\u{201b}' => out.push('`'),
            _ => write_cased(out, character.encode_utf8(&mut [0; 4]), case),
        }
    }
}

fn write_ampersand(out: &mut String, token: &str, case: Case) {
    let mut parts = token.split("&amp;");
    write_cased(out, parts.next().unwrap_or_default(), case);
    for part in parts {
        out.push('&');
        write_cased(out, part, case);
    }
}

fn spelled_out(mark: char) -> &'static str {
    match mark {
        '\u{93}' | '\u{ab}' | '\u{201c}' => "``",
        '\u{94}' | '\u{bb}' | '\u{201d}' => "''",
        '\u{92}' | '\u{2019}' | '\u{203a}' => "'",
        _ => "`",
    }
}
