//! Opens a model folder for a task.

use std::path::{Path, PathBuf};

use crate::checkpoint::ModelFolder;
use crate::config::{ConfigOverrides, Task};
use crate::error::Error;

/// How a model folder is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Side in pixels to which pictures are resized; the model's own by default.
    pub image_size: Option<usize>,
    /// Whether weights that the model does not know are an error. By default they are [listed](ModelFolder::unexpected).
    pub is_strict: bool,
    /// The folder of an [adapter](ModelFolder::with_adapter), whose additions the weights get when they are read.
    pub adapter: Option<PathBuf>,
}

/// Opens the model folder, or the weight file in one, at `path`. [`ModelFolder::notes`] and [`ModelFolder::unexpected`] say what
/// its user should know. A model whose folder does not say its task, such as a pre-trained backbone, is taken for one of `task`.
///
/// # Errors
/// [`Error::Checkpoint`] if it is no model folder or is damaged, [`Error::WrongTask`] if its model is not for `task`.
pub fn open(path: impl AsRef<Path>, task: Task, options: &OpenOptions) -> Result<ModelFolder, Error> {
    let (image_size, fallback_task) = (options.image_size, Some(task));
    let overrides = ConfigOverrides { fallback_task, image_size, ..ConfigOverrides::default() };
    let folder = ModelFolder::open(path.as_ref(), &overrides)?;
    if options.is_strict {
        folder.refuse_unexpected()?;
    }
    let found = folder.config.task;
    if found != task {
        return Err(Error::WrongTask { expected: task, found });
    }
    Ok(match &options.adapter {
        Some(adapter) => folder.with_adapter(adapter)?,
        None => folder,
    })
}
