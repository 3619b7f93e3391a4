//! Readers of annotation files: one file per format, all with one outcome, [`Annotations`].
//!
//! A reader groups what belongs to one picture, in the order in which pictures first appear, and refuses what it cannot
//! use with the place where it stands. No reader opens a picture.

mod coco;
mod collect;
mod jsonl;

use std::path::Path;

use crate::annotation::{Annotation, Annotations};
use crate::dataset::Language;
use crate::error::DataError;
use crate::format::Format;

/// What readers need to know beside the file.
#[derive(Debug, Clone)]
pub(crate) struct ReadOptions {
    /// The language of captions, where a file has several.
    pub(crate) language: Option<Language>,
    /// The largest document that is read as a whole, in bytes.
    pub(crate) max_bytes: u64,
}

/// Reads an annotation file of a known format.
pub(crate) fn read(path: &Path, format: Format, options: &ReadOptions) -> Result<Annotations, DataError> {
    let records: Vec<Annotation> = match format {
        Format::Coco => coco::read(path, options)?,
        Format::JsonLines => jsonl::read(path, options)?,
    };
    Ok(Annotations { path: path.to_path_buf(), format, records })
}

/// A caption if it says anything.
fn check_caption(caption: &str) -> Result<(), &'static str> {
    if caption.trim().is_empty() { Err("expected a caption, found an empty one") } else { Ok(()) }
}

#[cfg(test)]
pub(crate) mod testing {
    //! What the tests of all readers share.

    use super::{Annotation, DataError, Format, ReadOptions};

    pub(crate) const OPTIONS: ReadOptions = ReadOptions { language: None, max_bytes: 1 << 20 };

    pub(crate) fn read(format: Format, bytes: &[u8]) -> Result<Vec<Annotation>, DataError> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), bytes).expect("written");
        super::read(file.path(), format, &OPTIONS).map(|annotations| annotations.records)
    }

    pub(crate) fn reads(format: Format, text: &str) -> Vec<Annotation> {
        read(format, text.as_bytes()).expect("reads")
    }

    pub(crate) fn fails(format: Format, text: &str) -> String {
        read(format, text.as_bytes()).expect_err(text).to_string()
    }
}
