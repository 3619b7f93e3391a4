//! A file of candidates, captions or answers, joined with the records of a data set. Knows no figures.

use std::path::Path;

use mplug_data::annotation::PictureId;
use mplug_data::candidates::{CandidateOptions, Candidates};
use mplug_data::dataset::{AnnotatedDataset, Dataset, Language};
use mplug_data::message::one_line;

use crate::error::{DatasetProblem, EvalError};
use crate::event::{Event, OnEvent, emit};

/// Images that an error names before it says how many more there are.
const NAMED: usize = 5;

/// Where candidates are, and which of the data set they are of.
#[derive(Clone, Copy, Debug)]
pub struct CandidateFile<'a> {
    /// The file.
    pub path: &'a Path,
    /// The language of the captions, where the file has several.
    pub language: Option<Language>,
    /// Whether they may be of a part of the data set, which alone is scored then: as `params["image_id"]` of the reference
    /// evaluator.
    pub is_of_a_part: bool,
}

impl CandidateFile<'_> {
    /// The data set, or the part of it that the file is of, and the text of each of its records; none where the file says what
    /// went wrong, which is an [`Event::Failed`].
    ///
    /// # Errors
    /// [`EvalError::Data`] if the file cannot be read, [`EvalError::Dataset`] if a record has no candidate and must have one, and
    /// [`EvalError::Stopped`].
    pub(crate) fn read(
        &self,
        dataset: AnnotatedDataset,
        on_event: OnEvent<'_>,
    ) -> Result<(AnnotatedDataset, Vec<Option<String>>), EvalError> {
        let options = CandidateOptions { language: self.language, ..CandidateOptions::default() };
        let found = Candidates::read(self.path, dataset.annotations(), &options)?;
        let images = dataset.len();
        let missing = found.missing(dataset.annotations());
        if !missing.is_empty() && !self.is_of_a_part {
            let problem = DatasetProblem::NoCandidates {
                references: dataset.annotations().path.clone(),
                missing: missing.len(),
                images,
                first: list(&missing),
            };
            return Err(EvalError::dataset(self.path, problem));
        }
        for failure in &found.failures {
            let message = format!("{}: {} is not scored: {}", self.path.display(), failure.id, failure.error);
            emit(on_event, Event::Failed { message: &message })?;
        }
        let mut texts: Vec<Option<Option<String>>> = vec![None; images];
        for candidate in found.captions {
            texts[candidate.index] = Some(Some(candidate.caption));
        }
        for failure in &found.failures {
            texts[failure.index].get_or_insert(None);
        }
        let dataset = dataset.retain(|index| texts[index].is_some());
        if dataset.len() < images {
            let path = dataset.annotations().path.display();
            let message = format!("{} of the {images} images of {path} are scored", dataset.len());
            emit(on_event, Event::Note { message: &message })?;
        }
        Ok((dataset, texts.into_iter().flatten().collect()))
    }
}

/// The first few ids, and how many more there are.
pub(crate) fn list(ids: &[&PictureId]) -> String {
    let named: Vec<String> = ids.iter().take(NAMED).map(|id| one_line(id.as_str())).collect();
    let more = ids.len().saturating_sub(NAMED);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    named.join(", ") + &rest
}
