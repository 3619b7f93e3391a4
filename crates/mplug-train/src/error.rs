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
        "step {step}: {problem}, with the pictures {pictures}. The last good checkpoint is {checkpoint}; try a lower learning \
         rate from there, in a new run: the same recipe with {changes}. If that does not help, look at the pictures"
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
        /// The last good checkpoint.
        checkpoint: String,
        /// What to change in the recipe of a run that goes on from there.
        changes: Box<RecipeChanges>,
    },
    /// A run is to be resumed with another recipe.
    #[error("{path}: the run was started with another recipe; resume it with its own (differences: {differences})", path = path.display())]
    OtherRecipe {
        /// The run folder.
        path: PathBuf,
        /// Each field that differs, with both values.
        differences: String,
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

/// What to change in a recipe. As a text: `a = 1, b = 2, without c and d`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecipeChanges {
    /// The keys to set, each with its value in TOML.
    pub settings: Vec<(String, String)>,
    /// The keys to leave out.
    pub without: &'static [&'static str],
}

impl fmt::Display for RecipeChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings: Vec<String> =
            self.settings.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        f.write_str(&settings.join(", "))?;
        if self.without.is_empty() { Ok(()) } else { write!(f, ", without {}", self.without.join(" and ")) }
    }
}
