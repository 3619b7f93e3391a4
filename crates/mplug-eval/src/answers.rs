//! Answers of a model to a data set's questions, against people's: the official accuracy of VQA where ten people answered, else
//! the research code's soft score. A batch opens and encodes each of its pictures once, whatever is asked about it.

use std::collections::HashMap;
use std::path::Path;

use caption_metrics::vqa::{soft_score, vqa_accuracy};
use mplug::generate::GenerationOptions;
use mplug::preprocess::image::RgbImage;
use mplug::preprocess::text::lowercase;
use mplug::tasks::Answerer;
use mplug_data::annotation::{Annotation, Answer};
use mplug_data::dataset::AnnotatedDataset;
use mplug_data::message::about;
use mplug_data::picture::{open_example, split};
use rayon::prelude::*;

use crate::answers_report::{AnswerLine, AnswerReport};
use crate::candidate_file::CandidateFile;
use crate::error::{DatasetProblem, EvalError};
use crate::event::{Event, OnEvent, each_batch, emit};

/// People whose answers the official accuracy wants.
const PEOPLE: usize = 10;

/// A data set of questions that people answered.
#[derive(Debug)]
pub struct Questions {
    dataset: AnnotatedDataset,
}

impl Questions {
    /// Those of `dataset`.
    ///
    /// # Errors
    /// [`EvalError::Dataset`] if it has no records, or one of them has no question or no answers.
    pub fn new(dataset: AnnotatedDataset) -> Result<Self, EvalError> {
        let records = &dataset.annotations().records;
        let problem = if records.is_empty() {
            Some(DatasetProblem::NothingToAnswer)
        } else if records.iter().any(|record| record.question.is_none()) {
            Some(DatasetProblem::NoQuestions)
        } else if records.iter().any(|record| record.answers.is_empty()) {
            Some(DatasetProblem::NoAnswers)
        } else {
            None
        };
        match problem {
            Some(problem) => Err(EvalError::dataset(&dataset.annotations().path, problem)),
            None => Ok(Self { dataset }),
        }
    }

    /// The answers of a file to the questions of `dataset`, judged. An answer that is a failure is not scored, and is an
    /// [`Event::Failed`](crate::Event::Failed).
    ///
    /// # Errors
    /// Those of [`Questions::new`], [`EvalError::Data`] if the file cannot be read, [`EvalError::Dataset`] if a question has no
    /// answer in it and must have one, or none has.
    pub fn answered_in(
        file: &CandidateFile<'_>,
        dataset: AnnotatedDataset,
        on_event: OnEvent<'_>,
    ) -> Result<AnsweredQuestions, EvalError> {
        let questions = Self::new(dataset)?;
        let (dataset, answers) = file.read(questions.dataset, on_event)?;
        if answers.iter().all(Option::is_none) {
            return Err(EvalError::dataset(file.path, DatasetProblem::NothingAnswered));
        }
        Ok(AnsweredQuestions { questions: Self { dataset }, answers })
    }

    /// Asks all of them, `batch_size` at a time, and judges the answers. A question that cannot be answered is an
    /// [`Event::Failed`](crate::Event::Failed) and not scored.
    ///
    /// # Errors
    /// [`EvalError::Model`] for options that cannot be, [`EvalError::Dataset`] if no question can be answered, and
    /// [`EvalError::Stopped`].
    pub fn ask(
        &self,
        answerer: &Answerer,
        options: &GenerationOptions,
        batch_size: usize,
        on_event: OnEvent<'_>,
    ) -> Result<Answers<'_>, EvalError> {
        let records = &self.dataset.annotations().records;
        let questions: Vec<&str> = records.iter().filter_map(|record| record.question.as_deref()).collect();
        for note in answerer.text_fit(&questions).notes() {
            emit(on_event, Event::Note { message: &note })?;
        }
        let indices: Vec<usize> = (0..records.len()).collect();
        let asking = Asking { records, dataset: &self.dataset, answerer, options };
        let mut lines = Vec::with_capacity(records.len());
        each_batch(
            &indices,
            batch_size,
            "questions",
            on_event,
            |batch| asking.open(batch),
            |batch, opened| asking.answer(batch, opened),
            |batch, (answers, messages)| {
                let answered =
                    batch.iter().zip(answers).filter_map(|(&index, answer)| Some((index, answer?)));
                lines.extend(answered.map(|(index, answer)| judged(&records[index], answer)));
                Ok(messages)
            },
        )?;
        if lines.is_empty() {
            let path = &self.dataset.annotations().path;
            return Err(EvalError::dataset(path, DatasetProblem::NothingAnswered));
        }
        Ok(Answers { failed: records.len() - lines.len(), lines })
    }
}

/// Questions with the answers of a file.
#[derive(Debug)]
pub struct AnsweredQuestions {
    questions: Questions,
    /// One for each question, none where the file says what went wrong.
    answers: Vec<Option<String>>,
}

impl AnsweredQuestions {
    /// The answers, judged.
    pub fn judge(&self) -> Answers<'_> {
        let records = self.questions.dataset.annotations().records.iter();
        let lines: Vec<AnswerLine<'_>> = records
            .zip(&self.answers)
            .filter_map(|(record, answer)| Some(judged(record, answer.clone()?)))
            .collect();
        Answers { failed: self.answers.len() - lines.len(), lines }
    }
}

/// The answers to a data set's questions, judged.
#[derive(Debug)]
pub struct Answers<'a> {
    /// One for each question that was answered, in the order of the data set.
    pub lines: Vec<AnswerLine<'a>>,
    /// Questions without an answer.
    pub failed: usize,
}

impl Answers<'_> {
    /// How right they are.
    pub fn report(&self) -> AnswerReport {
        AnswerReport::of(&self.lines, self.failed)
    }

    /// Each question with its answers and score: JSON lines of [`AnswerLine`].
    ///
    /// # Errors
    /// None: all of it can be written.
    pub fn per_question(&self) -> Result<Vec<u8>, EvalError> {
        Ok(AnswerLine::write_all(&self.lines)?)
    }
}

/// The questions of a data set on their way through a model.
struct Asking<'a> {
    dataset: &'a AnnotatedDataset,
    records: &'a [Annotation],
    answerer: &'a Answerer,
    options: &'a GenerationOptions,
}

/// The pictures of a batch, each once, and the index of each question's among them.
struct Opened {
    pictures: Vec<Result<RgbImage, String>>,
    picture_of_question: Vec<usize>,
}

/// The answers to a batch, and what is wrong with the questions that have none.
type BatchAnswers = (Vec<Option<String>>, Vec<String>);

impl Asking<'_> {
    fn open(&self, batch: &[usize]) -> Opened {
        let (mut known, mut firsts) = (HashMap::new(), Vec::new());
        let index_of = |&index: &usize| {
            *known.entry(self.records[index].picture_name()).or_insert_with(|| {
                firsts.push(index);
                firsts.len() - 1
            })
        };
        let picture_of_question = batch.iter().map(index_of).collect();
        let pictures = firsts.par_iter().map(|&index| self.open_one(index)).collect();
        Opened { pictures, picture_of_question }
    }

    fn open_one(&self, index: usize) -> Result<RgbImage, String> {
        let image_size = self.answerer.config().vision.image_size as u32;
        open_example(self.dataset, index, image_size).map_err(|failure| failure.reason)
    }

    fn answer(&self, batch: &[usize], opened: Opened) -> Result<BatchAnswers, EvalError> {
        let (images, indices) = split(opened.pictures);
        let pictures = self.answerer.encode(&images);
        let mut messages: Vec<String> = indices.iter().filter_map(|index| index.clone().err()).collect();
        let mut asked: Vec<(usize, usize)> = Vec::with_capacity(batch.len());
        for (row, &record) in batch.iter().enumerate() {
            let Ok(picture) = &indices[opened.picture_of_question[row]] else { continue };
            match self.answerer.check_question(self.question(record)) {
                Ok(()) => asked.push((row, *picture)),
                Err(error) => messages.push(self.about(record, &error.to_string())),
            }
        }
        let mut answers = vec![None; batch.len()];
        if asked.is_empty() {
            return Ok((answers, messages));
        }
        let pictures: Vec<_> = asked.iter().map(|(_, picture)| pictures[*picture].clone()).collect();
        let questions: Vec<&str> = asked.iter().map(|(row, _)| self.question(batch[*row])).collect();
        let found = self.answerer.answer_each(&pictures, &questions, self.options)?;
        for ((row, _), found) in asked.iter().zip(found) {
            match found {
                Ok(found) => {
                    let best = found.into_iter().next().map(|best| best.text);
                    answers[*row] = Some(best.unwrap_or_default());
                }
                Err(reason) => messages.push(self.about(batch[*row], &reason.to_string())),
            }
        }
        Ok((answers, messages))
    }

    fn question(&self, record: usize) -> &str {
        self.records[record].question.as_deref().unwrap_or_default()
    }

    /// What is wrong with a question, after its picture's name.
    fn about(&self, record: usize, reason: &str) -> String {
        let picture = Path::new(self.records[record].picture_name());
        about(picture, &format!("{}: {reason}", self.question(record)))
    }
}

/// An answer with how right it is.
fn judged(record: &Annotation, answer: String) -> AnswerLine<'_> {
    let has_people = record.answers_given == PEOPLE;
    let score = if has_people {
        vqa_accuracy(&answer, &people(&record.answers))
    } else {
        // The model's tokens know no capitals.
        let labels: Vec<String> = record.answers.iter().map(|label| lowercase(label.text.trim())).collect();
        let weights = record.answers.iter().map(|label| f64::from(label.weight));
        soft_score(&answer, &labels.iter().map(String::as_str).zip(weights).collect::<Vec<_>>())
    };
    AnswerLine {
        question_id: &record.id,
        file_name: record.file_name.as_deref(),
        question: record.question.as_deref().unwrap_or_default(),
        answer,
        answers: record.answers.iter().map(Into::into).collect(),
        has_people,
        score,
    }
}

/// Ten people's answers, one each.
fn people(answers: &[Answer]) -> Vec<&str> {
    let given = |answer: &Answer| (answer.weight * PEOPLE as f32).round() as usize;
    answers.iter().flat_map(|answer| std::iter::repeat_n(answer.text.as_str(), given(answer))).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use mplug_data::dataset::{OpenOptions, open};

    use super::*;

    #[test]
    fn ten_people_are_judged_officially_and_others_softly() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("questions.json");
        fs::write(
            &path,
            r#"[{"image": "a.png", "question_id": 1, "question": "how many?",
                "answer": ["2", "2", "2", "3", "2", "two", "4", "5", "2", "2"]},
                {"image": "a.png", "question_id": 2, "question": "who?", "answer": "Me"},
                {"image": "a.png", "question_id": 3, "question": "who?", "answer": ["me", "me", "you"]}]"#,
        )
        .unwrap();
        let dataset = open(&path, &OpenOptions::default()).unwrap();
        let records = &dataset.annotations().records;
        assert_eq!(people(&records[0].answers).len(), 10);
        let score = |record: usize, answer: &str| judged(&records[record], answer.to_owned()).score;
        // "Two." is cleaned up to "2", which six people said.
        assert!((score(0, "Two.") - 1.0).abs() < 1e-12 && (score(0, "3") - 0.3).abs() < 1e-12);
        assert!((score(1, "me") - 0.5).abs() < 1e-6 && score(1, "you").abs() < 1e-12);
        assert!((score(2, "me") - 2.0 / 3.0).abs() < 1e-6);
        let lines =
            [(0, "3"), (1, "me"), (2, "it")].map(|(of, answer)| judged(&records[of], answer.to_owned()));
        let report = serde_json::to_value(AnswerReport::of(&lines, 1)).unwrap();
        assert_eq!((&report["questions"], &report["failed"]), (&3.into(), &1.into()));
        assert_eq!(
            (&report["vqa_accuracy"]["questions"], &report["soft_score"]["questions"]),
            (&1.into(), &2.into())
        );
        assert!((report["soft_score"]["score"].as_f64().unwrap() - 0.25).abs() < 1e-6);
    }
}
