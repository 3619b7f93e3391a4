//! Pre-training with all four objectives of the paper (section 3.2): image-text contrast, image-text matching, masked language
//! modelling, prefix language modelling. The original's code for it was never published; its settings were
//! (`pretrain_mplug_base.yaml`: the four objectives, queue, momentum, temperature, alpha, the share of masked tokens).

use burn::tensor::Tensor;
use mplug_nn::{Mplug, Parts};

use super::contrastive::Contrast;
use super::masked_language::{Masked, masked_language_loss};
use super::matching::{HardNegatives, matching_loss};
use super::prefix_language::{Cut, prefix_language_loss};
use super::tensors::texts;
use super::{Findings, NamedTensor, Objective, Pass, StateReader};
use crate::error::TrainError;
use crate::training_data::SpecialIds;

/// All four together.
pub struct PreTraining {
    /// Momentum model and queue.
    pub contrast: Contrast,
    /// The share of masked tokens.
    pub mask_share: f32,
    /// Tokens of the vocabulary.
    pub vocab_size: usize,
    /// Its special tokens.
    pub special: SpecialIds,
}

impl Objective for PreTraining {
    fn parts(&self) -> Parts {
        Parts::all()
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
        let masked = Masked::draw(
            &micro_batch.texts,
            self.mask_share,
            self.special,
            self.vocab_size,
            micro_batch.seed,
        );
        let cut = Cut::draw(&micro_batch.texts, self.special, micro_batch.seed);
        let share = micro_batch.pictures() as f64 / pass.totals.pictures.max(1) as f64;
        let losses = [
            ("contrast", found.loss),
            ("matching", matching_loss(pass, image.clone(), text, rows.attention_mask, &negatives)),
            ("masked language", masked_language_loss(pass, image.clone(), &masked)),
            ("prefix language", prefix_language_loss(pass, image, &cut)),
        ]
        .map(|(name, loss)| (name, loss.mul_scalar(share)));
        let parts = losses.iter().map(|(name, loss)| (*name, f64::from(loss.clone().into_scalar::<f32>())));
        let findings = Findings {
            parts: parts.collect(),
            features: found.features,
            picture_ids: micro_batch.picture_ids.clone(),
        };
        let sum = losses.into_iter().map(|(_, loss)| loss).reduce(|sum, loss| sum + loss);
        (sum.expect("four objectives"), findings)
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
