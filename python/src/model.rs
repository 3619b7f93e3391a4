//! Opens the model that was named, or the built-in demo model.

use std::path::PathBuf;

use mplug::Precision;
use mplug::checkpoint::ModelFolder;
use mplug::config::Task;
use mplug::tasks::{LoadOptions, OpenOptions};
use pyo3::prelude::*;

use crate::errors::Fault;
use crate::web::Fetcher;

/// Which model, and how it is loaded: a tuple of the model's path or name (none: the demo model), the precision, the side of pictures,
/// whether unknown weights are refused, whether web addresses are opened, hosts that may have any address, and the folder of an adapter.
#[derive(FromPyObject)]
pub(crate) struct ModelArguments(
    Option<PathBuf>,
    Option<String>,
    Option<usize>,
    bool,
    bool,
    Vec<String>,
    Option<PathBuf>,
);

impl ModelArguments {
    /// The folder of the model, and how it is loaded.
    pub(crate) fn open(&self, task: Task) -> Result<(ModelFolder, LoadOptions<'static>), Fault> {
        let Self(model, precision, image_size, is_strict, _, _, adapter) = self;
        let precision = precision.as_deref().map(str::parse::<Precision>).transpose();
        let precision = precision.map_err(|error| Fault::Option(format!("precision: {error}")))?;
        let options =
            OpenOptions { image_size: *image_size, is_strict: *is_strict, adapter: adapter.clone() };
        let folder = if let Some(named) = model {
            mplug_hub::open(named, task, &options)?
        } else {
            let folder = mplug_demo::open(task, *image_size);
            let folder = folder.map_err(|error| Fault::Option(error.to_string()))?;
            match adapter {
                Some(adapter) => folder.with_adapter(adapter).map_err(mplug::Error::from)?,
                None => folder,
            }
        };
        Ok((folder, LoadOptions { precision, ..LoadOptions::default() }))
    }

    /// What opens web addresses, where they are allowed.
    pub(crate) fn fetcher(&self) -> Result<Option<Fetcher>, Fault> {
        let Self(.., allow_urls, allowed_hosts, _) = self;
        allow_urls.then(|| Fetcher::new(allowed_hosts)).transpose()
    }
}
