//! What a run does not go on from any more, and does not throw away: checkpoints after the one that it was resumed from, and lines of
//! its log. It lies in `superseded`. Knows no training.

use super::{RunFolder, found_at, step_folder};
use crate::checkpoint::files;
use crate::error::TrainError;

/// The folder of what was set aside.
pub const SUPERSEDED: &str = "superseded";

impl RunFolder {
    /// Sets the run's checkpoints after `step` aside; gives their steps, in ascending order.
    ///
    /// # Errors
    /// When that fails.
    pub fn set_aside_after(&self, step: u64) -> Result<Vec<u64>, TrainError> {
        let mut later = self.own_steps()?;
        later.retain(|found| *found > step);
        // The latest first: a process that is killed on the way leaves a run that ends earlier.
        for step in later.iter().rev() {
            self.make_superseded()?;
            let (path, name) = (self.step_path(*step), step_folder(*step));
            let mut aside = self.path.join(SUPERSEDED).join(&name);
            let mut number = 2;
            while found_at(&aside)?.is_some() {
                aside = self.path.join(SUPERSEDED).join(format!("{name}-{number}"));
                number += 1;
            }
            files::rename(&path, &aside).map_err(TrainError::file(path))?;
        }
        Ok(later)
    }

    /// Makes the folder of what is set aside.
    pub(crate) fn make_superseded(&self) -> Result<(), TrainError> {
        let path = self.path.join(SUPERSEDED);
        if found_at(&path)?.is_some_and(|found| found.is_dir()) {
            return Ok(());
        }
        files::create_folder(&path).map_err(TrainError::file(path))
    }
}
