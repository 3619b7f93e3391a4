//! Tests of training: the original's losses and gradients, learning and resuming on a toy data, recipes.

mod annotated;
mod epochs;
mod evaluation;
mod fine_tuning;
mod golden;
mod kept_run;
mod objectives;
mod original_trainer;
mod partial;
mod preflight;
mod recipe;
mod results;
mod resume;
mod run_folder;
mod schedules;
mod skipped_steps;
mod toy;
mod unused;

use std::ops::ControlFlow;

use mplug_train::Progress;

/// Collects the events that the logs have, and ends nothing.
pub(crate) fn listener(events: &mut Vec<Progress>) -> impl FnMut(&Progress) -> ControlFlow<()> {
    |event| {
        if event.is_logged() {
            events.push(event.clone());
        }
        ControlFlow::Continue(())
    }
}
