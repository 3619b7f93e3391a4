//! What is in a file of results: scored captions or answers as `--per-image` has them, captions without scores, or a report's figures.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use mplug_data::annotation::PictureId;
use mplug_data::dataset::OpenOptions;
use mplug_data::message::one_line;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::problem::CompareProblem;
use crate::error::EvalError;

/// What is compared: the kinds of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Captions with scores and references.
    Captions,
    /// Answers with scores.
    Answers,
    /// Captions alone.
    Texts,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Captions => "captions with scores",
            Self::Answers => "answers with scores",
            Self::Texts => "captions without scores",
        }
    }
}

/// Results, picture by picture.
#[derive(Debug)]
pub(super) struct Results {
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
    pub(super) items: Vec<Item>,
    /// Pictures with an error in place of a caption.
    pub(super) failed: Vec<String>,
}

/// The result of one picture or question.
#[derive(Clone, Debug, Default)]
pub(super) struct Item {
    pub(super) id: String,
    /// The picture's file name or path.
    pub(super) name: Option<String>,
    pub(super) question: Option<String>,
    pub(super) text: String,
    pub(super) references: Vec<String>,
    pub(super) scores: Map<String, Value>,
    /// Whether ten people answered: then the score is the official accuracy.
    pub(super) has_people: bool,
}

/// A file of results.
#[derive(Debug)]
pub(super) enum ResultsFile {
    Items(Results),
    /// A report: figures without pictures.
    Report(Map<String, Value>),
}

/// A line of any kind. Which fields it has says which.
#[derive(Deserialize)]
struct Line {
    image_id: Option<PictureId>,
    question_id: Option<PictureId>,
    file_name: Option<String>,
    path: Option<String>,
    language: Option<String>,
    candidate: Option<String>,
    #[serde(default)]
    references: Vec<String>,
    question: Option<String>,
    answer: Option<String>,
    #[serde(default)]
    answers: Vec<WeightedAnswer>,
    #[serde(default)]
    has_people: bool,
    caption: Option<String>,
    error: Option<String>,
    score: Option<f64>,
    #[serde(default)]
    scores: Map<String, Value>,
}

#[derive(Deserialize)]
struct WeightedAnswer {
    text: String,
}

/// Reads `path`.
pub(super) fn read(path: &Path) -> Result<ResultsFile, EvalError> {
    let limit = OpenOptions::default().max_annotation_bytes;
    let of_file = |source| EvalError::File { path: path.to_owned(), source };
    let file = File::open(path).map_err(of_file)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(of_file)?;
    if bytes.len() as u64 > limit {
        return Err(unreadable(path, format!("has more than the limit of {limit} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|_| unreadable(path, "is not UTF-8".to_owned()))?;
    parse(path, &text)
}

fn unreadable(path: &Path, problem: String) -> EvalError {
    CompareProblem::Unreadable { path: path.to_owned(), problem }.into()
}

/// Results in the text of a file.
pub(super) fn parse(path: &Path, text: &str) -> Result<ResultsFile, EvalError> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if let Ok(Value::Object(report)) = serde_json::from_str::<Value>(text)
        && ["version", "synth_seed"].iter().any(|key| report.contains_key(*key))
    {
        return Ok(ResultsFile::Report(report));
    }
    let malformed = |place: String, problem: String| unreadable(path, format!("{place}: {problem}"));
    let lines: Vec<(String, Line)> = if text.starts_with('[') {
        let lines = serde_json::from_str::<Vec<Line>>(text);
        let lines = lines.map_err(|error| unreadable(path, format!("{EXPECTED}, found {error}")))?;
        lines.into_iter().enumerate().map(|(index, line)| (format!("element [{index}]"), line)).collect()
    } else {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        lines
            .map(|(index, line)| {
                let place = format!("line {}", index + 1);
                match serde_json::from_str(line) {
                    Ok(line) => Ok((place, line)),
                    Err(error) => Err(malformed(place, format!("{EXPECTED}, found {error}"))),
                }
            })
            .collect::<Result<_, _>>()?
    };
    let mut results =
        Results { path: path.to_owned(), kind: Kind::Texts, items: Vec::new(), failed: Vec::new() };
    let mut seen = HashMap::new();
    let mut first_kind = None;
    for (place, line) in lines {
        let Some((id, kind, item)) = line.item() else {
            return Err(malformed(place, format!("{EXPECTED}, found an object without them")));
        };
        if let Some(before) = seen.insert(id.clone(), place.clone()) {
            return Err(malformed(place, format!("{} is there twice, first at {before}", one_line(&id))));
        }
        let Some(item) = item else {
            results.failed.push(id);
            continue;
        };
        let first = *first_kind.get_or_insert(kind);
        if first != kind {
            return Err(malformed(place, format!("expected {}, found {}", first.name(), kind.name())));
        }
        results.kind = kind;
        results.items.push(item);
    }
    if results.items.is_empty() {
        return Err(unreadable(path, format!("{EXPECTED}, found none")));
    }
    Ok(ResultsFile::Items(results))
}

const EXPECTED: &str = "expected a run folder, a report of an evaluation in JSON, its lines for each picture, or captions as JSON lines \
                        (`image_id` or `path`, and `caption`)";

impl Line {
    /// Its id, its kind and what it says; no item if it says why there is none. `None` if it is no result.
    fn item(self) -> Option<(String, Kind, Option<Item>)> {
        let mut item = Item { name: self.file_name.or_else(|| self.path.clone()), ..Item::default() };
        if let (Some(id), Some(answer)) = (&self.question_id, self.answer) {
            id.as_str().clone_into(&mut item.id);
            item.text = answer;
            item.question = self.question;
            item.references = self.answers.into_iter().map(|answer| answer.text).collect();
            item.has_people = self.has_people;
            item.scores = Map::from_iter([("score".to_owned(), self.score?.into())]);
            return Some((item.id.clone(), Kind::Answers, Some(item)));
        }
        let id = self.image_id.map(|id| id.as_str().to_owned()).or(self.path)?;
        item.id = match self.language {
            Some(language) => format!("{id} ({language})"),
            None => id,
        };
        if let Some(candidate) = self.candidate {
            (item.text, item.references, item.scores) = (candidate, self.references, self.scores);
            return Some((item.id.clone(), Kind::Captions, Some(item)));
        }
        if let Some(caption) = self.caption {
            item.text = caption;
            return Some((item.id.clone(), Kind::Texts, Some(item)));
        }
        self.error.map(|_| (item.id, Kind::Texts, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &str) -> Results {
        match parse(Path::new("a.jsonl"), text) {
            Ok(ResultsFile::Items(results)) => results,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_kind_is_known_by_its_fields() {
        let captions = items(
            "{\"image_id\":7,\"file_name\":\"a.jpg\",\"candidate\":\"x\",\"references\":[\"y\"],\"scores\":{\"cider\":1.5}}\n",
        );
        assert_eq!((captions.kind, &captions.items[0].scores["cider"]), (Kind::Captions, &1.5.into()));
        let answers = items(
            "{\"question_id\":1,\"question\":\"q\",\"answer\":\"x\",\"answers\":[{\"text\":\"y\",\"weight\":1}],\"has_people\":true,\"score\":0.3}",
        );
        assert_eq!((answers.kind, &answers.items[0].references[0][..]), (Kind::Answers, "y"));
        let texts = items(
            "[{\"path\":\"a.jpg\",\"language\":\"zh\",\"caption\":\"x\"},{\"path\":\"b.jpg\",\"error\":\"no\"}]",
        );
        assert_eq!((texts.kind, &texts.items[0].id[..], texts.failed.len()), (Kind::Texts, "a.jpg (zh)", 1));
        let report = parse(Path::new("r"), "{\n \"version\": 1,\n \"scores\": {\"cider\": 1}\n}\n");
        assert!(matches!(report, Ok(ResultsFile::Report(_))));
    }

    #[test]
    fn what_is_no_result_is_named_with_its_line() {
        for (text, expected) in [
            ("", "found none"),
            ("a dog\n", "line 1: expected a run folder"),
            (
                "{\"path\":\"a\",\"caption\":\"x\"}\n{\"path\":\"a\",\"caption\":\"y\"}",
                "line 2: a is there twice, first at line 1",
            ),
            (
                "{\"path\":\"a\",\"caption\":\"x\"}\n{\"image_id\":1,\"candidate\":\"y\"}",
                "line 2: expected captions without scores",
            ),
            ("[{\"path\":\"a\"}]", "element [0]"),
        ] {
            let error = parse(Path::new("a.jsonl"), text).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("a.jsonl"), "{text}: {error}");
        }
    }
}
