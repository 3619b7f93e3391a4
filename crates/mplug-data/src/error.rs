//! What can go wrong with a dataset, and where in its files.
//!
//! Every message names the file and, where there is one, the line or the element.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use mplug::io_error_is_passing;
use mplug::preprocess::image::ImageError;

use crate::annotation::PictureId;

/// Where in an annotation file something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A line, from 1.
    Line(usize),
    /// An element of a JSON list, from 0: `annotations[7]`. The list of a file that is one array has no name.
    Element(&'static str, usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Element("", index) => write!(f, "element [{index}]"),
            Self::Element(list, index) => write!(f, "element {list}[{index}]"),
        }
    }
}

/// What can go wrong with a dataset.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// An index beyond the end.
    #[error("example {index} does not exist: the dataset has {len}, counted from 0")]
    OutOfRange {
        /// The index requested.
        index: usize,
        /// The dataset's length.
        len: usize,
    },
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that is larger than what is read.
    #[error("{}: has {found} bytes, more than the limit of {limit}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        found: u64,
        /// The most that is read.
        limit: u64,
    },
    /// Something that is no JSON, or not the JSON of its format.
    #[error("{} line {line} column {column}: {what}", path.display())]
    Json {
        /// The annotation file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in bytes, from 1.
        column: usize,
        /// What was expected, and what was found.
        what: String,
    },
    /// A line or an element of annotations that cannot be used.
    #[error("{} {place}: {what}", path.display())]
    Annotation {
        /// The annotation file.
        path: PathBuf,
        /// The line or the element.
        place: Place,
        /// What was expected, and what was found.
        what: String,
    },
    /// Two pictures, or two candidates, under one id.
    #[error("{} {second}: {id} was given already, {first}", path.display())]
    Duplicate {
        /// The annotation file.
        path: PathBuf,
        /// What is there twice.
        id: PictureId,
        /// Where it stands first.
        first: Place,
        /// Where it stands again.
        second: Place,
    },
    /// A file that no reader knows.
    #[error("{}: {what}; known formats: {known}", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
        /// The formats that there are.
        known: String,
    },
    /// A split that the file does not have.
    #[error("{}: no split {wanted:?}; {}", path.display(), splits(known))]
    UnknownSplit {
        /// The annotation file.
        path: PathBuf,
        /// The split requested.
        wanted: String,
        /// The splits there are.
        known: Vec<String>,
    },
    /// A picture that cannot be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A picture that is nowhere under the image root.
    #[error("{}: there is no picture {name:?} in it; {hint}", root.display())]
    NoPicture {
        /// The folder or file searched.
        root: PathBuf,
        /// The name requested.
        name: String,
        /// What might help.
        hint: &'static str,
    },
    /// A name that fits two pictures.
    #[error("{}: {name:?} fits both {first:?} and {second:?}", root.display())]
    Ambiguous {
        /// The folder or file searched.
        root: PathBuf,
        /// The name requested.
        name: String,
        /// A picture of that name.
        first: String,
        /// Another one.
        second: String,
    },
    /// A table without the column of pictures that was wanted.
    #[error("{}: {what}{}; {}", path.display(), did_you_mean(nearest.as_deref()), columns(known))]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// What was expected, and what was found.
        what: String,
        /// The name of a column that may be meant.
        nearest: Option<String>,
        /// The columns there are.
        known: Vec<String>,
    },
    /// A Parquet file, in a build that reads none.
    #[error("{}: expected a build that reads Parquet (feature `parquet`), found one without", path.display())]
    NoParquet {
        /// The file.
        path: PathBuf,
    },
    /// A picture that cannot be encoded.
    #[error("{}: {source}", path.display())]
    Encode {
        /// The file to be written.
        path: PathBuf,
        /// What the encoder said.
        source: image::ImageError,
    },
    /// A folder that is in use already.
    #[error("{} exists already: choose an empty folder, or remove it first", path.display())]
    Exists {
        /// The file that is there.
        path: PathBuf,
    },
}

impl DataError {
    /// Whether the same may succeed later: the system's errors as [`mplug::io_error_is_passing`] says, pictures as
    /// [`ImageError::is_passing`]. Everything else is of what the files say.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Io { source, .. } => io_error_is_passing(source),
            Self::Image(error) => error.is_passing(),
            _ => false,
        }
    }

    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), source }
    }

    pub(crate) fn annotation(path: &Path, place: Place, what: impl Into<String>) -> Self {
        Self::Annotation { path: path.to_path_buf(), place, what: what.into() }
    }
}

/// The name that is least far from one that is unknown, if it is not far: what may have been meant.
pub fn nearest<'a>(unknown: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distances = names.map(|name| (strsim::damerau_levenshtein(unknown, name), name));
    let (distance, name) = distances.min()?;
    (distance <= 1 + name.chars().count() / 3).then_some(name)
}

/// Columns that a message names.
const SHOWN_COLUMNS: usize = 30;

fn did_you_mean(name: Option<&str>) -> String {
    name.map_or_else(String::new, |name| format!("; did you mean {name:?}?"))
}

fn columns(known: &[String]) -> String {
    let more = if known.len() > SHOWN_COLUMNS { ", …" } else { "" };
    let shown: Vec<&str> = known.iter().take(SHOWN_COLUMNS).map(String::as_str).collect();
    format!("its columns are {}{more}", shown.join(", "))
}

fn splits(known: &[String]) -> String {
    if known.is_empty() { "the file has no splits".into() } else { format!("it has {}", known.join(", ")) }
}
