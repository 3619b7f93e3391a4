//! The official files of VQA v2, a pair: `v2_OpenEnded_mscoco_train2014_questions.json` has the questions,
//! `v2_mscoco_train2014_annotations.json` ten people's answers to each. Either one may be named; the other lies beside it, found
//! by its `data_subtype`. Questions of a test split have no answers.
//!
//! Source: the files' own description (visualqa.org/vqa_v1_challenge.html); answers weigh as in `vqa`. Pictures are called as in
//! COCO, `COCO_train2014_000000000009.jpg`.
//!
//! Refuses to know answer types and confidences.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ReadOptions;
use super::collect::Collector;
use super::vqa::by_frequency;
use crate::annotation::{Annotation, PictureId};
use crate::error::{DataError, Place};
use crate::text::{parse_json, read_text};

/// How the names of the two files end.
const ENDINGS: [&str; 2] = ["questions.json", "annotations.json"];

/// Either file: the one has questions, the other annotations.
#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    data_subtype: Cow<'a, str>,
    #[serde(borrow, default)]
    questions: Vec<Question<'a>>,
    #[serde(borrow, default)]
    annotations: Vec<Answered<'a>>,
}

#[derive(Deserialize)]
struct Question<'a> {
    #[serde(rename = "question_id")]
    id: PictureId,
    image_id: u64,
    #[serde(borrow, rename = "question")]
    text: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Answered<'a> {
    question_id: PictureId,
    #[serde(borrow)]
    answers: Vec<Given<'a>>,
}

#[derive(Deserialize)]
struct Given<'a> {
    #[serde(borrow)]
    answer: Cow<'a, str>,
}

/// Reads a pair of files, of which `path` is one.
pub(super) fn read(path: &Path, options: &ReadOptions) -> Result<Vec<Annotation>, DataError> {
    let text = read_text(path, options.max_bytes)?;
    let named: File<'_> = parse_json(path, &text)?;
    let other_path = beside(path, &named)?;
    let other_text = other_path.as_ref().map(|path| read_text(path, options.max_bytes)).transpose()?;
    let other: Option<File<'_>> = match (&other_path, &other_text) {
        (Some(path), Some(text)) => Some(parse_json(path, text)?),
        _ => None,
    };
    let other_path = other_path.as_deref().unwrap_or(path);
    let (questions, questions_path, annotations) = match other {
        Some(other) if named.questions.is_empty() => (other.questions, other_path, named.annotations),
        Some(other) => (named.questions, path, other.annotations),
        None => (named.questions, path, Vec::new()),
    };
    let mut answers: HashMap<PictureId, Vec<String>> = annotations
        .into_iter()
        .map(|one| (one.question_id, one.answers.into_iter().map(|a| a.answer.into_owned()).collect()))
        .collect();
    let has_answers = !answers.is_empty();
    let mut records = Collector::default();
    for (index, question) in questions.into_iter().enumerate() {
        let place = Place::Element("questions", index);
        let wrong = |what: String| DataError::annotation(questions_path, place, what);
        let given = answers.remove(&question.id).unwrap_or_default();
        if has_answers && given.is_empty() {
            return Err(wrong(format!("the question {} has no answer", question.id)));
        }
        let mut annotation = Annotation::new(question.id, place);
        annotation.question = Some(question.text.into_owned());
        annotation.file_name = Some(format!("COCO_{}_{:012}.jpg", named.data_subtype, question.image_id));
        (annotation.answers_given, annotation.answers) = by_frequency(given);
        records.insert(questions_path, annotation)?;
    }
    Ok(records.into_records())
}

/// The other file of the pair; none beside questions of a test split.
fn beside(path: &Path, file: &File<'_>) -> Result<Option<PathBuf>, DataError> {
    let wanted = if file.questions.is_empty() { ENDINGS[0] } else { ENDINGS[1] };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| DataError::io(folder, error))? {
        let entry = entry.map_err(|error| DataError::io(folder, error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(wanted) && name.contains(&*file.data_subtype) && entry.path() != path {
            found.push(entry.path());
        }
    }
    found.sort();
    // Version 1 may lie in the same folder: the names of version 2 begin with v2_.
    if found.len() > 1 {
        let is_v2 =
            |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("v2_"));
        found.retain(|other| is_v2(other) == is_v2(path));
    }
    let subtype = &file.data_subtype;
    match (found.len(), wanted == ENDINGS[0]) {
        (0, true) => Err(DataError::annotation(
            path,
            Place::Element("annotations", 0),
            format!("expected the questions of {subtype} beside it (a file …{subtype}_{wanted}), found none"),
        )),
        (0, false) if subtype.starts_with("test") => Ok(None),
        (0, false) => Err(DataError::annotation(
            path,
            Place::Element("questions", 0),
            format!("expected the answers of {subtype} beside it (a file …{subtype}_{wanted}), found none"),
        )),
        (1, _) => Ok(Some(found.swap_remove(0))),
        (count, _) => Err(DataError::annotation(
            path,
            Place::Element("", 0),
            format!("expected one file …{subtype}_{wanted} beside it, found {count}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Format;

    const QUESTIONS: &str = r#"{"info": {}, "task_type": "Open-Ended", "data_subtype": "val2014", "questions": [
        {"image_id": 9, "question": "what?", "question_id": 90},
        {"image_id": 9, "question": "who?", "question_id": 91}]}"#;
    const ANSWERS: &str = r#"{"info": {}, "data_subtype": "val2014", "annotations": [
        {"question_id": 91, "image_id": 9, "answer_type": "other",
         "answers": [{"answer": "me", "answer_id": 1, "answer_confidence": "yes"}, {"answer": "you", "answer_id": 2}]},
        {"question_id": 90, "image_id": 9, "answers": [{"answer": "net", "answer_id": 1}]}]}"#;
    const NAMES: [&str; 2] =
        ["v2_OpenEnded_mscoco_val2014_questions.json", "v2_mscoco_val2014_annotations.json"];

    fn options() -> ReadOptions {
        crate::readers::testing::OPTIONS
    }

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        folder
    }

    #[test]
    fn either_file_of_the_pair_finds_the_other() {
        let folder = folder(&[(NAMES[0], QUESTIONS), (NAMES[1], ANSWERS)]);
        for name in NAMES {
            let path = folder.path().join(name);
            assert_eq!(Format::detect(&path).expect("a known format"), Format::VqaV2);
            let records = read(&path, &options()).expect("a good pair");
            assert_eq!(records.len(), 2);
            assert_eq!(records[1].question.as_deref(), Some("who?"));
            assert_eq!(records[1].file_name.as_deref(), Some("COCO_val2014_000000000009.jpg"));
            let answers: Vec<_> = records[1].answers.iter().map(|a| (a.text.as_str(), a.weight)).collect();
            assert_eq!(answers, [("me", 0.5), ("you", 0.5)]);
            assert_eq!(records[1].answers_given, 2);
        }
    }

    #[test]
    fn questions_of_a_test_split_stand_alone() {
        let text = QUESTIONS.replace("val2014", "test2015");
        let folder = folder(&[("v2_OpenEnded_mscoco_test2015_questions.json", &text)]);
        let path = folder.path().join("v2_OpenEnded_mscoco_test2015_questions.json");
        let records = read(&path, &options()).expect("no answers are required");
        assert!(records.iter().all(|record| record.answers.is_empty()));
        assert_eq!(records[0].file_name.as_deref(), Some("COCO_test2015_000000000009.jpg"));
    }

    #[test]
    fn what_is_missing_is_named() {
        for (files, named, expected) in [
            (vec![(NAMES[0], QUESTIONS)], NAMES[0], "expected the answers of val2014 beside it"),
            (vec![(NAMES[1], ANSWERS)], NAMES[1], "expected the questions of val2014 beside it"),
            (
                vec![
                    (NAMES[0], QUESTIONS),
                    (
                        NAMES[1],
                        r#"{"data_subtype": "val2014", "annotations": [
                    {"question_id": 91, "answers": [{"answer": "me"}]}]}"#,
                    ),
                ],
                NAMES[0],
                "the question 90 has no answer",
            ),
        ] {
            let folder = folder(&files);
            let error = read(&folder.path().join(named), &options()).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
    }
}
