//! A bar with rate and time left on standard error, where that is a terminal; silent elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::report;

/// Rate and time left need a few items before they mean anything; one item needs no bar.
const FEWEST_ITEMS: usize = 2;

/// The progress of a run over a known number of items.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar over `len` items called `what` ("pictures"), shown only to a person.
    pub(crate) fn new(len: usize, what: &str) -> Self {
        if len < FEWEST_ITEMS || !std::io::stderr().is_terminal() {
            return Self { bar: ProgressBar::hidden() };
        }
        let template = format!("{{bar:30}} {{pos}}/{{len}} {what}, {{rate}}, {{eta}} left");
        let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let style = style.with_key("rate", |state: &ProgressState, to: &mut dyn std::fmt::Write| {
            // A rate that cannot be written is a rate not shown.
            let _ = write!(to, "{:.1}/s", state.per_sec());
        });
        Self { bar: ProgressBar::new(len as u64).with_style(style) }
    }

    /// A bar over `len` bytes.
    #[cfg(feature = "hub")]
    pub(crate) fn of_bytes(len: u64) -> Self {
        let template = "{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self { bar: ProgressBar::new(len).with_style(style) }
    }

    /// So much is done.
    #[cfg(feature = "hub")]
    pub(crate) fn set(&self, done: u64) {
        self.bar.set_position(done);
    }

    /// `items` more are done.
    pub(crate) fn advance(&self, items: usize) {
        self.bar.inc(items as u64);
    }

    /// A message above the bar.
    pub(crate) fn message(&self, text: &str) {
        self.bar.suspend(|| report::message(text));
    }

    /// Runs `write` with the bar out of the way, where it writes to the same terminal.
    pub(crate) fn aside<T>(&self, shares_terminal: bool, write: impl FnOnce() -> T) -> T {
        if shares_terminal { self.bar.suspend(write) } else { write() }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
