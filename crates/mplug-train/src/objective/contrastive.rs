//! Image-text contrast with a queue of the momentum model's features and soft targets (Li et al. 2021, section 3.2; the original's
//! `MPlugForImageTextRetrieval`). Knows no fusion.

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};
use mplug_nn::momentum_model::momentum_name;
use mplug_nn::{Dropout, MomentumModel, Mplug, Parts};

use super::tensors::{constant, host, matrix, texts, vector};
use super::{Findings, NamedTensor, Pass, StateReader};
use crate::error::TrainError;
use crate::loss::soft_cross_entropy;

/// The number of an entry of the queue that nothing has filled.
const NOBODY: i64 = -100;

/// Points of pictures and texts of past steps.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureQueue {
    space: usize,
    /// Pictures and texts, `(len, space)` each: the original's `image_queue` and `text_queue`, transposed.
    features: [Vec<f32>; 2],
    /// Which picture each entry belongs to, `(len)`.
    picture_ids: Vec<i64>,
    next: usize,
}

impl FeatureQueue {
    /// A queue of the original's layout: `image` and `text` `(space, len)`, the numbers `(len)`, the index of the next entry.
    pub fn from_original(space: usize, image: &[f32], text: &[f32], ids: &[f32], next: usize) -> Self {
        let len = ids.len();
        Self {
            space,
            features: [image, text].map(|q| transposed(q, space, len)),
            picture_ids: ids.iter().map(|id| *id as i64).collect(),
            next,
        }
    }

    /// The original's four buffers: names, shapes, values.
    pub fn to_original(&self) -> Vec<NamedTensor> {
        let (space, len) = (self.space, self.len());
        let [image, text] = [0, 1].map(|side| transposed(&self.features[side], len, space));
        vec![
            ("image_queue".to_owned(), vec![space, len], image),
            ("text_queue".to_owned(), vec![space, len], text),
            ("idx_queue".to_owned(), vec![1, len], self.picture_ids.iter().map(|id| *id as f32).collect()),
            ("queue_ptr".to_owned(), vec![1], vec![self.next as f32]),
        ]
    }

    /// A queue of random features of length one, as the original starts.
    ///
    /// # Panics
    /// Never: drawing does not fail.
    pub fn random(space: usize, len: usize, seed: u64) -> Self {
        use mplug_nn::{Initial, ParameterSource, RandomParameters};
        let draw = |name: &str| {
            let mut values = RandomParameters { seed }
                .read(name, &[len, space], Initial::Normal(1.0))
                .expect("drawing does not fail");
            for feature in values.chunks_exact_mut(space) {
                let length = feature.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
                for x in feature.iter_mut() {
                    *x /= length;
                }
            }
            values
        };
        let features = [draw("image_queue"), draw("text_queue")];
        Self { space, features, picture_ids: vec![NOBODY; len], next: 0 }
    }

    /// Places.
    pub fn len(&self) -> usize {
        self.picture_ids.len()
    }

    /// Whether it has no entries.
    pub fn is_empty(&self) -> bool {
        self.picture_ids.is_empty()
    }

    /// Puts features in, the oldest go; a batch that reaches the end goes on at the start.
    pub fn push(&mut self, findings: &Findings) {
        for (index, id) in findings.picture_ids.iter().enumerate() {
            for (side, features) in findings.features.iter().enumerate() {
                let feature = &features[index * self.space..][..self.space];
                self.features[side][self.next * self.space..][..self.space].copy_from_slice(feature);
            }
            self.picture_ids[self.next] = short_id(*id);
            self.next = (self.next + 1) % self.len();
        }
    }
}

/// A picture's number as the queue holds it: a state keeps it as f32, which is exact so far. That two of sixteen million
/// pictures share one and meet in a queue harms nothing.
fn short_id(id: u64) -> i64 {
    (id % (1 << 24)) as i64
}

/// `(rows, columns)` -> `(columns, rows)`.
fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

/// The contrast's own settings and memory.
pub struct Contrast {
    /// The momentum model of encoders and projections.
    pub momentum_model: MomentumModel,
    /// Its features of past steps.
    pub queue: FeatureQueue,
    /// The share of the momentum model's similarities in the targets.
    pub alpha: f64,
    /// What that share grows to during the first epoch; constant if absent.
    pub ramp: Option<f64>,
}

/// What the contrast finds in a micro-batch.
pub(super) struct Contrasted {
    /// The mean of both directions, over the micro-batch's pictures.
    pub(super) loss: Tensor<1>,
    /// How likely each picture `(pictures, pictures)` takes each text of the micro-batch, and each text each picture, in
    /// per cent of nothing: softmax rows on the host.
    pub(super) similarity: [Vec<f32>; 2],
    /// The momentum model's features.
    pub(super) features: [Vec<f32>; 2],
}

impl Contrast {
    /// What its momentum model must have.
    pub fn momentum_parts() -> Parts {
        Parts { text_encoder: true, contrastive_head: true, ..Parts::default() }
    }

    /// Called before a step after that number of epochs: the research code's `alpha * min(1, i / len(data_loader))`.
    pub(super) fn advance_to(&mut self, epochs: f64) {
        if let Some(whole) = self.ramp {
            self.alpha = whole * epochs.min(1.0);
        }
    }

    /// Called before a step.
    pub(super) fn begin_step(&mut self, model: &mut Mplug) {
        model.contrastive_head_mut().clamp_temperature();
        self.momentum_model.follow(model);
    }

    /// Called after a step.
    pub(super) fn end_step(&mut self, findings: &[Findings]) {
        for micro_batch in findings {
            self.queue.push(micro_batch);
        }
    }

    /// The contrast of a micro-batch's pictures `(pictures, image_len, hidden)` and texts `(pictures, text_len, hidden)`.
    pub(super) fn contrast(&self, pass: &Pass<'_>, image: Tensor<3>, text: Tensor<3>) -> Contrasted {
        let head = pass.model.contrastive_head();
        let features = [head.image_features(image), head.text_features(text)]; // (pictures, space)
        let temperature = head.temperature().reshape([1, 1]);
        let theirs = self.momentum_features(pass);
        let plain = theirs[0].device();
        let warmth = temperature.clone().without_autodiff();
        let labels = self.same_picture(&pass.micro_batch.picture_ids, &plain);
        let pictures = pass.micro_batch.pictures();
        let even = vector(vec![0.5 / pictures as f32; pictures], pass.device);
        let mut losses = Vec::with_capacity(2);
        let mut similarity = Vec::with_capacity(2);
        for (own, other) in [(0, 1), (1, 0)] {
            // (pictures + queue, space): the micro-batch's features by the momentum model, then the queue's.
            let all = Tensor::cat(vec![theirs[other].clone(), self.queued(other, &plain)], 0).transpose();
            let soft = softmax(theirs[own].clone().matmul(all.clone()) / warmth.clone(), 1);
            let targets = soft.mul_scalar(self.alpha) + labels.clone().mul_scalar(1.0 - self.alpha);
            let all = constant(all, pass.device);
            let logits = features[own].clone().matmul(all) / temperature.clone(); // (pictures, pictures + queue)
            let inside = logits.clone().without_autodiff().narrow(1, 0, pictures);
            similarity.push(host(softmax(inside, 1)));
            losses.push(soft_cross_entropy(logits, constant(targets, pass.device), even.clone()));
        }
        let [image_loss, text_loss]: [Tensor<1>; 2] = losses.try_into().expect("two directions");
        Contrasted {
            loss: image_loss + text_loss,
            similarity: similarity.try_into().expect("two directions"),
            features: theirs.map(host),
        }
    }

    /// The momentum model's features of the micro-batch, `(pictures, space)` each, off the gradient graph.
    fn momentum_features(&self, pass: &Pass<'_>) -> [Tensor<2>; 2] {
        let (device, dropout) = (pass.device.clone().inner(), Dropout::off());
        let pass = Pass { model: self.momentum_model.model(), device: &device, dropout: &dropout, ..*pass };
        let head = pass.model.contrastive_head();
        let text = pass.model.encode_text(&texts(&pass.micro_batch.texts, &device), &dropout);
        [head.image_features(pass.image_embeds()), head.text_features(text)]
    }

    /// The queue's features of one side, `(len, space)`.
    fn queued(&self, side: usize, device: &Device) -> Tensor<2> {
        matrix(self.queue.features[side].clone(), [self.queue.len(), self.queue.space], device)
    }

    /// `(pictures, pictures + queue)`: each row evenly spread over the entries of the same picture.
    fn same_picture(&self, ids: &[u64], device: &Device) -> Tensor<2> {
        let everybody: Vec<i64> =
            ids.iter().map(|id| short_id(*id)).chain(self.queue.picture_ids.iter().copied()).collect();
        let rows = ids.iter().flat_map(|id| {
            let same: Vec<bool> = everybody.iter().map(|other| *other == short_id(*id)).collect();
            let share = 1.0 / same.iter().filter(|same| **same).count().max(1) as f32;
            same.into_iter().map(move |same| if same { share } else { 0.0 })
        });
        matrix(rows.collect(), [ids.len(), everybody.len()], device)
    }

    /// Momentum model and queue by the original's names.
    pub(super) fn state(&self) -> Vec<NamedTensor> {
        [self.momentum_model.export(), self.queue.to_original()].concat()
    }

    /// Takes them back.
    pub(super) fn restore(&mut self, read: &mut StateReader<'_>) -> Result<(), TrainError> {
        restore_momentum_model(&mut self.momentum_model, read)?;
        let (space, len) = (self.queue.space, self.queue.len());
        let (image, text) = (read("image_queue", space * len)?, read("text_queue", space * len)?);
        let (ids, next) = (read("idx_queue", len)?, read("queue_ptr", 1)?[0] as usize);
        self.queue = FeatureQueue::from_original(space, &image, &text, &ids, next % len.max(1));
        Ok(())
    }
}

/// Reads a momentum model's weights back.
pub(super) fn restore_momentum_model(
    momentum_model: &mut MomentumModel,
    read: &mut StateReader<'_>,
) -> Result<(), TrainError> {
    for parameter in momentum_model.parameters_mut() {
        let len = parameter.shape().iter().product();
        let values = TensorData::new(read(&momentum_name(parameter.name()), len)?, [len]);
        parameter.update(|value| Tensor::from_data(values, &value.device()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_goes_round_and_keeps_the_originals_layout() {
        let mut queue = FeatureQueue::random(2, 3, 5);
        for feature in queue.features[0].chunks_exact(2) {
            assert!((feature[0].hypot(feature[1]) - 1.0).abs() < 1e-5);
        }
        let findings = Findings {
            features: [vec![1.0, 2.0, 3.0, 4.0], vec![5.0, 6.0, 7.0, 8.0]],
            picture_ids: vec![10, 11],
            ..Findings::default()
        };
        queue.push(&findings);
        queue.push(&findings);
        assert_eq!((queue.next, &queue.picture_ids[..]), (1, &[11, 11, 10][..]));
        assert_eq!(queue.features[1], [7.0, 8.0, 7.0, 8.0, 5.0, 6.0]);
        let original = queue.to_original();
        assert_eq!(original[0].2, [3.0, 3.0, 1.0, 4.0, 4.0, 2.0]);
        let [image, text, ids, next] = [0, 1, 2, 3].map(|i| original[i].2.clone());
        assert_eq!(FeatureQueue::from_original(2, &image, &text, &ids, next[0] as usize), queue);
    }
}
