//! Captions of a data set's pictures by a model: batched, and kept in a journal as they are made.

use std::collections::HashMap;
use std::path::Path;

use mplug::generate::GenerationOptions;
use mplug::preprocess::image::RgbImage;
use mplug::tasks::Captioner;
use mplug_data::annotation::PictureId;
use mplug_data::dataset::AnnotatedDataset;
use mplug_data::message::about;
use mplug_data::picture::{Failure, open_example, split};
use rayon::prelude::*;

use crate::captions::CaptionSet;
use crate::error::EvalError;
use crate::event::{Event, OnEvent, each_batch, emit};
use crate::journal::CaptionJournal;

/// A model that captions a data set.
pub struct Captioning<'a> {
    /// The model.
    pub captioner: &'a Captioner,
    /// How it writes.
    pub options: &'a GenerationOptions,
    /// Pictures that pass through it together; changes speed and memory, never a caption.
    pub batch_size: usize,
    /// Where captions are kept as they are made.
    pub journal: Option<JournalPlan<'a>>,
}

/// Where captions are kept.
#[derive(Clone, Copy, Debug)]
pub struct JournalPlan<'a> {
    /// The file. Captions that it has already are not made again.
    pub path: &'a Path,
    /// What the captions are of, in words that change with the model, its options and the data set.
    pub captions_of: &'a str,
}

/// A data set that was captioned.
#[derive(Debug)]
pub struct Captioned {
    /// The captions beside their references.
    pub set: CaptionSet,
    /// How many pictures have none for a reason that says nothing of them, so that another run may caption them.
    pub passing: usize,
    /// How many pictures there are.
    pub pictures: usize,
}

impl Captioning<'_> {
    /// Captions every picture of `dataset` that the journal does not have yet; `title` says in words what is scored. A picture that
    /// fails has no caption, and an [`Event::Failed`].
    ///
    /// # Errors
    /// [`EvalError::Journal`] and [`EvalError::OtherRun`] if the journal cannot be used, [`EvalError::Model`] for options that
    /// cannot be, [`EvalError::Dataset`] if there is nothing to score, and [`EvalError::Stopped`]. The journal keeps what was made.
    pub fn run(
        &self,
        dataset: AnnotatedDataset,
        title: String,
        on_event: OnEvent<'_>,
    ) -> Result<Captioned, EvalError> {
        let (mut journal, known) = self.open_journal()?;
        let records = &dataset.annotations().records;
        let pictures = records.len();
        let mut captions: Vec<Option<String>> =
            records.iter().map(|record| known.get(&record.id).cloned()).collect();
        let todo: Vec<usize> = (0..pictures).filter(|&index| captions[index].is_none()).collect();
        if !known.is_empty() {
            emit(on_event, Event::Resumed { known: pictures - todo.len(), count: pictures })?;
        }
        let mut passing = 0;
        each_batch(
            &todo,
            self.batch_size,
            "pictures",
            on_event,
            |batch| self.open(&dataset, batch),
            |batch, opened| self.caption_batch(&dataset, batch, opened),
            |batch, results| {
                let mut messages = Vec::new();
                for (&index, result) in batch.iter().zip(results) {
                    match result {
                        Ok(caption) => {
                            if let Some(journal) = &mut journal {
                                journal.add(&records[index].id, &caption)?;
                            }
                            captions[index] = Some(caption);
                        }
                        Err(failure) => {
                            passing += usize::from(failure.is_passing);
                            messages.push(failure.reason);
                        }
                    }
                }
                journal.as_mut().map_or(Ok(()), CaptionJournal::flush)?;
                Ok(messages)
            },
        )?;
        Ok(Captioned { set: CaptionSet::new(dataset, captions, title)?, passing, pictures })
    }

    fn open_journal(&self) -> Result<(Option<CaptionJournal>, HashMap<PictureId, String>), EvalError> {
        let Some(plan) = self.journal else { return Ok((None, HashMap::new())) };
        let (journal, known) = CaptionJournal::open(plan.path, plan.captions_of)?;
        Ok((Some(journal), known))
    }

    fn open(&self, dataset: &AnnotatedDataset, batch: &[usize]) -> Vec<Result<RgbImage, Failure>> {
        let image_size = self.captioner.config().vision.image_size as u32;
        batch.par_iter().map(|&index| open_example(dataset, index, image_size)).collect()
    }

    fn caption_batch(
        &self,
        dataset: &AnnotatedDataset,
        batch: &[usize],
        opened: Vec<Result<RgbImage, Failure>>,
    ) -> Result<Vec<Result<String, Failure>>, EvalError> {
        let (images, indices) = split(opened);
        let captions = if images.is_empty() {
            Vec::new()
        } else {
            self.captioner.caption_each(&images, self.options)?
        };
        let best = |(index, &record): (Result<usize, Failure>, &usize)| match &captions[index?] {
            Ok(captions) => Ok(captions.first().map_or_else(String::new, |c| c.text.clone())),
            Err(reason) => {
                let name = dataset.annotations().records[record].picture_name();
                Err(Failure::lasting(about(Path::new(name), &reason.to_string())))
            }
        };
        Ok(indices.into_iter().zip(batch).map(best).collect())
    }
}
