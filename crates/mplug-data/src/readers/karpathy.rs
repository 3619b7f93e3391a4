//! Karpathy's splits: `{"images": [{"filepath", "filename", "split", "sentences": [{"raw", "tokens"}], "cocoid"}]}`.
//!
//! Source: `dataset_coco.json`, `dataset_flickr8k.json` and `dataset_flickr30k.json`; mPLUG's research code reads the
//! array of such images alone. The id is `cocoid`, else `imgid`, else the file's name. A sentence without `raw` (COCO-CN)
//! is its tokens, joined by spaces. `restval` stays as it is; that it counts as train is said where splits are chosen.
//!
//! Refuses to know the ids of sentences and `object_label`.

use std::borrow::Cow;
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ReadOptions;
use super::collect::{Collector, all_or_none_have_references};
use crate::annotation::{Annotation, PictureId};
use crate::error::{DataError, Place};
use crate::text::{parse_json, read_text};

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    images: Vec<Image<'a>>,
}

#[derive(Deserialize)]
struct Image<'a> {
    #[serde(borrow)]
    filename: Cow<'a, str>,
    #[serde(borrow)]
    filepath: Option<Cow<'a, str>>,
    #[serde(borrow)]
    split: Option<Cow<'a, str>>,
    #[serde(borrow)]
    sentences: Vec<Sentence<'a>>,
    cocoid: Option<PictureId>,
    imgid: Option<PictureId>,
}

#[derive(Deserialize)]
struct Sentence<'a> {
    #[serde(borrow)]
    raw: Option<Cow<'a, str>>,
    /// Left as text: most files have `raw`, and the tokens are half of the file.
    #[serde(borrow)]
    tokens: Option<&'a RawValue>,
}

/// Reads a file of Karpathy's splits.
pub(super) fn read(path: &Path, options: &ReadOptions) -> Result<Vec<Annotation>, DataError> {
    let text = read_text(path, options.max_bytes)?;
    let (list, images): (_, Vec<Image<'_>>) = if text.trim_start().starts_with('[') {
        ("", parse_json(path, &text)?)
    } else {
        ("images", parse_json::<Document<'_>>(path, &text)?.images)
    };
    let mut pictures = Collector::default();
    for (index, image) in images.into_iter().enumerate() {
        let place = Place::Element(list, index);
        let annotation = annotation(image, place).map_err(|what| DataError::annotation(path, place, what))?;
        pictures.insert(path, annotation)?;
    }
    let records = pictures.into_records();
    all_or_none_have_references(path, &records)?;
    Ok(records)
}

fn annotation(image: Image<'_>, place: Place) -> Result<Annotation, String> {
    let file_name = match image.filepath.as_deref() {
        None | Some("") => image.filename.into_owned(),
        Some(folder) => format!("{folder}/{}", image.filename),
    };
    let id = image.cocoid.or(image.imgid).unwrap_or_else(|| PictureId::from(file_name.as_str()));
    let mut annotation = Annotation::new(id, place);
    annotation.file_name = Some(file_name);
    annotation.split = image.split.map(Cow::into_owned);
    for sentence in image.sentences {
        annotation.references.push(caption(sentence)?);
    }
    Ok(annotation)
}

fn caption(sentence: Sentence<'_>) -> Result<String, String> {
    let caption = match (sentence.raw, sentence.tokens) {
        (Some(raw), _) => raw.into_owned(),
        (None, Some(tokens)) => {
            let tokens: Vec<String> =
                serde_json::from_str(tokens.get()).map_err(|e| format!("tokens of a sentence: {e}"))?;
            tokens.join(" ")
        }
        (None, None) => return Err("expected raw or tokens in a sentence, found neither".into()),
    };
    Ok(caption)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fails, reads};
    use crate::format::Format;

    const COCO: &str = r#"{"images": [
        {"filepath": "val2014", "sentids": [1, 2], "filename": "COCO_val2014_000000391895.jpg", "imgid": 0,
         "split": "test", "cocoid": 391895, "sentences": [
            {"tokens": ["a", "man"], "raw": "A man. ", "imgid": 0, "sentid": 1},
            {"tokens": ["一个", "男人"], "imgid": 0, "sentid": 2}]},
        {"filename": "b.jpg", "imgid": 1, "split": "restval", "sentences": [{"raw": "B"}]},
        {"filename": "c.jpg", "split": "train", "sentences": [{"raw": "C"}]}], "dataset": "coco"}"#;

    #[test]
    fn an_object_and_its_array_alone() {
        let array = COCO.trim_start_matches(r#"{"images":"#).trim_end_matches(r#", "dataset": "coco"}"#);
        for text in [COCO, array] {
            let records = reads(Format::Karpathy, text);
            let ids: Vec<_> = records.iter().map(|r| r.id.as_str()).collect();
            assert_eq!(ids, ["391895", "1", "c.jpg"]);
            assert_eq!(records[0].file_name.as_deref(), Some("val2014/COCO_val2014_000000391895.jpg"));
            assert_eq!(records[0].references, ["A man. ", "一个 男人"]);
            assert_eq!(records[1].split.as_deref(), Some("restval"));
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let one = |sentences: &str| {
            format!(
                r#"[{{"filename": "a.jpg", "sentences": [{sentences}]}}, {{"filename": "b.jpg", "sentences": [{{"raw": "x"}}]}}]"#
            )
        };
        for (text, expected) in [
            (one(""), "element [0]: the picture a.jpg has no caption"),
            (one("{}"), "element [0]: expected raw or tokens"),
            (one(r#"{"tokens": [1]}"#), "element [0]: tokens of a sentence"),
            (one(r#"{"raw": "y"}, "#), "line 1 column"),
            (
                COCO.replace("\"b.jpg\", \"imgid\": 1", "\"b.jpg\", \"cocoid\": \"391895\""),
                "images[1]: 391895 was given already, element images[0]",
            ),
            (COCO[..COCO.len() / 2].to_string(), "line 5 column"),
        ] {
            let error = fails(Format::Karpathy, &text);
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
    }
}
