//! Parquet files among the inputs become their rows, in order: `FILE.parquet/7` is row 7, counted from 0. Knows names only: what is in
//! a row is found out when it is opened.

use std::path::Path;

use mplug_data::error::DataError;
use mplug_data::picture::{Failure, Remedy};
use mplug_data::source::rows_of_parquet;

use crate::inputs::{Input, Inputs};

/// The inputs with the rows of Parquet files in the files' places. `column` is the one that holds pictures. A file without rows, or
/// that cannot be read, is a failed input.
pub(crate) fn expand(inputs: Inputs, column: Option<&str>) -> Inputs {
    if !inputs.list.iter().any(Input::is_parquet) {
        return inputs;
    }
    let mut list = Vec::with_capacity(inputs.list.len());
    for input in inputs.list {
        if input.is_parquet() {
            rows(input, column, &mut list);
        } else {
            list.push(input);
        }
    }
    Inputs { list, is_single_file: false, passed_over: inputs.passed_over }
}

fn rows(file: Input, column: Option<&str>, list: &mut Vec<Input>) {
    match rows_of_parquet(&file.path, column) {
        Ok(rows) if rows.is_empty() => {
            list.push(Input { source: Err(Failure::lasting("no rows in this file")), ..file });
        }
        Ok(rows) => list.extend(rows.into_iter().enumerate().map(|(number, row)| Input {
            path: file.path.join(number.to_string()),
            given: file.given,
            source: Ok(row),
            exact: None,
        })),
        Err(error) => {
            let failure = failure_of(&error, &file.path, column);
            list.push(Input { source: Err(failure), ..file });
        }
    }
}

/// What is wrong with a file; whoever reports it names the path.
fn failure_of(error: &DataError, path: &Path, column: Option<&str>) -> Failure {
    let text = error.to_string();
    let reason = text.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&text);
    let failure = Failure::new(reason, error.is_passing());
    match error {
        DataError::NoColumn { .. } if column.is_none() => failure.with_remedy(Remedy::PictureColumn),
        _ => failure,
    }
}
