//! The events of an evaluation as a progress bar and messages, and its errors in the words of the command line.

use std::ops::ControlFlow;

use mplug_eval::{EvalError, Event};

use crate::{hint, progress::Progress, report};

/// Shows the events of one run.
#[derive(Default)]
pub(super) struct Show {
    /// That of the part at hand.
    progress: Option<Progress>,
}

impl Show {
    /// Runs `work` with a listener that shows what happens; the bar is gone when it ends.
    pub(super) fn events<T>(
        work: impl FnOnce(&mut dyn FnMut(Event<'_>) -> ControlFlow<()>) -> Result<T, EvalError>,
    ) -> anyhow::Result<T> {
        let mut show = Self::default();
        work(&mut |event| {
            show.event(event);
            ControlFlow::Continue(())
        })
        .map_err(worded)
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Resumed { known, count } => {
                report::message(format!("{known} of {count} pictures are captioned already"));
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
fn worded(error: EvalError) -> anyhow::Error {
    match error {
        EvalError::FrequencyReferences { source } => {
            anyhow::Error::from(source).context("`--document-frequencies`")
        }
        EvalError::Journal(error) => hint::of_journal(error),
        EvalError::Metrics(error @ caption_metrics::Error::NoJieba) => {
            anyhow::anyhow!("{error}: build with `--features jieba`")
        }
        error => error.into(),
    }
}
