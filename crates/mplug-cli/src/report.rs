//! Messages to the person at the terminal: one line each on standard error, `mplug: <path>: <reason>`.
//! A standard error that is closed is not worth a failure, so nothing here can fail.

use std::{
    fmt,
    io::{self, Write},
    path::Path,
};

/// Writes `mplug: <text>` as one line, whatever line breaks and control characters `text` holds.
pub(crate) fn message(text: impl fmt::Display) {
    // One write call per message, so that lines of two programs on one terminal do not mix.
    let line = format!("mplug: {}\n", one_line(&text.to_string()));
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// An error with its causes, `: ` between them. A cause that the error above it has already told is not repeated.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |told, cause| match cause.to_string() {
        text if told.is_empty() => text,
        text if told.ends_with(&text) => told,
        text => format!("{told}: {text}"),
    })
}

/// `<path>: <reason>`, for [`message`]. A reason that names the path itself (`<path> is damaged`, `cannot open <path>: …`) does
/// not name it twice.
pub(crate) fn about(path: &Path, reason: &str) -> String {
    let name = path.display().to_string();
    match reason.strip_prefix(&name) {
        Some(rest) if rest.starts_with(':') => reason.to_owned(),
        Some(rest) if rest.starts_with(' ') => format!("{name}:{rest}"),
        _ => format!("{name}: {}", reason.replacen(&format!(" {name}:"), ":", 1)),
    }
}

/// Names in a list before it says how many more there are.
const NAMED: usize = 5;
/// Characters shown of a name: a file may hold longer ones than anybody reads.
const SHOWN_OF_NAME: usize = 200;

/// The first few of `names`, and how many more there are.
pub(crate) fn names<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let first: Vec<String> =
        names.take(NAMED).map(|name| name.chars().take(SHOWN_OF_NAME).collect()).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    first.join(", ") + &more
}

/// `text` on one line: line breaks and other control characters as the escapes of Rust and JSON (`\n`, `\t`, `\u{1b}`).
/// A file name cannot forge a second message, or speak to the terminal.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.trim_end().chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_stays_on_its_line() {
        assert_eq!(
            one_line("两只猫\n.jpg: no\u{1b}[31m such\tfile\n"),
            "两只猫\\n.jpg: no\\u{1b}[31m such\\tfile"
        );
    }

    #[test]
    fn long_lists_are_cut() {
        let all: Vec<String> = (0..7).map(|n| n.to_string()).collect();
        let told = |count: usize| names(all[..count].iter().map(String::as_str));
        assert_eq!((told(1), told(5)), ("0".to_owned(), "0, 1, 2, 3, 4".to_owned()));
        assert_eq!(told(7), "0, 1, 2, 3, 4 and 2 more");
        let long = "图".repeat(1000);
        assert_eq!(names(std::iter::once(long.as_str())).chars().count(), 200);
    }

    #[test]
    fn causes_are_told_once() {
        let error = anyhow::anyhow!("no such file").context("cannot be read: no such file").context("a.jpg");
        assert_eq!(chain(&error), "a.jpg: cannot be read: no such file");
    }

    #[test]
    fn the_path_is_named_once() {
        let path = Path::new("a b.jpg");
        assert_eq!(about(path, "empty file"), "a b.jpg: empty file");
        assert_eq!(about(path, "a b.jpg: empty file"), "a b.jpg: empty file");
        assert_eq!(about(path, "a b.jpg is empty"), "a b.jpg: is empty");
        assert_eq!(about(path, "cannot open a b.jpg: no such file"), "a b.jpg: cannot open: no such file");
        assert_eq!(about(path, "a b.jpgs are odd"), "a b.jpg: a b.jpgs are odd");
    }
}
