//! What can go wrong between a model folder and a caption.

use std::io;

use mplug_kernels::gemm::Precision;

use crate::checkpoint::CheckpointError;
use crate::config::Task;
use crate::generate::{GenerationError, NotANumber};
use crate::preprocess::text::TokenizerError;

/// Everything that loading or running a model can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The weights do not fit.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The vocabulary cannot be used.
    #[error(transparent)]
    Text(#[from] TokenizerError),
    /// A generation option is out of range.
    #[error(transparent)]
    Generation(#[from] GenerationError),
    /// The model computed no numbers for a picture.
    #[error(transparent)]
    NotANumber(#[from] NotANumber),
    /// The model was fine-tuned for something else.
    #[error("expected a model for {expected}, found one for {found}")]
    WrongTask {
        /// What was requested of it.
        expected: Task,
        /// What it can do.
        found: Task,
    },
    /// The system does not grant the memory for the weights.
    #[error(
        "expected {} MB of memory for the weights at {precision}, found less: free some, or use a precision of fewer bits",
        .bytes / 1_000_000
    )]
    Memory {
        /// What the weights need at least.
        bytes: usize,
        /// The precision that was requested.
        precision: Precision,
    },
    /// A retrieval model whose checkpoint has no `vision_proj` and `text_proj`.
    #[error(
        "the model has no projections of pictures and texts (`vision_proj`, `text_proj`): it can match, not search"
    )]
    NoFeatures,
    /// The prefix holds a token that the vocabulary lacks, or nothing at all.
    #[error("the prefix `{prefix}` {problem}")]
    Prefix {
        /// The text given.
        prefix: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A required or a forbidden word cannot be.
    #[error("the word `{word}` {problem}")]
    Word {
        /// The word.
        word: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// The system's own error where a library has put the name of a temporary file around it, which says nothing to anybody.
pub fn plain_io_error(error: io::Error) -> io::Error {
    // `tempfile` writes `No such file or directory (os error 2) at path "/x/.mplug-d3f4da"`, and gives the error in no other way.
    let text = error.to_string();
    let Some((plain, _)) = text.split_once(" at path \"").filter(|_| error.get_ref().is_some()) else {
        return error;
    };
    let code = plain.rsplit_once("(os error ").and_then(|(_, code)| code.strip_suffix(')')?.parse().ok());
    code.map_or_else(|| io::Error::new(error.kind(), plain), io::Error::from_raw_os_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_name_is_in_no_message() {
        let lost = std::path::Path::new("/no such folder");
        let error = tempfile::Builder::new().prefix(".mplug-").tempfile_in(lost).unwrap_err();
        assert!(error.to_string().contains(".mplug-"), "the library's words changed: {error}");
        let plain = plain_io_error(error);
        assert_eq!(plain.kind(), io::ErrorKind::NotFound);
        assert!(!plain.to_string().contains(".mplug-"), "{plain}");
        let other = plain_io_error(io::Error::other("full"));
        assert_eq!(other.to_string(), "full");
    }
}
