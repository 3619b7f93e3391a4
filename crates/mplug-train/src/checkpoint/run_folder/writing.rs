//! Writing: in a folder of the run's own first, and under the name that was meant when all of it is there.

use std::path::{Path, PathBuf};

use mplug::checkpoint::{CheckpointError, WriteOptions, write_model_folder_of};
use mplug::config::ModelConfig;
use mplug_nn::Mplug;

use super::mark::{MARK, Mark, RECORD, record};
use super::{RECIPE, RunFolder, STATE, foreign, found_at, step_folder};
use crate::checkpoint::{State, files};
use crate::error::TrainError;

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

impl Written<'_> {
    /// Writes the new model folder `path`.
    fn write(self, path: &Path) -> Result<(), CheckpointError> {
        let tensors = self.model.export();
        let options = WriteOptions::default();
        write_model_folder_of(path, self.config, self.vocabulary, tensors.as_slice(), &options)
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

    /// Writes the checkpoint of the step that `state` is at: a model folder of `model`, what it lacks of the state, the recipe that
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
        let mut staging = self.staging()?;
        let (new, path) = (staging.path.join(&name), self.path.join(&name));
        let io = || TrainError::file(&path);
        let checkpoint = |error| at_its_name(error, &new, &path);
        files::before_file().map_err(io())?;
        model.write(&new).map_err(checkpoint)?;
        files::before_file().map_err(io())?;
        state.write(&new.join(STATE)).map_err(checkpoint)?;
        files::write_new(&new.join(RECIPE), recipe.as_bytes()).map_err(io())?;
        let mark = self.mark_file(Mark { step, log }, &new).map_err(io())?;
        files::write_new(&new.join(MARK), mark.as_bytes()).map_err(io())?;
        files::sync_content(&new).map_err(io())?;
        self.put(&mut staging, &name)
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
