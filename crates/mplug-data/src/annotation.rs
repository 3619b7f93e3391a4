//! What annotation files say, whatever their format: pictures by id, with references, questions and answers.
//!
//! Our own form. Refuses to know how any format is written (`readers`) and where pixels are
//! ([`crate::source`]).

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::error::Place;
use crate::format::Format;

/// The id of a picture, exactly as its file gives it: a JSON integer of 64 bits or a string.
///
/// Ids are compared, hashed and ordered by their text, so `5` and `"5"` are one id; an integer is written back as an
/// integer.
#[derive(Clone)]
pub struct PictureId {
    text: Arc<str>,
    is_integer: bool,
}

impl PictureId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The id that a piece of JSON is.
    fn from_json(json: &str) -> Result<Self, String> {
        if json.starts_with('"') {
            return serde_json::from_str::<String>(json).map(Self::from).map_err(|e| e.to_string());
        }
        if let Ok(id) = json.parse::<u64>() {
            return Ok(Self::from(id));
        }
        // "-0" is a negative zero, which is no integer of 64 bits; `i64` would read it as 0.
        if let Some(id) = json.parse::<i64>().ok().filter(|id| *id < 0) {
            return Ok(Self { text: id.to_string().into(), is_integer: true });
        }
        let shown: String = json.chars().take(80).collect();
        Err(format!("expected an id (an integer of at most 64 bits, or a string), found {shown}"))
    }
}

impl From<u64> for PictureId {
    fn from(id: u64) -> Self {
        Self { text: id.to_string().into(), is_integer: true }
    }
}

impl From<&str> for PictureId {
    fn from(id: &str) -> Self {
        Self { text: id.into(), is_integer: false }
    }
}

impl From<String> for PictureId {
    fn from(id: String) -> Self {
        Self { text: id.into(), is_integer: false }
    }
}

impl PartialEq for PictureId {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PictureId {}

impl Hash for PictureId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl PartialOrd for PictureId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PictureId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl fmt::Display for PictureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for PictureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_integer { f.write_str(&self.text) } else { write!(f, "{:?}", self.text) }
    }
}

impl Serialize for PictureId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.is_integer, self.text.parse::<u64>(), self.text.parse::<i64>()) {
            (true, Ok(id), _) => serializer.serialize_u64(id),
            (true, _, Ok(id)) => serializer.serialize_i64(id),
            _ => serializer.serialize_str(&self.text),
        }
    }
}

impl<'de> Deserialize<'de> for PictureId {
    /// From JSON alone: the digits themselves are read, so that an error can show them and none goes through a float.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        Self::from_json(json.get()).map_err(D::Error::custom)
    }
}

/// An answer to a question, and how much it counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The answer.
    pub text: String,
    /// Its weight in the loss, from 0 to 1.
    pub weight: f32,
}

/// One annotated picture; with questions, one question about a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Annotation {
    /// Unique within its file.
    pub id: PictureId,
    /// The picture's path or name as the file gives it, relative to the image root. `None` where a format has ids
    /// alone: the picture is then found by its id.
    pub file_name: Option<String>,
    /// What people wrote about the picture, to the letter: white space around it is left to who reads it. A blank one is
    /// kept: the reference evaluator counts it.
    pub references: Vec<String>,
    /// The part of the dataset: `train`, `val`, `test`, `restval`.
    pub split: Option<String>,
    /// NoCaps: `in-domain`, `near-domain` or `out-domain`.
    pub domain: Option<String>,
    /// What is asked about the picture.
    pub question: Option<String>,
    /// The answers to the question, each once, in the file's order.
    pub answers: Vec<Answer>,
    /// How many answers were given, equal ones counted each time: 10 where ten people were asked.
    pub answers_given: usize,
    /// Where the picture first stands in the file.
    pub place: Place,
}

impl Annotation {
    /// An annotation that says nothing but its id yet.
    pub(crate) fn new(id: PictureId, place: Place) -> Self {
        Self {
            id,
            file_name: None,
            references: Vec::new(),
            split: None,
            domain: None,
            question: None,
            answers: Vec::new(),
            answers_given: 0,
            place,
        }
    }

    /// The name under which the picture is looked for.
    pub fn picture_name(&self) -> &str {
        self.file_name.as_deref().unwrap_or(self.id.as_str())
    }
}

/// What an annotation file says.
#[derive(Debug, Clone)]
pub struct Annotations {
    /// The file.
    pub path: PathBuf,
    /// How it is written.
    pub format: Format,
    /// One for each picture (or question), in the file's order.
    pub records: Vec<Annotation>,
    /// How many pictures are not among them, for the file says why they have no caption.
    pub left_out: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<PictureId, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn ids_are_exact() {
        for json in ["0", "5", "-7", "6700417000000000001", "18446744073709551615", "\"5\"", "\"a \\n\""] {
            let id = parse(json).expect(json);
            assert_eq!(serde_json::to_string(&id).expect("JSON"), json);
        }
        assert_eq!(parse("6700417000000000001").expect("64 bits").as_str(), "6700417000000000001");
        assert_eq!(parse("5").expect("a number"), parse("\"5\"").expect("a string"));
        assert_ne!(parse("5").expect("a number"), parse("\"05\"").expect("a string"));
        let value: serde_json::Value = serde_json::from_str("12").expect("JSON");
        assert_eq!(serde_json::from_value::<PictureId>(value).expect("from a value"), PictureId::from(12));
    }

    #[test]
    fn what_is_no_id_is_shown() {
        for json in
            ["18446744073709551616", "-9223372036854775809", "1.5", "1e3", "-0", "null", "true", "[1]"]
        {
            let error = parse(json).expect_err(json).to_string();
            assert!(error.contains(&format!("found {json}")), "{error}");
        }
    }
}
