//! What ends a run over many pictures, or keeps it from beginning. A picture that fails alone is no error: it has a
//! [`Failure`](mplug_data::picture::Failure).

use std::path::{Path, PathBuf};
use std::{fmt, io};

use mplug_data::error::DataError;
use mplug_data::journal::JournalError;

/// What ends a run, or keeps it from beginning. Every message names the file or the input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BulkError {
    /// The list of inputs cannot be read.
    #[error("the list of inputs")]
    List(#[source] io::Error),
    /// The list of inputs has no names, too many, or names that are none.
    #[error("the list of inputs: expected {expected}, found {found}")]
    ListContent {
        /// What was expected of it.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// `-` was given twice.
    #[error("`-` can be given once: standard input has one list (a file named `-` is `./-`)")]
    SecondList,
    /// An input that cannot be listed now, where the run needs the whole list.
    #[error(
        "{problem}; so the list of inputs is not whole: run again when it can be listed, or leave it out"
    )]
    NotWhole {
        /// The input and what is wrong with it.
        problem: String,
    },
    /// A dataset that cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The system refused.
    #[error("{name}{}", what(doing))]
    Io {
        /// The file, or `standard output`.
        name: String,
        /// What was being done, if that is not plain: `cannot be written`.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Something that cannot be written to.
    #[error("{}: {problem}", path.display())]
    Unwritable {
        /// What is there.
        path: PathBuf,
        /// What is expected, and what is there.
        problem: &'static str,
    },
    /// An output that is one of the inputs.
    #[error("{}: is an input, which the output would replace", path.display())]
    OutputIsInput {
        /// The file.
        path: PathBuf,
    },
    /// An output that is there already.
    #[error("{}: exists already", path.display())]
    OutputExists {
        /// The file.
        path: PathBuf,
    },
    /// A picture that the names of a `metadata.jsonl` cannot reach.
    #[error("{}: expected a picture file below {}, the folder of the output, whose names begin there", path.display(), folder.display())]
    NotBelow {
        /// The picture.
        path: PathBuf,
        /// The folder.
        folder: PathBuf,
    },
    /// An ending that text files cannot have.
    #[error("the text files: expected an ending such as .caption, which is no picture's, found {found:?}")]
    TextEnding {
        /// What was given.
        found: String,
    },
    /// A picture of the web where the output has the pictures themselves.
    #[error(
        "{}: a web address has no place in a tar, which has the pictures themselves: download it first",
        path.display()
    )]
    AddressInTar {
        /// The address.
        path: PathBuf,
    },
    /// A picture without a folder, for which a text file beside it was requested.
    #[error("{}: is in no folder of this machine, so no text file can be beside it", path.display())]
    NoFolder {
        /// The picture.
        path: PathBuf,
    },
    /// Two pictures with one text file.
    #[error("{} and {} would both have the text file {}", first.display(), second.display(), text_file.display())]
    SameTextFile {
        /// A picture.
        first: PathBuf,
        /// Another one.
        second: PathBuf,
        /// The file of both.
        text_file: PathBuf,
    },
    /// A text file that is not written.
    #[error("{problem}")]
    TextFile {
        /// The file and why.
        problem: String,
    },
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A journal of a run that was stopped, where nobody said whether to go on with it.
    #[error("{}: holds an unfinished run ({done} of {inputs} inputs done)", path.display())]
    Unfinished {
        /// The journal.
        path: PathBuf,
        /// Inputs that are done.
        done: usize,
        /// All inputs.
        inputs: usize,
    },
    /// A journal of another run: another model, other options or inputs.
    #[error("{}: {what}", path.display())]
    OtherRun {
        /// The journal.
        path: PathBuf,
        /// What differs.
        what: String,
    },
    /// A picture that is to be copied into the output and cannot be read again.
    #[error("{}: cannot be read again for the tar: {reason}", path.display())]
    GoneForTar {
        /// The picture.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The model refused the options.
    #[error(transparent)]
    Model(#[from] mplug::Error),
    /// Models that write other languages than those of the run.
    #[error("the models of a run: expected {expected}, found {found}")]
    Writers {
        /// What the run has.
        expected: String,
        /// What the models write.
        found: String,
    },
    /// A build without the feature `parquet`.
    #[error("this build writes and reads no Parquet")]
    NoParquet,
    /// A build without the feature `keywords`.
    #[error("this build finds no keywords")]
    NoKeywords,
    /// A Parquet file that cannot be made.
    #[error("{name}: {what}")]
    Parquet {
        /// The file, or `standard output`.
        name: String,
        /// What went wrong.
        what: String,
    },
}

impl BulkError {
    /// The system refused something about `path`.
    pub(crate) fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let name = path.display().to_string();
        move |source| Self::Io { name, doing, source }
    }
}

/// `: cannot be made`.
fn what(doing: &str) -> impl fmt::Display {
    if doing.is_empty() { String::new() } else { format!(": {doing}") }
}
