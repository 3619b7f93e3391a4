//! What is said while pictures are captioned, and at the end.

use std::ops::ControlFlow;

use mplug_bulk::{Event, StoppedBy, Summary};

use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::status::Status;
use crate::{hint, report};

/// What a person sees of a run, and how they end it.
#[derive(Default)]
pub(super) struct View {
    progress: Option<Progress>,
    /// Listened to once the work begins: until then Ctrl-C ends the program at once.
    interrupt: Option<Interrupt>,
}

impl View {
    /// From now on Ctrl-C ends the run after the batch at hand.
    pub(super) fn listen(&mut self) -> anyhow::Result<()> {
        self.interrupt = Some(Interrupt::listen()?);
        Ok(())
    }

    /// Shows what happens, and says whether somebody wants the run to end.
    pub(super) fn show(&mut self, event: Event<'_>) -> ControlFlow<()> {
        match event {
            Event::Skipped { pictures } => {
                report::info(format!("{pictures} pictures have a text file already (`--on-existing skip`)"));
            }
            Event::Resumed { done, inputs } => {
                report::info(format!("{done} of {inputs} inputs were done already"));
            }
            Event::Started { done, inputs } => {
                let progress = Progress::new(inputs, "pictures");
                progress.resume_at(done);
                self.progress = Some(progress);
            }
            Event::Failed { path, language, failure } => {
                let message = hint::of_failure_in(path, language, failure);
                let not_tried = if failure.is_passing { format!(" ({NOT_TRIED})") } else { String::new() };
                report::message(message + &not_tried);
            }
            Event::Advanced { by, failed } => {
                if let Some(progress) = &self.progress {
                    progress.failed(failed);
                    progress.advance(by);
                }
            }
            _ => {}
        }
        if self.interrupt.as_ref().is_some_and(Interrupt::came) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// What is said of a failure that passes.
const NOT_TRIED: &str = "not tried to the end";
/// A run of at least this many seconds is reported with its speed.
const LONG_RUN_SECONDS: f64 = 30.0;

/// Kinds of files in the last line before it says how many there are.
const MOST_KINDS: usize = 5;

/// What became of the inputs, and of the files that were none.
fn closing_line(summary: &Summary, captioned: usize, place: Option<String>) -> String {
    let Summary { inputs, failed, skipped, .. } = *summary;
    let mut parts = vec![format!("{captioned} captioned")];
    if failed > 0 {
        parts.push(format!("{failed} of {inputs} inputs failed"));
    }
    if skipped > 0 {
        parts.push(format!("{skipped} have a text file already"));
    }
    let passed_over = &summary.passed_over;
    if passed_over.count() > 0 {
        let kinds = passed_over.kinds();
        let shown = kinds.iter().take(MOST_KINDS).map(|(what, count)| format!("{what}: {count}"));
        let more = if kinds.len() > MOST_KINDS { ", …" } else { "" };
        let shown = shown.collect::<Vec<_>>().join(", ");
        parts.push(format!("{} passed over ({shown}{more})", passed_over.count()));
    }
    let place = place.map_or_else(String::new, |place| format!("; {place}"));
    format!("{} in {:.1} s{place}", parts.join(", "), summary.took.as_secs_f64())
}

/// Says how a run ended.
pub(super) fn conclude(summary: &Summary, place: Option<String>) -> Status {
    let Summary { inputs, done, failed, passing, is_resumable, .. } = *summary;
    let seconds = summary.took.as_secs_f64();
    if seconds >= LONG_RUN_SECONDS {
        report::info(format!(
            "{} pictures in {seconds:.0} s, {:.1}/s; the model had pictures {:.0} % of the time",
            summary.advanced,
            summary.advanced as f64 / seconds,
            100.0 * summary.busy.as_secs_f64() / seconds
        ));
    }
    if let Some(stopped_by) = summary.stopped_by {
        let (why, status) = match stopped_by {
            StoppedBy::Failure => ("stopped at the first failure (`--errors fail`)", Status::SomeFailed),
            StoppedBy::Caller => ("stopped by a signal", Status::Interrupted),
        };
        let resume = if is_resumable { "; the same command with `--resume` goes on from there" } else { "" };
        report::message(format!("{why}, {done} of {inputs} inputs done{resume}"));
        return status;
    }
    let (captioned, doubtful) = (done + passing - failed, summary.passed_over.doubtful());
    let are_many = inputs > 1 || (captioned > 0 && doubtful > 0);
    let is_news = failed > 0 || doubtful > 0 || place.is_some() || seconds >= LONG_RUN_SECONDS;
    if are_many && is_news {
        report::message(closing_line(summary, captioned, place));
        for (reason, count) in summary.reasons.iter().filter(|(_, count)| *count > 1) {
            report::message(format!("{count} x {reason}"));
        }
    }
    if passing > 0 {
        let how = if is_resumable { "run again with `--resume`" } else { "run again" };
        report::message(format!("{passing} of {inputs} inputs {NOT_TRIED}; {how}"));
    }
    Status::of_failures(failed)
}
