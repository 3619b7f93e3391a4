//! What can go wrong with an evaluation. What goes wrong with one picture is no error: the run goes on without it.

use std::io;
use std::path::PathBuf;

use mplug::generate::NotANumber;
use mplug_data::error::DataError;
use mplug_data::journal::JournalError;

use crate::compare::CompareProblem;
use crate::run_history::LOG;

/// The errors of this crate. Every message names the file, the picture or the text that is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// A data set, or a file of captions, cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A data set that cannot be used for what it is wanted for.
    #[error("{}: {problem}", path.display())]
    Dataset {
        /// Its annotation file, or the file of candidates.
        path: PathBuf,
        /// Why not.
        problem: DatasetProblem,
    },
    /// The model cannot do what is wanted of it.
    #[error(transparent)]
    Model(#[from] mplug::Error),
    /// The model computed no number where one picture alone cannot be left out.
    #[error("{what}: {source}")]
    NotANumber {
        /// What it was to compute numbers of.
        what: String,
        /// The fault.
        source: NotANumber,
    },
    /// A picture that was read once cannot be read again.
    #[error("{0}")]
    Picture(String),
    /// Captions cannot be scored.
    #[error(transparent)]
    Metrics(#[from] caption_metrics::Error),
    /// METEOR's files cannot be used.
    #[error(transparent)]
    Meteor(#[from] caption_metrics::meteor::MeteorError),
    /// The references of which document frequencies are to be taken cannot be read.
    #[error("document frequencies: {source}")]
    FrequencyReferences {
        /// What is wrong with their file.
        source: DataError,
    },
    /// Document frequencies cannot be used.
    #[error("{}: {problem}", path.display())]
    Frequencies {
        /// Their file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A journal with the captions of another run.
    #[error(
        "{}: has the captions of another run; remove it or choose another file (it has {found}; this is {expected})",
        path.display()
    )]
    OtherRun {
        /// The journal.
        path: PathBuf,
        /// What its captions are of.
        found: String,
        /// What this run's are of.
        expected: String,
    },
    /// Pictures are to be sorted by a figure that was not computed.
    #[error("no figure {key:?} to sort the pictures by; computed: {known}")]
    UnknownFigure {
        /// The key that was given.
        key: String,
        /// The keys there are.
        known: String,
    },
    /// Two runs or results cannot be compared.
    #[error(transparent)]
    Compare(#[from] CompareProblem),
    /// A folder that no run of training has written.
    #[error("{}: expected a run folder, which has a {LOG} of a run, found none", path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A report cannot be written.
    #[error(transparent)]
    Report(#[from] io::Error),
    /// The caller stopped the run.
    #[error("stopped")]
    Stopped,
}

/// Why a data set cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetProblem {
    /// Pictures without a candidate.
    #[error("no candidate for {missing} of the {images} images of {}: {first}", references.display())]
    NoCandidates {
        /// The annotation file with the references.
        references: PathBuf,
        /// How many pictures have no candidate.
        missing: usize,
        /// How many pictures there are.
        images: usize,
        /// The ids of the first of them.
        first: String,
    },
    /// Pictures without references.
    #[error("{images} images have no references: {first}")]
    NoReferences {
        /// How many pictures have none.
        images: usize,
        /// The ids of the first of them.
        first: String,
    },
    /// No captions.
    #[error("there is nothing to score")]
    NothingToScore,
    /// No records.
    #[error("there is nothing to answer")]
    NothingToAnswer,
    /// Records without a question.
    #[error(
        "expected a dataset with questions (format `vqa` or `vqa-v2`), for the model answers them; found none"
    )]
    NoQuestions,
    /// Questions without an answer.
    #[error("its questions have no answers to score against")]
    NoAnswers,
    /// No question got an answer.
    #[error("none of its questions can be answered")]
    NothingAnswered,
    /// No captions to search by.
    #[error("has no captions to search by")]
    NoTexts,
    /// No picture of a text can be read.
    #[error("there is no text of a picture that can be read")]
    NoPictures,
}

impl EvalError {
    /// A data set of the annotation file `path` with a problem.
    pub(crate) fn dataset(path: impl Into<PathBuf>, problem: DatasetProblem) -> Self {
        Self::Dataset { path: path.into(), problem }
    }

    /// No number of `what`.
    pub(crate) fn not_a_number(what: impl Into<String>) -> Self {
        Self::NotANumber { what: what.into(), source: NotANumber }
    }
}

/// JSON that cannot be written: an error of the writer.
impl From<serde_json::Error> for EvalError {
    fn from(error: serde_json::Error) -> Self {
        Self::Report(error.into())
    }
}
