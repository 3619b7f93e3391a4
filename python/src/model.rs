//! Opens the model that was named, or the built-in demo model.

use std::path::PathBuf;

use mplug::Precision;
use mplug::checkpoint::ModelFolder;
use mplug::config::Task;
use mplug::tasks::{LoadOptions, OpenOptions};

use crate::errors::Fault;

/// Which model, and how it is loaded.
pub(crate) struct ModelArguments {
    pub(crate) model: Option<PathBuf>,
    pub(crate) precision: Option<String>,
    pub(crate) image_size: Option<usize>,
    pub(crate) is_strict: bool,
}

impl ModelArguments {
    /// The folder of the model, and how it is loaded.
    pub(crate) fn open(&self, task: Task) -> Result<(ModelFolder, LoadOptions<'static>), Fault> {
        let precision = self.precision.as_deref().map(str::parse::<Precision>).transpose();
        let precision = precision.map_err(|error| Fault::Option(format!("precision: {error}")))?;
        let Self { image_size, is_strict, .. } = *self;
        let folder = match &self.model {
            Some(named) => mplug_hub::open(named, task, &OpenOptions { image_size, is_strict })?,
            None => mplug_demo::open(task, image_size).map_err(|error| Fault::Option(error.to_string()))?,
        };
        Ok((folder, LoadOptions { precision, ..LoadOptions::default() }))
    }
}
