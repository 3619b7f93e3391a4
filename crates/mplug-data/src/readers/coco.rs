//! COCO captions: `{"images": [{"id", "file_name", …}], "annotations": [{"image_id", "caption", …}]}`.
//!
//! Source: the COCO caption annotations of 2014 and 2017. NoCaps adds `domain` to its images. The references of AI
//! Challenger's evaluator list a picture once per caption, with ids of 64 bits; BLIP's `coco_karpathy_*_gt.json` have no
//! `file_name`. Pictures keep the order of `images`, which is not that of `annotations`.
//!
//! Refuses to know licences, sizes, URLs and the ids of captions. A picture without a caption is an error, unless no
//! picture has one.

use std::borrow::Cow;
use std::path::Path;

use serde::Deserialize;

use super::ReadOptions;
use super::collect::{Collector, all_or_none_have_references};
use crate::annotation::{Annotation, PictureId};
use crate::error::{DataError, Place};
use crate::text::{parse_json, read_text};

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    images: Vec<Image<'a>>,
    #[serde(borrow, default)]
    annotations: Vec<Caption<'a>>,
}

#[derive(Deserialize)]
struct Image<'a> {
    id: PictureId,
    #[serde(borrow)]
    file_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    domain: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Caption<'a> {
    image_id: PictureId,
    #[serde(borrow)]
    caption: Option<Cow<'a, str>>,
}

/// Reads a COCO caption file.
pub(super) fn read(path: &Path, options: &ReadOptions) -> Result<Vec<Annotation>, DataError> {
    let text = read_text(path, options.max_bytes)?;
    let document: Document<'_> = parse_json(path, &text)?;
    let mut pictures = Collector::default();
    for (index, image) in document.images.into_iter().enumerate() {
        add_image(path, &mut pictures, image, Place::Element("images", index))?;
    }
    for (index, caption) in document.annotations.into_iter().enumerate() {
        add_caption(&mut pictures, caption)
            .map_err(|what| DataError::annotation(path, Place::Element("annotations", index), what))?;
    }
    let records = pictures.into_records();
    all_or_none_have_references(path, &records)?;
    Ok(records)
}

fn add_image(path: &Path, pictures: &mut Collector, image: Image<'_>, place: Place) -> Result<(), DataError> {
    let mut annotation = Annotation::new(image.id, place);
    annotation.file_name = image.file_name.map(Cow::into_owned);
    annotation.domain = image.domain.map(Cow::into_owned);
    // The same picture listed again, as AI Challenger's evaluator does; another picture under its id is an error.
    let known = pictures.get(&annotation.id);
    if known.is_some_and(|known| known.file_name.is_some() && known.file_name == annotation.file_name) {
        return Ok(());
    }
    pictures.insert(path, annotation)
}

fn add_caption(pictures: &mut Collector, caption: Caption<'_>) -> Result<(), String> {
    let id = caption.image_id;
    let text = caption.caption.ok_or_else(|| format!("expected a caption of picture {id}, found none"))?;
    let picture = pictures.get(&id).ok_or_else(|| format!("picture {id} is not among the images"))?;
    picture.references.push(text.into_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fails, reads};
    use crate::format::Format;

    const IMAGES: &str = r#"{"info": {"year": 2014}, "images": [
        {"license": 3, "file_name": "COCO_val2014_000000000042.jpg", "height": 478, "id": 42},
        {"file_name": "COCO_val2014_000000000007.jpg", "id": 7, "domain": "near-domain"}], "licenses": [],"#;

    #[test]
    fn a_blank_caption_is_kept() {
        let text = format!(
            r#"{IMAGES} "annotations": [{{"image_id": 7, "id": 1, "caption": " "}}, {{"image_id": 42, "id": 2, "caption": "a"}}]}}"#
        );
        assert_eq!(reads(Format::Coco, &text)[1].references, [" "]);
    }

    #[test]
    fn captions_are_grouped_in_the_order_of_the_images() {
        let text = format!(
            r#"{IMAGES} "annotations": [{{"image_id": 7, "id": 1, "caption": "A dog.\n"}},
            {{"image_id": 42, "id": 2, "caption": " A cat"}}, {{"image_id": 7, "id": 3, "caption": "Ein \"Hund\""}}]}}"#
        );
        let records = reads(Format::Coco, &text);
        assert_eq!(records.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["42", "7"]);
        assert_eq!(records[0].references, [" A cat"]);
        assert_eq!(records[1].references, ["A dog.\n", "Ein \"Hund\""]);
        assert_eq!(records[0].file_name.as_deref(), Some("COCO_val2014_000000000042.jpg"));
        assert_eq!(records[1].domain.as_deref(), Some("near-domain"));
    }

    #[test]
    fn the_references_of_ai_challenger_list_a_picture_once_per_caption() {
        let text = r#"{"type": "captions", "images": [{"file_name": "a1", "id": 6700417000000000001},
            {"file_name": "a1", "id": 6700417000000000001}], "annotations": [
            {"image_id": 6700417000000000001, "id": 1, "caption": "一只 猫"},
            {"image_id": 6700417000000000001, "id": 2, "caption": "一只 黑 猫"}]}"#;
        let records = reads(Format::Coco, text);
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].id.as_str(), "6700417000000000001");
        assert_eq!(records[0].references.len(), 2);
    }

    #[test]
    fn a_list_of_pictures_without_any_caption_is_a_list_of_pictures() {
        let records = reads(Format::Coco, &format!(r#"{IMAGES} "categories": []}}"#));
        assert!(records.len() == 2 && records.iter().all(|r| r.references.is_empty()));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let with = |annotations: &str| format!(r#"{IMAGES} "annotations": [{annotations}]}}"#);
        for (text, expected) in [
            (with(r#"{"image_id": 7, "caption": "A dog"}"#), "images[0]: the picture 42 has no caption"),
            (with(r#"{"image_id": 7, "caption": null}"#), "annotations[0]: expected a caption of picture 7"),
            (with(r#"{"image_id": 7}"#), "annotations[0]: expected a caption of picture 7"),
            (with(r#"{"image_id": 8, "caption": "x"}"#), "annotations[0]: picture 8 is not among the images"),
            (with(r#"{"image_id": 1.5, "caption": "x"}"#), "found 1.5"),
            (with(r#"{"image_id": 7, "caption": "x""#), "line 3 column"),
            (
                r#"{"images": [{"id": 1, "file_name": "a"}, {"id": "1", "file_name": "b"}]}"#.into(),
                "images[1]: 1 was given already, element images[0]",
            ),
            (r#"{"images": [{"id": 1}, {"id": 1}]}"#.into(), "images[1]: 1 was given already"),
            (r#"{"annotations": []}"#.into(), "missing field `images`"),
        ] {
            let error = fails(Format::Coco, &text);
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
    }
}
