//! What can be wrong with METEOR's files and inputs.
//!
//! Each case names the file, what was expected and found, and what to do. It knows nothing of how files are read.

use std::path::PathBuf;

/// An error of loading METEOR's data or of the captions given to [`meteor`](super::meteor).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeteorError {
    /// A file cannot be opened, read or written.
    #[error("cannot {action} `{path}`: {source}")]
    Io {
        /// What was tried: "read", "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The jar is not a zip archive, or lacks or damages an entry.
    #[error(
        "`{path}`: cannot read the entry `{entry}` ({source})\n\
         expected the official meteor-1.5.jar, as `pip install pycocoevalcap` brings it"
    )]
    Jar {
        /// The jar.
        path: PathBuf,
        /// The entry requested, or "the archive's directory".
        entry: &'static str,
        /// What the zip reader says.
        source: zip::result::ZipError,
    },
    /// A text of the jar or the paraphrase table does not have its format.
    #[error("`{path}`{}: expected {expected}, found {found}\nis it from the official METEOR 1.5?", at_line(*.line))]
    Format {
        /// The file; an entry of the jar is written `jar!entry`.
        path: PathBuf,
        /// The line, counted from one; zero where the whole file is meant.
        line: usize,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// No paraphrase table was named and none lies beside the jar.
    #[error(
        "no paraphrase table at `{path}`\nname the file paraphrase-en.gz (METEOR without it would have other digits)"
    )]
    NoParaphrases {
        /// Where it was looked for.
        path: PathBuf,
    },
}

fn at_line(line: usize) -> String {
    if line == 0 { String::new() } else { format!(" line {line}") }
}
