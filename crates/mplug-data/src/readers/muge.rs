//! MUGE's ECommerce-IC: one `{"image_id": 1000002, "text": ["…", …]}` a line, the pictures in a table of base64.
//!
//! Source: `IC_train.jsonl`, `IC_valid.jsonl` and `IC_test.jsonl`; the last has no `text`. The pictures are
//! `IC_*.tsv`, found by their id.
//!
//! Refuses to know the table: that is an image root.

use std::path::Path;

use serde::Deserialize;

use super::collect::{Collector, all_or_none_have_references};
use super::{OneOrMany, ReadOptions, captions};
use crate::annotation::{Annotation, PictureId};
use crate::error::{DataError, Place};
use crate::text::{Lines, json_error};

#[derive(Deserialize)]
struct Line {
    image_id: PictureId,
    text: Option<OneOrMany>,
}

/// Reads the captions of ECommerce-IC.
pub(super) fn read(path: &Path, options: &ReadOptions) -> Result<Vec<Annotation>, DataError> {
    let mut lines = Lines::open(path, options.max_bytes)?;
    let mut pictures = Collector::default();
    while let Some((number, text)) = lines.next()? {
        let line: Line = serde_json::from_str(&text).map_err(|e| json_error(path, number, &e))?;
        let place = Place::Line(number);
        let references = line.text.map(|text| captions(Some(text), &line.image_id)).transpose();
        let mut annotation = Annotation::new(line.image_id, place);
        let references = references.map_err(|what| DataError::annotation(path, place, what))?;
        annotation.references = references.unwrap_or_default();
        pictures.insert(path, annotation)?;
    }
    let records = pictures.into_records();
    all_or_none_have_references(path, &records)?;
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fails, reads};
    use crate::format::Format;

    #[test]
    fn captions_by_id_and_a_test_file_without() {
        let records = reads(Format::Muge, "{\"image_id\": 1000002, \"text\": [\"连衣裙\", \"裙子\"]}\n");
        assert_eq!((records[0].picture_name(), records[0].references.len()), ("1000002", 2));
        assert_eq!(records[0].file_name, None);
        let records = reads(Format::Muge, "{\"image_id\": 1}\n{\"image_id\": \"2\"}\n");
        assert!(records.len() == 2 && records[1].references.is_empty());
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (line, expected) in [
            (r#"{"image_id": "1", "text": ["y"]}"#, "line 2: 1 was given already, line 1"),
            (r#"{"image_id": 2}"#, "line 2: the picture 2 has no caption"),
            (r#"{"image_id": 2, "text": []}"#, "line 2: 2: expected at least one caption"),
            (r#"{"image_id": 2, "text": [null]}"#, "line 2 column"),
            (r#"{"text": ["x"]}"#, "missing field `image_id`"),
        ] {
            let error = fails(Format::Muge, &format!("{{\"image_id\": 1, \"text\": [\"x\"]}}\n{line}\n"));
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
    }
}
