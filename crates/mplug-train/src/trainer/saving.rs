//! What a run writes: a checkpoint of its state and model, and what leads to it.

use super::Trainer;
use super::reporter::Reporter;
use crate::checkpoint::{BEST, LAST, State, Written};
use crate::error::TrainError;
use crate::log::Progress;

impl Trainer<'_> {
    /// Saves a checkpoint, lets `last` lead to it, and `best` where the last evaluation is the best, and removes old ones.
    pub(super) fn save(&mut self, reporter: &mut Reporter<'_>) -> Result<(), TrainError> {
        let step = self.progress.steps;
        if self.ranks.leads() {
            let (folder, model, recipe) = (self.folder.clone(), self.current(), self.config.to_toml());
            let log = reporter.synced_len()?;
            let (config, files, adapter) = (&self.shape, &self.files, self.adapter.as_ref());
            let written = Written { model: &model, config, files, adapter };
            let state = State {
                model: &mut self.model,
                optimizer: &mut self.optimizer,
                average: &mut self.average,
                objective: &mut *self.objective,
                progress: &mut self.progress,
                base: adapter.map(|adapter| &adapter.base_fingerprint[..]),
            };
            folder.write_step(&state, written, &recipe, log)?;
            folder.point(LAST, step)?;
            if self.has_new_best() {
                folder.point(BEST, step)?;
            }
            folder.remove_steps(self.config.run.keep_last)?;
        }
        self.saved = Some(step);
        reporter.report(&Progress::Saved { step })
    }

    /// Whether the evaluation of this step is the best.
    pub(super) fn has_new_best(&self) -> bool {
        self.progress.best.is_some() && self.progress.best_step == self.progress.steps
    }

    /// The model of the last step is where the run says it is.
    pub(super) fn check_result(&self) -> Result<(), TrainError> {
        let step = self.progress.steps;
        if !self.ranks.leads() || self.folder.pointed(LAST) == Some(step) {
            return Ok(());
        }
        let problem = format!(
            "expected the model of step {step}, which was removed or changed; resuming the run writes it anew"
        );
        Err(TrainError::content(self.folder.path().join(LAST), problem))
    }
}
