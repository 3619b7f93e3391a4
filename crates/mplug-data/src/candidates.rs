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
mod tests;
