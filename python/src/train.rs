//! `mplug_rs._native.train`: runs a recipe.

use std::ops::ControlFlow;
use std::path::PathBuf;

use mplug_train::{Entry, Progress, Resume, Summary, TrainConfig};
use pyo3::prelude::*;

use crate::door::{self, GivenUp};
use crate::errors::Fault;

/// Steps done, the mean loss of the last log line, the best evaluation's score and loss, whether nothing became better, and
/// pictures that could not be read.
type RawSummary = (u64, Option<f64>, Option<(f64, f64)>, bool, usize);

/// A recipe, as Python gives it.
#[derive(FromPyObject)]
pub(crate) enum Recipe {
    /// Its tables as JSON, in UTF-8.
    #[pyo3(transparent, annotation = "bytes")]
    Json(Vec<u8>),
    /// A file of it in TOML.
    #[pyo3(transparent, annotation = "str")]
    File(PathBuf),
}

impl Recipe {
    fn read(self, settings: &[(String, String)]) -> Result<TrainConfig, Fault> {
        match self {
            Self::File(path) => Ok(TrainConfig::open(&path, settings)?),
            Self::Json(text) => {
                let table = serde_json::from_slice(&text);
                let table = table.map_err(|error| Fault::Option(format!("recipe: {error}")))?;
                Ok(TrainConfig::from_table(table, settings)?)
            }
        }
    }
}

/// Trains as `recipe` says, with `settings` in the place of its own. `resume` goes on from the last checkpoint, `from_step`
/// from that of this step. `callback` gets every event as JSON; where it raises, the step at hand is saved, and the exception comes out
/// here. Ctrl-C is such an exception.
#[pyfunction]
#[pyo3(signature = (recipe, settings, resume=false, from_step=None, callback=None))]
pub(crate) fn train(
    py: Python<'_>,
    recipe: Recipe,
    settings: Vec<(String, String)>,
    resume: bool,
    from_step: Option<u64>,
    callback: Option<Py<PyAny>>,
) -> PyResult<RawSummary> {
    let (summary, raised) = door::run_to_the_end(py, move |given_up| {
        let config = recipe.read(&settings)?;
        let mut raised = None;
        let resume = match from_step {
            Some(step) => Resume::From(step),
            None if resume => Resume::Last,
            None => Resume::Never,
        };
        let entry = Entry { resume, stop: given_up.flag() };
        let summary = mplug_train::train(&config, entry, &mut |event| {
            listen(event, callback.as_ref(), given_up, &mut raised)
        });
        Ok::<_, Fault>((summary?, raised))
    })?;
    if let Some(error) = raised {
        return Err(error);
    }
    let Summary { steps, loss, best, stopped_early, skipped, .. } = summary;
    Ok((steps, loss, best.map(|[score, loss]| (score, loss)), stopped_early, skipped))
}

fn listen(
    event: &Progress,
    callback: Option<&Py<PyAny>>,
    given_up: &GivenUp,
    raised: &mut Option<PyErr>,
) -> ControlFlow<()> {
    if let (Some(callback), None) = (callback, &raised) {
        let event = serde_json::to_string(event).expect("events are plain data");
        *raised = Python::attach(|py| callback.call1(py, (event,)).err());
    }
    if raised.is_some() || given_up.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}
