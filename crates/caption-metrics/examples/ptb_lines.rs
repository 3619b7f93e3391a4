//! Prints what the PTB-compatible tokeniser makes of standard input, as the Java program would for a file.
//!
//! For `reference/compare_ptb.py`, which holds the two side by side. With `--keep-case` letters keep their case. Knows
//! nothing of captions or punctuation.

use std::io::{Read, Write, stdin, stdout};

use caption_metrics::tokenize::ptb::{tokenize_document, tokenize_document_keeping_case};

fn main() -> std::io::Result<()> {
    let mut text = String::new();
    stdin().read_to_string(&mut text)?;
    let keeps_case = std::env::args().any(|argument| argument == "--keep-case");
    let tokens = if keeps_case { tokenize_document_keeping_case(&text) } else { tokenize_document(&text) };
    stdout().write_all(tokens.as_bytes())
}
