//! What is scored: captions beside their references, from a file or from a model.

use caption_metrics::evaluation::{Captions, Evaluator, Prepared};
use caption_metrics::tokenize::Tokenization;
use mplug_data::annotation::{Annotation, PictureId};
use mplug_data::dataset::{AnnotatedDataset, Dataset};
use rayon::prelude::*;

pub use crate::candidate_file::CandidateFile;
use crate::candidate_file::list;
use crate::error::{DatasetProblem, EvalError};
use crate::event::OnEvent;
use crate::page::{Card, Page};
use crate::report::{Domain, Figures, ImageReport, Scored};
use crate::thumbnail;

/// Captions beside their references.
#[derive(Debug)]
pub struct CaptionSet {
    dataset: AnnotatedDataset,
    /// The indices in the data set of the pictures that are scored, ascending.
    indices: Vec<usize>,
    /// Their captions.
    candidates: Vec<String>,
    /// Pictures without a caption.
    failed: usize,
    /// What was scored, in words.
    title: String,
}

impl CaptionSet {
    /// The candidates of a file against the references of `dataset`; both must be of the same images. `title` says in words what
    /// is scored. A candidate that is a failure is not scored, and is an [`Event::Failed`].
    ///
    /// # Errors
    /// [`EvalError::Data`] if the file cannot be read, [`EvalError::Dataset`] if an image has no candidate or no references.
    pub fn read(
        dataset: AnnotatedDataset,
        file: &CandidateFile<'_>,
        title: String,
        on_event: OnEvent<'_>,
    ) -> Result<Self, EvalError> {
        let (dataset, captions) = file.read(dataset, on_event)?;
        Self::new(dataset, captions, title)
    }

    /// The captions of the pictures of `dataset`, by index; pictures without one are not scored. `title` says in words what is
    /// scored.
    ///
    /// # Errors
    /// [`EvalError::Dataset`] if a picture has no references, or none has a caption.
    pub fn new(
        dataset: AnnotatedDataset,
        captions: Vec<Option<String>>,
        title: String,
    ) -> Result<Self, EvalError> {
        let annotations = dataset.annotations();
        let without = annotations.records.iter().filter(|record| record.references.is_empty());
        let without: Vec<&PictureId> = without.map(|record| &record.id).collect();
        if !without.is_empty() {
            let problem = DatasetProblem::NoReferences { images: without.len(), first: list(&without) };
            return Err(EvalError::dataset(&annotations.path, problem));
        }
        let count = captions.len();
        let scored = captions.into_iter().enumerate().filter_map(|(index, caption)| Some((index, caption?)));
        let (indices, candidates): (Vec<_>, Vec<_>) = scored.unzip();
        if candidates.is_empty() {
            return Err(EvalError::dataset(&annotations.path, DatasetProblem::NothingToScore));
        }
        Ok(Self { failed: count - candidates.len(), dataset, indices, candidates, title })
    }

    /// How many pictures have no caption, and are not scored.
    pub fn failed(&self) -> usize {
        self.failed
    }

    /// The indices in the data set of the pictures that are scored, ascending.
    pub(crate) fn scored_indices(&self) -> &[usize] {
        &self.indices
    }

    /// The pictures without a caption.
    pub(crate) fn unscored(&self) -> impl Iterator<Item = &PictureId> {
        let records = self.dataset.annotations().records.iter().enumerate();
        let is_unscored = |index: &usize| self.indices.binary_search(index).is_err();
        records.filter(move |(index, _)| is_unscored(index)).map(|(_, record)| &record.id)
    }

    /// Its captions of the pictures at `indices` of the data set, which ascend; the others become pictures without a caption.
    pub(crate) fn only(self, indices: &[usize]) -> Result<Self, EvalError> {
        let mut captions = vec![None; self.dataset.len()];
        for (index, caption) in self.indices.iter().zip(self.candidates) {
            captions[*index] = indices.binary_search(index).is_ok().then_some(caption);
        }
        Self::new(self.dataset, captions, self.title)
    }

    /// What the data set says of the pictures that are scored.
    pub fn annotations(&self) -> impl ExactSizeIterator<Item = &Annotation> {
        self.indices.iter().map(|&index| &self.dataset.annotations().records[index])
    }

    /// What a reader of the figures should know of the languages: candidates of one against references of another share no tokens.
    pub(crate) fn note_of_languages(&self) -> Option<&'static str> {
        let of = |is_chinese: Tokenization| is_chinese == Tokenization::Char;
        let candidates = Tokenization::suited_to(self.candidates.iter().map(String::as_str));
        let references = self.annotations().flat_map(|annotation| &annotation.references);
        match (of(candidates), of(Tokenization::suited_to(references.map(String::as_str)))) {
            (true, false) => Some(
                "the candidates are Chinese and the references are not: they share no tokens, and the figures say nothing of the \
                 captions",
            ),
            (false, true) => Some(
                "the references are Chinese and the candidates are not: they share no tokens, and the figures say nothing of the \
                 captions",
            ),
            _ => None,
        }
    }

    /// Candidates and references as the evaluator takes them.
    pub fn captions(&self) -> Captions<&str> {
        Captions {
            candidates: self.candidates.iter().map(String::as_str).collect(),
            references: self
                .annotations()
                .map(|annotation| annotation.references.iter().map(String::as_str).collect())
                .collect(),
        }
    }

    /// The figures of all pictures, and of each domain's.
    ///
    /// # Errors
    /// [`EvalError::Metrics`] if something is too long to be a caption, or this build lacks the tokenisation.
    pub fn score(&self, evaluator: &Evaluator) -> Result<Scored, EvalError> {
        let prepared = evaluator.prepare(self.captions())?;
        Ok(Scored {
            images: self.indices.len(),
            references: self.annotations().map(|annotation| annotation.references.len()).sum(),
            failed: self.failed,
            tokenization: prepared.tokenization(),
            evaluation: prepared.evaluate()?,
            domains: self.domains(&prepared)?,
        })
    }

    /// The figures of each domain's pictures, in the order of the domains' names.
    fn domains(&self, prepared: &Prepared<'_>) -> Result<Vec<Domain>, EvalError> {
        let domain_of: Vec<Option<&str>> = self.annotations().map(|a| a.domain.as_deref()).collect();
        let mut names: Vec<&str> = domain_of.iter().copied().flatten().collect();
        names.sort_unstable();
        names.dedup();
        let domain = |name: &str| {
            let is_in = |image: &usize| domain_of[*image] == Some(name);
            let images: Vec<usize> = (0..domain_of.len()).filter(is_in).collect();
            let evaluation = prepared.evaluate_subset(&images)?;
            Ok(Domain { name: name.to_owned(), images: images.len(), evaluation })
        };
        names.into_iter().map(domain).collect()
    }

    /// Each picture's caption, references and figures: JSON lines of [`ImageReport`], in the order of the data set.
    ///
    /// # Errors
    /// None: all of it can be written.
    pub fn per_image(&self, scored: &Scored) -> Result<Vec<u8>, EvalError> {
        let mut lines = Vec::new();
        for (image, (annotation, candidate)) in self.annotations().zip(&self.candidates).enumerate() {
            let line = ImageReport {
                image_id: &annotation.id,
                file_name: annotation.file_name.as_deref(),
                candidate,
                references: &annotation.references,
                scores: Figures::of(&scored.evaluation.columns, |column| column.scores.images[image]),
            };
            serde_json::to_writer(&mut lines, &line)?;
            lines.push(b'\n');
        }
        Ok(lines)
    }

    /// A page, one HTML document, with the `worst` pictures by the figure of that key; by `cider` or else the first figure where
    /// none is given.
    ///
    /// # Errors
    /// [`EvalError::UnknownFigure`] if that figure was not computed.
    pub fn page(&self, scored: &Scored, worst: usize, key: Option<&str>) -> Result<String, EvalError> {
        let columns = &scored.evaluation.columns;
        let requested = key.unwrap_or("cider");
        let worst_by = match columns.iter().position(|column| column.figure.key() == requested) {
            Some(column) => column,
            None if key.is_none() && !columns.is_empty() => 0,
            None => {
                let known: Vec<&str> = columns.iter().map(|column| column.figure.key()).collect();
                return Err(EvalError::UnknownFigure { key: requested.to_owned(), known: known.join(", ") });
            }
        };
        let scores = &columns[worst_by].scores.images;
        let mut images: Vec<usize> = (0..scores.len()).collect();
        images.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        images.truncate(worst);
        let cards = images.into_par_iter().map(|image| self.card(image)).collect();
        let facts = vec![
            ("images", scores.len().to_string()),
            ("references", scored.references.to_string()),
            ("tokens", scored.tokenization.name().to_owned()),
            ("not scored", scored.failed.to_string()),
        ];
        let page = Page {
            title: self.title.clone(),
            facts,
            evaluation: &scored.evaluation,
            domains: &scored.domains,
            cards,
            worst_by,
        };
        Ok(page.render())
    }

    /// Picture `index` of the data set as a small `data:` address, or why there is none.
    fn thumbnail(&self, index: usize) -> Result<String, String> {
        let example = self.dataset.example(index).map_err(|error| error.to_string())?;
        thumbnail::data_address(&example.image).map_err(|error| error.to_string())
    }

    fn card(&self, image: usize) -> Card<'_> {
        let index = self.indices[image];
        let annotation = &self.dataset.annotations().records[index];
        Card {
            index: image,
            name: annotation.picture_name(),
            picture: self.thumbnail(index),
            candidate: &self.candidates[image],
            references: &annotation.references,
        }
    }
}
