//! `mplug_rs._native.pull` and `find_model`: models by name.

use std::ops::ControlFlow;
use std::path::PathBuf;

use mplug_hub::{Hub, HubOptions, Progress};
use pyo3::prelude::*;

use crate::door;
use crate::errors::Fault;

/// Makes sure that a model is on this machine, and gives its folder. Ctrl-C keeps what came.
#[pyfunction]
#[pyo3(signature = (name, revision=None))]
pub(crate) fn pull(py: Python<'_>, name: String, revision: Option<String>) -> PyResult<PathBuf> {
    door::run(py, move |given_up| {
        let id = name.parse().map_err(Fault::from)?;
        let listener = |_: &Progress<'_>| {
            if given_up.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let hub = Hub::new(HubOptions::from_env()?)?;
        Ok(hub.pull(&id, revision.as_deref(), &listener)?.folder)
    })
}

/// The folder of a model that is here, by its path or name. Nothing is downloaded.
#[pyfunction]
pub(crate) fn find_model(py: Python<'_>, named: PathBuf) -> PyResult<PathBuf> {
    py.detach(|| mplug_hub::find_model(&named)).map_err(|error| Fault::from(error).into_error(py))
}
