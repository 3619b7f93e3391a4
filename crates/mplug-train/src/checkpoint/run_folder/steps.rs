//! The model folders of single steps, named after them.

use std::ops::RangeInclusive;

use super::{RunFolder, foreign};
use crate::checkpoint::files;
use crate::error::TrainError;

impl RunFolder {
    /// The models of the steps to come have their places free.
    ///
    /// # Errors
    /// [`TrainError::Content`] where there is something that this run did not make.
    pub fn check_steps(&self, steps: RangeInclusive<u64>) -> Result<(), TrainError> {
        let found = self.steps()?.into_iter().filter(|step| steps.contains(step));
        match found.map(|step| self.path.join(step_folder(step))).find(|path| !self.owns(path)) {
            None => Ok(()),
            Some(path) => Err(foreign(path)),
        }
    }

    /// The steps that something is named after, in ascending order.
    fn steps(&self) -> Result<Vec<u64>, TrainError> {
        let entries = std::fs::read_dir(&self.path).map_err(TrainError::file(&self.path))?;
        let mut steps: Vec<u64> =
            entries.filter_map(|entry| step_of(&entry.ok()?.file_name().into_string().ok()?)).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// Removes the run's own models of steps up to `step`, all but the last `keep`.
    pub fn remove_steps(&self, step: u64, keep: usize) -> Result<(), TrainError> {
        let mut steps = self.steps()?;
        steps.retain(|found| *found <= step && self.owns(&self.path.join(step_folder(*found))));
        for old in steps.iter().rev().skip(keep) {
            // Under its name a folder is whole or not there.
            let staging = self.staging()?;
            let path = self.path.join(step_folder(*old));
            files::rename(&path, &staging.path.join(step_folder(*old))).map_err(TrainError::file(path))?;
        }
        Ok(())
    }
}

/// The folder of a step's model.
pub fn step_folder(step: u64) -> String {
    format!("step-{step:08}")
}

/// The step of such a name.
fn step_of(name: &str) -> Option<u64> {
    let step = name.strip_prefix("step-")?.parse().ok()?;
    (step_folder(step) == name).then_some(step)
}
