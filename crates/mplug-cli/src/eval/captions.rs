//! What is scored: the captions of a file, or those that a model makes of a dataset's pictures, beside their references.

use std::{collections::HashMap, path::Path};

use anyhow::bail;
use caption_metrics::evaluation::{Captions, Evaluation};
use mplug::{
    checkpoint::ModelFolder,
    config::Task,
    generate::GenerationOptions,
    preprocess::image::{ImageLimits, RgbImage, resize_bicubic},
    tasks::Captioner,
};
use mplug_data::{
    annotation::{Annotation, PictureId},
    candidates::Candidates,
    dataset::{AnnotatedDataset, Dataset, OpenOptions},
};
use rayon::prelude::*;

use super::{
    journal::Journal,
    page::{Card, Page},
    report::{Figures, ImageReport, Scored},
    thumbnail,
};
use crate::{
    args::{EngineArgs, SearchArgs},
    dataset::DatasetArgs,
    model, precision,
    progress::Progress,
    report,
};

/// Images that an error names before it says how many more there are.
const NAMED: usize = 5;

/// Captions beside their references.
pub(super) struct CaptionSet {
    dataset: AnnotatedDataset,
    /// The places in the dataset of the pictures that are scored, in their file's order.
    places: Vec<usize>,
    /// Their captions.
    candidates: Vec<String>,
    /// Pictures without a caption.
    pub(super) failed: usize,
    /// What was scored, in words.
    title: String,
}

impl CaptionSet {
    /// The candidates of a file against the references of another; both must be of the same images.
    pub(super) fn read(
        references: &Path,
        candidates: &Path,
        reading: &DatasetArgs,
        limits: &ImageLimits,
    ) -> anyhow::Result<Self> {
        let dataset = reading.open(references, *limits)?;
        let max_bytes = OpenOptions::default().max_annotation_bytes;
        let found = Candidates::read(candidates, dataset.annotations(), None, max_bytes)?;
        let missing = found.missing(dataset.annotations());
        if !missing.is_empty() {
            bail!(
                "{}: no candidate for {} of the {} images of {}: {}",
                candidates.display(),
                missing.len(),
                dataset.len(),
                references.display(),
                list(&missing)
            );
        }
        for failure in &found.failures {
            report::message(format!(
                "{}: {} is not scored: {}",
                candidates.display(),
                failure.id,
                failure.error
            ));
        }
        let mut captions = vec![None; dataset.len()];
        for candidate in found.captions {
            captions[candidate.index] = Some(candidate.caption);
        }
        Self::new(dataset, captions, format!("{} against {}", candidates.display(), references.display()))
    }

    /// Captions by place in the dataset; pictures without one are not scored.
    fn new(dataset: AnnotatedDataset, captions: Vec<Option<String>>, title: String) -> anyhow::Result<Self> {
        let records = &dataset.annotations().records;
        let without: Vec<&PictureId> =
            records.iter().filter(|record| record.references.is_empty()).map(|record| &record.id).collect();
        if !without.is_empty() {
            bail!(
                "{}: {} images have no references: {}",
                dataset.annotations().path.display(),
                without.len(),
                list(&without)
            );
        }
        let of = captions.len();
        let scored = captions.into_iter().enumerate().filter_map(|(place, caption)| Some((place, caption?)));
        let (places, candidates): (Vec<_>, Vec<_>) = scored.unzip();
        if candidates.is_empty() {
            bail!("{}: there is nothing to score", dataset.annotations().path.display());
        }
        Ok(Self { failed: of - candidates.len(), dataset, places, candidates, title })
    }

    /// What the dataset says of the pictures that are scored.
    pub(super) fn annotations(&self) -> impl ExactSizeIterator<Item = &Annotation> {
        self.places.iter().map(|&place| &self.dataset.annotations().records[place])
    }

    /// Candidates and references as the evaluator takes them.
    pub(super) fn captions(&self) -> Captions<&str> {
        Captions {
            candidates: self.candidates.iter().map(String::as_str).collect(),
            references: self
                .annotations()
                .map(|annotation| annotation.references.iter().map(String::as_str).collect())
                .collect(),
        }
    }

    /// The lines of `--per-image`.
    pub(super) fn per_image(&self, evaluation: &Evaluation) -> anyhow::Result<Vec<u8>> {
        let mut lines = Vec::new();
        for (image, (annotation, candidate)) in self.annotations().zip(&self.candidates).enumerate() {
            let line = ImageReport {
                image_id: &annotation.id,
                file_name: annotation.file_name.as_deref(),
                candidate,
                references: &annotation.references,
                scores: Figures::of(&evaluation.columns, |column| column.scores.images[image]),
            };
            serde_json::to_writer(&mut lines, &line)?;
            lines.push(b'\n');
        }
        Ok(lines)
    }

    /// The page of `--html` with the `worst` pictures by the figure `key`.
    pub(super) fn page(
        &self,
        scored: &Scored<'_>,
        worst: usize,
        key: Option<&str>,
    ) -> anyhow::Result<String> {
        let columns = &scored.evaluation.columns;
        let wanted = key.unwrap_or("cider");
        let worst_by = match columns.iter().position(|column| column.key == wanted) {
            Some(column) => column,
            None if key.is_none() && !columns.is_empty() => 0,
            None => {
                let keys: Vec<&str> = columns.iter().map(|column| column.key).collect();
                bail!("no figure {wanted:?} to sort the pictures by; computed: {}", keys.join(", "));
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
            ("tokens", scored.tokenization.clone()),
            ("not scored", scored.failed.to_string()),
        ];
        let page = Page {
            title: self.title.clone(),
            facts,
            evaluation: scored.evaluation,
            domains: scored.domains,
            cards,
            worst_by,
        };
        Ok(page.render())
    }

    fn card(&self, image: usize) -> Card<'_> {
        let place = self.places[image];
        let annotation = &self.dataset.annotations().records[place];
        let picture = self.dataset.example(place).map_err(|error| error.to_string());
        Card {
            index: image,
            name: annotation.picture_name(),
            picture: picture.and_then(|example| thumbnail::data_address(&example.image)),
            candidate: &self.candidates[image],
            references: &annotation.references,
        }
    }
}

/// The first few ids, and how many more there are.
fn list(ids: &[&PictureId]) -> String {
    let named: Vec<String> = ids.iter().take(NAMED).map(|id| report::one_line(id.as_str())).collect();
    let more = ids.len().saturating_sub(NAMED);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    named.join(", ") + &rest
}

/// A model that captions a dataset.
pub(super) struct Captioning<'a> {
    pub(super) dataset: &'a Path,
    pub(super) reading: &'a DatasetArgs,
    pub(super) limits: ImageLimits,
    pub(super) model: Option<&'a Path>,
    pub(super) engine: &'a EngineArgs,
    pub(super) search: &'a SearchArgs,
    pub(super) batch_size: usize,
    pub(super) journal: Option<&'a Path>,
}

impl Captioning<'_> {
    /// Captions every picture that the journal does not have yet.
    pub(super) fn run(&self) -> anyhow::Result<CaptionSet> {
        let dataset = self.reading.open(self.dataset, self.limits)?;
        let folder = model::open_or_demo(self.model, self.engine.image_size, Task::ImageCaptioning)?;
        let captioner =
            Captioner::load_with(&folder, &precision::load_options(&folder, self.engine.precision))?;
        let options = self.search.options(captioner.default_options())?;
        let (mut journal, known) = match self.journal {
            Some(path) => {
                let (journal, known) = Journal::open(path, &self.describe(&folder, &options)?)?;
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
        Run { dataset: &dataset, captioner: &captioner, options: &options }.caption(
            &todo,
            self.batch_size,
            |place, caption| {
                if let (Some(journal), Some(caption)) = (&mut journal, &caption) {
                    journal.add(&records[place].id, caption)?;
                    journal.flush()?;
                }
                captions[place] = caption;
                Ok(())
            },
        )?;
        let model = self.model.map_or_else(|| "the demo model".to_owned(), |path| path.display().to_string());
        CaptionSet::new(dataset, captions, format!("{model} on {}", self.dataset.display()))
    }

    /// What the captions depend on, in words: the model's and the dataset's files by size and time, and the options.
    fn describe(&self, folder: &ModelFolder, options: &GenerationOptions) -> anyhow::Result<String> {
        let model = match self.model {
            Some(path) => format!("model {}", stamp(path)?),
            None => "the demo model".to_owned(),
        };
        let precision = self.engine.precision.map_or_else(|| folder.stored_precision(), Into::into);
        Ok(format!(
            "{model} at {precision:?} and {} pixels, beams {}, tokens {} to {}, dataset {}, split {}, pictures {}",
            folder.config.vision.image_size,
            options.num_beams,
            options.min_new_tokens,
            options.max_new_tokens,
            stamp(self.dataset)?,
            self.reading.split().unwrap_or("all"),
            self.reading.images().map_or_else(|| "beside it".into(), |path| path.display().to_string()),
        ))
    }
}

/// A file's path, size and time of change; a folder's are those of its files together.
fn stamp(path: &Path) -> anyhow::Result<String> {
    let (mut bytes, mut newest) = (0, None);
    for entry in walkdir::WalkDir::new(path).max_depth(1) {
        let metadata = entry?.metadata()?;
        if metadata.is_file() {
            bytes += metadata.len();
            newest = newest.max(metadata.modified().ok());
        }
    }
    let seconds = newest.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let seconds = seconds.map_or(0, |since| since.as_secs());
    Ok(format!("{} ({bytes} bytes of {seconds})", std::path::absolute(path)?.display()))
}

/// Pictures of a dataset through a captioner.
struct Run<'a> {
    dataset: &'a AnnotatedDataset,
    captioner: &'a Captioner,
    options: &'a GenerationOptions,
}

impl Run<'_> {
    /// Captions the examples `todo` and hands each to `done` by its place, in order; a picture that fails has no caption,
    /// and a message. While one batch is captioned, the pictures of the next are opened beside it.
    fn caption(
        &self,
        todo: &[usize],
        batch_size: usize,
        mut done: impl FnMut(usize, Option<String>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let progress = Progress::new(todo.len(), "pictures");
        let mut batches = todo.chunks(batch_size);
        let mut next = batches.next().map(|batch| (batch, self.open(batch)));
        while let Some((batch, opened)) = next {
            let following = batches.next();
            let (captions, prepared) = rayon::join(
                || self.caption_batch(opened),
                || following.map(|batch| (batch, self.open(batch))),
            );
            for (&place, caption) in batch.iter().zip(captions?) {
                if let Err(reason) = &caption {
                    progress.message(reason);
                }
                done(place, caption.ok())?;
            }
            progress.advance(batch.len());
            next = prepared;
        }
        Ok(())
    }

    fn open(&self, batch: &[usize]) -> Vec<Result<RgbImage, String>> {
        let side = self.captioner.config().vision.image_size as u32;
        let open = |&place: &usize| match self.dataset.example(place) {
            Ok(example) => Ok(resize_bicubic(&example.image, side, side)),
            Err(error) => Err(error.to_string()),
        };
        batch.par_iter().map(open).collect()
    }

    fn caption_batch(
        &self,
        opened: Vec<Result<RgbImage, String>>,
    ) -> anyhow::Result<Vec<Result<String, String>>> {
        let (images, places) = crate::pictures::split(opened);
        let captions = if images.is_empty() {
            Vec::new()
        } else {
            self.captioner.caption_batch(&images, self.options)?
        };
        let best = |place: usize| captions[place].first().map_or_else(String::new, |c| c.text.clone());
        Ok(places.into_iter().map(|place| place.map(best)).collect())
    }
}
