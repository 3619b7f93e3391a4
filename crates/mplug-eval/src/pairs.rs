//! Retrieval models on data sets: what the pictures and texts are, and which belong together. [`retrieval`](crate::retrieval)
//! ranks them, `caption-metrics` counts.

use mplug_data::dataset::{AnnotatedDataset, Dataset};
use mplug_data::message::one_line;
use mplug_data::picture::open_example;

use crate::error::{DatasetProblem, EvalError};
use crate::event::OnEvent;
use crate::pairs_report::{PairsReport, Recalls};
pub use crate::search::SearchPlan;
use crate::search::{Pictures, Search};

/// The pictures of a data set and all their captions.
#[derive(Debug)]
pub struct Pairs {
    dataset: AnnotatedDataset,
    texts: Vec<String>,
    picture_of_text: Vec<usize>,
}

impl Pairs {
    /// Those of `dataset`; captions without a word are left out.
    ///
    /// # Errors
    /// [`EvalError::Dataset`] if it has no captions.
    pub fn new(dataset: AnnotatedDataset) -> Result<Self, EvalError> {
        let (mut texts, mut picture_of_text) = (Vec::new(), Vec::new());
        for (picture, record) in dataset.annotations().records.iter().enumerate() {
            for text in record.references.iter().filter(|text| !text.trim().is_empty()) {
                texts.push(text.clone());
                picture_of_text.push(picture);
            }
        }
        if texts.is_empty() {
            return Err(EvalError::dataset(&dataset.annotations().path, DatasetProblem::NoTexts));
        }
        Ok(Self { dataset, texts, picture_of_text })
    }

    /// Searches among them. A picture that cannot be read, or for which the model computes no number, is left out with its texts, and
    /// is an [`Event::Failed`](crate::Event::Failed).
    ///
    /// # Errors
    /// [`EvalError::Model`] if the model has no contrastive head or cannot read a text, [`EvalError::NotANumber`],
    /// [`EvalError::Dataset`] if no picture of a text can be read, [`EvalError::Picture`] if one cannot be read again, and
    /// [`EvalError::Stopped`].
    pub fn search(&self, plan: &SearchPlan<'_>, on_event: OnEvent<'_>) -> Result<PairsReport, EvalError> {
        let image_size = plan.matcher.config().vision.image_size as u32;
        let open =
            |index: usize| open_example(&self.dataset, index, image_size).map_err(|failure| failure.reason);
        let records = &self.dataset.annotations().records;
        let name = |index: usize| one_line(records[index].picture_name());
        let search = Search { plan, open: &open, name: &name };
        let mut found = search.encode(self.dataset.len(), on_event)?;
        loop {
            let of_read = self.of_read(&found)?;
            let texts: Vec<&str> = of_read.iter().map(|&(text, _)| self.texts[text].as_str()).collect();
            match search.rank(&found, &texts, on_event)? {
                Ok(ranking) => {
                    let recalls = ranking.recalls(|picture, text| of_read[text].1 == picture);
                    let sizes = [found.numbers.len(), texts.len()];
                    return Ok(PairsReport::new(sizes, found.failed, plan.rerank, Recalls::of(recalls)));
                }
                // Ranked again without them: each was among the candidates of others.
                Err(bad) => found.leave_out(&bad),
            }
        }
    }

    /// Indices of texts and of their pictures among those that were read: texts of others are left out.
    fn of_read(&self, pictures: &Pictures) -> Result<Vec<(usize, usize)>, EvalError> {
        let picture_of =
            |(text, number): (usize, &usize)| Some((text, pictures.numbers.binary_search(number).ok()?));
        let of_read: Vec<(usize, usize)> =
            self.picture_of_text.iter().enumerate().filter_map(picture_of).collect();
        if of_read.is_empty() {
            return Err(EvalError::dataset(&self.dataset.annotations().path, DatasetProblem::NoPictures));
        }
        Ok(of_read)
    }
}
