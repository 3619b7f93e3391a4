//! Parquet files among the inputs become their rows, in order: `FILE.parquet/7` is row 7, counted from 0. Knows names only: what is in
//! a row is found out when it is opened.

use std::path::Path;

use mplug_data::{error::DataError, source::rows_of_parquet};

use crate::{
    inputs::{Input, Inputs},
    pictures::Failure,
};

/// The inputs with the rows of Parquet files in the files' places. `column` is the one that holds pictures. A file without rows, or
/// that cannot be read, is a failed input.
pub(in super::super) fn expand(inputs: Inputs, column: Option<&str>) -> Inputs {
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
    Inputs { list, is_single_file: false }
}

fn rows(file: Input, column: Option<&str>, list: &mut Vec<Input>) {
    match rows_of_parquet(&file.path, column) {
        Ok(rows) if rows.is_empty() => {
            list.push(Input { source: Err(Failure::lasting("no rows in this file")), ..file });
        }
        Ok(rows) => list.extend(rows.into_iter().enumerate().map(|(number, row)| Input {
            path: file.path.join(number.to_string()),
            typed: file.typed,
            source: Ok(row),
        })),
        Err(error) => {
            let reason = told(&error, &file.path, column);
            let failure = Failure { reason, is_passing: error.is_passing() };
            list.push(Input { source: Err(failure), ..file });
        }
    }
}

/// What is wrong, and what to do; the message names the path itself.
fn told(error: &DataError, path: &Path, column: Option<&str>) -> String {
    let hint = match error {
        DataError::NoColumn { .. } if column.is_none() => {
            "; `--image-column NAME` says which has the pictures"
        }
        _ => "",
    };
    let text = format!("{error}{hint}");
    match text.strip_prefix(&format!("{}: ", path.display())) {
        Some(rest) => rest.to_owned(),
        None => text,
    }
}
