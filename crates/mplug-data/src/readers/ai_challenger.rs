//! AI Challenger 2017: `[{"url", "image_id": "NAME.jpg", "caption": ["…", …]}, …]`, five Chinese captions a picture.
//!
//! Source: `caption_train_annotations_20170902.json` and its validation twin. `image_id` is the file's name. (The
//! references of its evaluator are COCO's format.)
//!
//! Refuses to know `url`.

use std::path::Path;

use serde::Deserialize;

use super::collect::Collector;
use super::{OneOrMany, ReadOptions, captions};
use crate::annotation::{Annotation, PictureId};
use crate::error::{DataError, Place};
use crate::text::{parse_json, read_text};

#[derive(Deserialize)]
struct Entry {
    image_id: PictureId,
    caption: Option<OneOrMany>,
}

/// Reads an annotation file of AI Challenger.
pub(super) fn read(path: &Path, options: &ReadOptions) -> Result<Vec<Annotation>, DataError> {
    let text = read_text(path, options.max_bytes)?;
    let mut pictures = Collector::default();
    for (index, entry) in parse_json::<Vec<Entry>>(path, &text)?.into_iter().enumerate() {
        let place = Place::Element("", index);
        let captions = captions(entry.caption, &entry.image_id);
        let mut annotation = Annotation::new(entry.image_id, place);
        annotation.references = captions.map_err(|what| DataError::annotation(path, place, what))?;
        annotation.file_name = Some(annotation.id.to_string());
        pictures.insert(path, annotation)?;
    }
    Ok(pictures.into_records())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fails, reads};
    use crate::format::Format;

    const GOOD: &str = r#"{"url": "http://x", "image_id": "8f00f3d0f1008e085ab660e70dffced16a8259f6.jpg",
        "caption": ["两个男人", "两个人"]}"#;

    #[test]
    fn captions_by_file_name() {
        let records = reads(Format::AiChallenger, &format!("[{GOOD}]"));
        assert_eq!(records[0].picture_name(), "8f00f3d0f1008e085ab660e70dffced16a8259f6.jpg");
        assert_eq!(records[0].references, ["两个男人", "两个人"]);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (entry, expected) in [
            (GOOD, "was given already, element [0]"),
            (r#"{"image_id": "b.jpg", "caption": []}"#, "element [1]: b.jpg: expected at least one caption"),
            (r#"{"image_id": "b.jpg"}"#, "element [1]: b.jpg: expected at least one caption"),
            (r#"{"caption": ["x"]}"#, "missing field `image_id`"),
        ] {
            let error = fails(Format::AiChallenger, &format!("[{GOOD}, {entry}]"));
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
    }
}
