//! Readers of annotation files: one file per format, all with one outcome, [`Annotations`].
//!
//! A reader groups what belongs to one picture, in the order in which pictures first appear, and refuses what it cannot
//! use with the place where it stands. No reader opens a picture.

mod ai_challenger;
pub(crate) mod beside;
mod blip;
mod coco;
mod collect;
pub(crate) mod columns;
pub(crate) mod dictionary;
pub(crate) mod flickr_tokens;
mod jsonl;
mod karpathy;
mod muge;
#[cfg(feature = "parquet")]
pub(crate) mod parquet;
pub(crate) mod row;
pub(crate) mod table;
mod text_lines;
mod vqa;
mod vqa_v2;

use std::path::Path;

use serde::Deserialize;

use self::row::{Row, Rows};
use crate::annotation::{Annotation, Annotations, PictureId};
use crate::dataset::Language;
use crate::error::{DataError, Place};
use crate::format::Format;

/// What readers need to know beside the file.
#[derive(Debug, Clone)]
pub(crate) struct ReadOptions {
    /// The language of captions, where a file has several.
    pub(crate) language: Option<Language>,
    /// Columns of a table and keys of JSON Lines, old name and new.
    pub(crate) columns: Vec<(String, String)>,
    /// Whether a table's first line is a row already, and names no columns.
    pub(crate) has_no_head: bool,
    /// The largest file that is read, in bytes.
    pub(crate) max_bytes: u64,
}

/// Reads an annotation file of a known format.
pub(crate) fn read(path: &Path, format: Format, options: &ReadOptions) -> Result<Annotations, DataError> {
    let mut left_out = 0;
    let records: Vec<Annotation> = match format {
        Format::Coco => coco::read(path, options)?,
        Format::Karpathy => karpathy::read(path, options)?,
        Format::Blip => blip::read(path, options)?,
        Format::FlickrTokens => flickr_tokens::read(path, options)?,
        Format::AiChallenger => ai_challenger::read(path, options)?,
        Format::Muge => muge::read(path, options)?,
        Format::JsonLines | Format::Json => {
            let (records, failed) = jsonl::read(path, format == Format::Json, options)?;
            left_out = failed;
            records
        }
        Format::Dictionary => dictionary::read(path, options)?,
        Format::Vqa => vqa::read(path, options)?,
        Format::VqaV2 => vqa_v2::read(path, options)?,
        Format::ModelScopeCsv
        | Format::Table
        | Format::Text
        | Format::Parquet
        | Format::Sidecars
        | Format::WebDataset => {
            let mut rows = Rows::new(options);
            let without = each_row(path, format, options, &mut |row| rows.add(row))?;
            if let Some((count, first)) = without {
                let what = format!("{count} of the pictures have no caption beside them: {first}");
                return Err(DataError::annotation(path, Place::Element("pictures", 0), what));
            }
            let (records, failed) = rows.into_records();
            left_out = failed;
            records
        }
    };
    Ok(Annotations { path: path.to_path_buf(), format, records, left_out })
}

/// Hands on the rows of a file, archive or folder that is written in rows, one after the other; returns how many pictures have no
/// text beside them, and the first.
pub(crate) fn each_row(
    path: &Path,
    format: Format,
    options: &ReadOptions,
    each: &mut dyn FnMut(Row) -> Result<(), String>,
) -> Result<Option<(usize, String)>, DataError> {
    match format {
        Format::Text => text_lines::each_row(path, options, each)?,
        Format::Sidecars | Format::WebDataset => {
            return beside::each_row(path, format == Format::WebDataset, options, each);
        }
        #[cfg(feature = "parquet")]
        Format::Parquet => parquet::each_row(path, options, each)?,
        #[cfg(not(feature = "parquet"))]
        Format::Parquet => return Err(DataError::NoParquet { path: path.to_path_buf() }),
        _ => table::each_row(path, options, each)?,
    }
    Ok(None)
}

/// One string or several.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a string or a list of strings")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        }
    }
}

/// The captions of `id`, at least one.
fn captions(captions: Option<OneOrMany>, id: &PictureId) -> Result<Vec<String>, String> {
    let captions = captions.map(OneOrMany::into_vec).unwrap_or_default();
    if captions.is_empty() {
        return Err(format!("{id}: expected at least one caption, found none"));
    }
    Ok(captions)
}

#[cfg(test)]
pub(crate) mod testing {
    //! What the tests of all readers share.

    use super::{Annotation, DataError, Format, ReadOptions};

    pub(crate) const OPTIONS: ReadOptions =
        ReadOptions { language: None, columns: Vec::new(), has_no_head: false, max_bytes: 1 << 20 };

    pub(crate) fn read_with(
        format: Format,
        bytes: &[u8],
        options: &ReadOptions,
    ) -> Result<Vec<Annotation>, DataError> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), bytes).expect("written");
        super::read(file.path(), format, options).map(|annotations| annotations.records)
    }

    pub(crate) fn reads(format: Format, text: &str) -> Vec<Annotation> {
        read_with(format, text.as_bytes(), &OPTIONS).expect("reads")
    }

    pub(crate) fn fails(format: Format, text: &str) -> String {
        read_with(format, text.as_bytes(), &OPTIONS).expect_err(text).to_string()
    }
}
