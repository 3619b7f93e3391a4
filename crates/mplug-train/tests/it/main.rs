//! Tests of training: the original's losses and gradients, learning and resuming on a toy data, recipes.

mod annotated;
mod fine_tuning;
mod golden;
mod kept_run;
mod objectives;
mod partial;
mod recipe;
mod run_folder;
mod skipped_steps;
mod toy;

use std::ops::ControlFlow;

use mplug_train::Progress;

/// Collects the events that the logs have, and ends nothing.
pub(crate) fn listener(events: &mut Vec<Progress>) -> impl FnMut(&Progress) -> ControlFlow<()> {
    |event| {
        if !matches!(event, Progress::StepDone { .. }) {
            events.push(event.clone());
        }
        ControlFlow::Continue(())
    }
}
