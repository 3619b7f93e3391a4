//! What is scored: captions beside their references, from a file or from a model.

use std::path::Path;

use anyhow::bail;
use caption_metrics::evaluation::{Captions, Evaluation};
use mplug::preprocess::image::ImageLimits;
use mplug_data::{
    annotation::{Annotation, PictureId},
    candidates::Candidates,
    dataset::{AnnotatedDataset, Dataset, OpenOptions},
};
use rayon::prelude::*;

use super::{
    page::{Card, Page},
    report::{Figures, ImageReport, Scored},
    thumbnail,
};
use crate::{dataset::DatasetArgs, report};

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
    pub(super) fn new(
        dataset: AnnotatedDataset,
        captions: Vec<Option<String>>,
        title: String,
    ) -> anyhow::Result<Self> {
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
