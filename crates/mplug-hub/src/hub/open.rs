//! Opens a model by its name on the hub, or by its path.

use std::path::{Path, PathBuf};

use mplug::checkpoint::ModelFolder;
use mplug::config::Task;
use mplug::tasks::OpenOptions;

use super::{HubError, find_model};

/// Why a model that was named was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It was not found.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// It was found and cannot be used.
    #[error("{path}: {source}", path = path.display())]
    Model {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<mplug::Error>,
    },
}

/// Opens the model that was named: by a path that is there, or by the name of a model that was downloaded. Nothing is downloaded.
///
/// # Errors
/// If it is not here, is damaged, or is not for `task`.
pub fn open(named: &Path, task: Task, options: &OpenOptions) -> Result<ModelFolder, OpenError> {
    let path = find_model(named)?;
    mplug::open(&path, task, options).map_err(|error| OpenError::Model { path, source: Box::new(error) })
}
