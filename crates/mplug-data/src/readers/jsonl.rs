//! JSON Lines: one object a line, `{"path": "a.jpg", "captions": ["a cat", …]}`.
//!
//! Our own form, wide enough for what people write by hand. The picture is `path`, `image` or `file_name`; the id
//! `image_id` or `id`, or else the picture's path; the captions `captions`, `caption`, `references` or `text`, one or a
//! list, or `captions_zh` and `captions_en` (what `mplug synth` writes), of which the language chooses; `split` if there
//! are any. Lines of one id are about one picture.
//!
//! Refuses to guess: two keys for one thing are an error, and so are two languages when none is requested.

use std::path::Path;

use serde::Deserialize;

use super::collect::Collector;
use super::{OneOrMany, ReadOptions};
use crate::annotation::{Annotation, PictureId};
use crate::dataset::Language;
use crate::error::{DataError, Place};
use crate::text::{Lines, json_error};

#[derive(Deserialize)]
struct Line {
    path: Option<String>,
    image: Option<String>,
    file_name: Option<String>,
    image_id: Option<PictureId>,
    id: Option<PictureId>,
    captions: Option<OneOrMany>,
    caption: Option<OneOrMany>,
    references: Option<OneOrMany>,
    text: Option<OneOrMany>,
    captions_zh: Option<OneOrMany>,
    captions_en: Option<OneOrMany>,
    split: Option<String>,
}

/// Reads a file of JSON Lines.
pub(super) fn read(path: &Path, options: &ReadOptions) -> Result<Vec<Annotation>, DataError> {
    let mut lines = Lines::open(path, options.max_bytes)?;
    let mut pictures = Collector::default();
    while let Some((number, text)) = lines.next()? {
        let line: Line = serde_json::from_str(&text).map_err(|e| json_error(path, number, &e))?;
        let place = Place::Line(number);
        add(&mut pictures, line, place, options.language)
            .map_err(|what| DataError::annotation(path, place, what))?;
    }
    Ok(pictures.into_records())
}

fn add(
    pictures: &mut Collector,
    mut line: Line,
    place: Place,
    language: Option<Language>,
) -> Result<(), String> {
    let captions = captions(&mut line, language)?;
    let file_name = at_most_one([("path", line.path), ("image", line.image), ("file_name", line.file_name)])?;
    let id = line.image_id.or(line.id).or_else(|| file_name.clone().map(PictureId::from));
    let id = id.ok_or("expected a picture (path, image or image_id), found none")?;
    let picture = pictures.entry(&id, place);
    if picture.place == place {
        picture.file_name = file_name;
        picture.split = line.split;
    } else if picture.file_name != file_name || picture.split != line.split {
        return Err(format!("{id} was given already with another picture or split, {}", picture.place));
    }
    picture.references.extend(captions);
    Ok(())
}

fn captions(line: &mut Line, language: Option<Language>) -> Result<Vec<String>, String> {
    let (key, captions) = match (line.captions_zh.take(), line.captions_en.take(), language) {
        (None, None, _) => {
            let captions = at_most_one([
                ("captions", line.captions.take()),
                ("caption", line.caption.take()),
                ("references", line.references.take()),
                ("text", line.text.take()),
            ])?;
            ("captions, caption, references or text", captions)
        }
        (chinese, _, Some(Language::Chinese)) => ("captions_zh", chinese),
        (_, english, Some(Language::English)) => ("captions_en", english),
        (Some(_), Some(_), None) => {
            return Err("has captions_zh and captions_en: a language must be chosen".into());
        }
        (chinese, english, None) => ("captions_zh or captions_en", chinese.or(english)),
    };
    let captions = captions.map(OneOrMany::into_vec).unwrap_or_default();
    if captions.is_empty() {
        return Err(format!("expected at least one caption in {key}, found none"));
    }
    Ok(captions)
}

/// The one value that is there; two are an error that names their keys.
fn at_most_one<T, const N: usize>(values: [(&str, Option<T>); N]) -> Result<Option<T>, String> {
    let mut found: Option<(&str, T)> = None;
    for (key, value) in values {
        match (value, &found) {
            (Some(_), Some((first, _))) => return Err(format!("has both {first} and {key}")),
            (Some(value), None) => found = Some((key, value)),
            (None, _) => {}
        }
    }
    Ok(found.map(|(_, value)| value))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fails, reads};
    use crate::format::Format;

    #[test]
    fn keys_by_which_people_call_things() {
        let records = reads(
            Format::JsonLines,
            "\u{feff}{\"path\": \"a.jpg\", \"captions\": [\"a cat\", \"cat\"], \"split\": \"test\"}\r\n\n\
             {\"image\": \"b/c.jpg\", \"caption\": \"a dog\", \"score\": 1e400}\n\
             {\"image_id\": 5, \"text\": [\"a bird\"]}\n{\"image_id\": \"5\", \"text\": \"birds\"}\n\
             {\"id\": \"x\", \"file_name\": \"d.png\", \"references\": [\"a fish\"]}",
        );
        let ids: Vec<_> = records.iter().map(|r| r.id.as_str()).collect();
        assert_eq!(ids, ["a.jpg", "b/c.jpg", "5", "x"]);
        assert_eq!(records[0].split.as_deref(), Some("test"));
        assert_eq!(records[2].references, ["a bird", "birds"]);
        assert_eq!(records[3].file_name.as_deref(), Some("d.png"));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let good = r#"{"path": "a.jpg", "caption": "a cat"}"#;
        for (line, expected) in [
            ("{", "line 2 column 1"),
            (r#"{"caption": "a cat"}"#, "line 2: expected a picture"),
            (r#"{"path": "b.jpg"}"#, "line 2: expected at least one caption"),
            (r#"{"path": "b.jpg", "captions": []}"#, "line 2: expected at least one caption"),
            (r#"{"path": "b.jpg", "caption": null}"#, "line 2: expected at least one caption"),
            (r#"{"path": "b.jpg", "caption": "x", "text": "y"}"#, "line 2: has both caption and text"),
            (r#"{"path": "b.jpg", "image": "c.jpg", "text": "y"}"#, "line 2: has both path and image"),
            (r#"{"path": "b.jpg", "caption": 5}"#, "expected a string or a list of strings"),
            (r#"{"path": "b.jpg", "captions_zh": ["x"], "captions_en": ["y"]}"#, "a language must be chosen"),
            (r#"{"path": "a.jpg", "caption": "x", "split": "val"}"#, "line 2: a.jpg was given already"),
        ] {
            let error = fails(Format::JsonLines, &format!("{good}\n{line}\n"));
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
    }
}
