//! Retrieval: contrast and matching together (the original's `MPlugForImageTextRetrieval`).

use burn::tensor::Tensor;
use mplug::config::Task;
use mplug_nn::{Mplug, Parts};

use super::contrastive::Contrast;
use super::matching::{HardNegatives, matching_loss};
use super::tensors::texts;
use super::{Findings, NamedTensor, Objective, Pass, StateReader};
use crate::error::TrainError;

/// Contrast plus matching.
pub struct Retrieval {
    contrast: Contrast,
}

impl Retrieval {
    /// With its momentum model and queue.
    pub fn new(contrast: Contrast) -> Self {
        Self { contrast }
    }
}

impl Objective for Retrieval {
    fn parts(&self) -> Parts {
        Parts::of(Task::ImageTextRetrieval)
    }

    fn advance_to(&mut self, epochs: f64) {
        self.contrast.advance_to(epochs);
    }

    fn begin_step(&mut self, model: &mut Mplug) {
        self.contrast.begin_step(model);
    }

    fn loss(&self, pass: &Pass<'_>) -> (Tensor<1>, Findings) {
        let micro_batch = pass.micro_batch;
        let rows = texts(&micro_batch.texts, pass.device);
        let image = pass.image_embeds();
        let text = pass.model.encode_text(&rows, pass.dropout);
        let found = self.contrast.contrast(pass, image.clone(), text.clone());
        let negatives = HardNegatives::draw(&found.similarity, &micro_batch.picture_ids, micro_batch.seed);
        let matching = matching_loss(pass, image, text, rows.attention_mask, &negatives);
        let share = micro_batch.pictures() as f64 / pass.totals.pictures.max(1) as f64;
        let (contrast, matching) = (found.loss.mul_scalar(share), matching.mul_scalar(share));
        let part = |loss: &Tensor<1>| f64::from(loss.clone().into_scalar::<f32>());
        let findings = Findings {
            parts: vec![("contrast", part(&contrast)), ("matching", part(&matching))],
            features: found.features,
            picture_ids: micro_batch.picture_ids.clone(),
        };
        (contrast + matching, findings)
    }

    fn end_step(&mut self, findings: &[Findings]) {
        self.contrast.end_step(findings);
    }

    fn state(&self) -> Vec<NamedTensor> {
        self.contrast.state()
    }

    fn restore(&mut self, read: &mut StateReader<'_>) -> Result<(), TrainError> {
        self.contrast.restore(read)
    }
}
