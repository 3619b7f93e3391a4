//! Candidates: the captions that a model wrote, told apart by picture.
//!
//! Read are COCO's results (`[{"image_id", "caption"}, …]`; AI Challenger's submissions look the same), JSON Lines of
//! `{"path", "caption"}` as `mplug caption` writes them (a line `{"path", "error"}` is a failure), JSON Lines of
//! `{"image_id", "caption" or "text"}` (MUGE's submissions), whatever annotations are written in (tables, lines of a path and a
//! caption, Parquet, folders and archives of pictures with texts beside them, …), and plain lines in the order of the references.
//! Answers to questions are `{"question_id", "answer"}` in either JSON form, or columns of a table.
//!
//! A candidate is for the picture of its id, or else for the one whose file name ends as the candidate's does. Lines are plain
//! captions only if the first of them begins with no picture. Refuses to know metrics; a missing candidate is no error here
//! ([`Candidates::missing`]).

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::annotation::{Annotations, PictureId};
use crate::dataset::{Language, OpenOptions};
use crate::error::{DataError, Place};
use crate::format::{Format, head, of_bytes, of_text, valid_text};
use crate::names::{Match, NameIndex, has_picture_extension};
use crate::readers::beside::has_captions;
use crate::readers::columns::LanguageChoice;
use crate::readers::row::Row;
use crate::readers::table::first_cell;
use crate::readers::{self, ReadOptions, each_row};
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
    /// A format of annotations; of each picture one caption.
    Annotations(Format),
    /// A table of commas whose first line names no columns: a picture or an id, and a caption.
    Rows,
}

/// How candidates are read.
#[derive(Debug, Clone, Copy)]
pub struct CandidateOptions {
    /// How the file is written; detected by its beginning if `None`.
    pub format: Option<CandidateFormat>,
    /// The language of the captions, where a file has several.
    pub language: Option<Language>,
    /// The largest file that is read, in bytes.
    pub max_bytes: u64,
}

impl Default for CandidateOptions {
    /// Everything is detected from the file, of at most 2 GiB.
    fn default() -> Self {
        Self { format: None, language: None, max_bytes: OpenOptions::default().max_annotation_bytes }
    }
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
    /// Reads candidates for the pictures of `annotations`.
    ///
    /// # Errors
    /// [`DataError::Json`] or [`DataError::Annotation`] for what is no candidate, or one whose name fits no picture or
    /// two; [`DataError::Duplicate`] for a second one of a picture; for plain lines, [`DataError::Annotation`] if there
    /// are more or fewer than pictures, or if they begin with a picture; [`DataError::TooLarge`], and [`DataError::NoParquet`] in a
    /// build without.
    pub fn read(
        path: &Path,
        annotations: &Annotations,
        options: &CandidateOptions,
    ) -> Result<Self, DataError> {
        let mut reader = Reader::new(path, annotations, *options);
        let format = match options.format {
            Some(format) => format,
            None => reader.detect()?,
        };
        match format {
            CandidateFormat::CocoResults => reader.coco_results()?,
            CandidateFormat::JsonLines => reader.json_lines()?,
            CandidateFormat::Lines => reader.lines()?,
            CandidateFormat::Annotations(format) => reader.annotations(format, false)?,
            CandidateFormat::Rows => reader.annotations(Format::Table, true)?,
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

/// A result: of a list, where ids are the rule, or of JSON lines, where paths are. One definition, for either may have either.
#[derive(Deserialize)]
struct JsonLine<'a> {
    #[serde(borrow)]
    path: Option<Cow<'a, str>>,
    #[serde(alias = "question_id")]
    image_id: Option<PictureId>,
    #[serde(borrow, alias = "answer", alias = "candidate")]
    caption: Option<Cow<'a, str>>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    language: Option<Cow<'a, str>>,
    #[serde(borrow)]
    error: Option<Cow<'a, str>>,
}

/// How many lines are looked at where a file of plain lines might be something else.
const SAMPLE: usize = 100;

struct Reader<'a> {
    annotations: &'a Annotations,
    by_id: HashMap<&'a PictureId, usize>,
    by_name: NameIndex,
    seen: HashMap<usize, Place>,
    languages: LanguageChoice,
    candidates: Candidates,
    options: CandidateOptions,
}

impl<'a> Reader<'a> {
    fn new(path: &Path, annotations: &'a Annotations, options: CandidateOptions) -> Self {
        let names = annotations.records.iter().map(|annotation| annotation.picture_name().to_string());
        let by_name = NameIndex::new(names.collect());
        let by_id = annotations.records.iter().enumerate().map(|(index, a)| (&a.id, index)).collect();
        let candidates = Candidates { path: path.to_path_buf(), captions: Vec::new(), failures: Vec::new() };
        let languages = LanguageChoice::new(options.language);
        Self { annotations, by_id, by_name, seen: HashMap::new(), languages, candidates, options }
    }

    /// How the file is written, by its beginning.
    fn detect(&self) -> Result<CandidateFormat, DataError> {
        let path = &self.candidates.path;
        if path.is_dir() {
            let format = if has_captions(path)? { Format::Sidecars } else { Format::WebDataset };
            return Ok(CandidateFormat::Annotations(format));
        }
        let head = head(path)?;
        if let Some(format) = of_bytes(path, &head) {
            return Ok(CandidateFormat::Annotations(format));
        }
        let text = valid_text(&head).trim_start();
        match (text.chars().next(), of_text(text)) {
            (Some('['), _) => Ok(CandidateFormat::CocoResults),
            (Some('{'), Ok(format @ (Format::Coco | Format::Karpathy | Format::Dictionary))) => {
                Ok(CandidateFormat::Annotations(format))
            }
            (Some('{'), _) => Ok(CandidateFormat::JsonLines),
            (_, Ok(format)) => Ok(CandidateFormat::Annotations(format)),
            (_, Err(_)) => self.detect_lines(text),
        }
    }

    /// How lines are written whose first one shows no format by itself: it may begin with a picture of the references.
    fn detect_lines(&self, text: &str) -> Result<CandidateFormat, DataError> {
        let first = text.lines().next().unwrap_or_default();
        let expected =
            "expected one caption a line in the order of the references, or a picture, a tab and a caption";
        let wrong = |found: String| self.error(Place::Line(1), format!("{expected}; found {found}"));
        if let Some((name, _)) = first.split_once('\t') {
            return match self.index_of(name.trim()) {
                Match::None => {
                    Err(wrong(format!("a tab behind {name:?}, which is no picture of the references")))
                }
                _ => Ok(CandidateFormat::Annotations(Format::Text)),
            };
        }
        let is_row = |line: &str| first_cell(line).is_some_and(|name| self.index_of(&name) != Match::None);
        let mut sample = text.lines().take(SAMPLE).filter(|line| !line.trim().is_empty());
        if is_row(first) && sample.all(is_row) {
            return Ok(CandidateFormat::Rows);
        }
        let word = first.split([' ', ',', ';', '|']).next().unwrap_or_default().trim_matches('"');
        if has_picture_extension(Path::new(word)) {
            return Err(wrong(format!("a line that begins with the picture {word:?}")));
        }
        Ok(CandidateFormat::Lines)
    }

    /// The annotation of an id or a name.
    fn index_of(&self, name: &str) -> Match {
        match self.by_id.get(&PictureId::from(name)) {
            Some(index) => Match::One(*index),
            None => self.by_name.find(name),
        }
    }

    /// Reads what is written as annotations are.
    fn annotations(&mut self, format: Format, has_no_head: bool) -> Result<(), DataError> {
        let path = self.candidates.path.clone();
        let OpenOptions { max_annotation_bytes, .. } = OpenOptions::default();
        let max_bytes = self.options.max_bytes.min(max_annotation_bytes);
        // Rows are of a language each, which is chosen here.
        let options =
            ReadOptions { language: self.options.language, columns: Vec::new(), has_no_head, max_bytes };
        if format.is_of_rows() {
            let mut wrong = None;
            let read = each_row(&path, format, &options, &mut |row| {
                self.row(row).map_err(|error| {
                    let what = error.to_string();
                    wrong = Some(error);
                    what
                })
            });
            return match wrong {
                Some(error) => Err(error),
                None => read.map(drop),
            };
        }
        for record in readers::read(&path, format, &options)?.records {
            let [caption] = &record.references[..] else {
                let what =
                    format!("expected one caption of {}, found {}", record.id, record.references.len());
                return Err(self.error(record.place, what));
            };
            let id = record.file_name.map_or(record.id, PictureId::from);
            self.add(&id, record.place, Ok(caption.clone()))?;
        }
        Ok(())
    }

    fn row(&mut self, row: Row) -> Result<(), DataError> {
        let place = row.place;
        let Some(id) = row.candidate_id() else { return Ok(()) };
        if !self.takes(row.language.as_deref(), place)? {
            return Ok(());
        }
        if row.captions.len() > 1 {
            let what = format!("expected one caption of {id}, found {}", row.captions.len());
            return Err(self.error(place, what));
        }
        match row.outcome() {
            Some(outcome) => self.add(&id, place, outcome),
            None => Err(self.error(place, format!("expected a caption of {id}, found none"))),
        }
    }

    fn takes(&mut self, language: Option<&str>, place: Place) -> Result<bool, DataError> {
        self.languages
            .takes(language)
            .map_err(|what| DataError::annotation(&self.candidates.path, place, what))
    }

    fn coco_results(&mut self) -> Result<(), DataError> {
        let path = self.candidates.path.clone();
        let text = read_text(&path, self.options.max_bytes)?;
        for (index, result) in parse_json::<Vec<JsonLine<'_>>>(&path, &text)?.into_iter().enumerate() {
            self.json(result, Place::Element("", index))?;
        }
        Ok(())
    }

    fn json_lines(&mut self) -> Result<(), DataError> {
        let mut lines = Lines::open(&self.candidates.path, self.options.max_bytes)?;
        while let Some((number, text)) = lines.next()? {
            let line: JsonLine<'_> =
                serde_json::from_str(&text).map_err(|e| json_error(&self.candidates.path, number, &e))?;
            self.json(line, Place::Line(number))?;
        }
        Ok(())
    }

    fn json(&mut self, line: JsonLine<'_>, place: Place) -> Result<(), DataError> {
        let Some(id) = line.image_id.or_else(|| line.path.map(|path| PictureId::from(&*path))) else {
            return Err(self.error(place, "expected image_id, question_id or path, found none of them"));
        };
        if !self.takes(line.language.as_deref(), place)? {
            return Ok(());
        }
        let outcome = match (line.caption.or(line.text), line.error) {
            (Some(caption), _) => Ok(caption.into_owned()),
            (None, Some(error)) => Err(error.into_owned()),
            (None, None) => {
                let what = format!("expected a caption (caption, text or answer) of {id}, found none");
                return Err(self.error(place, what));
            }
        };
        self.add(&id, place, outcome)
    }

    fn lines(&mut self) -> Result<(), DataError> {
        let mut lines = Lines::open(&self.candidates.path, self.options.max_bytes)?;
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
        let (name, references) = (id.as_str(), self.annotations.path.display());
        match self.index_of(name) {
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
        Annotations { path: "references.json".into(), format: Format::Coco, records, left_out: 0 }
    }

    fn read(text: &str) -> Result<Candidates, String> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("written");
        Candidates::read(file.path(), &annotations(), &CandidateOptions::default()).map_err(|e| e.to_string())
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
    fn what_we_and_others_write_is_read_as_what_it_is() {
        let expected = [("42", "a, b"), ("7", "b")];
        for text in [
            "/x/val/a.jpg\ta, b\n/x/val/b.jpg\tb\n",
            "/x/val/a.jpg\tzh\ta, b\nval/b.jpg\tzh\tb\n",
            "val/a.jpg\t-0.1000\ta, b\nval/a.jpg\t-0.2000\tworse\nval/b.jpg\t-0.1000\tb\n",
            "42\ta, b\n7\tb\n",
            "path,caption,score,error\na.jpg,\"a, b\",-0.1,\nval/b.jpg,b,-0.2,\n",
            "a.jpg,\"a, b\",-0.1,\nval/b.jpg,b,-0.2,\n",
            "a.jpg,\"a, b\"\nval/b.jpg,b\n",
            "42,\"a, b\"\n7,b\n",
            "image_id,caption\n42,\"a, b\"\n7,b\n",
            "filepath\ttitle\na.jpg\ta, b\nval/b.jpg\tb\n",
            "image_name| comment_number| comment\na.jpg| 0| a, b\nval/b.jpg| 0   b\n",
            "a.jpg#0\ta, b\nval/b.jpg#0\tb\n",
            r#"{"42": ["a, b"], "7": [{"caption": "b"}]}"#,
            r#"[{"path": "a.jpg", "caption": "a, b", "score": -1.0, "token_ids": [1]}, {"path": "val/b.jpg", "caption": "b"}]"#,
            r#"{"image_id": 42, "candidate": "a, b", "references": ["x"], "scores": {}}
               {"image_id": 7, "candidate": "b"}"#,
            r#"{"images": [{"id": 42}, {"id": 7}], "annotations": [{"image_id": 42, "caption": "a, b"}, {"image_id": 7, "caption": "b"}]}"#,
        ] {
            let candidates = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(pairs(&candidates), expected, "{text}");
            assert!(candidates.failures.is_empty());
        }
        let failed = read("path,caption,score,error\na.jpg,,,empty file\n").expect("reads");
        assert_eq!((failed.failures[0].id.as_str(), failed.failures[0].error.as_str()), ("42", "empty file"));
        let answers = read("question_id,answer\n7,two\n").expect("reads");
        assert_eq!(pairs(&answers), [("7", "two")]);
    }

    #[test]
    fn of_several_languages_one_is_chosen() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        for text in [
            "a.jpg\tzh\t猫\na.jpg\ten\ta cat\n",
            "{\"path\": \"a.jpg\", \"language\": \"zh\", \"caption\": \"猫\"}\n{\"path\": \"a.jpg\", \"language\": \"en\", \"caption\": \"a cat\"}\n",
            "path,language,caption,score,error\na.jpg,zh,猫,-1,\na.jpg,en,a cat,-1,\n",
        ] {
            std::fs::write(file.path(), text).expect("written");
            let of = |language| {
                let options = CandidateOptions { language, ..CandidateOptions::default() };
                Candidates::read(file.path(), &annotations(), &options)
            };
            assert_eq!(pairs(&of(Some(Language::English)).expect("reads")), [("42", "a cat")]);
            let error = of(None).expect_err("two languages").to_string();
            assert!(error.contains("a language must be chosen"), "{error}");
        }
    }

    /// A caption is never taken for something else, nor something else for a caption.
    #[test]
    fn plain_lines_stay_what_they_are_and_nothing_else_is_one() {
        for text in [
            "a cat, a dog\nb\nc\nd\n",
            "2, 3 or 4 dogs\nb\nc\nd\n",
            "42, no, 43 dogs\nb\nc\nd\n",
            "a cat\ttail\nb\nc\nd\n".replace("a cat\ttail", "a cat").as_str(),
            "a photo of a.jpg\nb\tb\nc\nd\n",
            "\"STOP\" sign, an image, text\nb\nc\nd\n",
        ] {
            let candidates = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let first = text.lines().next().unwrap_or_default();
            assert_eq!((candidates.captions.len(), candidates.captions[0].caption.as_str()), (4, first));
        }
        for (text, expected) in [
            (
                "-0.5000\ta cat\n-0.7\tb\nc\nd\n",
                "found a tab behind \"-0.5000\", which is no picture of the references",
            ),
            ("a.jpg a cat\nb\nc\nd\n", "found a line that begins with the picture \"a.jpg\""),
            ("a.jpg|a cat\nb\nc\nd\n", "found a line that begins with the picture \"a.jpg\""),
            ("a.jpg,a cat, a dog\nb\nc\nd\n", "found a line that begins with the picture \"a.jpg\""),
            (
                "a.jpg,a cat\nb, c\n",
                "line 2: expected the name of a picture, as in the first line, found \"b\"",
            ),
            ("a.jpg,a cat\nb.jpg,b, c\n", "line 2: expected 2 columns, found 3"),
            ("a.jpg\ta cat\nb\n", "line 2: expected a picture's path, a tab and a caption"),
            ("z.jpg\ta cat\n", "line 1: there is no picture \"z.jpg\""),
            (r#"{"42": ["a", "b"]}"#, "expected one caption of 42, found 2"),
            ("path,caption\na.jpg,\"x\nb.jpg,y\nc,z\n", "line 2: expected the end of a quoted cell"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(expected), "{error} lacks {expected}");
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
            (
                r#"[{"image_id": 7, "caption": null}]"#,
                "element [0]: expected a caption (caption, text or answer) of 7",
            ),
            (r#"[{"image_id": 7, "caption": "x"}"#, "line 1 column"),
            (r#"{"image_id": 7}"#, "line 1: expected a caption"),
            (r#"{"caption": "x"}"#, "line 1: expected image_id, question_id or path"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
    }
}
