//! BLIP's training files: `[{"image": "val2014/a.jpg", "caption": "…", "image_id": "coco_7"}, …]`, one caption an entry.
//!
//! Source: `coco_karpathy_train.json` and the retrieval files of BLIP and mPLUG, whose test files have a list of
//! captions and no `image_id`. Entries of one `image_id` (or one `image`, without ids) are about one picture.
//!
//! Refuses to know anything else of an entry.

use std::borrow::Cow;
use std::path::Path;

use serde::Deserialize;

use super::collect::Collector;
use super::{OneOrMany, ReadOptions, captions};
use crate::annotation::{Annotation, PictureId};
use crate::error::{DataError, Place};
use crate::text::{parse_json, read_text};

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    image: Cow<'a, str>,
    image_id: Option<PictureId>,
    caption: Option<OneOrMany>,
}

/// Reads a BLIP training file.
pub(super) fn read(path: &Path, options: &ReadOptions) -> Result<Vec<Annotation>, DataError> {
    let text = read_text(path, options.max_bytes)?;
    let mut pictures = Collector::default();
    for (index, entry) in parse_json::<Vec<Entry<'_>>>(path, &text)?.into_iter().enumerate() {
        let place = Place::Element("", index);
        add(&mut pictures, entry, place).map_err(|what| DataError::annotation(path, place, what))?;
    }
    Ok(pictures.into_records())
}

fn add(pictures: &mut Collector, entry: Entry<'_>, place: Place) -> Result<(), String> {
    let id = entry.image_id.unwrap_or_else(|| PictureId::from(entry.image.as_ref()));
    let captions = captions(entry.caption, &id)?;
    let picture = pictures.entry(&id, place);
    if picture.place == place {
        picture.file_name = Some(entry.image.into_owned());
    } else if picture.file_name.as_deref() != Some(entry.image.as_ref()) {
        return Err(format!("{id} was given already with another picture, {}", picture.place));
    }
    picture.references.extend(captions);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fails, reads};
    use crate::format::Format;

    #[test]
    fn entries_of_one_picture_are_one_annotation() {
        let text = r#"[{"caption": "a cat", "image": "val2014/a.jpg", "image_id": "coco_1"},
            {"caption": "a dog", "image": "b.jpg", "image_id": "coco_2"},
            {"caption": "cats", "image": "val2014/a.jpg", "image_id": "coco_1"},
            {"caption": ["x", "y"], "image": "c.jpg"}]"#;
        let records = reads(Format::Blip, text);
        assert_eq!(records.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["coco_1", "coco_2", "c.jpg"]);
        assert_eq!(records[0].references, ["a cat", "cats"]);
        assert_eq!(records[2].references, ["x", "y"]);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let good = r#"{"caption": "a cat", "image": "a.jpg", "image_id": 1}"#;
        for (entry, expected) in [
            (r#"{"image": "b.jpg"}"#, "element [1]: b.jpg: expected at least one caption"),
            (r#"{"image": "b.jpg", "caption": null}"#, "element [1]: b.jpg: expected at least one caption"),
            (r#"{"image": "b.jpg", "caption": "x", "image_id": "1"}"#, "element [1]: 1 was given already"),
            (r#"{"caption": "x"}"#, "missing field `image`"),
        ] {
            let error = fails(Format::Blip, &format!("[{good}, {entry}]"));
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
    }
}
