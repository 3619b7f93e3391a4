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

/// Trains as the recipe at `recipe` says, with `settings` in the place of its own. `callback` gets every event as JSON; where it
/// raises, the step at hand is saved, and the exception comes out here. Ctrl-C is such an exception.
#[pyfunction]
#[pyo3(signature = (recipe, settings, resume, callback=None))]
pub(crate) fn train(
    py: Python<'_>,
    recipe: PathBuf,
    settings: Vec<(String, String)>,
    resume: bool,
    callback: Option<Py<PyAny>>,
) -> PyResult<RawSummary> {
    let (summary, raised) = door::run_to_the_end(py, move |given_up| {
        let config = TrainConfig::open(&recipe, &settings)?;
        let mut raised = None;
        let resume = if resume { Resume::Last } else { Resume::Never };
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
