//! A tokeniser compatible with Stanford's PTBTokenizer 3.4.1 as the reference evaluator calls it.
//!
//! pycocoevalcap joins all captions by line feeds, runs
//! `java edu.stanford.nlp.process.PTBTokenizer -preserveLines -lowerCase` on them, splits the output in lines and drops
//! punctuation. The rules here were written from watching that program, not from its grammar. Read in this order:
//! `chars` says what each character is taken for, `lexer` how rules compete, `words`, `apostrophes`,
//! `numbers`, `net` and `symbols` are the rules, `vocabulary` the words known by heart, `render` writes the
//! tokens. None of it knows of captions but this file, and nothing here knows of metrics.
//!
//! # What depends on the neighbours
//!
//! The reference tokenises all captions as one document, and some of its rules look across the end of a line, so
//! that a caption's tokens may depend on where it stands. [`tokenize_lines`] is right in all these cases. [`tokenize`]
//! takes its caption for one that others follow; it differs from what the caption gets among others only here:
//!
//! - At the very end of a document the reference does not know "'re", "'ve", "'ll", "'90", smileys and names of files:
//!   "they're" is "they 're" but "they re" if it ends the last caption.
//! - A caption that ends in a single letter with a full stop ("vitamin C.") loses that dot before a caption that starts
//!   with one of some forty words ("The") or with a tag.
//! - A caption that ends in "no.", "fig." or another of ten such abbreviations keeps the dot on it before a caption
//!   that starts with a digit.
//! - A tag whose quoted attribute does not end within its line may end in a later one.

mod apostrophes;
mod char_ranges;
mod chars;
mod lexer;
mod net;
mod numbers;
mod render;
mod symbols;
mod text;
mod vocabulary;
mod words;

#[cfg(test)]
mod tests;

use rayon::prelude::*;

use self::chars::{Class, class_of};
use self::lexer::{Kind, Lexer, Match};
use self::render::Case;

/// Captions that a thread tokenises as one document.
const CAPTIONS_AT_ONCE: usize = 512;

/// What the Java program prints for a file of this content, with `-preserveLines -lowerCase`.
pub fn tokenize_document(text: &str) -> String {
    document(text, Case::Lower)
}

/// What the Java program prints for a file of this content, with `-preserveLines` alone.
pub fn tokenize_document_keeping_case(text: &str) -> String {
    document(text, Case::Kept)
}

/// Captions as the reference evaluator gives them to its scorers: tokens joined by single spaces, without punctuation.
///
/// There are as many as there are captions. The reference gives the nth line of output to the nth caption, so a
/// caption with a line break in it (see [`has_line_separator`]; a plain "\n" is harmless) shifts all that follow, and
/// it ignores lines in excess; so does this. Where the reference has fewer lines than captions, which no input is known
/// to cause, the last captions become empty here; there they are missing.
pub fn tokenize_lines<S: AsRef<str>>(captions: &[S]) -> Vec<String> {
    lines(captions, |character| character == '\n')
}

/// Captions as [`tokenize_lines`] has them, but for two things: every line break within a caption counts as a space, so that
/// none shifts the others, and a tag does not go on beyond some hundreds of captions. Runs in parallel.
pub fn tokenize_in_order<S: AsRef<str> + Sync>(captions: &[S]) -> Vec<String> {
    let starts: Vec<usize> = (0..captions.len()).step_by(CAPTIONS_AT_ONCE).collect();
    starts
        .par_iter()
        .flat_map_iter(|&start| {
            let end = (start + CAPTIONS_AT_ONCE).min(captions.len());
            // What the last caption's tokens depend on: the next one that says something.
            let says_something = |caption: &S| !caption.as_ref().trim().is_empty();
            let next = captions[end..].iter().position(says_something);
            let read = next.map_or(captions.len(), |next| end + next + 1);
            let mut tokens = lines(&captions[start..read], is_line_break);
            tokens.truncate(end - start);
            tokens
        })
        .collect()
}

/// Tokenises captions as one document, with spaces in place of the characters that `is_space` takes for them.
fn lines<S: AsRef<str>>(captions: &[S], is_space: impl Fn(char) -> bool) -> Vec<String> {
    if captions.is_empty() {
        return Vec::new();
    }
    let mut text = String::with_capacity(captions.iter().map(|caption| caption.as_ref().len() + 1).sum());
    for (index, caption) in captions.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        let mut parts = caption.as_ref().split(&is_space);
        text.push_str(parts.next().unwrap_or_default());
        for part in parts {
            text.push(' ');
            text.push_str(part);
        }
    }
    let tokens = tokenize_document(&text);
    let mut lines: Vec<_> = tokens.split('\n').take(captions.len()).map(without_punctuation).collect();
    lines.resize(captions.len(), String::new());
    lines
}

/// One caption by itself, as [`tokenize_lines`] has it where other captions follow; all line breaks become spaces.
///
/// See the module's documentation for the few captions that depend on their neighbours.
pub fn tokenize<S: AsRef<str>>(caption: S) -> String {
    let mut line = caption.as_ref().replace(is_line_break, " ");
    line.push('\n');
    without_punctuation(&tokenize_document(&line))
}

/// Whether the caption would shift the captions after it: whether it has a line break that is not a plain "\n",
/// which the reference turns into a space beforehand.
pub fn has_line_separator(caption: &str) -> bool {
    caption.contains(|character| character != '\n' && is_line_break(character))
}

fn is_line_break(character: char) -> bool {
    class_of(character) == Class::Break
}

/// The reference's list of punctuation. Its "-LRB-" and others are left out: by then brackets are in lower case, and
/// so the reference keeps them.
fn is_punctuation(token: &str) -> bool {
    let may_be = token.as_bytes().first().is_some_and(u8::is_ascii_punctuation);
    may_be
        && matches!(token, "''" | "'" | "``" | "`" | "." | "?" | "!" | "," | ":" | "-" | "--" | "..." | ";")
}

fn without_punctuation(line: &str) -> String {
    let mut kept = String::with_capacity(line.len());
    for token in line.trim_end().split(' ').filter(|token| !is_punctuation(token)) {
        if !kept.is_empty() {
            kept.push(' ');
        }
        kept.push_str(token);
    }
    kept
}

fn document(text: &str, case: Case) -> String {
    write_document(text, case, Lexer::plain_token)
}

/// `shortcut` finds tokens that need no rules; without one all tokens come by the rules, to the same end.
fn write_document<'a>(
    text: &'a str,
    case: Case,
    shortcut: impl Fn(&Lexer<'a>, usize) -> Option<Match>,
) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let lexer = Lexer::new(text);
    let mut at = 0;
    let mut starts_line = true;
    while at < text.len() {
        let token = shortcut(&lexer, at).unwrap_or_else(|| lexer.token(at));
        match token.kind {
            Kind::Nothing => {}
            Kind::LineBreak => {
                starts_line = true;
                out.push('\n');
            }
            kind => {
                if !starts_line {
                    out.push(' ');
                }
                starts_line = false;
                render::write(&mut out, &text[at..token.end], kind, case);
            }
        }
        at = token.end;
    }
    out
}
