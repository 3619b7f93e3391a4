//! What a run writes: its state, and the models of it.

use mplug_nn::Mplug;

use super::Trainer;
use crate::checkpoint::{BEST, LAST, Mark, RunProgress, State, Written, step_folder};
use crate::error::TrainError;
use crate::log::Progress;

impl Trainer<'_> {
    pub(super) fn state(&mut self) -> State<'_> {
        State {
            model: &mut self.model,
            optimizer: &mut self.optimizer,
            average: &mut self.average,
            objective: &mut *self.objective,
            progress: &mut self.progress,
            base: self.adapter.as_ref().map(|adapter| &adapter.base_fingerprint[..]),
        }
    }

    /// Saves the state, and then the models, which it holds too.
    pub(super) fn save(&mut self) -> Result<Progress, TrainError> {
        let step = self.progress.steps;
        if self.ranks.leads() {
            let folder = self.folder.clone();
            folder.write_state(&self.state())?;
            self.write_model(LAST)?;
            if self.config.run.keep_last > 1 {
                self.write_model(&step_folder(step))?;
            }
            self.remove_steps()?;
        }
        self.saved = Some(step);
        Ok(Progress::Saved { step })
    }

    /// Writes the model folder `name` from the weights as they are.
    pub(super) fn write_model(&self, name: &str) -> Result<(), TrainError> {
        self.folder.write_model(name, self.mark(name), self.written(&self.current()))
    }

    pub(super) fn mark(&self, name: &str) -> Mark {
        let RunProgress { steps, best, .. } = self.progress;
        Mark { step: steps, best: best.filter(|_| name == BEST) }
    }

    pub(super) fn written<'w>(&'w self, model: &'w Mplug) -> Written<'w> {
        Written { model, config: &self.shape, files: &self.files, adapter: self.adapter.as_ref() }
    }

    pub(super) fn remove_steps(&self) -> Result<(), TrainError> {
        let keep = self.config.run.keep_last;
        if keep > 1 { self.folder.remove_steps(self.progress.steps, keep) } else { Ok(()) }
    }

    /// The model of the last step is where the run says it is.
    pub(super) fn check_result(&self) -> Result<(), TrainError> {
        let step = self.progress.steps;
        if !self.ranks.leads() || self.folder.model(LAST).is_some_and(|found| found.step == step) {
            return Ok(());
        }
        let problem = format!(
            "expected the model of step {step}, which was removed or changed; resuming the run writes it anew"
        );
        Err(TrainError::content(self.folder.path().join(LAST), problem))
    }
}
