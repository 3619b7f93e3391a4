//! How far a run is: a bar with rate, time left and failures on standard error where that is a terminal, a line a minute where it
//! is a log.

use std::cell::Cell;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::report;

/// Rate and time left need a few items before they mean anything; one item needs no bar.
const FEWEST_ITEMS: usize = 2;
/// Between two lines of a log.
const LINE_EVERY: Duration = Duration::from_mins(1);

/// The bar on this program's one terminal, if there is one now.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Runs `write`, which writes to the terminal, with the bar out of the way.
pub(crate) fn aside<T>(write: impl FnOnce() -> T) -> T {
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match shown {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Shows a bar in the place of the one before.
fn show(bar: ProgressBar) -> ProgressBar {
    *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.clone());
    bar
}

/// The progress of a run over a known number of items.
pub(crate) struct Progress {
    bar: ProgressBar,
    /// Where it goes to a log.
    log: Option<Log>,
}

/// Progress as lines.
struct Log {
    what: String,
    /// When the work began, and with how many items done.
    started: Instant,
    at_start: Cell<u64>,
    failed: Cell<usize>,
    last_line: Cell<Instant>,
}

impl Progress {
    /// Progress over `len` items called `what` ("pictures").
    pub(crate) fn new(len: usize, what: &str) -> Self {
        if len < FEWEST_ITEMS || report::is_quiet() {
            return Self { bar: ProgressBar::hidden(), log: None };
        }
        if !std::io::stderr().is_terminal() || report::is_json() {
            let started = Instant::now();
            let log = Log {
                what: what.to_owned(),
                started,
                at_start: Cell::new(0),
                failed: Cell::new(0),
                last_line: Cell::new(started),
            };
            let bar = ProgressBar::hidden();
            bar.set_length(len as u64);
            return Self { bar, log: Some(log) };
        }
        let template = format!("{{bar:30}} {{pos}}/{{len}} {what}, {{rate}}, {{eta}} left{{msg}}");
        let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let style = style.with_key("rate", |state: &ProgressState, to: &mut dyn std::fmt::Write| {
            // A rate that cannot be written is a rate not shown.
            let _ = write!(to, "{:.1}/s", state.per_sec());
        });
        Self { bar: show(ProgressBar::new(len as u64).with_style(style)), log: None }
    }

    /// A bar over `len` items called `what`, and nothing where standard error is no terminal.
    #[cfg(feature = "train")]
    fn on_terminal(len: usize, what: &str) -> Self {
        if std::io::stderr().is_terminal() && !report::is_json() {
            Self::new(len, what)
        } else {
            Self { bar: ProgressBar::hidden(), log: None }
        }
    }

    /// A bar over `len` bytes.
    #[cfg(feature = "hub")]
    pub(crate) fn of_bytes(len: u64) -> Self {
        let template = "{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self { bar: show(ProgressBar::new(len).with_style(style)), log: None }
    }

    /// Shows how much is done.
    #[cfg(any(feature = "hub", feature = "train"))]
    pub(crate) fn set(&self, done: u64) {
        self.bar.set_position(done);
    }

    /// Counts `items` that were done before this run, and say nothing of its rate.
    pub(crate) fn resume_at(&self, items: usize) {
        self.bar.set_position(items as u64);
        self.bar.reset_eta();
        if let Some(log) = &self.log {
            log.at_start.set(items as u64);
        }
    }

    /// `items` more are done.
    pub(crate) fn advance(&self, items: usize) {
        self.bar.inc(items as u64);
        let Some(log) = &self.log else { return };
        if log.last_line.get().elapsed() >= LINE_EVERY {
            log.last_line.set(Instant::now());
            report::info(log.line(
                self.bar.position(),
                self.bar.length().unwrap_or(0),
                log.started.elapsed(),
            ));
        }
    }

    /// Shows that `items` have failed until now.
    pub(crate) fn failed(&self, items: usize) {
        if let Some(log) = &self.log {
            log.failed.set(items);
        } else if items > 0 {
            self.bar.set_message(format!(", {items} failed"));
        }
    }
}

/// Shows how far a training step of several micro-batches is, on a terminal.
#[cfg(feature = "train")]
pub(crate) fn show_step(bar: &mut Option<Progress>, event: &mplug_train::Progress) {
    match event {
        mplug_train::Progress::MicroBatchDone { done, of } if done < of => {
            bar.get_or_insert_with(|| Progress::on_terminal(*of, "micro-batches")).set(*done as u64);
        }
        _ => *bar = None,
    }
}

impl Log {
    fn line(&self, done: u64, len: u64, elapsed: Duration) -> String {
        let rate = (done - self.at_start.get().min(done)) as f64 / elapsed.as_secs_f64().max(1e-3);
        let mut line = format!("{done}/{len} {}, {rate:.1}/s", self.what);
        if rate > 0.0 {
            let minutes = (len.saturating_sub(done) as f64 / rate / 60.0).ceil();
            // Writing to a string cannot fail.
            let _ = write!(line, ", {}:{:02} h left", minutes as u64 / 60, minutes as u64 % 60);
        }
        if self.failed.get() > 0 {
            let _ = write!(line, ", {} failed", self.failed.get());
        }
        line
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_rate_time_left_and_failures() {
        let now = Instant::now();
        let log = Log {
            what: "pictures".to_owned(),
            started: now,
            at_start: Cell::new(1000),
            failed: Cell::new(0),
            last_line: Cell::new(now),
        };
        let minute = Duration::from_mins(1);
        assert_eq!(log.line(1600, 7600, minute), "1600/7600 pictures, 10.0/s, 0:10 h left");
        log.failed.set(3);
        assert_eq!(log.line(1600, 40_000, minute), "1600/40000 pictures, 10.0/s, 1:04 h left, 3 failed");
        assert_eq!(log.line(1000, 2000, minute), "1000/2000 pictures, 0.0/s, 3 failed");
    }
}
