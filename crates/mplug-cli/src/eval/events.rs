//! The events of an evaluation as a progress bar and messages, and its errors in the words of the command line.

use std::ops::ControlFlow;

use mplug_eval::{DatasetProblem, EvalError, Event};

use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::{hint, report};

/// Shows the events of one run.
pub(super) struct Show<'i> {
    interrupt: &'i Interrupt,
    /// That of the part at hand.
    progress: Option<Progress>,
}

impl<'i> Show<'i> {
    /// Shows until `interrupt` ends the run after the batch at hand.
    pub(super) fn until(interrupt: &'i Interrupt) -> Self {
        Self { interrupt, progress: None }
    }

    /// Runs `work` with a listener that shows what happens; the bar is gone when it ends.
    pub(super) fn events<T>(
        mut self,
        work: impl FnOnce(&mut dyn FnMut(Event<'_>) -> ControlFlow<()>) -> Result<T, EvalError>,
    ) -> anyhow::Result<T> {
        work(&mut |event| {
            self.event(event);
            if self.interrupt.came() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .map_err(worded)
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Resumed { known, count } => {
                report::info(format!("{known} of {count} pictures are captioned already"));
            }
            Event::Started { count, what } => {
                // The bar of the part before goes first.
                self.progress = None;
                self.progress = Some(Progress::new(count, what));
            }
            Event::Progress { count } => {
                if let Some(progress) = &self.progress {
                    progress.advance(count);
                }
            }
            Event::Failed { message } => report::message(message),
            Event::Note { message } => report::message(format!("note: {message}")),
            _ => {}
        }
    }
}

/// An error in words that the library cannot know: of commands, options and builds.
pub(crate) fn worded(error: EvalError) -> anyhow::Error {
    match error {
        EvalError::FrequencyReferences { source } => {
            anyhow::Error::from(source).context("`--document-frequencies`")
        }
        EvalError::Journal(error) => hint::of_journal(error),
        EvalError::Data(error) => hint::of_data(error),
        EvalError::Dataset { problem: DatasetProblem::NoCandidates { .. }, .. } => {
            anyhow::anyhow!("{error}; `--subset` scores those that have one")
        }
        EvalError::Metrics(error @ caption_metrics::Error::NoJieba) => {
            anyhow::anyhow!("{error}: build with `--features jieba`")
        }
        error => error.into(),
    }
}
