//! What a row of a table, a line of text or a picture's own text files say. It is what every form that is no JSON comes to, so
//! that annotations and candidates are read by the same readers.
//!
//! Rows of one picture and one question are one annotation, with the picture's name as its id. An answer is a caption, unless
//! there is another; where there is a question it is an answer to it too, and weighs as often as it was given.
//!
//! Refuses to know how any form is written.

use super::ReadOptions;
use super::collect::{Collector, QuestionIds};
use super::columns::LanguageChoice;
use crate::annotation::{Annotation, PictureId};
use crate::error::Place;

/// One row.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Where it stands.
    pub(crate) place: Place,
    /// The picture's path or name; none where the picture is not there.
    pub(crate) file_name: Option<String>,
    /// What the picture was called where its captions were made, if that is something else.
    pub(crate) original: Option<String>,
    /// The id of the picture, or of the question, where there is no name.
    pub(crate) id: Option<PictureId>,
    /// The captions.
    pub(crate) captions: Vec<String>,
    /// What is asked about the picture.
    pub(crate) question: Option<String>,
    /// The answer to the question.
    pub(crate) answer: Option<String>,
    /// The code of the language.
    pub(crate) language: Option<String>,
    /// The part of the dataset.
    pub(crate) split: Option<String>,
    /// Why there is no caption.
    pub(crate) error: Option<String>,
}

impl Row {
    /// A row that says nothing yet.
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            file_name: None,
            original: None,
            id: None,
            captions: Vec::new(),
            question: None,
            answer: None,
            language: None,
            split: None,
            error: None,
        }
    }

    /// The id under which the picture of a candidate is looked for: its first name.
    pub(crate) fn candidate_id(&self) -> Option<PictureId> {
        let name = self.original.as_ref().or(self.file_name.as_ref());
        name.map(|name| PictureId::from(name.as_str())).or_else(|| self.id.clone())
    }

    /// The caption of a candidate, or why there is none; nothing where the row says neither.
    pub(crate) fn outcome(self) -> Option<Result<String, String>> {
        let caption = self.captions.into_iter().next().or(self.answer);
        match (caption, self.error) {
            (Some(caption), None) => Some(Ok(caption)),
            (Some(caption), Some(_)) if !caption.trim().is_empty() => Some(Ok(caption)),
            (_, Some(error)) => Some(Err(error)),
            (None, None) => None,
        }
    }
}

/// The annotations of rows, and the ids of their questions.
pub(super) struct Rows {
    pictures: Collector,
    questions: QuestionIds,
    languages: LanguageChoice,
    failed: usize,
}

impl Rows {
    pub(super) fn new(options: &ReadOptions) -> Self {
        Self {
            pictures: Collector::default(),
            questions: QuestionIds::default(),
            languages: LanguageChoice::new(options.language),
            failed: 0,
        }
    }

    /// Adds a row. One that says why it has no caption is counted, one of another language or without a picture left out.
    pub(super) fn add(&mut self, row: Row) -> Result<(), String> {
        let Row { place, file_name, id, captions, question, answer, language, split, error, .. } = row;
        if error.is_some() && captions.iter().all(|caption| caption.trim().is_empty()) && answer.is_none() {
            self.failed += 1;
            return Ok(());
        }
        if !self.languages.takes(language.as_deref())? {
            return Ok(());
        }
        let Some(id) = file_name.as_deref().map(PictureId::from).or(id) else { return Ok(()) };
        let id = self.questions.of(&id, question.as_deref().unwrap_or_default());
        let picture = self.pictures.entry(&id, place);
        if picture.place != place && picture.split != split {
            return Err(format!("{id} was given already in another split, {}", picture.place));
        }
        picture.file_name = file_name;
        picture.split = split;
        if captions.is_empty() {
            picture.references.extend(answer.clone());
        } else {
            picture.references.extend(captions);
        }
        if question.is_some() {
            picture.question = question;
            self.pictures.add_answers(&id, answer.into_iter().collect());
        }
        Ok(())
    }

    /// The annotations, and how many rows said why they have no caption.
    pub(super) fn into_records(self) -> (Vec<Annotation>, usize) {
        (self.pictures.into_records(), self.failed)
    }
}
