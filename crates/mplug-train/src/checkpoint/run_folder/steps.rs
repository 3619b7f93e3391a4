//! The checkpoints of a run, named after their steps.

use std::ops::RangeInclusive;

use super::{BEST, LAST, Mark, RunFolder, foreign};
use crate::checkpoint::files;
use crate::entry::Resume;
use crate::error::TrainError;

impl RunFolder {
    /// The checkpoints of the steps to come have their places free.
    ///
    /// # Errors
    /// [`TrainError::Content`] where there is something that this run did not make.
    pub fn check_steps(&self, steps: RangeInclusive<u64>) -> Result<(), TrainError> {
        let found = self.steps()?.into_iter().filter(|step| steps.contains(step));
        match found.map(|step| self.step_path(step)).find(|path| !self.owns(path)) {
            None => Ok(()),
            Some(path) => Err(foreign(path)),
        }
    }

    /// The steps that something is named after, in ascending order.
    fn steps(&self) -> Result<Vec<u64>, TrainError> {
        let entries = std::fs::read_dir(&self.path).map_err(TrainError::file(&self.path))?;
        let mut steps: Vec<u64> =
            entries.filter_map(|entry| step_of(entry.ok()?.file_name().to_str()?)).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// The steps of the run's own checkpoints, whole or not, in ascending order.
    pub(super) fn own_steps(&self) -> Result<Vec<u64>, TrainError> {
        let mut steps = self.steps()?;
        steps.retain(|step| self.owns(&self.step_path(*step)));
        Ok(steps)
    }

    /// What the run's checkpoint of `step` is of, if it is whole.
    pub fn checkpoint(&self, step: u64) -> Option<Mark> {
        self.whole(&self.step_path(step)).filter(|mark| mark.step == step)
    }

    /// The steps of the run's whole checkpoints, in ascending order.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn checkpoints(&self) -> Result<Vec<u64>, TrainError> {
        let mut steps = self.own_steps()?;
        steps.retain(|step| self.checkpoint(*step).is_some());
        Ok(steps)
    }

    /// The step that a run is entered at; none where it begins anew.
    ///
    /// # Errors
    /// [`TrainError::Content`] where none of its checkpoints is whole, or that of the wanted step is not.
    pub fn chosen(&self, resume: Resume) -> Result<Option<u64>, TrainError> {
        let (own, whole) = (self.own_steps()?, self.checkpoints()?);
        let found = match resume {
            Resume::Never => None,
            Resume::Last => whole.last().copied(),
            Resume::From(step) => whole.iter().copied().find(|found| *found == step),
        };
        let missing = |step: u64| {
            let kept: Vec<String> = whole.iter().map(u64::to_string).collect();
            let kept = match &kept[..] {
                [] => "the run has no whole checkpoint".to_owned(),
                kept => format!("the run has those of the steps {}", kept.join(", ")),
            };
            let problem = format!("expected a checkpoint of this run with all its files, found none; {kept}");
            TrainError::content(self.step_path(step), problem)
        };
        match (resume, found, own.last()) {
            (Resume::From(step), None, _) => Err(missing(step)),
            (Resume::Last, None, Some(damaged)) => Err(missing(*damaged)),
            _ => Ok(found),
        }
    }

    /// Removes the run's own checkpoints, all but the latest `keep` and those that `last` and `best` lead to.
    ///
    /// # Errors
    /// When that fails.
    pub fn remove_steps(&self, keep: usize) -> Result<(), TrainError> {
        let kept = [LAST, BEST].map(|name| self.pointed(name));
        let old = self.own_steps()?.into_iter().rev().skip(keep);
        for step in old.filter(|step| !kept.contains(&Some(*step))) {
            self.remove(&step_folder(step))?;
        }
        Ok(())
    }

    /// Makes room for a run that begins anew where one ended before it learned anything: its checkpoint of step 0 goes.
    ///
    /// # Errors
    /// When that fails.
    pub fn begin_anew(&self) -> Result<(), TrainError> {
        self.remove_pointer(LAST)?;
        self.remove_pointer(BEST)?;
        self.own_steps()?.into_iter().try_for_each(|step| self.remove(&step_folder(step)))
    }

    /// Removes one of the run's own folders or links. Under its name it is whole or not there.
    pub(super) fn remove(&self, name: &str) -> Result<(), TrainError> {
        let (staging, path) = (self.staging()?, self.path.join(name));
        files::rename(&path, &staging.path.join(name)).map_err(TrainError::file(path))
    }
}

/// The folder of a step's checkpoint.
pub fn step_folder(step: u64) -> String {
    format!("step-{step:06}")
}

/// The step of such a name.
pub(super) fn step_of(name: &str) -> Option<u64> {
    let step = name.strip_prefix("step-")?.parse().ok()?;
    (step_folder(step) == name).then_some(step)
}
