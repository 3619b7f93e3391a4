//! Evaluation while training: the loss on held-out examples, and the figures of the task: texts that the engine writes,
//! judged by the data and against what people wrote; or how well pictures and texts find each other. Knows no optimizer.

use base64::{Engine, engine::general_purpose::STANDARD};
use burn::tensor::{Device, Int, Tensor, TensorData, activation::softmax};
use caption_metrics::bleu::bleu;
use caption_metrics::retrieval::recalls;
use caption_metrics::{cider::cider, corpus::Corpus};
use image::codecs::jpeg::JpegEncoder;
use mplug::config::ModelConfig;
use mplug::generate::GenerationOptions;
use mplug::preprocess::image::{RgbImage, bytes_of};
use mplug_eval::agreement::SuitedTokenizations;
use mplug_nn::{Dropout, Mplug, Texts};

use crate::batch::{MicroBatch, TextRows};
use crate::engine::Writer;
use crate::error::TrainError;
use crate::gradients::plain_loss;
use crate::log::Sample;
use crate::objective::{Objective, Totals};
use crate::training_data::{EncodedExample, Reading, Split, TrainingData};

/// Examples that go through the network at once.
const PORTION: usize = 16;
/// Texts kept as samples.
const SAMPLES: usize = 8;
const JPEG_QUALITY: u8 = 85;

/// What an evaluation found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// The task's figures by name: `loss` (the mean on held-out examples, where the objective has one there), `truth`
    /// (the share of captions that are true in full), `accuracy` of answers, `cider` (0 to 10), `bleu_4`, the recalls
    /// `text_r1`, `text_r5`, `text_r10`, `image_r1`, `image_r5`, `image_r10` and their mean `r_mean` (0 to 1).
    pub metrics: Vec<(&'static str, f64)>,
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
    /// Candidates of each picture and text that the matching head orders anew; 0 leaves the contrast's order.
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
        let portions: Vec<MicroBatch> =
            examples.chunks(PORTION).map(|portion| MicroBatch::collate(portion, pad, 0)).collect();
        let totals = Totals {
            tokens: portions.iter().map(|portion| portion.targets.tokens()).sum(),
            pictures: examples.len(),
        };
        portions
            .iter()
            .map(|portion| plain_loss(self.model, self.objective, portion, totals, self.device))
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
        for portion in examples.chunks(PORTION) {
            let prompts: Vec<&[u32]> = portion.iter().map(|e| self.data.prompt(e.picture)).collect();
            for found in writer.write(portion, &prompts, &options, special)? {
                texts.push(found.first().map(|best| self.data.decode(&best.token_ids)).unwrap_or_default());
            }
        }
        let mut metrics = Vec::new();
        let verdicts: Vec<f64> =
            (0..).zip(&texts).filter_map(|(index, text)| self.data.judge(index, text)).collect();
        if !verdicts.is_empty() {
            let share = verdicts.iter().sum::<f64>() / verdicts.len() as f64;
            metrics.push((if self.model.parts().fusion_encoder { "accuracy" } else { "truth" }, share));
        }
        if !self.model.parts().fusion_encoder {
            metrics.extend(self.agreement(examples, &texts)?);
        }
        let samples = (0..).zip(examples).zip(texts).take(SAMPLES);
        let samples = samples.map(|((index, example), text)| Sample {
            text,
            expected: self.data.expected(index).unwrap_or_default(),
            picture: thumbnail(&example.pixel_values),
        });
        Ok(Evaluation { metrics, samples: samples.collect() })
    }

    /// CIDEr-D and BLEU-4 of captions, if all pictures have references.
    fn agreement(
        &self,
        examples: &[EncodedExample],
        captions: &[String],
    ) -> Result<Vec<(&'static str, f64)>, TrainError> {
        let references: Vec<Vec<String>> =
            examples.iter().map(|example| self.data.references(Split::HeldOut, example.picture)).collect();
        if references.iter().any(Vec::is_empty) {
            return Ok(Vec::new());
        }
        let suited = SuitedTokenizations::to(&references);
        let candidates: Vec<Vec<String>> = captions.iter().map(|caption| vec![caption.clone()]).collect();
        let (candidates, references) =
            (suited.tokenize(&candidates)?.concat(), suited.tokenize(&references)?);
        let corpus = Corpus::new(&candidates, &references)?;
        Ok(vec![("cider", cider(&corpus).corpus), ("bleu_4", bleu(&corpus).corpus[3])])
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
        let image_points =
            Tensor::cat(images.iter().map(|image| head.image_features(image.clone())).collect(), 0);
        let text_points = Tensor::cat(
            examples.iter().map(|example| head.text_features(self.text_embeds(example).0)).collect(),
            0,
        );
        let alike: Vec<f32> = host(image_points.matmul(text_points.transpose())); // (pictures, texts)
        let scores = self.reranked(&alike, &images, examples);
        let report = recalls(&scores, &picture_of_text);
        let mut metrics = Vec::with_capacity(7);
        for (names, recall) in [
            (["text_r1", "text_r5", "text_r10"], report.text_retrieval),
            (["image_r1", "image_r5", "image_r10"], report.image_retrieval),
        ] {
            metrics.extend(names.into_iter().zip([recall.r1, recall.r5, recall.r10]));
        }
        let mean = metrics.iter().map(|(_, value)| value).sum::<f64>() / metrics.len() as f64;
        metrics.push(("r_mean", mean));
        Evaluation { metrics, samples: Vec::new() }
    }

    /// The likenesses `(pictures, texts)`, the best of each row and column ordered anew, above all others, by the matching
    /// head.
    fn reranked(&self, alike: &[f32], images: &[Tensor<3>], examples: &[EncodedExample]) -> Vec<f32> {
        let (rows, columns) = (images.len(), examples.len());
        let mut scores = alike.to_vec();
        let best = |values: Vec<f32>| -> Vec<usize> {
            let mut order: Vec<usize> = (0..values.len()).collect();
            order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
            order.truncate(self.plan.rerank);
            order
        };
        let mut chosen = vec![false; alike.len()];
        for row in 0..rows {
            for column in best(alike[row * columns..][..columns].to_vec()) {
                chosen[row * columns + column] = true;
            }
        }
        for column in 0..columns {
            for row in best((0..rows).map(|row| alike[row * columns + column]).collect()) {
                chosen[row * columns + column] = true;
            }
        }
        let places: Vec<usize> = (0..alike.len()).filter(|place| chosen[*place]).collect();
        for portion in places.chunks(PORTION) {
            let pairs: Vec<(usize, usize)> =
                portion.iter().map(|place| (place / columns, place % columns)).collect();
            let image = Tensor::cat(pairs.iter().map(|(row, _)| images[*row].clone()).collect(), 0);
            let texts: Vec<&[u32]> = pairs.iter().map(|(_, column)| &examples[*column].text[..]).collect();
            for (place, probability) in portion.iter().zip(self.matched(image, &texts)) {
                // Above every likeness, which is at most 1.
                scores[*place] = 2.0 + probability;
            }
        }
        scores
    }

    /// The probabilities that texts describe their pictures `(texts, image_len, hidden)`.
    fn matched(&self, image: Tensor<3>, texts: &[&[u32]]) -> Vec<f32> {
        let off = Dropout::off();
        let texts = self.texts(texts);
        let text = self.model.encode_text(&texts, &off);
        let fused = self.model.fuse(image, text, texts.attention_mask, &off);
        let classes = softmax(self.model.matching(fused.text), 1); // (texts, [no match, match])
        let rows = classes.dims()[0];
        host(classes.narrow(1, 1, 1).reshape([rows]))
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
    let Some(image) = RgbImage::from_raw(size, size, bytes_of(pixel_values)) else { return String::new() };
    let mut jpeg = Vec::new();
    match JpegEncoder::new_with_quality(&mut jpeg, JPEG_QUALITY).encode_image(&image) {
        Ok(()) => format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg)),
        Err(_) => String::new(),
    }
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as().expect("values are f32 and readable")
}
