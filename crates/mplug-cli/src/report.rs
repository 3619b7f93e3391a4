//! Messages to the person at the terminal: one line each on standard error, `mplug: <path>: <reason>`.
//! A standard error that is closed is not worth a failure, so nothing here can fail.

use std::fmt;
use std::io::{self, Write};

use mplug::preprocess::text::TextFit;
use mplug_data::message::one_line;

use crate::progress;

/// Writes `mplug: <text>` as one line, whatever line breaks and control characters `text` holds.
pub(crate) fn message(text: impl fmt::Display) {
    // One write call per message, so that lines of two programs on one terminal do not mix.
    let line = format!("mplug: {}\n", one_line(&text.to_string()));
    progress::aside(|| {
        let _ = io::stderr().lock().write_all(line.as_bytes());
    });
}

/// Says which texts a model does not read as they are.
pub(crate) fn notes(fit: &TextFit) {
    for note in fit.notes() {
        message(format!("note: {note}"));
    }
}

/// An error with its causes, `: ` between them. A cause that the error above it has already reported is not repeated.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |message, cause| match cause.to_string() {
        text if message.is_empty() => text,
        // What helps may stand behind it.
        text if message.ends_with(&text) || message.starts_with(&text) => message,
        text => format!("{message}: {text}"),
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut() {
        let all: Vec<String> = (0..7).map(|n| n.to_string()).collect();
        let shown = |count: usize| names(all[..count].iter().map(String::as_str));
        assert_eq!((shown(1), shown(5)), ("0".to_owned(), "0, 1, 2, 3, 4".to_owned()));
        assert_eq!(shown(7), "0, 1, 2, 3, 4 and 2 more");
        let long = "图".repeat(1000);
        assert_eq!(names(std::iter::once(long.as_str())).chars().count(), 200);
    }

    #[test]
    fn causes_are_reported_once() {
        let error = anyhow::anyhow!("no such file").context("cannot be read: no such file").context("a.jpg");
        assert_eq!(chain(&error), "a.jpg: cannot be read: no such file");
    }
}
