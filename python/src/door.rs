//! The one door between the interpreter and the engine: work runs on the engine's threads while other Python threads go on,
//! signals are heard meanwhile, and no panic comes through.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use pyo3::prelude::*;

use crate::errors::Fault;
use crate::pool;

/// How often signals are looked for.
const TICK: Duration = Duration::from_millis(50);

/// Whether the caller gave the work up: it may end at once, for nobody reads its result.
#[derive(Clone, Default)]
pub(crate) struct GivenUp(Arc<AtomicBool>);

impl GivenUp {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// What is set when it is.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}

/// Does `work` on this process's pool. A signal handler that raises (Ctrl-C) ends the wait at once; the work at hand ends by
/// itself, unheard.
pub(crate) fn run<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce(&GivenUp) -> Result<T, Fault> + Send + 'static,
) -> PyResult<T> {
    let (receiver, given_up) = begin(py, work).map_err(|fault| fault.into_error(py))?;
    let done = wait(py, receiver, |error| {
        given_up.0.store(true, Ordering::Relaxed);
        Some(error)
    });
    done?.map_err(|fault| fault.into_error(py))
}

/// Does `work` that keeps what it has done when it is given up: its end is waited for, and then the handler's exception comes.
pub(crate) fn run_to_the_end<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce(&GivenUp) -> Result<T, Fault> + Send + 'static,
) -> PyResult<T> {
    let (receiver, given_up) = begin(py, work).map_err(|fault| fault.into_error(py))?;
    let mut raised = None;
    let done = wait(py, receiver, |error| {
        given_up.0.store(true, Ordering::Relaxed);
        // A second one ends the wait.
        if raised.is_some() {
            return Some(error);
        }
        raised = Some(error);
        None
    });
    match raised {
        Some(error) => Err(error),
        None => done?.map_err(|fault| fault.into_error(py)),
    }
}

/// The end of the work, or its panic.
type End<T> = Result<T, Fault>;

fn begin<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce(&GivenUp) -> End<T> + Send + 'static,
) -> Result<(Receiver<End<T>>, GivenUp), Fault> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let given_up = GivenUp::default();
    let seen_by_work = given_up.clone();
    let run = move || {
        let done = catch_unwind(AssertUnwindSafe(|| work(&seen_by_work)));
        // Nobody may be waiting any more.
        let _ = sender.send(done.unwrap_or_else(|panic| Err(Fault::Internal(text_of(panic.as_ref())))));
    };
    if rayon::current_thread_index().is_some() {
        // A callback of work at hand: its thread would wait for itself.
        py.detach(run);
    } else {
        pool::current()?.spawn(run);
    }
    Ok((receiver, given_up))
}

/// Waits for the end. What a signal handler raises goes to `raised`; what that gives back ends the wait.
fn wait<T: Send>(
    py: Python<'_>,
    mut receiver: Receiver<End<T>>,
    mut raised: impl FnMut(PyErr) -> Option<PyErr>,
) -> PyResult<End<T>> {
    loop {
        let (found, back) = py.detach(move || (receiver.recv_timeout(TICK), receiver));
        receiver = back;
        match found {
            Ok(done) => return Ok(done),
            Err(RecvTimeoutError::Disconnected) => {
                return Ok(Err(Fault::Internal("a thread ended without a result".to_owned())));
            }
            Err(RecvTimeoutError::Timeout) => {
                if let Some(error) = py.check_signals().err().and_then(&mut raised) {
                    return Err(error);
                }
            }
        }
    }
}

/// What a panic said.
fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    format!("a fault of this program, please report it: {text}")
}
