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

/// Says how a run ended.
pub(super) fn conclude(summary: &Summary) -> Status {
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
    if failed > 0 && inputs > 1 {
        report::message(format!("{failed} of {inputs} inputs failed"));
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
