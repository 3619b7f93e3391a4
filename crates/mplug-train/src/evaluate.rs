//! Evaluation while training: the loss on held-out examples, and the figures of the task: texts that the engine writes,
//! judged by the data and against what people wrote; or how well pictures and texts find each other. Knows no optimizer.

use burn::tensor::{Device, Int, Tensor, TensorData};
use mplug::config::ModelConfig;
use mplug::generate::GenerationOptions;
use mplug::preprocess::image::{RgbImage, bytes_of};
use mplug_eval::agreement::Agreement;
use mplug_eval::retrieval::{Candidates, Features, Ranking};
use mplug_eval::run_history::ClassFigure;
use mplug_eval::thumbnail;
use mplug_nn::{Dropout, Mplug, Texts};

use crate::batch::{MicroBatch, TextRows};
use crate::classes::ByClass;
use crate::error::TrainError;
use crate::generation::Writer;
use crate::gradients::plain_loss;
use crate::log::Sample;
use crate::objective::{Objective, Totals};
use crate::training_data::{EncodedExample, Reading, Split, TrainingData};

/// Examples that go through the network at once.
const MICRO_BATCH: usize = 16;
/// Texts kept as samples.
const SAMPLES: usize = 8;

/// What an evaluation found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// The task's figures by name: `loss` (the mean on held-out examples, where the objective has one there), `truth`
    /// (the share of captions that are true in full), `accuracy` of answers, `cider` (0 to 10), `bleu_4`, the recalls
    /// `text_r1`, `text_r5`, `text_r10`, `image_r1`, `image_r5`, `image_r10` and their mean `r_mean` (0 to 1).
    pub metrics: Vec<(&'static str, f64)>,
    /// Figures of kinds of examples, the worst kinds first.
    pub classes: Vec<ClassFigure>,
    /// The first texts that the model wrote.
    pub samples: Vec<Sample>,
}

impl Evaluation {
    /// A figure.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.metrics.iter().find(|(metric, _)| *metric == name).map(|(_, value)| *value)
    }
}

/// How to evaluate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Held-out examples; all where there are fewer.
    pub examples: usize,
    /// Beams of the texts that are written.
    pub num_beams: usize,
    /// Most tokens written.
    pub max_new_tokens: usize,
    /// Candidates of each picture and text that the matching head orders; 0 for the contrast's order.
    pub rerank: usize,
}

/// A model with what it is evaluated on.
pub struct Evaluator<'a> {
    /// The model, without gradients.
    pub model: &'a Mplug,
    /// Its shape.
    pub config: &'a ModelConfig,
    /// What it is trained for.
    pub objective: &'a dyn Objective,
    /// The data.
    pub data: &'a dyn TrainingData,
    /// Where it is.
    pub device: &'a Device,
    /// How.
    pub plan: Plan,
}

impl Evaluator<'_> {
    /// Evaluates the model on the first held-out examples.
    pub fn run(&self, reading: Reading) -> Result<Evaluation, TrainError> {
        let count =
            self.data.held_out_len().map_or(self.plan.examples, |len| self.plan.examples.min(len as usize));
        let examples = (0..count)
            .map(|index| self.data.example(Split::HeldOut, index as u64))
            .collect::<Result<Vec<_>, _>>()?;
        match reading {
            Reading::Captions | Reading::Questions => {
                let mut evaluation = self.written(&examples)?;
                evaluation.metrics.insert(0, ("loss", self.loss(&examples)));
                Ok(evaluation)
            }
            Reading::Pictures => self.written(&examples),
            Reading::Pairs => Ok(self.retrieved(&examples)),
        }
    }

    /// The mean loss.
    fn loss(&self, examples: &[EncodedExample]) -> f64 {
        let pad = self.data.special_ids().pad;
        let micro_batches: Vec<MicroBatch> = examples
            .chunks(MICRO_BATCH)
            .map(|micro_batch| MicroBatch::collate(micro_batch, pad, 0))
            .collect();
        let totals = Totals {
            tokens: micro_batches.iter().map(|micro_batch| micro_batch.targets.tokens()).sum(),
            pictures: examples.len(),
        };
        micro_batches
            .iter()
            .map(|micro_batch| plain_loss(self.model, self.objective, micro_batch, totals, self.device))
            .sum()
    }

    /// Writes about every example, and judges.
    fn written(&self, examples: &[EncodedExample]) -> Result<Evaluation, TrainError> {
        let writer = Writer::new(self.model, self.config)?;
        let options = GenerationOptions {
            num_beams: self.plan.num_beams,
            min_new_tokens: 0,
            max_new_tokens: self.plan.max_new_tokens,
            num_return_sequences: 1,
            ..GenerationOptions::default()
        };
        let special = self.data.special_ids();
        let mut texts = Vec::with_capacity(examples.len());
        for micro_batch in examples.chunks(MICRO_BATCH) {
            let prompts: Vec<&[u32]> = micro_batch.iter().map(|e| self.data.prompt(e.picture)).collect();
            for found in writer.write(micro_batch, &prompts, &options, special)? {
                texts.push(found.first().map(|best| self.data.decode(&best.token_ids)).unwrap_or_default());
            }
        }
        let (mut metrics, mut classes) = (Vec::new(), ByClass::default());
        let answers = self.model.parts().fusion_encoder;
        let figure = if answers { "accuracy" } else { "truth" };
        let verdicts: Vec<Option<f64>> =
            (0..).zip(&texts).map(|(index, text)| self.data.judge(index, text)).collect();
        let judged: Vec<f64> = verdicts.iter().copied().flatten().collect();
        if !judged.is_empty() {
            metrics.push((figure, judged.iter().sum::<f64>() / judged.len() as f64));
        }
        for (index, verdict) in (0..).zip(&verdicts) {
            if let (Some(verdict), Some(class)) = (verdict, self.data.class(index)) {
                classes.add(figure, class, *verdict);
            }
        }
        if !answers {
            metrics.extend(self.agreement(examples, &texts, &mut classes)?);
        }
        let samples = (0..).zip(examples).zip(texts).zip(verdicts).take(SAMPLES);
        let samples = samples.map(|(((index, example), text), score)| Sample {
            text,
            expected: self.data.expected(index).unwrap_or_default(),
            question: if answers { self.data.decode(&example.text) } else { String::new() },
            score,
            picture: thumbnail(&example.pixel_values),
        });
        Ok(Evaluation { metrics, classes: classes.figures(), samples: samples.collect() })
    }

    /// CIDEr-D and BLEU-4 of captions, if all pictures have references.
    fn agreement(
        &self,
        examples: &[EncodedExample],
        captions: &[String],
        classes: &mut ByClass,
    ) -> Result<Vec<(&'static str, f64)>, TrainError> {
        let references: Vec<Vec<String>> =
            examples.iter().map(|example| self.data.references(Split::HeldOut, example.picture)).collect();
        if references.iter().any(Vec::is_empty) {
            return Ok(Vec::new());
        }
        let (Agreement { cider, bleu_4 }, pictures) = Agreement::of_each(captions, &references)?;
        for found in pictures {
            classes.add_length("cider", found.reference_tokens, found.cider);
        }
        Ok(vec![("cider", cider), ("bleu_4", bleu_4)])
    }

    /// Recall of pictures by texts and of texts by pictures.
    fn retrieved(&self, examples: &[EncodedExample]) -> Evaluation {
        // One row a picture, one column a text.
        let mut pictures: Vec<&EncodedExample> = Vec::new();
        let mut picture_of_text = Vec::with_capacity(examples.len());
        for example in examples {
            let known = pictures.iter().position(|picture| picture.picture == example.picture);
            picture_of_text.push(known.unwrap_or(pictures.len()));
            if known.is_none() {
                pictures.push(example);
            }
        }
        let images: Vec<Tensor<3>> = pictures.iter().map(|picture| self.image_embeds(picture)).collect();
        let head = self.model.contrastive_head();
        let features = Features {
            pictures: images.iter().map(|image| host(head.image_features(image.clone()))).collect(),
            texts: examples
                .iter()
                .map(|example| host(head.text_features(self.text_embeds(example).0)))
                .collect(),
        };
        let candidates = Candidates::of(&features, self.plan.rerank);
        let log_odds = self.match_pairs(&candidates.texts_by_picture(), &images, examples);
        let ranking = Ranking::new(features, candidates, log_odds);
        let report = ranking.recalls(|picture, text| picture_of_text[text] == picture);
        let mut metrics = Vec::with_capacity(7);
        for (names, recall) in [
            (["text_r1", "text_r5", "text_r10"], report.text_retrieval),
            (["image_r1", "image_r5", "image_r10"], report.image_retrieval),
        ] {
            metrics.extend(names.into_iter().zip([recall.r1, recall.r5, recall.r10]));
        }
        let mean = metrics.iter().map(|(_, value)| value).sum::<f64>() / metrics.len() as f64;
        metrics.push(("r_mean", mean));
        Evaluation { metrics, ..Evaluation::default() }
    }

    /// The logarithm of the odds of `pairs`, which are texts by picture.
    fn match_pairs(
        &self,
        pairs: &[Vec<usize>],
        images: &[Tensor<3>],
        examples: &[EncodedExample],
    ) -> Vec<Vec<(usize, f32)>> {
        let mut log_odds: Vec<Vec<(usize, f32)>> = vec![Vec::new(); pairs.len()];
        let of_picture = |(picture, texts): (usize, &Vec<usize>)| -> Vec<(usize, usize)> {
            texts.iter().map(|&text| (picture, text)).collect()
        };
        let pairs: Vec<(usize, usize)> = pairs.iter().enumerate().flat_map(of_picture).collect();
        for micro_batch in pairs.chunks(MICRO_BATCH) {
            let image =
                Tensor::cat(micro_batch.iter().map(|(picture, _)| images[*picture].clone()).collect(), 0);
            let texts: Vec<&[u32]> = micro_batch.iter().map(|(_, text)| &examples[*text].text[..]).collect();
            for (&(picture, text), value) in micro_batch.iter().zip(self.match_texts(image, &texts)) {
                log_odds[picture].push((text, value));
            }
        }
        log_odds
    }

    /// The logarithm of the odds that texts describe their pictures `(texts, image_len, hidden_size)`.
    fn match_texts(&self, image: Tensor<3>, texts: &[&[u32]]) -> Vec<f32> {
        let off = Dropout::off();
        let texts = self.texts(texts);
        let text = self.model.encode_text(&texts, &off);
        let fused = self.model.fuse(image, text, texts.attention_mask, &off);
        log_odds(&self.model.matching(fused.text))
    }

    fn image_embeds(&self, example: &EncodedExample) -> Tensor<3> {
        let size = ((example.pixel_values.len() / 3) as f64).sqrt().round() as usize;
        let data = TensorData::new(example.pixel_values.clone(), [1, 3, size, size]);
        self.model.encode_image(Tensor::from_data(data, self.device), &Dropout::off())
    }

    fn text_embeds(&self, example: &EncodedExample) -> (Tensor<3>, Texts) {
        let texts = self.texts(&[&example.text]);
        (self.model.encode_text(&texts, &Dropout::off()), texts)
    }

    fn texts(&self, texts: &[&[u32]]) -> Texts {
        let rows = TextRows::collate(texts, self.data.special_ids().pad);
        let shape = [rows.rows, rows.len];
        Texts {
            input_ids: Tensor::<2, Int>::from_data(TensorData::new(rows.input_ids, shape), self.device),
            attention_mask: Tensor::from_data(TensorData::new(rows.attention_mask, shape), self.device),
        }
    }
}

/// Normalised pixels `(3, size, size)` as a picture in a `data:` address; empty where they are none.
fn thumbnail(pixel_values: &[f32]) -> String {
    let size = (pixel_values.len() / 3).isqrt() as u32;
    let image = RgbImage::from_raw(size, size, bytes_of(pixel_values));
    image.and_then(|image| thumbnail::data_address(&image).ok()).unwrap_or_default()
}

/// The logarithm of the odds of a match, from `logits` `(texts, [no match, match])`. In the order of the probability, but never
/// rounded to an end, so that pairs beyond doubt keep their order.
fn log_odds(logits: &Tensor<2>) -> Vec<f32> {
    let rows = logits.dims()[0];
    let [no_match, is_match] = [0, 1].map(|class| logits.clone().narrow(1, class, 1).reshape([rows]));
    host(is_match - no_match)
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as().expect("values are f32 and readable")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Their probabilities all round to 1: ranked by those, the pairs would be equal.
    #[test]
    fn pairs_beyond_doubt_keep_their_order() {
        let logits = [[-15.0_f32, 15.0], [-15.0, 15.5], [-16.0, 15.0]];
        let data = TensorData::new(logits.concat(), [3, 2]);
        let odds = log_odds(&Tensor::from_data(data, &Device::flex()));
        assert_eq!(odds, [30.0, 30.5, 31.0]);
        let features = Features { pictures: vec![vec![1.0]], texts: vec![vec![0.9], vec![0.8], vec![0.7]] };
        let candidates = Candidates::of(&features, 3);
        let ranking = Ranking::new(features, candidates, vec![(0..).zip(odds).collect()]);
        let recall = ranking.recalls(|_, text| text == 2).text_retrieval;
        assert!(recall.r1 > 0.99, "{recall:?}");
    }
}
