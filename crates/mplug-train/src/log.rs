//! What a run reports: events for a callback, and the same as JSON lines in the run folder's `log.jsonl`. Prints nothing.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::TrainError;

/// An event of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Progress {
    /// The run starts or resumes.
    Started {
        /// The first step to come.
        step: u64,
        /// Steps in all.
        steps: u64,
        /// Learnable numbers.
        parameters: usize,
        /// Tokens in the vocabulary.
        vocab_size: usize,
    },
    /// Some steps are done.
    Step {
        /// Steps done.
        step: u64,
        /// Mean loss since the last event.
        loss: f64,
        /// Its parts, where the objective has several.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        parts: BTreeMap<&'static str, f64>,
        /// The mean reward of the captions that the model wrote, in CIDEr optimisation.
        #[serde(skip_serializing_if = "Option::is_none")]
        reward: Option<f64>,
        /// Norm of the last gradient, before clipping.
        gradient_norm: f64,
        /// The learning rate.
        learning_rate: f64,
        /// Examples per second since the last event.
        examples_per_second: f64,
    },
    /// An evaluation is done.
    Evaluated {
        /// Steps done.
        step: u64,
        /// The figures, as [`crate::evaluate::Evaluation`] names them.
        metrics: BTreeMap<&'static str, f64>,
        /// Whether it is the best so far; then the model is kept in `best`.
        best: bool,
        /// Some of the texts that the model wrote.
        samples: Vec<String>,
    },
    /// The state is saved.
    Saved {
        /// Steps done.
        step: u64,
    },
}

/// The file of events.
pub struct EventLog {
    path: PathBuf,
    file: File,
}

impl EventLog {
    /// Opens `log.jsonl` in `folder` to append.
    pub fn open(folder: &Path) -> Result<Self, TrainError> {
        let path = folder.join("log.jsonl");
        let file =
            OpenOptions::new().create(true).append(true).open(&path).map_err(TrainError::file(&path))?;
        Ok(Self { path, file })
    }

    /// Appends one line.
    ///
    /// # Panics
    /// Never: events are plain data.
    pub fn write(&mut self, event: &Progress) -> Result<(), TrainError> {
        let mut line = serde_json::to_string(event).expect("events are plain data");
        line.push('\n');
        self.file.write_all(line.as_bytes()).map_err(TrainError::file(&self.path))
    }
}
