//! The native module of the Python package `mplug_rs`: captioning, answering, matching, metrics, downloads and training, each in
//! a file of its own. Python's side (`python/mplug_rs`) has the types, what is optional and the loops over batches; this side has
//! one call for each thing that the libraries do. Everything goes through one door (`door`), and errors through one table (`errors`).

#![allow(clippy::needless_pass_by_value, reason = "arguments of Python functions are owned")]

mod answerer;
mod captioner;
mod convert;
mod door;
mod errors;
mod hub;
mod matcher;
mod metrics;
mod model;
mod pictures;
mod pool;
mod records;
mod train;
mod web;

/// The engine of `mplug_rs`.
#[pyo3::pymodule(gil_used = true)]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::answerer::Answerer;
    #[pymodule_export]
    use crate::captioner::Captioner;
    #[pymodule_export]
    use crate::convert::convert;
    #[pymodule_export]
    use crate::hub::{find_model, pull, pull_dataset};
    #[pymodule_export]
    use crate::matcher::Matcher;
    #[pymodule_export]
    use crate::metrics::evaluate;
    #[pymodule_export]
    use crate::records::{picture_columns, record_columns};
    #[pymodule_export]
    use crate::train::train;

    /// The version of the package.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");

    /// Makes the engine's pool of this process one of `threads` threads; without, of one for each processor.
    #[pyfunction]
    #[pyo3(signature = (threads=None))]
    fn set_threads(py: Python<'_>, threads: Option<usize>) -> PyResult<()> {
        py.detach(|| crate::pool::set_threads(threads)).map_err(|fault| fault.into_error(py))
    }

    /// Panics, on purpose: a test sees that nothing but an `InternalError` comes of it.
    #[pyfunction]
    fn _panic(py: Python<'_>) -> PyResult<()> {
        crate::door::run(py, |_| panic!("a test of panics"))
    }
}
