//! `mplug_rs._native.convert`: a model folder in, the same model as another file format out.

use std::path::PathBuf;

use mplug::checkpoint::{FileFormat, ModelFolder, WriteOptions, write_model_folder};
use mplug::config::ConfigOverrides;
use pyo3::prelude::*;

use crate::door;
use crate::errors::Fault;

/// Writes the model of `source` to the folder `dest`, which must not be there. `trainer` chooses PyTorch's format with the prefix
/// `model.`, as ModelScope's trainer writes it, in the place of PyTorch's own; `adapter` is merged into the weights.
#[pyfunction]
#[pyo3(signature = (source, dest, trainer=false, adapter=None))]
pub(crate) fn convert(
    py: Python<'_>,
    source: PathBuf,
    dest: PathBuf,
    trainer: bool,
    adapter: Option<PathBuf>,
) -> PyResult<()> {
    door::run(py, move |_| {
        let mut model = ModelFolder::open(&source, &ConfigOverrides::default())?;
        if let Some(adapter) = adapter {
            model = model.with_adapter(adapter)?;
        }
        let format = if trainer { FileFormat::PytorchTrainer } else { FileFormat::Pytorch };
        write_model_folder(&dest, &model, &WriteOptions { format, ..WriteOptions::default() })?;
        Ok::<_, Fault>(())
    })
}
