//! Messages to the person at the terminal: one line each on standard error, `mplug: <path>: <reason>`, or a JSON object each.
//! A standard error that is closed is not worth a failure, so nothing here can fail.

use std::fmt;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use mplug::preprocess::text::TextFit;
use mplug_data::message::one_line;

use crate::args::{LogFormat, MessageArgs};
use crate::progress;

/// How messages are written.
#[derive(Clone, Copy, Debug, Default)]
struct Style {
    is_quiet: bool,
    is_json: bool,
}

/// Set once, before the first message.
static STYLE: OnceLock<Style> = OnceLock::new();

fn style() -> Style {
    STYLE.get().copied().unwrap_or_default()
}

/// From now on messages are written as typed.
pub(crate) fn begin(args: &MessageArgs) {
    let style = Style { is_quiet: args.quiet, is_json: args.log_format == LogFormat::Json };
    STYLE.get_or_init(|| style);
}

/// Whether notes and progress are left out.
pub(crate) fn is_quiet() -> bool {
    style().is_quiet
}

/// Whether messages are JSON.
pub(crate) fn is_json() -> bool {
    style().is_json
}

/// What begins a message of each level but errors.
const LEVELS: [&str; 2] = ["note", "warning"];

/// Writes what failed, or what a beginning `note: ` or `warning: ` says it is, as one line, whatever line breaks and control
/// characters `text` holds.
pub(crate) fn message(text: impl fmt::Display) {
    say("error", &text.to_string());
}

/// Writes what is no failure and no result: how far a run is, what was written.
pub(crate) fn info(text: impl fmt::Display) {
    say("note", &text.to_string());
}

/// Writes `text` at the level that it names, or else at `level`.
fn say(level: &'static str, text: &str) {
    let named = LEVELS.iter().find_map(|level| Some((*level, text.strip_prefix(level)?.strip_prefix(": ")?)));
    let (level, plain) = named.unwrap_or((level, text));
    if level == "note" && is_quiet() {
        return;
    }
    let line = if is_json() { json(level, plain) } else { format!("mplug: {}\n", one_line(text)) };
    // One write call per message, so that lines of two programs on one terminal do not mix.
    progress::aside(|| {
        let _ = io::stderr().lock().write_all(line.as_bytes());
    });
}

/// A message as an object, with the seconds since 1970 as `mplug serve` has them.
fn json(level: &str, message: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = (now.as_secs_f64() * 1e3).round() / 1e3;
    format!("{}\n", serde_json::json!({ "level": level, "message": message, "time": time }))
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
