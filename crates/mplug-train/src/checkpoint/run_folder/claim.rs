//! Making the folder a process's own: the lock, what is in the way, and what a killed process left.

use std::fs::{File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;

use super::mark::{RECORD, holds_an_empty_record_alone, mark_in, record, recorded_in};
use super::pointers::linked_step;
use super::writing::REPLACED;
use super::{BEST, LAST, RECIPE, RunFolder, STATE, SUPERSEDED, foreign, found_at};
use crate::checkpoint::files;
use crate::error::TrainError;

/// The file that a training process locks.
const LOCK: &str = "run.lock";
/// What a run writes beside checkpoints and logs that have the time in their names.
const FILES: [&str; 7] =
    [RECIPE, RECORD, SUPERSEDED, "log.jsonl", "history.jsonl", "report.html", "tensorboard"];

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
    /// the folder holds what this run would replace and did not make, with `resume` no run, and without it a run with a
    /// checkpoint of what it learned.
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

    /// Takes note of the run in the folder, as a process does that does not write in it.
    ///
    /// # Errors
    /// [`TrainError::Content`] if it holds none.
    pub fn join(&mut self) -> Result<(), TrainError> {
        let problem = "expected the folder of a run to resume, which has a run.json, found none; start a run there, or name the \
                       folder of one";
        let found = self.recorded_run()?;
        self.run = found.ok_or_else(|| TrainError::content(&self.path, problem))?;
        Ok(())
    }

    /// Nothing is in the way that is not the run's own.
    fn check(&self, resume: bool) -> Result<(), TrainError> {
        let run = self.recorded_run()?;
        for name in FILES {
            let path = self.path.join(name);
            let Some(found) = found_at(&path)? else { continue };
            let is_new = run.is_none() && !(name == RECORD && found.len() == 0);
            if found.is_symlink() || is_new {
                return Err(foreign(path));
            }
        }
        for name in [LAST, BEST] {
            let path = self.path.join(name);
            let is_ours = |run: &String| linked_step(&path).is_some() || mark_in(&path, run).is_some();
            if found_at(&path)?.is_some() && !run.as_ref().is_some_and(is_ours) {
                return Err(foreign(path));
            }
        }
        let state = self.path.join(STATE);
        if found_at(&state)?.is_some() {
            let problem = "is in the way: runs have no such file beside their checkpoints, but an earlier version's had; move it \
                           away, or start a new run from the model in `last` in another output folder";
            return Err(TrainError::content(state, problem));
        }
        let known = Self { run: run.clone().unwrap_or_default(), ..self.clone() };
        if resume {
            known.clone().join()
        } else if run.is_some() && known.own_steps()?.last().is_some_and(|step| *step > 0) {
            let problem = "holds a run already: resume it, or choose another output folder";
            Err(TrainError::content(&self.path, problem))
        } else {
            Ok(())
        }
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
        self.put_back(&path)?;
        files::remove_marked_folder(&path, RECORD).map_err(TrainError::file(path))
    }

    /// Where names cannot change places in one step, a run may have been killed when one of its own had none.
    fn put_back(&self, staging: &Path) -> Result<(), TrainError> {
        let entries = std::fs::read_dir(staging).map_err(TrainError::file(staging))?;
        for entry in entries {
            let kept = entry.map_err(TrainError::file(staging))?.path();
            let Some(name) = kept.file_name().and_then(|name| name.to_str()?.strip_prefix(REPLACED)) else {
                continue;
            };
            let path = self.path.join(name);
            if found_at(&path)?.is_none() {
                files::rename(&kept, &path).map_err(TrainError::file(&path))?;
            }
        }
        Ok(())
    }
}
