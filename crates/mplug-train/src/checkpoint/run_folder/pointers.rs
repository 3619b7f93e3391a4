//! `last` and `best`: relative links to checkpoints, which change places with the old ones at once. Where the system has no links
//! they are copies of the checkpoints' models. Knows no training.

use std::path::Path;

use super::mark::{MARK, Mark};
use super::steps::step_of;
use super::{RunFolder, STATE, foreign, found_at, step_folder};
use crate::checkpoint::files;
use crate::error::TrainError;

/// What leads to the last checkpoint.
pub const LAST: &str = "last";
/// What leads to the checkpoint of the best evaluation.
pub const BEST: &str = "best";

impl RunFolder {
    /// The step whose checkpoint `name` leads to, if that is whole.
    pub fn pointed(&self, name: &str) -> Option<u64> {
        let path = self.path.join(name);
        match linked_step(&path) {
            Some(step) => self.checkpoint(step).map(|_| step),
            None => self.whole(&path).map(|mark| mark.step),
        }
    }

    /// Lets `name` lead to the checkpoint of `step`.
    ///
    /// # Errors
    /// When there is something that the run did not make, and when writing fails.
    pub fn point(&self, name: &str, step: u64) -> Result<(), TrainError> {
        let path = self.path.join(name);
        if !self.may_replace(&path)? {
            return Err(foreign(path));
        }
        let mut staging = self.staging()?;
        let new = staging.path.join(name);
        let io = || TrainError::file(&path);
        if !files::link(&step_folder(step), &new).map_err(io())? {
            self.copy_model(step, &new).map_err(io())?;
        }
        self.put(&mut staging, name)
    }

    /// Copies the model of a checkpoint to the new folder `new`. What only a resumed run needs is not copied.
    fn copy_model(&self, step: u64, new: &Path) -> std::io::Result<()> {
        files::create_folder(new)?;
        for entry in std::fs::read_dir(self.step_path(step))? {
            let entry = entry?;
            if entry.file_name() != STATE && entry.file_name() != MARK {
                files::copy(&entry.path(), &new.join(entry.file_name()))?;
            }
        }
        let mark = self.mark_file(Mark { step, log: 0 }, new)?;
        files::write_new(&new.join(MARK), mark.as_bytes())?;
        files::sync_content(new)
    }

    /// Removes `name`, if it is the run's.
    ///
    /// # Errors
    /// When that fails.
    pub fn remove_pointer(&self, name: &str) -> Result<(), TrainError> {
        let path = self.path.join(name);
        if linked_step(&path).is_some() || self.owns(&path) { self.remove(name) } else { Ok(()) }
    }

    /// Whether nothing is at `path`, or what the run put there.
    pub(super) fn may_replace(&self, path: &Path) -> Result<bool, TrainError> {
        let is_free = found_at(path)?.is_none();
        Ok(is_free || linked_step(path).is_some() || self.owns(path))
    }
}

/// The step that a link leads to, if it is one to a neighbour that is named as a step.
pub(super) fn linked_step(path: &Path) -> Option<u64> {
    step_of(std::fs::read_link(path).ok()?.to_str()?)
}
