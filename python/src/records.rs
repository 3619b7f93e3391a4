//! Records of pictures in memory, for engines that go through tables (`mplug_rs.BatchCaptioner`): the lines of JSON that the command line
//! would write of them.

use std::sync::Arc;

use mplug::preprocess::image::ImageLimits;
use mplug::tasks::CaptionRequest;
use mplug_bulk::{Input, RecordOptions, Style, Writer, caption_records, open_addresses};
use mplug_data::source::{FetchPicture, PICTURE_COLUMNS};
use pyo3::prelude::*;

use crate::door::GivenUp;
use crate::errors::Fault;

/// A row's picture: a path or a web address, or the bytes of a file with what it is called in the record; without either, none.
#[derive(FromPyObject)]
pub(crate) struct Row(String, Option<Content>);

#[derive(FromPyObject)]
enum Content {
    Path(String),
    File(Vec<u8>),
}

/// How records are made: whether Chinese keeps its spaces, the pictures that pass through the model together, the most pixels of a
/// picture and the most bytes of a file.
#[derive(FromPyObject)]
pub(crate) struct RowOptions(bool, usize, Option<u64>, Option<u64>);

impl Row {
    fn into_input(self, fetcher: Option<&Arc<dyn FetchPicture>>) -> Input {
        let Self(name, content) = self;
        match content {
            Some(Content::Path(path)) => {
                let mut input = Input::alone(path.as_ref());
                if let Some(fetcher) = fetcher {
                    open_addresses(std::slice::from_mut(&mut input), fetcher);
                }
                input
            }
            Some(Content::File(bytes)) => Input::in_memory(name.into(), Some(bytes)),
            None => Input::in_memory(name.into(), None),
        }
    }
}

/// The records of all rows, in order.
pub(crate) fn of_rows(
    rows: Vec<Row>,
    captioner: &mplug::Captioner,
    generation: mplug::generate::GenerationOptions,
    request: &CaptionRequest,
    options: &RowOptions,
    fetcher: Option<&Arc<dyn FetchPicture>>,
    given_up: &GivenUp,
) -> Result<Vec<String>, Fault> {
    let RowOptions(is_raw, batch_size, max_pixels, max_file_bytes) = *options;
    let default = ImageLimits::default();
    let limits = ImageLimits {
        max_pixels: max_pixels.unwrap_or(default.max_pixels),
        max_file_bytes: max_file_bytes.unwrap_or(default.max_file_bytes),
        ..default
    };
    let style = Style { is_raw, captions: request.captions, keywords: request.keywords, ..Style::default() };
    let inputs: Vec<Input> = rows.into_iter().map(|row| row.into_input(fetcher)).collect();
    // Nothing goes on where another run was stopped, so that the model needs no name.
    let writer = Writer::new(captioner, generation, "");
    let options = RecordOptions { style, limits, batch_size };
    let records = caption_records(&inputs, &[writer], &options, &mut || given_up.is_set())?;
    let line = |record| serde_json::to_string(&record).map_err(|error| Fault::Internal(error.to_string()));
    records.into_iter().map(line).collect()
}

/// The columns of a table of records, in JSON: the name, the kind and whether there may be nothing in it.
#[pyfunction]
pub(crate) fn record_columns(py: Python<'_>) -> PyResult<String> {
    serde_json::to_string(&mplug_bulk::record_columns(false))
        .map_err(|error| Fault::Internal(error.to_string()).into_error(py))
}

/// The names of columns that may hold pictures where none is named, the first of them that can.
#[pyfunction]
pub(crate) fn picture_columns() -> Vec<&'static str> {
    PICTURE_COLUMNS.to_vec()
}
