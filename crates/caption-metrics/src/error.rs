//! What can go wrong: inputs that do not belong together, a tokeniser that this build lacks.

/// The errors of this crate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Candidates and references are not of the same images.
    #[error("{candidates} candidates and references of {references} images: each image has one candidate")]
    Lengths {
        /// How many candidates there are.
        candidates: usize,
        /// How many images have references.
        references: usize,
    },
    /// An image without references cannot be scored.
    #[error("image {image} (counted from 0) has no references")]
    NoReferences {
        /// The image's index in the corpus.
        image: usize,
    },
    /// Something too long to be a caption; the tokenisers' time grows with the square of a word's length.
    #[error(
        "a caption of image {image} (counted from 0) has {bytes} bytes: at most {} are scored",
        crate::evaluation::MAX_CAPTION_BYTES
    )]
    CaptionTooLong {
        /// The image's index in the corpus.
        image: usize,
        /// The caption's length.
        bytes: usize,
    },
    /// More words than the numbers of words can tell apart.
    #[error("a corpus of more than {} different words", u32::MAX - 1)]
    Vocabulary,
    /// A tokeniser that was left out when this program was built.
    #[error("this build has no jieba")]
    NoJieba,
}
