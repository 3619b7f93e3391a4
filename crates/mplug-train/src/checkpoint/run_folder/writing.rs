//! Writing: in a folder of the run's own first, and under the name that was meant when all of it is there.

use std::path::{Path, PathBuf};

use mplug::checkpoint::adapter::{AdapterSettings, write_adapter_files};
use mplug::checkpoint::{CheckpointError, FileFormat, ModelFolder, WriteOptions, write_model_folder};
use mplug::config::{ConfigOverrides, ModelConfig};
use mplug_nn::Mplug;

use super::mark::{MARK, Mark, RECORD, record};
use super::{RECIPE, RunFolder, STATE, foreign, found_at, step_folder};
use crate::checkpoint::{State, files};
use crate::error::TrainError;
use crate::model_files::ModelFiles;

/// A model to write.
#[derive(Clone, Copy)]
pub struct Written<'a> {
    /// The weights.
    pub model: &'a Mplug,
    /// Their shape.
    pub config: &'a ModelConfig,
    /// What stands beside them.
    pub files: &'a ModelFiles<'a>,
    /// What the files of an adapter say, where the model is adapted: then its matrices alone are written.
    pub adapter: Option<&'a AdapterSettings>,
}

impl Written<'_> {
    /// Writes the folder `new`, which is not there yet: a model's, or an adapter's.
    fn write_to(&self, new: &Path) -> Result<(), CheckpointError> {
        let Self { model, config, files, adapter } = *self;
        if let Some(settings) = adapter {
            let io = |source| CheckpointError::Io { action: "write", path: new.to_owned(), source };
            std::fs::create_dir(new).map_err(io)?;
            return write_adapter_files(new, settings, model.trained());
        }
        files.write(new, model, config)
    }
}

impl RunFolder {
    pub(super) fn staging_path(&self) -> PathBuf {
        self.path.join(format!(".mplug-train-{}", self.run))
    }

    /// A folder for what is not whole yet. It goes when it is dropped.
    pub(super) fn staging(&self) -> Result<Staging, TrainError> {
        let path = self.staging_path();
        files::create_folder(&path).map_err(TrainError::file(&path))?;
        let staging = Staging { path, is_kept: false };
        let mark = staging.path.join(RECORD);
        files::write_new(&mark, record(&self.run).as_bytes()).map_err(TrainError::file(&mark))?;
        Ok(staging)
    }

    /// Writes one of the run's own files anew.
    pub(crate) fn write_file(&self, name: &str, bytes: &[u8]) -> Result<(), TrainError> {
        let staging = self.staging()?;
        let (new, path) = (staging.path.join(name), self.path.join(name));
        files::write_new(&new, bytes).map_err(TrainError::file(&path))?;
        files::rename(&new, &path).map_err(TrainError::file(&path))?;
        files::sync_folder(&self.path).map_err(TrainError::file(&self.path))
    }

    /// Writes the checkpoint of the step that `state` is at: a folder of `model`, what it lacks of the state, the recipe that
    /// led to it, and how long the log was.
    ///
    /// # Errors
    /// When something cannot be written; then there is no folder of that name.
    pub fn write_step(
        &self,
        state: &State<'_>,
        model: Written<'_>,
        recipe: &str,
        log: u64,
    ) -> Result<(), TrainError> {
        let step = state.progress.steps;
        let name = step_folder(step);
        self.write_folder(&name, Mark { step, log }, |new| {
            let io = |source| CheckpointError::Io { action: "write", path: new.to_owned(), source };
            files::before_file().map_err(io)?;
            model.write_to(new)?;
            files::before_file().map_err(io)?;
            state.write(&new.join(STATE))?;
            files::write_new(&new.join(RECIPE), recipe.as_bytes()).map_err(io)
        })
    }

    /// Writes the model that `from` leads to as the original reads it, in the place of the run's own folder `name`. An adapter is
    /// added to the weights of `base`, the model that it was trained beside.
    pub fn write_for_original(&self, name: &str, from: &str, base: Option<&Path>) -> Result<(), TrainError> {
        let source = self.path.join(from);
        let Some(step) = self.pointed(from) else {
            return Err(TrainError::content(source, "expected a model of this run, found none"));
        };
        self.write_folder(name, Mark { step, log: 0 }, |new| {
            let options = WriteOptions { format: FileFormat::Pytorch, ..WriteOptions::default() };
            let open = |folder: &Path| ModelFolder::open(folder, &ConfigOverrides::default());
            let source = match base {
                Some(base) => open(base)?.with_adapter(&source)?,
                None => open(&source)?,
            };
            write_model_folder(new, &source, &options).map(|_| ())
        })
    }

    /// Has `write` write a folder of a model, and gives it its name.
    fn write_folder(
        &self,
        name: &str,
        mark: Mark,
        write: impl FnOnce(&Path) -> Result<(), CheckpointError>,
    ) -> Result<(), TrainError> {
        let mut staging = self.staging()?;
        let (new, path) = (staging.path.join(name), self.path.join(name));
        write(&new).map_err(|error| at_its_name(error, &new, &path))?;
        let io = || TrainError::file(&path);
        let mark = self.mark_file(mark, &new).map_err(io())?;
        files::write_new(&new.join(MARK), mark.as_bytes()).map_err(io())?;
        files::sync_content(&new).map_err(io())?;
        self.put(&mut staging, name)
    }

    /// Gives a finished folder or link its name. A link takes the place of a link at once. A folder of the run's own that has the
    /// name changes places at once where the system can do that; elsewhere it steps aside first.
    pub(super) fn put(&self, staging: &mut Staging, name: &str) -> Result<(), TrainError> {
        let (new, path) = (staging.path.join(name), self.path.join(name));
        let io = || TrainError::file(&path);
        let is_link = |path: &Path| path.is_symlink();
        if found_at(&path)?.is_none() || is_link(&path) && is_link(&new) {
            files::rename(&new, &path).map_err(io())?;
        } else if !self.may_replace(&path)? {
            return Err(foreign(path));
        } else if !files::exchange(&new, &path).map_err(io())? {
            let old = staging.path.join(format!("{REPLACED}{name}"));
            files::rename(&path, &old).map_err(io())?;
            if let Err(error) = files::rename(&new, &path) {
                staging.is_kept = std::fs::rename(&old, &path).is_err();
                return Err(io()(error));
            }
        }
        files::sync_folder(&self.path).map_err(TrainError::file(&self.path))
    }
}

/// How the name of a folder begins that a new one takes the place of.
pub(super) const REPLACED: &str = "replaced-";

/// The error with the path that a file was to get at last.
fn at_its_name(error: CheckpointError, new: &Path, path: &Path) -> TrainError {
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
pub(super) struct Staging {
    pub(super) path: PathBuf,
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
