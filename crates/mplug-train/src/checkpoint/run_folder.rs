//! The run folder, and which of its content is the run's own. A run has a number, which `run.json` keeps and every checkpoint
//! repeats (`checkpoint.json`). What lacks the number is somebody else's: it is neither replaced nor removed, and so is every link
//! but `last` and `best`, where they lead to a neighbour that is named as a step. Whatever is written lies first in a folder of the
//! run's own (`.mplug-train-` and the number), is handed to the disk, and gets its name then. Knows no training.

mod aside;
mod claim;
mod mark;
mod pointers;
mod steps;
mod writing;

use std::fs::Metadata;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::aside::SUPERSEDED;
use self::claim::LockedFile;
pub use self::mark::Mark;
pub use self::pointers::{BEST, LAST};
pub use self::steps::step_folder;
pub use self::writing::Written;
use super::State;
use crate::error::TrainError;

/// The best model, or the last, for the original.
pub const MODELSCOPE: &str = "modelscope";
/// What a checkpoint has beside its model.
const STATE: &str = "state.safetensors";
/// The recipe: of the run, and in each checkpoint of the steps that led to it.
const RECIPE: &str = "recipe.toml";
/// The weight file of a model folder.
const WEIGHTS: &str = "model.safetensors";

/// A run folder.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// The run's number; empty before the folder is claimed.
    run: String,
    /// Held while a process trains here.
    lock: Option<Arc<LockedFile>>,
}

impl RunFolder {
    /// The folder at `path`, made if need be.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(path: &Path) -> Result<Self, TrainError> {
        std::fs::create_dir_all(path).map_err(TrainError::file(path))?;
        Ok(Self { path: path.to_owned(), run: String::new(), lock: None })
    }

    /// The folder at `path`, which holds a run.
    ///
    /// # Errors
    /// [`TrainError::Content`] if it holds none.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        let mut folder = Self { path: path.to_owned(), run: String::new(), lock: None };
        folder.join()?;
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the checkpoint of a step is.
    pub fn step_path(&self, step: u64) -> PathBuf {
        self.path.join(step_folder(step))
    }

    /// The recipe that led to the checkpoint of `step`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn recipe_of(&self, step: u64) -> Result<String, TrainError> {
        let path = self.step_path(step).join(RECIPE);
        std::fs::read_to_string(&path).map_err(TrainError::file(path))
    }

    /// Writes the recipe beside the results.
    ///
    /// # Errors
    /// When that fails.
    pub fn write_recipe(&self, recipe: &str) -> Result<(), TrainError> {
        self.write_file(RECIPE, recipe.as_bytes())
    }

    /// Reads the checkpoint of `step` back into a model, optimizer and objective of the same recipe.
    ///
    /// # Errors
    /// When something is missing or no finite number.
    pub fn read_state(&self, step: u64, state: &mut State<'_>) -> Result<(), TrainError> {
        let folder = self.step_path(step);
        state.read(&folder.join(STATE), &folder.join(WEIGHTS))
    }
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
