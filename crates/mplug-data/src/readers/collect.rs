//! Annotations under their ids, in the order in which they first appear.

use std::collections::HashMap;
use std::path::Path;

use super::vqa::by_frequency;
use crate::annotation::{Annotation, PictureId};
use crate::error::{DataError, Place};

/// The annotations of a file while it is read.
#[derive(Default)]
pub(super) struct Collector {
    records: Vec<Annotation>,
    by_id: HashMap<PictureId, usize>,
    /// Answers that were given one by one.
    answers: HashMap<PictureId, Vec<String>>,
}

/// The ids of questions that have none of their own.
#[derive(Default)]
pub(super) struct QuestionIds {
    ids: HashMap<(String, String), PictureId>,
    questions_of: HashMap<String, usize>,
}

impl QuestionIds {
    /// The picture's own; for its further questions, with a number.
    pub(super) fn of(&mut self, picture: &PictureId, question: &str) -> PictureId {
        let picture_text = picture.as_str().to_owned();
        let key = (picture_text.clone(), question.to_owned());
        if let Some(id) = self.ids.get(&key) {
            return id.clone();
        }
        let count = self.questions_of.entry(picture_text).or_default();
        let id = if *count == 0 { picture.clone() } else { PictureId::from(format!("{picture}#{count}")) };
        *count += 1;
        self.ids.entry(key).or_insert(id).clone()
    }
}

impl Collector {
    /// The annotation of `id`, if there is one yet.
    pub(super) fn get(&mut self, id: &PictureId) -> Option<&mut Annotation> {
        self.by_id.get(id).map(|index| &mut self.records[*index])
    }

    /// The annotation of `id`, made at `place` if there is none yet.
    pub(super) fn entry(&mut self, id: &PictureId, place: Place) -> &mut Annotation {
        let index = *self.by_id.entry(id.clone()).or_insert(self.records.len());
        if index == self.records.len() {
            self.records.push(Annotation::new(id.clone(), place));
        }
        &mut self.records[index]
    }

    /// Adds an annotation whose id must be new.
    pub(super) fn insert(&mut self, path: &Path, annotation: Annotation) -> Result<(), DataError> {
        if let Some(known) = self.get(&annotation.id) {
            let (id, first, second) = (known.id.clone(), known.place, annotation.place);
            return Err(DataError::Duplicate { path: path.to_path_buf(), id, first, second });
        }
        self.by_id.insert(annotation.id.clone(), self.records.len());
        self.records.push(annotation);
        Ok(())
    }

    /// Adds answers to the question `id`, blank ones left out.
    pub(super) fn add_answers(&mut self, id: &PictureId, answers: Vec<String>) {
        let answers = answers.into_iter().filter(|answer| !answer.trim().is_empty());
        self.answers.entry(id.clone()).or_default().extend(answers);
    }

    /// The annotations; each answer that was added weighs its share of its question's.
    pub(super) fn into_records(mut self) -> Vec<Annotation> {
        for (id, answers) in std::mem::take(&mut self.answers) {
            if let Some(annotation) = self.get(&id) {
                (annotation.answers_given, annotation.answers) = by_frequency(answers);
            }
        }
        self.records
    }
}

/// Refuses a file in which some pictures have references and others have none. A file without any is a list of
/// pictures to be captioned, such as COCO's `image_info_test2014.json`.
pub(super) fn all_or_none_have_references(path: &Path, records: &[Annotation]) -> Result<(), DataError> {
    let is_bare = |annotation: &&Annotation| annotation.references.is_empty();
    match records.iter().find(is_bare) {
        Some(bare) if !records.iter().all(|annotation| is_bare(&annotation)) => {
            Err(DataError::annotation(path, bare.place, format!("the picture {} has no caption", bare.id)))
        }
        _ => Ok(()),
    }
}
