//! Captions of a dataset's pictures by a model: batched, with progress, and kept in a journal as they are made.

use std::{collections::HashMap, path::Path};

use mplug::{
    checkpoint::ModelFolder,
    generate::GenerationOptions,
    preprocess::image::{ImageLimits, RgbImage},
    tasks::Captioner,
};
use mplug_data::dataset::AnnotatedDataset;
use rayon::prelude::*;

use super::{batches::each_batch, captions::CaptionSet, journal::Journal};
use crate::{
    args::{EngineArgs, SearchArgs},
    dataset::DatasetArgs,
    model,
    pictures::{self, Failure},
    precision,
    progress::Progress,
    report,
};

/// A model that captions a dataset.
pub(super) struct Captioning<'a> {
    pub(super) dataset: &'a Path,
    pub(super) reading: &'a DatasetArgs,
    pub(super) limits: ImageLimits,
    /// Where the model is; none for the demo model.
    pub(super) model: Option<&'a Path>,
    pub(super) folder: &'a ModelFolder,
    pub(super) engine: &'a EngineArgs,
    pub(super) search: &'a SearchArgs,
    pub(super) batch_size: usize,
    pub(super) journal: Option<&'a Path>,
}

impl Captioning<'_> {
    /// Captions every picture that the journal does not have yet.
    pub(super) fn run(&self) -> anyhow::Result<CaptionSet> {
        let dataset = self.reading.open(self.dataset, self.limits)?;
        let folder = self.folder;
        let captioner =
            Captioner::load_with(folder, &precision::load_options(folder, self.engine.precision))?;
        let mut options = self.search.options(captioner.default_options())?;
        options.prompt = model::prompt_if_any(folder, self.reading.language_code());
        let (mut journal, known) = match self.journal {
            Some(path) => {
                let (journal, known) = Journal::open(path, &self.describe(folder, &options)?)?;
                (Some(journal), known)
            }
            None => (None, HashMap::new()),
        };
        let records = &dataset.annotations().records;
        let mut captions: Vec<Option<String>> =
            records.iter().map(|record| known.get(&record.id).cloned()).collect();
        let todo: Vec<usize> = (0..records.len()).filter(|&place| captions[place].is_none()).collect();
        if !known.is_empty() {
            report::message(format!(
                "{} of {} pictures are captioned already",
                records.len() - todo.len(),
                records.len()
            ));
        }
        let run = Run { dataset: &dataset, captioner: &captioner, options: &options };
        let passing = run.caption(&todo, self.batch_size, |place, caption| {
            if let (Some(journal), Some(caption)) = (&mut journal, &caption) {
                journal.add(&records[place].id, caption)?;
                journal.flush()?;
            }
            captions[place] = caption;
            Ok(())
        })?;
        if passing > 0 {
            let how = if journal.is_some() { "; the same command captions these alone" } else { "" };
            report::message(format!(
                "{passing} of {} pictures not tried to the end; run again{how}",
                records.len()
            ));
        }
        let model = self.model.map_or_else(|| "the demo model".to_owned(), |path| path.display().to_string());
        CaptionSet::new(dataset, captions, format!("{model} on {}", self.dataset.display()))
    }

    /// What the captions depend on, in words: the model's and the dataset's files by size and time, and the options.
    fn describe(&self, folder: &ModelFolder, options: &GenerationOptions) -> anyhow::Result<String> {
        let model = match self.model {
            Some(path) => format!("model {}", model::stamp(&model::find(path)?)?),
            None => "the demo model".to_owned(),
        };
        let precision = self.engine.precision.map_or_else(|| folder.stored_precision(), Into::into);
        Ok(format!(
            "{model} at {precision:?} and {} pixels, beams {}, tokens {} to {}{}, dataset {}, split {}, pictures {}",
            folder.config.vision.image_size,
            options.num_beams,
            options.min_new_tokens,
            options.max_new_tokens,
            options.prompt.as_ref().map_or_else(String::new, |prompt| format!(" after `{prompt}`")),
            model::stamp(self.dataset)?,
            self.reading.split().unwrap_or("all"),
            self.reading.images().map_or_else(|| "beside it".into(), |path| path.display().to_string()),
        ))
    }
}

/// Pictures of a dataset through a captioner.
struct Run<'a> {
    dataset: &'a AnnotatedDataset,
    captioner: &'a Captioner,
    options: &'a GenerationOptions,
}

impl Run<'_> {
    /// Captions the examples `todo` and hands each to `done` by its place, in order; a picture that fails has no caption,
    /// and a message. Returns how many failures pass.
    fn caption(
        &self,
        todo: &[usize],
        batch_size: usize,
        mut done: impl FnMut(usize, Option<String>) -> anyhow::Result<()>,
    ) -> anyhow::Result<usize> {
        let mut passing = 0;
        let progress = Progress::new(todo.len(), "pictures");
        each_batch(
            todo,
            batch_size,
            &progress,
            |batch| self.open(batch),
            |batch, opened| self.caption_batch(batch, opened),
            |batch, captions| {
                for (&place, caption) in batch.iter().zip(captions) {
                    if let Err(failure) = &caption {
                        progress.message(&failure.reason);
                        passing += usize::from(failure.is_passing);
                    }
                    done(place, caption.ok())?;
                }
                Ok(())
            },
        )?;
        Ok(passing)
    }

    fn open(&self, batch: &[usize]) -> Vec<Result<RgbImage, Failure>> {
        let side = self.captioner.config().vision.image_size as u32;
        batch.par_iter().map(|&place| pictures::open_example(self.dataset, place, side)).collect()
    }

    fn caption_batch(
        &self,
        batch: &[usize],
        opened: Vec<Result<RgbImage, Failure>>,
    ) -> anyhow::Result<Vec<Result<String, Failure>>> {
        let (images, places) = pictures::split(opened);
        let captions = if images.is_empty() {
            Vec::new()
        } else {
            self.captioner.caption_each(&images, self.options)?
        };
        let best = |(place, &record): (Result<usize, Failure>, &usize)| match &captions[place?] {
            Ok(captions) => Ok(captions.first().map_or_else(String::new, |c| c.text.clone())),
            Err(reason) => {
                let name = self.dataset.annotations().records[record].picture_name();
                Err(Failure::lasting(report::about(Path::new(name), &reason.to_string())))
            }
        };
        Ok(places.into_iter().zip(batch).map(best).collect())
    }
}
