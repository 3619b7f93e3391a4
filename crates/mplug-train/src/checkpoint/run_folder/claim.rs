//! Making the folder a process's own: the lock, what is in the way, and what a killed process left.

use std::fs::{File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;

use super::mark::{RECORD, holds_an_empty_record_alone, mark_in, record, recorded_in};
use super::writing::replaced;
use super::{BEST, LAST, RECIPE, RunFolder, STATE, foreign, found_at};
use crate::checkpoint::files;
use crate::error::TrainError;

/// The file that a training process locks.
const LOCK: &str = "run.lock";
/// What a run writes beside models and logs that have the time in their names.
const FILES: [&str; 6] = [STATE, RECIPE, RECORD, "log.jsonl", "report.html", "tensorboard"];

/// Unlocked when it is dropped: a process that was started meanwhile holds the file open too until it runs its own program.
#[derive(Debug)]
pub(super) struct LockedFile(File);

impl Drop for LockedFile {
    fn drop(&mut self) {
        let _none = self.0.unlock();
    }
}

impl RunFolder {
    /// Makes the folder this process's, and removes what one that was killed in the middle of a write left.
    ///
    /// # Errors
    /// [`TrainError::Content`] if another process trains here (on file systems without locks nothing is kept off), if
    /// the folder holds what this run would replace and did not make, or, without `resume`, a run.
    pub fn claim(&mut self, resume: bool) -> Result<(), TrainError> {
        self.check(resume)?;
        self.lock = Some(Arc::new(LockedFile(self.locked()?)));
        // Another process may have begun a run in between.
        self.check(resume)?;
        self.run = match self.recorded_run()? {
            Some(run) => run,
            None => self.record_new_run()?,
        };
        self.remove_leftovers()
    }

    /// Nothing is in the way that is not the run's own.
    fn check(&self, resume: bool) -> Result<(), TrainError> {
        self.check_state(resume)?;
        let (run, has_state) = (self.recorded_run()?, self.has_state()?);
        for name in FILES {
            let path = self.path.join(name);
            let Some(found) = found_at(&path)? else { continue };
            let is_new = run.is_none() && !has_state && !(name == RECORD && found.len() == 0);
            if found.is_symlink() || is_new {
                return Err(foreign(path));
            }
        }
        for name in [LAST, BEST] {
            let path = self.path.join(name);
            if found_at(&path)?.is_none() {
                continue;
            }
            let Some(mark) = run.as_ref().and_then(|run| mark_in(&path, run)) else {
                return Err(foreign(path));
            };
            // A run that was ended before its first checkpoint may have evaluated, no more; nothing is learned at step 0.
            if !has_state && (name == LAST || !(resume || mark.step == 0)) {
                let problem = "is a model of a run without its state.safetensors, which would be replaced; move it away, or \
                               choose another output folder";
                return Err(TrainError::content(path, problem));
            }
        }
        Ok(())
    }

    /// Refuses a folder that holds a run, which only `resume` goes on with.
    pub fn check_state(&self, resume: bool) -> Result<(), TrainError> {
        if resume || !self.has_state()? {
            return Ok(());
        }
        let problem = "holds a run already: resume it, or choose another output folder";
        Err(TrainError::content(&self.path, problem))
    }

    /// The lock file, locked. What it holds is not touched.
    fn locked(&self) -> Result<File, TrainError> {
        let path = self.path.join(LOCK);
        if found_at(&path)?.is_some_and(|found| found.is_symlink()) {
            return Err(foreign(path));
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(TrainError::file(&path))?;
        if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            return Err(TrainError::content(&self.path, "another process trains in this folder"));
        }
        Ok(file)
    }

    /// The number of the run whose folder this is, if it has one.
    fn recorded_run(&self) -> Result<Option<String>, TrainError> {
        let path = self.path.join(RECORD);
        match found_at(&path)? {
            None => Ok(None),
            // The system crashed before the number was written.
            Some(found) if found.is_file() && found.len() == 0 => Ok(None),
            Some(found) if found.is_file() => recorded_in(&path).map(Some).ok_or_else(|| foreign(path)),
            Some(_) => Err(foreign(path)),
        }
    }

    fn record_new_run(&self) -> Result<String, TrainError> {
        let path = self.path.join(RECORD);
        let run = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        if found_at(&path)?.is_some() {
            std::fs::remove_file(&path).map_err(TrainError::file(&path))?;
        }
        if let Err(error) = files::write_new(&path, record(&run).as_bytes()) {
            // Half a number would be a stranger's at the next start.
            let _gone = std::fs::remove_file(&path);
            return Err(TrainError::file(path)(error));
        }
        files::sync_folder(&self.path).map_err(TrainError::file(&self.path))?;
        Ok(run)
    }

    fn remove_leftovers(&self) -> Result<(), TrainError> {
        let path = self.staging_path();
        let Some(found) = found_at(&path)? else { return Ok(()) };
        if !found.is_dir() {
            return Err(foreign(path));
        }
        let is_ours = recorded_in(&path.join(RECORD)).as_ref() == Some(&self.run);
        if !is_ours && !holds_an_empty_record_alone(&path) {
            // Made, and not marked yet; or not ours, and then not empty.
            return std::fs::remove_dir(&path).map_err(|_| foreign(path));
        }
        self.put_best_back(&path)?;
        files::remove_marked_folder(&path, RECORD).map_err(TrainError::file(path))
    }

    /// Where names cannot change places in one step, a run may have been killed when the best had none.
    fn put_best_back(&self, staging: &Path) -> Result<(), TrainError> {
        let best = self.path.join(BEST);
        for kept in [staging.join(BEST), staging.join(replaced(BEST))] {
            if found_at(&best)?.is_none() && self.whole(&kept).is_some() {
                files::rename(&kept, &best).map_err(TrainError::file(&best))?;
            }
        }
        Ok(())
    }
}
