//! What stands for `parquet` in a build without that feature: it says how to get one.

use std::convert::Infallible;

use anyhow::bail;

use super::{answers::Answer, record::Style};
use crate::{
    inputs::{Input, Inputs},
    output::Destination,
    pictures::Failure,
};

/// What to do about a build that knows no Parquet.
const NO_PARQUET: &str = "this build knows no Parquet; build one that does: \
    `cargo build --release -p mplug-cli --features parquet`";

/// Whether this build knows Parquet.
///
/// # Errors
/// It does not.
pub(super) fn check() -> anyhow::Result<()> {
    bail!("`--format parquet`: {NO_PARQUET}")
}

/// The inputs, with a reason in place of every Parquet file.
pub(super) fn expand(mut inputs: Inputs, _column: Option<&str>) -> Inputs {
    for input in &mut inputs.list {
        if input.is_parquet() {
            input.source = Err(Failure::lasting(NO_PARQUET));
        }
    }
    inputs
}

/// There is none.
pub(super) struct ParquetDocument(Infallible);

impl ParquetDocument {
    pub(super) fn create(destination: Destination) -> anyhow::Result<Self> {
        drop(destination);
        bail!(NO_PARQUET)
    }

    pub(super) fn destination(&self) -> &Destination {
        match self.0 {}
    }

    pub(super) fn add(&mut self, _input: &Input, _answer: &Answer, _style: Style) -> anyhow::Result<()> {
        match self.0 {}
    }

    pub(super) fn finish(self) -> anyhow::Result<()> {
        match self.0 {}
    }
}
