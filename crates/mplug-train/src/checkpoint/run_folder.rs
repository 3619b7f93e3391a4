//! The run folder, and which of its content is the run's own. A run has a number, which `run.json` keeps and every model folder
//! repeats beside its weights (`checkpoint.json`). What lacks the number, and every link, is somebody else's: it is neither
//! replaced nor removed. Whatever is written lies first in a folder of the run's own (`.mplug-train-` and the number), is
//! handed to the disk, and gets its name then. Knows no training.

mod claim;
mod mark;
mod steps;
mod writing;

use std::fs::Metadata;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::claim::LockedFile;
pub use self::mark::Mark;
pub use self::steps::step_folder;
pub use self::writing::Written;
pub(super) use self::writing::at_its_name;
use crate::error::TrainError;

/// The model folder of the last checkpoint.
pub const LAST: &str = "last";
/// The model folder of the best evaluation.
pub const BEST: &str = "best";
/// The best model, or the last, for the original.
pub const MODELSCOPE: &str = "modelscope";
/// The state file.
pub(super) const STATE: &str = "state.safetensors";
/// The recipe.
const RECIPE: &str = "recipe.toml";

/// A run folder.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// The run's number; empty in a process that does not write.
    run: String,
    /// Held while a process trains here.
    lock: Option<Arc<LockedFile>>,
}

impl RunFolder {
    /// The folder at `path`, made if need be.
    pub fn create(path: &Path) -> Result<Self, TrainError> {
        std::fs::create_dir_all(path).map_err(TrainError::file(path))?;
        Ok(Self { path: path.to_owned(), run: String::new(), lock: None })
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
