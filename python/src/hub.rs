//! `mplug_rs._native.pull` and `find_model`: models by name.

use std::ops::ControlFlow;
use std::path::PathBuf;

use mplug_hub::{Hub, HubOptions, Progress};
use pyo3::prelude::*;

use crate::door;
use crate::errors::Fault;

/// The variable that forbids downloads, as for the command line.
const OFFLINE: &str = "MPLUG_OFFLINE";
/// What it may be set to and not forbid them.
const FALSE: [&str; 7] = ["", "0", "n", "no", "f", "false", "off"];

/// Makes sure that a model is on this machine, and gives its folder. `progress` gets a file's name, the bytes of it that are here,
/// and its size. Ctrl-C keeps what came.
#[pyfunction]
#[pyo3(signature = (name, revision=None, progress=None))]
pub(crate) fn pull(
    py: Python<'_>,
    name: String,
    revision: Option<String>,
    progress: Option<Py<PyAny>>,
) -> PyResult<PathBuf> {
    door::run(py, move |given_up| {
        let id = name.parse().map_err(Fault::from)?;
        let listener = |event: &Progress<'_>| {
            if let (Some(progress), Progress::File { path, have, size }) = (&progress, event) {
                // A bar that cannot be shown is no reason to stop.
                let _ = Python::attach(|py| progress.call1(py, (*path, *have, *size)));
            }
            if given_up.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let mut options = HubOptions::from_env()?;
        options.offline = std::env::var(OFFLINE).is_ok_and(|set| !FALSE.contains(&&*set.to_lowercase()));
        let hub = Hub::new(options)?;
        Ok(hub.pull(&id, revision.as_deref(), &listener)?.folder)
    })
}

/// The folder of a model that is here, by its path or name. Nothing is downloaded.
#[pyfunction]
pub(crate) fn find_model(py: Python<'_>, named: PathBuf) -> PyResult<PathBuf> {
    py.detach(|| mplug_hub::find_model(&named)).map_err(|error| Fault::from(error).into_error(py))
}
