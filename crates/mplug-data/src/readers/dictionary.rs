//! A JSON object of pictures: `{"42": ["a cat", "cats"]}` or `{"42": [{"caption": "a cat"}]}`, what `pycocoevalcap`'s scorers and its
//! tokeniser take; `{"a.jpg": "a cat"}`, as people write it.
//!
//! Source: pycocoevalcap 1.2, `PTBTokenizer.tokenize` and `Cider.compute_score`. The key is the id, and the picture's name if it ends
//! as one.
//!
//! Refuses a key that is there twice: JSON readers of other languages would keep the last.

use std::fmt;
use std::path::Path;

use serde::de::{Deserialize, Deserializer as _, Error as _, IgnoredAny, MapAccess, Visitor};

use super::ReadOptions;
use super::collect::Collector;
use crate::annotation::{Annotation, PictureId};
use crate::error::{DataError, Place};
use crate::names::has_picture_extension;
use crate::text::{json_error, read_text};

/// What stands under a key.
#[derive(serde::Deserialize)]
#[serde(untagged, expecting = "expected a caption, a list of captions or a list of {\"caption\": …}")]
enum Captions {
    One(String),
    Texts(Vec<String>),
    Objects(Vec<Object>),
}

#[derive(serde::Deserialize)]
struct Object {
    caption: String,
}

impl Captions {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Texts(texts) => texts,
            Self::Objects(objects) => objects.into_iter().map(|object| object.caption).collect(),
        }
    }
}

/// Whether a JSON object begins as such a dictionary does; it may be cut.
pub(crate) fn is_dictionary(text: &str) -> bool {
    /// Looks at the first entry.
    struct First<'a>(&'a mut bool);
    impl<'de> Visitor<'de> for First<'_> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            if let Some(key) = map.next_key::<String>()? {
                *self.0 = match map.next_value::<Captions>()? {
                    Captions::One(_) => has_picture_extension(Path::new(&key)),
                    Captions::Texts(texts) => !texts.is_empty(),
                    Captions::Objects(_) => true,
                };
            }
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(())
        }
    }
    let mut is_one = false;
    // Ends early where the text was cut, or where another value follows.
    let _ = serde_json::Deserializer::from_str(text).deserialize_map(First(&mut is_one));
    is_one
}

/// Reads a dictionary of captions.
pub(super) fn read(path: &Path, options: &ReadOptions) -> Result<Vec<Annotation>, DataError> {
    /// Entry by entry: a map would lose those that are there twice.
    struct Entries(Vec<(String, Captions)>);
    impl<'de> Deserialize<'de> for Entries {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(EntriesVisitor).map(Self)
        }
    }
    struct EntriesVisitor;
    impl<'de> Visitor<'de> for EntriesVisitor {
        type Value = Vec<(String, Captions)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of captions by picture")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(key) = map.next_key::<String>()? {
                let value =
                    map.next_value().map_err(|error| A::Error::custom(format!("{key:?}: {error}")))?;
                entries.push((key, value));
            }
            Ok(entries)
        }
    }
    let text = read_text(path, options.max_bytes)?;
    let Entries(entries) = serde_json::from_str(&text).map_err(|error| json_error(path, 1, &error))?;
    let mut pictures = Collector::default();
    for (index, (key, captions)) in entries.into_iter().enumerate() {
        let place = Place::Element("", index);
        let mut annotation = Annotation::new(PictureId::from(key.as_str()), place);
        annotation.file_name = has_picture_extension(Path::new(&key)).then_some(key);
        annotation.references = captions.into_vec();
        if annotation.references.is_empty() {
            let what = format!("{}: expected at least one caption, found none", annotation.id);
            return Err(DataError::annotation(path, place, what));
        }
        pictures.insert(path, annotation)?;
    }
    Ok(pictures.into_records())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fails, reads};
    use super::is_dictionary;
    use crate::annotation::Annotation;
    use crate::format::Format;

    #[test]
    fn captions_by_id_or_name() {
        let text = r#"{"42": ["a cat", "cats"], "7": [{"caption": "a dog", "id": 1}], "v/a.jpg": "a bird"}"#;
        let records = reads(Format::Dictionary, text);
        assert_eq!(records.iter().map(Annotation::picture_name).collect::<Vec<_>>(), ["42", "7", "v/a.jpg"]);
        assert_eq!(
            (&records[0].references[..], records[1].references[0].as_str()),
            (&["a cat".into(), "cats".into()][..], "a dog")
        );
        assert_eq!(
            (records[0].file_name.as_deref(), records[2].file_name.as_deref()),
            (None, Some("v/a.jpg"))
        );
    }

    #[test]
    fn its_beginning_is_enough() {
        for (text, expected) in [
            (r#"{"1": ["a"], "2": ["b"#, true),
            (r#"{"1": [{"caption": "a"}], "#, true),
            (r#"{"a.jpg": "a cat"}"#, true),
            (r#"{"path": "a.jpg", "caption": "a cat"}"#, false),
            (r#"{"1": 5}"#, false),
            (r#"{"1": ["a"#, false),
            ("{}", false),
            ("{\"images\": []}", false),
        ] {
            assert_eq!(is_dictionary(text), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (entry, expected) in [
            (r#""1": ["again"]"#, "element [1]: 1 was given already, element [0]"),
            (r#""2": []"#, "element [1]: 2: expected at least one caption"),
            (r#""2": 5"#, "\"2\": expected a caption, a list of captions"),
            (r#""2": [5]"#, "\"2\": expected a caption, a list of captions"),
        ] {
            let error = fails(Format::Dictionary, &format!(r#"{{"1": ["a"], {entry}}}"#));
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
    }
}
