//! Captions and answers: their loss, what the engine writes, and how right that is. A worker takes a few examples at once: it opens
//! their pictures, computes their loss, has texts written about them, and keeps the texts alone.

use std::ops::Range;

use mplug::config::ModelConfig;
use mplug::generate::GenerationOptions;
use mplug::preprocess::image::{RgbImage, bytes_of};
use mplug_eval::thumbnail;

use super::{Evaluation, Evaluator};
use crate::batch::MicroBatch;
use crate::classes::ByClass;
use crate::config::BestBy;
use crate::error::TrainError;
use crate::generation::Writer;
use crate::gradients::plain_loss;
use crate::log::Sample;
use crate::objective::Totals;
use crate::training_data::{EncodedExample, Reading, Split};

/// Texts kept as samples.
const SAMPLES: usize = 8;
/// Tokens of pictures that go through the trainable network at once: where there are fewer, products are small, and where there
/// are more, a large picture alone takes hundreds of megabytes.
const TOKENS_AT_ONCE: usize = 1024;
/// Pictures that go through the network at once at most.
const PICTURES_AT_ONCE: usize = 16;
/// Bytes of encoded pictures that all workers together hold, where each holds more than it must.
const HELD_BYTES: usize = 192 << 20;

/// What a worker found about some examples.
#[derive(Default)]
struct Found {
    /// The summed loss of each micro-batch.
    losses: Vec<f64>,
    /// Labels that count.
    tokens: usize,
    texts: Vec<String>,
    /// The pictures of the examples, by number.
    pictures: Vec<u64>,
    /// The pictures of samples, as `data:` addresses.
    thumbnails: Vec<String>,
    /// What was asked about those.
    questions: Vec<String>,
}

/// How right the texts are.
struct Judged {
    metrics: Vec<(&'static str, f64)>,
    /// By kind of example.
    classes: ByClass,
    /// Of each text, where the data judges.
    verdicts: Vec<Option<f64>>,
}

impl Evaluator<'_> {
    /// Writes about `count` examples, and judges.
    pub(super) fn written(&self, count: usize, reading: Reading) -> Result<Evaluation, TrainError> {
        let writer = Writer::new(self.model, self.config)?;
        let len = group_len(self.config, self.workers.count());
        let groups = self.workers.deal(count.div_ceil(len), |group| {
            self.write_about(&writer, group * len..count.min((group + 1) * len), reading)
        })?;
        let mut all = Found::default();
        for group in groups {
            all.losses.extend(group.losses);
            all.tokens += group.tokens;
            all.texts.extend(group.texts);
            all.pictures.extend(group.pictures);
            all.thumbnails.extend(group.thumbnails);
            all.questions.extend(group.questions);
        }
        drop(writer);
        let mut metrics = Vec::new();
        if has_loss(reading) {
            let whole = if reading == Reading::Captions { all.tokens } else { count };
            metrics.push((BestBy::Loss.name(), all.losses.iter().sum::<f64>() / whole.max(1) as f64));
        }
        let judged = self.judged(&all)?;
        metrics.extend(judged.metrics);
        let samples = (0..).zip(all.texts).zip(judged.verdicts).zip(all.questions).zip(all.thumbnails);
        let samples = samples.map(|((((index, text), score), question), picture)| Sample {
            text,
            expected: self.data.expected(index).unwrap_or_default(),
            question,
            score,
            picture,
        });
        Ok(Evaluation { metrics, classes: judged.classes.figures(), samples: samples.collect() })
    }

    /// Loss and texts of the examples of these numbers.
    fn write_about(
        &self,
        writer: &Writer,
        numbers: Range<usize>,
        reading: Reading,
    ) -> Result<Found, TrainError> {
        self.go_on()?;
        let samples = SAMPLES.saturating_sub(numbers.start);
        let examples = numbers
            .map(|index| self.data.example(Split::HeldOut, index as u64))
            .collect::<Result<Vec<EncodedExample>, _>>()?;
        let mut found = Found::default();
        if has_loss(reading) {
            for examples in examples.chunks(micro_batch_len(self.config)) {
                let micro_batch = MicroBatch::collate(examples, self.data.special_ids().pad, 0);
                found.tokens += micro_batch.targets.tokens();
                found.losses.push(self.summed_loss(&micro_batch));
            }
        }
        let prompts: Vec<&[u32]> = examples.iter().map(|example| self.data.prompt(example.picture)).collect();
        let hypotheses = writer.write(&examples, &prompts, &self.options(), self.data.special_ids())?;
        let text = |best: &mplug::generate::beam_search::Hypothesis| self.data.decode(&best.token_ids);
        found.texts = hypotheses.iter().map(|found| found.first().map(text).unwrap_or_default()).collect();
        found.pictures = examples.iter().map(|example| example.picture).collect();
        found.thumbnails =
            examples.iter().take(samples).map(|example| thumbnail(&example.pixel_values)).collect();
        let asks = reading == Reading::Questions;
        let question =
            |example: &EncodedExample| if asks { self.data.decode(&example.text) } else { String::new() };
        found.questions = examples.iter().take(samples).map(question).collect();
        Ok(found)
    }

    /// The loss of a micro-batch, divided by nothing.
    fn summed_loss(&self, micro_batch: &MicroBatch) -> f64 {
        let totals = Totals { tokens: 1, pictures: 1 };
        plain_loss(self.model, self.objective, micro_batch, totals, self.device)
    }

    /// The search that the finished model will use.
    fn options(&self) -> GenerationOptions {
        let settings = &self.config.generation;
        GenerationOptions {
            num_beams: self.plan.num_beams.unwrap_or(settings.num_beams),
            min_new_tokens: settings.min_new_tokens,
            max_new_tokens: settings.max_new_tokens,
            ..GenerationOptions::default()
        }
    }

    /// How right the texts are: by the data's judgement, and against what people wrote where all pictures have that.
    fn judged(&self, found: &Found) -> Result<Judged, TrainError> {
        let is_answering = self.model.parts().fusion_encoder;
        let figure = if is_answering { BestBy::Accuracy } else { BestBy::Truth };
        let (mut metrics, mut classes) = (Vec::new(), ByClass::default());
        let verdicts: Vec<Option<f64>> =
            (0..).zip(&found.texts).map(|(index, text)| self.data.judge(index, text)).collect();
        let scores: Vec<f64> = verdicts.iter().copied().flatten().collect();
        if !scores.is_empty() {
            metrics.push((figure.name(), scores.iter().sum::<f64>() / scores.len() as f64));
        }
        for (index, verdict) in (0..).zip(&verdicts) {
            if let (Some(verdict), Some(class)) = (verdict, self.data.class(index)) {
                classes.add(figure.name(), class, *verdict);
            }
        }
        if !is_answering {
            let pictures = found.pictures.iter();
            let references: Vec<Vec<String>> =
                pictures.map(|picture| self.data.references(Split::HeldOut, *picture)).collect();
            if references.iter().all(|of_one| !of_one.is_empty()) {
                let found = self.workers.run_together(|| self.figures.of(&found.texts, &references));
                let (figures, pictures) = found?;
                metrics.extend(figures);
                for one in pictures {
                    classes.add_length(BestBy::Cider.name(), one.reference_tokens, one.cider);
                }
            }
        }
        Ok(Judged { metrics, classes, verdicts })
    }
}

/// Whether an evaluation has a loss: not of captions that are learned from rewards.
fn has_loss(reading: Reading) -> bool {
    matches!(reading, Reading::Captions | Reading::Questions)
}

/// Examples whose loss is computed together. It depends on the model alone: with others beside it, the loss of an example has
/// other last digits.
fn micro_batch_len(config: &ModelConfig) -> usize {
    (TOKENS_AT_ONCE / config.vision.image_len()).clamp(1, PICTURES_AT_ONCE)
}

/// Examples that one of `workers` workers takes at once: whole micro-batches. Texts that are written together share the reading of
/// the decoder's weights, so that more are faster, and take memory: of each picture the decoder's keys and values.
fn group_len(config: &ModelConfig, workers: usize) -> usize {
    let (text, micro_batch) = (&config.text, micro_batch_len(config));
    let floats = (2 * text.decoder_layers + 1) * config.vision.image_len() * text.hidden_size;
    let fits = HELD_BYTES / (workers * floats * size_of::<f32>()).max(1);
    (fits.min(PICTURES_AT_ONCE) / micro_batch).max(1) * micro_batch
}

/// Normalised pixels `(3, size, size)` as a picture in a `data:` address; empty where they are none.
fn thumbnail(pixel_values: &[f32]) -> String {
    let size = (pixel_values.len() / 3).isqrt() as u32;
    let image = RgbImage::from_raw(size, size, bytes_of(pixel_values));
    image.and_then(|image| thumbnail::data_address(&image).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use mplug::config::Task;

    use super::*;

    /// Which examples share a micro-batch does not depend on the number of workers.
    #[test]
    fn groups_are_whole_micro_batches_and_small_where_pictures_are_large() {
        let base = ModelConfig::base_captioning_zh();
        let tiny = ModelConfig::tiny(Task::ImageCaptioning);
        assert_eq!((micro_batch_len(&base), micro_batch_len(&tiny)), (1, 16));
        for workers in [1, 2, 3, 8, 64] {
            for config in [&base, &tiny] {
                assert!(group_len(config, workers).is_multiple_of(micro_batch_len(config)));
            }
        }
        // 577 tokens of 768 channels for 12 layers are 44 MB.
        assert_eq!([1, 2, 3, 8].map(|workers| group_len(&base, workers)), [4, 2, 1, 1]);
    }
}
