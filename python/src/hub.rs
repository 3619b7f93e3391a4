//! `mplug_rs._native.pull`, `pull_dataset` and `find_model`: models and datasets by name.

use std::ops::ControlFlow;
use std::path::PathBuf;

use mplug_hub::{Hub, HubError, HubOptions, ModelId, Progress};
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
    fetch(py, name, progress, move |hub, id, listener| {
        hub.pull(id, revision.as_deref(), listener).map(|pulled| pulled.folder)
    })
}

/// Makes sure that the files of a dataset's repository are on this machine, and gives their folder. `progress` and Ctrl-C as for
/// `pull`.
#[pyfunction]
#[pyo3(signature = (name, revision=None, progress=None))]
pub(crate) fn pull_dataset(
    py: Python<'_>,
    name: String,
    revision: Option<String>,
    progress: Option<Py<PyAny>>,
) -> PyResult<PathBuf> {
    fetch(py, name, progress, move |hub, id, listener| hub.pull_dataset(id, revision.as_deref(), listener))
}

/// What hears of a download.
type Listener<'a> = &'a (dyn Fn(&Progress<'_>) -> ControlFlow<()> + Sync);

/// Has `pull` fetch what is called `name`.
fn fetch(
    py: Python<'_>,
    name: String,
    progress: Option<Py<PyAny>>,
    pull: impl FnOnce(&Hub, &ModelId, Listener<'_>) -> Result<PathBuf, HubError> + Send + 'static,
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
        Ok(pull(&Hub::new(options)?, &id, &listener)?)
    })
}

/// The folder of a model that is here, by its path or name. Nothing is downloaded.
#[pyfunction]
pub(crate) fn find_model(py: Python<'_>, named: PathBuf) -> PyResult<PathBuf> {
    py.detach(|| mplug_hub::find_model(&named)).map_err(|error| Fault::from(error).into_error(py))
}
