//! Candidates: the captions that a model wrote, told apart by picture.
//!
//! Read are COCO's results (`[{"image_id", "caption"}, …]`; AI Challenger's submissions look the same), JSON Lines of
//! `{"path", "caption"}` as `mplug caption` writes them (a line `{"path", "error"}` is a failure), JSON Lines of
//! `{"image_id", "caption" or "text"}` (MUGE's submissions), and plain lines in the order of the references. Answers to
//! questions are `{"question_id", "answer"}` in either JSON form.
//!
//! A candidate is for the picture of its id, or else for the one whose file name ends as the candidate's does. Refuses
//! to know metrics; a missing candidate is no error here ([`Candidates::missing`]).

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::annotation::{Annotations, PictureId};
use crate::error::{DataError, Place};
use crate::names::{Match, NameIndex};
use crate::text::{Lines, json_error, parse_json, read_text};

/// How a file of candidates is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CandidateFormat {
    /// One JSON array of `{"image_id", "caption"}`.
    CocoResults,
    /// One JSON object a line.
    JsonLines,
    /// One caption a line, in the order of the references.
    Lines,
}

/// One generated caption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The picture's id in the annotations.
    pub id: PictureId,
    /// The picture's number among the annotations.
    pub index: usize,
    /// The caption, to the letter.
    pub caption: String,
    /// Where it stands.
    pub place: Place,
}

/// A picture for which there is an error instead of a caption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The picture's id in the annotations.
    pub id: PictureId,
    /// The picture's number among the annotations.
    pub index: usize,
    /// What went wrong.
    pub error: String,
}

/// What a file of candidates holds.
#[derive(Debug, Clone)]
pub struct Candidates {
    /// The file.
    pub path: PathBuf,
    /// The captions in the file's order, at most one for each picture.
    pub captions: Vec<Candidate>,
    /// The pictures that failed.
    pub failures: Vec<Failure>,
}

impl Candidates {
    /// Reads candidates for the pictures of `annotations`; the format is detected by the file's beginning if not given. A
    /// file of more than `max_bytes` is refused.
    ///
    /// # Errors
    /// [`DataError::Json`] or [`DataError::Annotation`] for what is no candidate, or one whose name fits no picture or
    /// two; [`DataError::Duplicate`] for a second one of a picture; for plain lines, [`DataError::Annotation`] if there
    /// are more or fewer than pictures.
    pub fn read(
        path: &Path,
        annotations: &Annotations,
        format: Option<CandidateFormat>,
        max_bytes: u64,
    ) -> Result<Self, DataError> {
        let format = match format {
            Some(format) => format,
            None => detect(path)?,
        };
        let mut reader = Reader::new(path, annotations, max_bytes);
        match format {
            CandidateFormat::CocoResults => reader.coco_results()?,
            CandidateFormat::JsonLines => reader.json_lines()?,
            CandidateFormat::Lines => reader.lines()?,
        }
        Ok(reader.candidates)
    }

    /// The pictures of `annotations` that have neither a candidate nor a failure, in their order.
    pub fn missing<'a>(&self, annotations: &'a Annotations) -> Vec<&'a PictureId> {
        let mut is_there = vec![false; annotations.records.len()];
        let captions = self.captions.iter().map(|candidate| candidate.index);
        for index in captions.chain(self.failures.iter().map(|failure| failure.index)) {
            is_there[index] = true;
        }
        let absent = annotations.records.iter().zip(is_there).filter(|(_, is_there)| !is_there);
        absent.map(|(annotation, _)| &annotation.id).collect()
    }
}

fn detect(path: &Path) -> Result<CandidateFormat, DataError> {
    let first = Lines::open(path, u64::MAX)?.next_or_cut()?;
    Ok(match first.as_deref().map(str::trim_start).and_then(|text| text.chars().next()) {
        Some('[') => CandidateFormat::CocoResults,
        Some('{') => CandidateFormat::JsonLines,
        _ => CandidateFormat::Lines,
    })
}

#[derive(Deserialize)]
struct CocoResult<'a> {
    #[serde(alias = "question_id")]
    image_id: PictureId,
    #[serde(borrow, alias = "answer")]
    caption: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct JsonLine {
    path: Option<String>,
    #[serde(alias = "question_id")]
    image_id: Option<PictureId>,
    #[serde(alias = "answer")]
    caption: Option<String>,
    text: Option<String>,
    error: Option<String>,
}

struct Reader<'a> {
    annotations: &'a Annotations,
    by_id: HashMap<&'a PictureId, usize>,
    by_name: NameIndex,
    seen: HashMap<usize, Place>,
    candidates: Candidates,
    max_bytes: u64,
}

impl<'a> Reader<'a> {
    fn new(path: &Path, annotations: &'a Annotations, max_bytes: u64) -> Self {
        let names = annotations.records.iter().map(|annotation| annotation.picture_name().to_string());
        let by_name = NameIndex::new(names.collect());
        let by_id = annotations.records.iter().enumerate().map(|(index, a)| (&a.id, index)).collect();
        let candidates = Candidates { path: path.to_path_buf(), captions: Vec::new(), failures: Vec::new() };
        Self { annotations, by_id, by_name, seen: HashMap::new(), candidates, max_bytes }
    }

    fn coco_results(&mut self) -> Result<(), DataError> {
        let path = self.candidates.path.clone();
        let text = read_text(&path, self.max_bytes)?;
        for (index, result) in parse_json::<Vec<CocoResult<'_>>>(&path, &text)?.into_iter().enumerate() {
            let place = Place::Element("", index);
            let Some(caption) = result.caption else {
                return Err(
                    self.error(place, format!("expected a caption of {}, found none", result.image_id))
                );
            };
            self.add(&result.image_id, place, Ok(caption.into_owned()))?;
        }
        Ok(())
    }

    fn json_lines(&mut self) -> Result<(), DataError> {
        let mut lines = Lines::open(&self.candidates.path, self.max_bytes)?;
        while let Some((number, text)) = lines.next()? {
            let place = Place::Line(number);
            let line: JsonLine =
                serde_json::from_str(&text).map_err(|e| json_error(&self.candidates.path, number, &e))?;
            let Some(id) = line.image_id.or_else(|| line.path.map(PictureId::from)) else {
                return Err(self.error(place, "expected image_id or path, found neither"));
            };
            let outcome = match (line.caption.or(line.text), line.error) {
                (Some(caption), _) => Ok(caption),
                (None, Some(error)) => Err(error),
                (None, None) => {
                    return Err(self
                        .error(place, format!("expected a caption (caption or text) of {id}, found none")));
                }
            };
            self.add(&id, place, outcome)?;
        }
        Ok(())
    }

    fn lines(&mut self) -> Result<(), DataError> {
        let mut lines = Lines::open(&self.candidates.path, self.max_bytes)?;
        let expected = self.annotations.records.len();
        let mut count = 0;
        while let Some((number, caption)) = lines.next_even_blank()? {
            count = number;
            if let Some(annotation) = self.annotations.records.get(number - 1) {
                let (id, index, place) = (annotation.id.clone(), number - 1, Place::Line(number));
                self.candidates.captions.push(Candidate { id, index, caption, place });
            }
        }
        if count != expected {
            let what = format!("the file has {count} lines, but there are {expected} pictures");
            return Err(self.error(Place::Line(count), what));
        }
        Ok(())
    }

    fn add(
        &mut self,
        id: &PictureId,
        place: Place,
        outcome: Result<String, String>,
    ) -> Result<(), DataError> {
        let index = self.find(id, place)?;
        let known = self.annotations.records[index].id.clone();
        match self.seen.entry(index) {
            Entry::Occupied(first) => {
                let (path, first) = (self.candidates.path.clone(), *first.get());
                return Err(DataError::Duplicate { path, id: known, first, second: place });
            }
            Entry::Vacant(vacant) => vacant.insert(place),
        };
        match outcome {
            Ok(caption) => self.candidates.captions.push(Candidate { id: known, index, caption, place }),
            Err(error) => self.candidates.failures.push(Failure { id: known, index, error }),
        }
        Ok(())
    }

    /// The number of the annotation that a candidate is for.
    fn find(&self, id: &PictureId, place: Place) -> Result<usize, DataError> {
        if let Some(index) = self.by_id.get(id) {
            return Ok(*index);
        }
        let (name, references) = (id.as_str(), self.annotations.path.display());
        match self.by_name.find(name) {
            Match::One(index) => Ok(index),
            Match::None => Err(self.error(place, format!("there is no picture {name:?} in {references}"))),
            Match::Several(first, second) => {
                let [first, second] = [first, second].map(|number| self.by_name.name(number));
                Err(self.error(place, format!("{name:?} fits both {first:?} and {second:?} in {references}")))
            }
        }
    }

    fn error(&self, place: Place, what: impl Into<String>) -> DataError {
        DataError::annotation(&self.candidates.path, place, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotation::Annotation;
    use crate::format::Format;

    fn annotations() -> Annotations {
        let record = |id: &str, file_name: Option<&str>| {
            let mut annotation = Annotation::new(serde_json::from_str(id).expect("an id"), Place::Line(1));
            annotation.file_name = file_name.map(String::from);
            annotation
        };
        let records = vec![
            record("42", Some("val/a.jpg")),
            record("7", Some("val/b.jpg")),
            record("\"8\"", Some("train/b.jpg")),
            record("6700417000000000001", Some("c")),
        ];
        Annotations { path: "references.json".into(), format: Format::Coco, records }
    }

    fn read(text: &str) -> Result<Candidates, String> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("written");
        Candidates::read(file.path(), &annotations(), None, 1 << 20).map_err(|e| e.to_string())
    }

    fn pairs(candidates: &Candidates) -> Vec<(&str, &str)> {
        candidates.captions.iter().map(|c| (c.id.as_str(), c.caption.as_str())).collect()
    }

    #[test]
    fn coco_results_and_submissions_by_name() {
        let text = r#" [{"image_id": "7", "caption": "b"}, {"image_id": 6700417000000000001, "caption": ""},
            {"image_id": "a.jpg", "caption": "a"}]"#;
        let candidates = read(text).expect("reads");
        assert_eq!(pairs(&candidates), [("7", "b"), ("6700417000000000001", ""), ("42", "a")]);
        assert_eq!(candidates.missing(&annotations()), [&PictureId::from(8)]);
        let named = read(r#"[{"image_id": "c.jpg", "caption": "c"}]"#).expect("reads");
        assert_eq!(pairs(&named), [("6700417000000000001", "c")]);
        let answers = read(r#"[{"question_id": 7, "answer": "two"}]"#).expect("reads");
        assert_eq!(pairs(&answers), [("7", "two")]);
    }

    #[test]
    fn json_lines_by_path_or_id() {
        let text = "{\"path\": \"/data/val/a.jpg\", \"caption\": \"a\", \"score\": -1, \"token_ids\": [1]}\n\
            {\"path\": \"/data/train/b.jpg\", \"error\": \"is empty\"}\n{\"image_id\": 7, \"text\": \"b\"}\n";
        let candidates = read(text).expect("reads");
        assert_eq!(pairs(&candidates), [("42", "a"), ("7", "b")]);
        assert_eq!(candidates.failures[0].error, "is empty");
        assert_eq!(candidates.failures[0].index, 2);
    }

    #[test]
    fn lines_in_the_order_of_the_references() {
        assert_eq!(read("a\n\nc\r\nd\n").expect("reads").captions[1].caption, "");
        for (text, count) in [("a\nb\nc\n", 3), ("a\nb\nc\nd\ne", 5), ("", 0)] {
            let error = read(text).expect_err("another count");
            assert!(error.contains(&format!("has {count} lines, but there are 4 pictures")), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (text, expected) in [
            (
                r#"[{"image_id": 7, "caption": "a"}, {"image_id": "7", "caption": "b"}]"#,
                "element [1]: 7 was given already, element [0]",
            ),
            (
                "{\"image_id\": 42, \"caption\": \"a\"}\n{\"path\": \"a.jpg\", \"caption\": \"b\"}",
                "line 2: 42 was given already, line 1",
            ),
            (
                r#"{"path": "b.jpg", "caption": "x"}"#,
                "line 1: \"b.jpg\" fits both \"val/b.jpg\" and \"train/b.jpg\"",
            ),
            (
                r#"{"path": "z.jpg", "caption": "x"}"#,
                "line 1: there is no picture \"z.jpg\" in references.json",
            ),
            (r#"[{"image_id": 9, "caption": "x"}]"#, "element [0]: there is no picture \"9\" in"),
            (r#"[{"image_id": 7, "caption": null}]"#, "element [0]: expected a caption of 7"),
            (r#"[{"image_id": 7, "caption": "x"}"#, "line 1 column"),
            (r#"{"image_id": 7}"#, "line 1: expected a caption"),
            (r#"{"caption": "x"}"#, "line 1: expected image_id or path"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
    }
}
