//! How a run enters its folder: as its own, and from the state that is there.

use super::Trainer;
use crate::checkpoint::{BEST, LAST, Mark, step_folder};
use crate::error::TrainError;
use crate::log::Progress;

impl Trainer<'_> {
    /// Makes the run folder ours, and goes on from the state in it.
    pub(super) fn enter(&mut self, resume: bool) -> Result<Option<Progress>, TrainError> {
        let leads = self.ranks.leads();
        if leads {
            self.folder.claim(resume)?;
        } else {
            self.folder.check_state(resume)?;
        }
        if resume {
            self.resume()?;
        }
        let mended = if leads && resume { self.mend()? } else { None };
        self.share_progress();
        if leads {
            if self.config.run.keep_last > 1 {
                self.folder.check_steps(self.progress.steps + 1..=self.length.steps)?;
            }
            self.folder.write_recipe(&self.config.to_toml())?;
        }
        Ok(mended)
    }

    /// Takes the folder's state back, if its recipe is ours.
    fn resume(&mut self) -> Result<(), TrainError> {
        let folder = self.folder.clone();
        let has_state = folder.has_state()?;
        if !has_state && folder.model(BEST).is_none() {
            return Ok(());
        }
        let differences = match folder.recipe()? {
            Some(recipe) => self.config.differences(&recipe),
            None => Vec::new(),
        };
        if !differences.is_empty() {
            let path = folder.path().to_owned();
            return Err(TrainError::OtherRecipe { path, differences: differences.join("; ") });
        }
        if has_state {
            folder.read_state(&mut self.state())?;
            self.saved = Some(self.progress.steps);
        }
        Ok(())
    }

    /// Writes the model folders that a run which was ended after its state did not come to write.
    fn mend(&mut self) -> Result<Option<Progress>, TrainError> {
        let (step, mut written, mut lost) = (self.progress.steps, Vec::new(), Vec::new());
        let is_of = |found: Option<Mark>, step: u64| found.is_some_and(|found| found.step == step);
        if let Some(Mark { step, best: Some(best) }) = self.folder.model(BEST) {
            // It may be of a later step than the state, which the run takes again.
            (self.progress.best, self.progress.best_step) = (Some(best), step);
        } else if self.progress.best.is_some() && self.progress.best_step == step {
            self.write_model(BEST)?;
            written.push(BEST.to_owned());
        } else if self.progress.best.take().is_some() {
            self.progress.evaluations_since_best = 0;
            let of = self.progress.best_step;
            lost.push(format!("{BEST} (step {of}) is gone; the next evaluation is the best so far"));
        }
        if self.saved.is_some() {
            let of_step = step_folder(step);
            let wanted = if self.config.run.keep_last > 1 { vec![LAST, &of_step] } else { vec![LAST] };
            for name in wanted.into_iter().filter(|name| !is_of(self.folder.model(name), step)) {
                if self.folder.may_write(name) {
                    self.write_model(name)?;
                    written.push(name.to_owned());
                } else {
                    lost.push(format!("{name} is not this run's, so step {step} has no folder of its own"));
                }
            }
            self.remove_steps()?;
        }
        let is_whole = written.is_empty() && lost.is_empty();
        Ok(if is_whole { None } else { Some(Progress::Mended { step, written, lost }) })
    }
}
