//! What can go wrong in training. Every message names the file or field, what was expected, and what was found.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// Errors of training.
#[derive(Debug, Error)]
pub enum TrainError {
    /// The recipe cannot be read or has an unknown or malformed field.
    #[error("recipe: {0}")]
    Recipe(String),
    /// A field of the recipe has a value that makes no sense.
    #[error("recipe: {field}: expected {expected}, found {found}")]
    Value {
        /// The field, with its table.
        field: &'static str,
        /// What would be right.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A file or folder cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file of a run folder does not hold what it should.
    #[error("{path}: {problem}", path = path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// An example cannot be made.
    #[error("example {index}: {problem}")]
    Example {
        /// Its number in the data.
        index: u64,
        /// What is wrong.
        problem: String,
    },
    /// The model to start from cannot be opened.
    #[error("{path}: {source}", path = path.display())]
    Start {
        /// Its folder.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<mplug::checkpoint::CheckpointError>,
    },
    /// A dataset or one of its pictures cannot be read.
    #[error(transparent)]
    Data(#[from] mplug_data::dataset::DataError),
    /// Captions cannot be scored.
    #[error(transparent)]
    Metrics(#[from] caption_metrics::Error),
    /// The network cannot be built.
    #[error(transparent)]
    Network(#[from] mplug_nn::NnError),
    /// A model folder cannot be written.
    #[error(transparent)]
    Checkpoint(#[from] mplug::checkpoint::CheckpointError),
    /// The model, as it is in the engine, computed no numbers for a picture.
    #[error("while texts were written: {0}")]
    NotANumber(#[from] mplug::generate::NotANumber),
    /// A weight that a run starts from is not a number.
    #[error("{origin}: tensor {tensor}: expected finite numbers, found {found}; start from another model")]
    Weight {
        /// Where the run starts.
        origin: String,
        /// The tensor.
        tensor: String,
        /// The first value that is not finite.
        found: f32,
    },
    /// Losses or gradients are not finite any more.
    #[error(
        "step {step}: {problem}, with the pictures {pictures}. {way_on}. If that does not help, look at the pictures"
    )]
    Diverged {
        /// The step, from 1.
        step: u64,
        /// The loss.
        loss: f32,
        /// The gradient's norm.
        gradient_norm: f64,
        /// What happened.
        problem: String,
        /// The pictures of its batch.
        pictures: String,
        /// What may help.
        way_on: Box<WayOn>,
    },
    /// The end of the run was requested during an evaluation, which is done when the run is resumed.
    #[error("the evaluation was given up, for the end of the run was requested")]
    Stopped,
    /// A run is to be resumed as one of another model.
    #[error(
        "{path}: a resumed run keeps its model and what it is trained for; set back {changes}, or start another run", path = path.display()
    )]
    OtherModel {
        /// The run folder.
        path: PathBuf,
        /// Each field that may not differ, with both values.
        changes: String,
    },
}

impl TrainError {
    /// An error of the file system at `path`.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// A file at `path` that holds something unusable.
    pub(crate) fn content(path: impl Into<PathBuf>, problem: impl fmt::Display) -> Self {
        Self::Content { path: path.into(), problem: problem.to_string() }
    }
}

/// How a run that diverged may go on: from its last checkpoint, with other settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WayOn {
    /// The last good checkpoint, by its step and folder; none if the run was ended before its first.
    pub checkpoint: Option<(u64, PathBuf)>,
    /// The steps of earlier checkpoints, in ascending order.
    pub earlier: Vec<u64>,
    /// The keys of the recipe to set, each with its value in TOML.
    pub settings: Vec<(String, String)>,
}

impl fmt::Display for WayOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings: Vec<String> =
            self.settings.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        let settings = settings.join(", ");
        let earlier: Vec<String> = self.earlier.iter().map(u64::to_string).collect();
        let earlier = match &earlier[..] {
            [] => String::new(),
            steps => format!(", or from an earlier one (step {})", steps.join(", ")),
        };
        match &self.checkpoint {
            Some((step, folder)) => write!(
                f,
                "The last good checkpoint is that of step {step}, {}; resume the run from there{earlier} with a lower learning \
                 rate: {settings}",
                folder.display()
            ),
            None => {
                write!(f, "No step is saved yet; start the run anew with a lower learning rate: {settings}")
            }
        }
    }
}
