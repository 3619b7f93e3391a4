//! Questions of the research code: `[{"dataset", "image", "question", "question_id", "answer"}, …]`.
//!
//! Source: `vqa_dataset` of the original: ten answers (VQA) weigh as often as they were given; a single answer (Visual
//! Genome, GQA) weighs one half. The id is `question_id`: a picture may have many questions. Test files have no answers.
//!
//! Refuses to know `ocr` and `object_label`, which the original appends to a question only if set to.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::collect::Collector;
use super::{OneOrMany, ReadOptions};
use crate::annotation::{Annotation, Answer, PictureId};
use crate::error::{DataError, Place};
use crate::text::{parse_json, read_text};

/// The weight of an answer that was given alone.
const SINGLE_ANSWER_WEIGHT: f32 = 0.5;

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    image: Cow<'a, str>,
    #[serde(borrow)]
    question: Option<Cow<'a, str>>,
    question_id: PictureId,
    answer: Option<OneOrMany>,
}

/// Reads a file of questions.
pub(super) fn read(path: &Path, options: &ReadOptions) -> Result<Vec<Annotation>, DataError> {
    let text = read_text(path, options.max_bytes)?;
    let mut questions = Collector::default();
    for (index, entry) in parse_json::<Vec<Entry<'_>>>(path, &text)?.into_iter().enumerate() {
        let place = Place::Element("", index);
        let annotation = annotation(entry, place).map_err(|what| DataError::annotation(path, place, what))?;
        questions.insert(path, annotation)?;
    }
    let records = questions.into_records();
    let bare = records.iter().find(|question| question.answers.is_empty());
    match bare {
        Some(bare) if records.iter().any(|question| !question.answers.is_empty()) => {
            Err(DataError::annotation(path, bare.place, format!("the question {} has no answer", bare.id)))
        }
        _ => Ok(records),
    }
}

fn annotation(entry: Entry<'_>, place: Place) -> Result<Annotation, String> {
    let mut annotation = Annotation::new(entry.question_id, place);
    let question = entry.question.filter(|question| !question.trim().is_empty());
    let question = question.ok_or_else(|| format!("{}: expected a question, found none", annotation.id))?;
    annotation.question = Some(question.into_owned());
    annotation.file_name = Some(entry.image.into_owned());
    (annotation.answers_given, annotation.answers) = match entry.answer {
        None => (0, Vec::new()),
        Some(OneOrMany::One(text)) => (1, vec![Answer { text, weight: SINGLE_ANSWER_WEIGHT }]),
        Some(OneOrMany::Many(texts)) => by_frequency(texts),
    };
    if annotation.answers.iter().any(|answer| answer.text.trim().is_empty()) {
        return Err(format!("{}: expected an answer, found an empty one", annotation.id));
    }
    Ok(annotation)
}

/// How many answers there are, and each once, in the order of its first mention, with its share of all.
pub(super) fn by_frequency(texts: Vec<String>) -> (usize, Vec<Answer>) {
    let count = texts.len();
    let mut answers: Vec<Answer> = Vec::new();
    let mut numbers: HashMap<String, usize> = HashMap::new();
    for text in texts {
        let number = *numbers.entry(text.clone()).or_insert(answers.len());
        if number == answers.len() {
            answers.push(Answer { text, weight: 0.0 });
        }
        answers[number].weight += 1.0;
    }
    for answer in &mut answers {
        answer.weight /= count as f32;
    }
    (count, answers)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fails, reads};
    use crate::format::Format;

    const GOOD: &str = r#"{"dataset": "vqa", "image": "val2014/a.jpg", "question": "what?", "question_id": 1,
        "answer": ["net", "net", "hat", "net", "net", "net", "net", "net", "net", "hat"], "ocr": [[[1, 2], "x"]]}"#;

    #[test]
    fn answers_weigh_as_often_as_they_were_given() {
        let text = format!(
            r#"[{GOOD}, {{"dataset": "vg", "image": "b.jpg", "question": "who?", "question_id": "vg_2", "answer": "me"}}]"#
        );
        let records = reads(Format::Vqa, &text);
        let answers: Vec<_> = records[0].answers.iter().map(|a| (a.text.as_str(), a.weight)).collect();
        assert_eq!(answers, [("net", 0.8), ("hat", 0.2)]);
        assert_eq!((records[0].answers_given, records[1].answers_given), (10, 1));
        assert!((records[1].answers[0].weight - 0.5).abs() < f32::EPSILON);
        assert_eq!(records[1].question.as_deref(), Some("who?"));
        let test = reads(Format::Vqa, r#"[{"image": "b.jpg", "question": "who?", "question_id": 2}]"#);
        assert!(test[0].answers.is_empty());
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (entry, expected) in [
            (GOOD, "element [1]: 1 was given already, element [0]"),
            (r#"{"image": "b", "question_id": 2, "answer": "x"}"#, "element [1]: 2: expected a question"),
            (
                r#"{"image": "b", "question": "q", "question_id": 2, "answer": ["x", ""]}"#,
                "2: expected an answer",
            ),
            (
                r#"{"image": "b", "question": "q", "question_id": 2}"#,
                "element [1]: the question 2 has no answer",
            ),
            (
                r#"{"image": "b", "question": "q", "question_id": 2, "answer": []}"#,
                "the question 2 has no answer",
            ),
            (r#"{"question": "q", "question_id": 2}"#, "missing field `image`"),
        ] {
            let error = fails(Format::Vqa, &format!("[{GOOD}, {entry}]"));
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
    }
}
