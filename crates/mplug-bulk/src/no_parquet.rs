//! What stands for `parquet` in a build without that feature.

use std::convert::Infallible;

use mplug_data::picture::{Failure, Remedy};

use crate::error::BulkError;
use crate::inputs::Inputs;
use crate::record::{CaptionRecord, Style};
use crate::records::Destination;

/// Whether this build knows Parquet.
pub(crate) const IS_KNOWN: bool = false;

/// The inputs, with a failure in place of every Parquet file.
pub(crate) fn expand(mut inputs: Inputs, _column: Option<&str>) -> Inputs {
    for input in &mut inputs.list {
        if input.is_parquet() {
            input.source = Err(Failure::lasting("this build reads no Parquet").with_remedy(Remedy::Parquet));
        }
    }
    inputs
}

/// There is none.
pub(crate) struct ParquetDocument(Infallible);

impl ParquetDocument {
    pub(crate) fn create(destination: Destination, _style: &Style) -> Result<Self, BulkError> {
        drop(destination);
        Err(BulkError::NoParquet)
    }

    pub(crate) fn destination(&self) -> &Destination {
        match self.0 {}
    }

    pub(crate) fn add(&mut self, _record: &CaptionRecord) -> Result<(), BulkError> {
        match self.0 {}
    }

    pub(crate) fn finish(self) -> Result<(), BulkError> {
        match self.0 {}
    }
}
