//! The run folder, and which of its content is the run's own. A run has a number, which `run.json` keeps and every model folder
//! repeats beside its weights (`checkpoint.json`). What lacks the number, and every link, is somebody else's: it is neither
//! replaced nor removed. Whatever is written lies first in a folder of the run's own (`.mplug-train-` and the number), is
//! handed to the disk, and gets its name then. Knows no training.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mplug::checkpoint::{CheckpointError, WriteOptions, write_model_folder_of};
use mplug::config::ModelConfig;
use mplug_nn::Mplug;
use serde::{Deserialize, Serialize};

use super::files;
use crate::error::TrainError;

/// The model folder of the last checkpoint.
pub const LAST: &str = "last";
/// The model folder of the best evaluation.
pub const BEST: &str = "best";
/// The state file.
pub(super) const STATE: &str = "state.safetensors";
/// The recipe.
const RECIPE: &str = "recipe.toml";
/// The file that a training process locks.
const LOCK: &str = "run.lock";
/// The file with the run's number.
const RECORD: &str = "run.json";
/// The file with the number of the run that wrote a model folder, and with what that should hold.
const MARK: &str = "checkpoint.json";
/// Who writes both.
const PROGRAM: &str = "mplug train";
/// What a run writes beside models and logs that have the time in their names.
const FILES: [&str; 6] = [STATE, RECIPE, RECORD, "log.jsonl", "report.html", "tensorboard"];

/// What `run.json` holds.
#[derive(Serialize, Deserialize)]
struct Record {
    program: String,
    run: String,
}

/// What `checkpoint.json` holds.
#[derive(Serialize, Deserialize)]
struct MarkFile {
    program: String,
    run: String,
    step: u64,
    /// The evaluation's score and loss as text, for every digit counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    best: Option<[String; 2]>,
    /// The other files and their sizes.
    files: BTreeMap<String, u64>,
}

/// What a model folder is of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mark {
    /// The step whose weights it holds.
    pub step: u64,
    /// For the best: its score and its loss.
    pub best: Option<[f64; 2]>,
}

/// A model to write.
#[derive(Clone, Copy)]
pub struct Written<'a> {
    /// The weights.
    pub model: &'a Mplug,
    /// Their shape.
    pub config: &'a ModelConfig,
    /// The vocabulary, one token a line.
    pub vocabulary: &'a str,
}

/// A run folder.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// The run's number; empty in a process that does not write.
    run: String,
    /// Held while a process trains here.
    lock: Option<Arc<LockedFile>>,
}

/// Unlocked when it is dropped: a process that was started meanwhile holds the file open too until it runs its own program.
#[derive(Debug)]
struct LockedFile(File);

impl Drop for LockedFile {
    fn drop(&mut self) {
        let _none = self.0.unlock();
    }
}

impl RunFolder {
    /// The folder at `path`, made if need be.
    pub fn create(path: &Path) -> Result<Self, TrainError> {
        std::fs::create_dir_all(path).map_err(TrainError::file(path))?;
        Ok(Self { path: path.to_owned(), run: String::new(), lock: None })
    }

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
            if run.as_ref().is_none_or(|run| mark_in(&path, run).is_none()) {
                return Err(foreign(path));
            }
            // A run that was ended before its first checkpoint may have evaluated, no more.
            if !has_state && (name == LAST || !resume) {
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

    /// The models of the steps to come have their places free.
    ///
    /// # Errors
    /// [`TrainError::Content`] where there is something that this run did not make.
    pub fn check_steps(&self, steps: std::ops::RangeInclusive<u64>) -> Result<(), TrainError> {
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
        if recorded_in(&path.join(RECORD)).as_ref() != Some(&self.run) {
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

    fn staging_path(&self) -> PathBuf {
        self.path.join(format!(".mplug-train-{}", self.run))
    }

    /// A folder for what is not whole yet. It goes when it is dropped.
    fn staging(&self) -> Result<Staging, TrainError> {
        let path = self.staging_path();
        files::create_folder(&path).map_err(TrainError::file(&path))?;
        let staging = Staging { path, is_kept: false };
        let mark = staging.path.join(RECORD);
        files::write_new(&mark, record(&self.run).as_bytes()).map_err(TrainError::file(&mark))?;
        Ok(staging)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a state to resume from is there.
    pub fn has_state(&self) -> Result<bool, TrainError> {
        let path = self.path.join(STATE);
        match found_at(&path)? {
            None => Ok(false),
            Some(found) if found.is_file() => Ok(true),
            Some(_) => Err(foreign(path)),
        }
    }

    /// The recipe of the run in the folder, if there is one.
    pub fn recipe(&self) -> Result<Option<String>, TrainError> {
        let path = self.path.join(RECIPE);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(TrainError::file(path)(error)),
        }
    }

    /// Writes the recipe beside the results.
    pub fn write_recipe(&self, recipe: &str) -> Result<(), TrainError> {
        self.write_file(RECIPE, recipe.as_bytes())
    }

    /// Writes one of the run's own files anew.
    pub(crate) fn write_file(&self, name: &str, bytes: &[u8]) -> Result<(), TrainError> {
        self.write_file_by(name, |path| {
            files::write_new(path, bytes).map_err(TrainError::file(self.path.join(name)))
        })
    }

    /// Has `write` write a file, and gives it its name.
    pub(super) fn write_file_by(
        &self,
        name: &str,
        write: impl FnOnce(&Path) -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        let staging = self.staging()?;
        let (new, path) = (staging.path.join(name), self.path.join(name));
        write(&new)?;
        files::rename(&new, &path).map_err(TrainError::file(&path))?;
        files::sync_folder(&self.path).map_err(TrainError::file(&self.path))
    }

    /// Writes the model folder `name`, in the place of the run's own of that name.
    pub fn write_model(&self, name: &str, mark: Mark, written: Written<'_>) -> Result<(), TrainError> {
        let mut staging = self.staging()?;
        let (new, path) = (staging.path.join(name), self.path.join(name));
        let Written { model, config, vocabulary } = written;
        let tensors = model.export();
        let options = WriteOptions::default();
        write_model_folder_of(&new, config, vocabulary, tensors.as_slice(), &options)
            .map_err(|error| at_its_name(error, &new, &path))?;
        let io = || TrainError::file(&path);
        let mark = self.mark_file(mark, &new).map_err(io())?;
        files::write_new(&new.join(MARK), mark.as_bytes()).map_err(io())?;
        files::sync_content(&new).map_err(io())?;
        self.put(&mut staging, name)
    }

    /// Gives a finished folder its name. One of the run's own that has it changes places with it at once where the system
    /// can do that; elsewhere it steps aside first.
    fn put(&self, staging: &mut Staging, name: &str) -> Result<(), TrainError> {
        let (new, path) = (staging.path.join(name), self.path.join(name));
        let io = || TrainError::file(&path);
        if found_at(&path)?.is_none() {
            files::rename(&new, &path).map_err(io())?;
        } else if !self.owns(&path) {
            return Err(foreign(path));
        } else if !files::exchange(&new, &path).map_err(io())? {
            let old = staging.path.join(replaced(name));
            files::rename(&path, &old).map_err(io())?;
            if let Err(error) = files::rename(&new, &path) {
                staging.is_kept = std::fs::rename(&old, &path).is_err();
                return Err(io()(error));
            }
        }
        files::sync_folder(&self.path).map_err(TrainError::file(&self.path))
    }

    fn mark_file(&self, mark: Mark, folder: &Path) -> std::io::Result<String> {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            files.insert(entry.file_name().to_string_lossy().into_owned(), entry.metadata()?.len());
        }
        let best = mark.best.map(|numbers| numbers.map(|number| number.to_string()));
        let (program, run) = (PROGRAM.to_owned(), self.run.clone());
        let text = serde_json::to_string_pretty(&MarkFile { program, run, step: mark.step, best, files })?;
        Ok(text + "\n")
    }

    /// What the model folder `name` is of, if this run wrote it and all of it is there.
    pub fn model(&self, name: &str) -> Option<Mark> {
        self.whole(&self.path.join(name))
    }

    fn whole(&self, folder: &Path) -> Option<Mark> {
        let mark = mark_in(folder, &self.run)?;
        let is_there = |(name, len): (&String, &u64)| {
            folder.join(name).symlink_metadata().is_ok_and(|found| found.is_file() && found.len() == *len)
        };
        let best = mark.best.and_then(|[score, loss]| Some([score.parse().ok()?, loss.parse().ok()?]));
        mark.files.iter().all(is_there).then_some(Mark { step: mark.step, best })
    }

    /// Whether nothing has the name, or a model folder of this run.
    pub fn may_write(&self, name: &str) -> bool {
        let path = self.path.join(name);
        self.owns(&path) || found_at(&path).is_ok_and(|found| found.is_none())
    }

    fn owns(&self, folder: &Path) -> bool {
        mark_in(folder, &self.run).is_some()
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

/// Where a folder is that a new one takes the place of.
fn replaced(name: &str) -> String {
    format!("replaced-{name}")
}

/// What is at `path`; links are not followed.
fn found_at(path: &Path) -> Result<Option<Metadata>, TrainError> {
    match path.symlink_metadata() {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(TrainError::file(path)(error)),
    }
}

fn foreign(path: PathBuf) -> TrainError {
    let problem = "is in the way, for this run did not make it and does not replace it; move it away, or choose another output \
                   folder";
    TrainError::content(path, problem)
}

fn record(run: &str) -> String {
    let record = Record { program: PROGRAM.to_owned(), run: run.to_owned() };
    serde_json::to_string(&record).expect("strings are plain data") + "\n"
}

/// The run's number in a file; part of a name, so nothing but digits is one.
fn recorded_in(path: &Path) -> Option<String> {
    let Record { program, run } = serde_json::from_slice(&small_file(path)?).ok()?;
    let is_number = run.len() == 16 && run.bytes().all(|byte| byte.is_ascii_hexdigit());
    (program == PROGRAM && is_number).then_some(run)
}

/// The mark of a model folder of the run `run`.
fn mark_in(folder: &Path, run: &str) -> Option<MarkFile> {
    if !folder.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        return None;
    }
    let mark: MarkFile = serde_json::from_slice(&small_file(&folder.join(MARK))?).ok()?;
    (mark.program == PROGRAM && mark.run == run).then_some(mark)
}

/// The content of a file that is no link and no larger than what we write.
fn small_file(path: &Path) -> Option<Vec<u8>> {
    let found = path.symlink_metadata().ok()?;
    if found.is_file() && found.len() <= 1 << 16 { std::fs::read(path).ok() } else { None }
}

/// The error with the path that a file was to get at last.
pub(super) fn at_its_name(error: CheckpointError, new: &Path, path: &Path) -> TrainError {
    TrainError::Checkpoint(match error {
        CheckpointError::Io { action, path: at, source } => {
            let name = at.file_name().filter(|_| at != new);
            let path = name.map_or_else(|| path.to_owned(), |name| path.join(name));
            CheckpointError::Io { action, path, source }
        }
        other => other,
    })
}

/// A folder for what is not whole yet.
struct Staging {
    path: PathBuf,
    /// Whether it holds a folder that could not be put back, which the next start does.
    is_kept: bool,
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.is_kept {
            // What stays goes at the next start.
            let _gone = files::remove_marked_folder(&self.path, RECORD);
        }
    }
}
