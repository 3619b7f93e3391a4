//! What is learned from, and what is evaluated on: splits that the data has, or two files that divide it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use mplug::config::Task;
use mplug_data::annotation::Annotation;
use mplug_data::dataset::AnnotatedDataset;

use crate::error::TrainError;

/// One picture in this number is evaluated on.
const EVERY: usize = 10;
/// Splits that may be evaluated on, the first that is there.
const HELD_OUT: [&str; 4] = ["val", "validation", "dev", "test"];

/// Where the two parts are.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Parts {
    pub(super) train: PathBuf,
    pub(super) train_split: Option<String>,
    pub(super) held_out: Option<PathBuf>,
    pub(super) held_out_split: Option<String>,
    /// Where the pictures are, if both files were written here.
    pub(super) images: Option<PathBuf>,
    /// Held-out pictures.
    pub(super) held_out_len: usize,
}

impl Parts {
    /// Removes the files that were written, because nothing came of it.
    pub(super) fn remove(&self) {
        if self.images.is_some() {
            for path in [Some(&self.train), self.held_out.as_ref()].into_iter().flatten() {
                let _gone = std::fs::remove_file(path);
            }
        }
    }
}

/// The two parts of `data`, which lies at `path`.
///
/// # Errors
/// When questions have no splits, when there is one picture alone, and when a file cannot be written.
pub(super) fn divide(
    folder: &Path,
    path: &Path,
    data: &AnnotatedDataset,
    task: Task,
) -> Result<Parts, TrainError> {
    let annotations = data.annotations();
    let splits: BTreeSet<&str> =
        annotations.records.iter().filter_map(|record| record.split.as_deref()).collect();
    let held_out = HELD_OUT.into_iter().find(|split| splits.contains(split));
    if let (true, Some(held_out)) = (splits.contains("train"), held_out) {
        let is_held_out = |record: &&Annotation| record.split.as_deref() == Some(held_out);
        return Ok(Parts {
            train: absolute(path)?,
            train_split: Some("train".to_owned()),
            held_out: None,
            held_out_split: Some(held_out.to_owned()),
            images: None,
            held_out_len: annotations.records.iter().filter(is_held_out).count(),
        });
    }
    if task == Task::VisualQuestionAnswering {
        let problem = format!(
            "expected questions in the splits train and {}, found {splits:?}: write `split` into the file",
            HELD_OUT.join(" or ")
        );
        return Err(TrainError::content(path, problem));
    }
    let records: Vec<&Annotation> =
        annotations.records.iter().filter(|record| !record.references.is_empty()).collect();
    if records.len() < 2 {
        return Err(TrainError::content(path, "expected at least two pictures with captions, found one"));
    }
    let is_held_out = |number: usize| number % EVERY == EVERY - 1 || (records.len() < EVERY && number == 0);
    let (mut train, mut held_out) = (Vec::new(), Vec::new());
    for (number, record) in records.iter().enumerate() {
        if is_held_out(number) { held_out.push(*record) } else { train.push(*record) }
    }
    let images = annotations.path.parent().unwrap_or(Path::new("."));
    let parts = Parts {
        train: absolute(&folder.join("train.jsonl"))?,
        train_split: None,
        held_out: Some(absolute(&folder.join("held_out.jsonl"))?),
        held_out_split: None,
        images: Some(absolute(images)?),
        held_out_len: held_out.len(),
    };
    write(&parts.train, &train)?;
    if let Some(path) = &parts.held_out {
        // One of the two alone would be in the way of the next try.
        write(path, &held_out).inspect_err(|_| drop(std::fs::remove_file(&parts.train)))?;
    }
    Ok(parts)
}

/// Writes pictures and captions as JSON Lines into a new file, whole or not at all.
fn write(path: &Path, records: &[&Annotation]) -> Result<(), TrainError> {
    let mut text = String::new();
    for record in records {
        let line = serde_json::json!({ "path": record.picture_name(), "captions": record.references });
        text.push_str(&line.to_string());
        text.push('\n');
    }
    let mut file = File::create_new(path).map_err(TrainError::file(path))?;
    let written = file.write_all(text.as_bytes()).inspect_err(|_| drop(std::fs::remove_file(path)));
    written.map_err(TrainError::file(path))
}

pub(super) fn absolute(path: &Path) -> Result<PathBuf, TrainError> {
    std::path::absolute(path).map_err(TrainError::file(path))
}
