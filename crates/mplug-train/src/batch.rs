//! Batches: examples put side by side, made by threads ahead of the network. Which examples a step gets, in which micro-batches,
//! and what is drawn at random for them depends on the step's number, and on the examples seen before the size of batches changed. Knows no tensors.

use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use crate::error::TrainError;
use crate::run_length::RunLength;
use crate::seed::seed_of;
use crate::training_data::{EncodedExample, Split, Target, TrainingData};

/// The label of positions that do not count (PyTorch's default).
pub const IGNORE_INDEX: i32 = -100;

/// Most batches that each data thread keeps ready.
const AHEAD: usize = 2;

/// Texts side by side, padded to the longest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextRows {
    /// Number of texts.
    pub rows: usize,
    /// Longest text.
    pub len: usize,
    /// `(rows, len)`, padded.
    pub input_ids: Vec<i32>,
    /// `(rows, len)`: 1 for tokens, 0 for padding.
    pub attention_mask: Vec<f32>,
}

impl TextRows {
    /// Puts texts side by side, padded with `pad`.
    pub fn collate(texts: &[&[u32]], pad: u32) -> Self {
        let (rows, len) = (texts.len(), texts.iter().map(|text| text.len()).max().unwrap_or(0));
        let mut input_ids = vec![pad as i32; rows * len];
        let mut attention_mask = vec![0.0; rows * len];
        for (row, text) in texts.iter().enumerate() {
            for (position, id) in text.iter().enumerate() {
                input_ids[row * len + position] = *id as i32;
                attention_mask[row * len + position] = 1.0;
            }
        }
        Self { rows, len, input_ids, attention_mask }
    }

    /// The tokens of a text, without its padding.
    pub fn text(&self, row: usize) -> Vec<u32> {
        let positions = row * self.len..(row + 1) * self.len;
        let tokens = self.input_ids[positions.clone()].iter().zip(&self.attention_mask[positions]);
        tokens.filter(|(_, keep)| **keep > 0.0).map(|(id, _)| *id as u32).collect()
    }
}

/// Texts to be written. Inputs are the targets without their last token, labels the targets without their first: the
/// position `i` predicts the token `i + 1`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TargetRows {
    /// What the decoder is given.
    pub inputs: TextRows,
    /// `(rows)`: the picture of each row, in ascending order.
    pub picture_of_row: Vec<usize>,
    /// `(rows, len)`: the next token, or [`IGNORE_INDEX`].
    pub labels: Vec<i32>,
    /// `(rows, len)`: what each label counts; 0 where there is none.
    pub weights: Vec<f32>,
}

impl TargetRows {
    /// The targets of pictures in their order.
    pub fn collate(targets: &[&[Target]], pad: u32) -> Self {
        let rows: Vec<(usize, &Target)> = targets
            .iter()
            .enumerate()
            .flat_map(|(picture, targets)| targets.iter().map(move |target| (picture, target)))
            .collect();
        let inputs: Vec<&[u32]> = rows.iter().map(|(_, t)| &t.ids[..t.ids.len().saturating_sub(1)]).collect();
        let inputs = TextRows::collate(&inputs, pad);
        let mut labels = vec![IGNORE_INDEX; inputs.rows * inputs.len];
        let mut weights = vec![0.0; inputs.rows * inputs.len];
        for (row, (_, target)) in rows.iter().enumerate() {
            for (position, id) in target.ids.iter().skip(1).enumerate().skip(target.given) {
                labels[row * inputs.len + position] = *id as i32;
                weights[row * inputs.len + position] = target.weight;
            }
        }
        Self { inputs, picture_of_row: rows.iter().map(|(picture, _)| *picture).collect(), labels, weights }
    }

    /// Rows of each of `pictures` pictures, if all have as many.
    pub fn rows_per_picture(&self, pictures: usize) -> Option<usize> {
        let each = self.picture_of_row.len() / pictures.max(1);
        let is_even = each * pictures == self.picture_of_row.len()
            && self.picture_of_row.iter().enumerate().all(|(row, picture)| row / each.max(1) == *picture);
        is_even.then_some(each)
    }

    /// Labels that count.
    pub fn tokens(&self) -> usize {
        self.labels.iter().filter(|label| **label != IGNORE_INDEX).count()
    }
}

/// Examples that go through the network at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MicroBatch {
    /// `(pictures, 3, size, size)`.
    pub pixel_values: Vec<f32>,
    /// `(pictures, image_len, vision width)`: what a frozen visual encoder made of them; empty where they go through it.
    pub image_features: Vec<f32>,
    /// `(pictures)`: which picture of the data each is; texts of one picture are no negatives of each other.
    pub picture_ids: Vec<u64>,
    /// `(pictures)`: the question, or the text that goes with each picture.
    pub texts: TextRows,
    /// What is to be written about each.
    pub targets: TargetRows,
    /// Seed of what is drawn at random for this micro-batch.
    pub seed: u64,
}

impl MicroBatch {
    /// Puts examples side by side, padded with `pad`.
    pub fn collate(examples: &[EncodedExample], pad: u32, seed: u64) -> Self {
        let mut pixel_values =
            Vec::with_capacity(examples.len() * examples.first().map_or(0, |e| e.pixel_values.len()));
        for example in examples {
            pixel_values.extend_from_slice(&example.pixel_values);
        }
        let texts: Vec<&[u32]> = examples.iter().map(|example| &example.text[..]).collect();
        let targets: Vec<&[Target]> = examples.iter().map(|example| &example.targets[..]).collect();
        Self {
            pixel_values,
            image_features: Vec::new(),
            picture_ids: examples.iter().map(|example| example.picture).collect(),
            texts: TextRows::collate(&texts, pad),
            targets: TargetRows::collate(&targets, pad),
            seed,
        }
    }

    /// Number of pictures.
    pub fn pictures(&self) -> usize {
        self.picture_ids.len()
    }

    /// Side of the square pictures in pixels.
    pub fn image_size(&self) -> usize {
        ((self.pixel_values.len() / (3 * self.pictures().max(1))) as f64).sqrt().round() as usize
    }
}

/// The examples of one step, in micro-batches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The micro-batches; texts of like length share one, so that little is padded.
    pub micro_batches: Vec<MicroBatch>,
}

/// How batches are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchShape {
    /// Examples that go through the network at once.
    pub micro_size: usize,
    /// The run's seed.
    pub seed: u64,
    /// Which examples a step has.
    pub length: RunLength,
}

impl Batch {
    /// The batch of `step`.
    pub fn make(data: &dyn TrainingData, step: u64, shape: BatchShape) -> Result<Self, TrainError> {
        let mut examples = shape
            .length
            .examples_of(step)
            .map(|index| data.example(Split::Train, index))
            .collect::<Result<Vec<_>, _>>()?;
        examples.sort_by_key(EncodedExample::longest);
        let pad = data.special_ids().pad;
        let micro_batches = examples.chunks_mut(shape.micro_size).enumerate();
        let micro_batches = micro_batches
            .map(|(micro_batch, examples)| {
                let seed = seed_of(&[shape.seed, step, micro_batch as u64]);
                let collated = MicroBatch::collate(examples, pad, seed);
                // The pixels are in the micro-batch now: a batch is in memory once.
                for example in examples {
                    example.pixel_values = Vec::new();
                }
                collated
            })
            .collect();
        Ok(Self { micro_batches })
    }

    /// Labels that count.
    pub fn tokens(&self) -> usize {
        self.micro_batches.iter().map(|micro_batch| micro_batch.targets.tokens()).sum()
    }

    /// Pictures.
    pub fn pictures(&self) -> usize {
        self.micro_batches.iter().map(MicroBatch::pictures).sum()
    }
}

/// How far batches are made ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookahead {
    /// Threads that make them.
    pub threads: usize,
    /// Batches that wait behind the one that each thread has made.
    behind: usize,
}

impl Lookahead {
    /// At most `threads` threads whose waiting batches, of `batch_bytes` each, take at most `memory` bytes; one batch may wait
    /// in any case.
    pub fn within(memory: usize, batch_bytes: usize, threads: usize) -> Self {
        let batches = (memory / batch_bytes.max(1)).max(1);
        let threads = threads.clamp(1, batches);
        Self { threads, behind: (batches / threads - 1).min(AHEAD) }
    }
}

/// Threads that make the batches of a range of steps ahead of their use.
pub struct Loader {
    /// One per thread; the thread `i` of `n` makes every `n`-th batch.
    channels: Vec<Receiver<Result<Batch, TrainError>>>,
    next: usize,
}

impl Loader {
    /// Starts the threads of `ahead`; they end when the steps are done or the loader is dropped.
    pub fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        data: &'scope dyn TrainingData,
        steps: Range<u64>,
        shape: BatchShape,
        ahead: Lookahead,
    ) -> Self {
        let channels = (0..ahead.threads)
            .map(|thread| {
                let (sender, receiver) = sync_channel(ahead.behind);
                let steps = steps.clone().skip(thread).step_by(ahead.threads);
                scope.spawn(move || fill(data, steps, shape, &sender));
                receiver
            })
            .collect();
        Self { channels, next: 0 }
    }

    /// The next step's batch.
    ///
    /// # Panics
    /// If called more often than there are steps.
    pub fn next_batch(&mut self) -> Result<Batch, TrainError> {
        let batch = self.channels[self.next].recv().expect("no batch after the last step");
        self.next = (self.next + 1) % self.channels.len();
        batch
    }
}

/// Makes batches until the steps or the receiver end.
fn fill(
    data: &dyn TrainingData,
    steps: impl Iterator<Item = u64>,
    shape: BatchShape,
    sender: &SyncSender<Result<Batch, TrainError>>,
) {
    for step in steps {
        if sender.send(Batch::make(data, step, shape)).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(ids: &[u32], weight: f32) -> Target {
        Target { ids: ids.to_vec(), given: 0, weight }
    }

    #[test]
    fn targets_are_shifted_and_padding_counts_nothing() {
        let first = [target(&[1, 5, 2], 0.5), target(&[1, 6, 7, 2], 1.0)];
        let rows = TargetRows::collate(&[&first, &[target(&[1, 2], 2.0)]], 0);
        assert_eq!((rows.inputs.rows, rows.inputs.len, rows.tokens()), (3, 3, 6));
        assert_eq!(rows.inputs.input_ids, [1, 5, 0, 1, 6, 7, 1, 0, 0]);
        assert_eq!(rows.labels, [5, 2, IGNORE_INDEX, 6, 7, 2, 2, IGNORE_INDEX, IGNORE_INDEX]);
        assert_eq!(rows.weights, [0.5, 0.5, 0.0, 1.0, 1.0, 1.0, 2.0, 0.0, 0.0]);
        assert_eq!(rows.picture_of_row, [0, 0, 1]);
        assert_eq!(rows.rows_per_picture(2), None);
        let even = TargetRows::collate(&[&first, &first], 0);
        assert_eq!(even.rows_per_picture(2), Some(2));
        assert_eq!(rows.inputs.text(1), [1, 6, 7]);
    }

    #[test]
    fn batches_that_wait_fit_their_memory() {
        let ahead = |memory, bytes, threads| {
            let Lookahead { threads, behind } = Lookahead::within(memory, bytes, threads);
            assert!(threads * (behind + 1) * bytes <= memory.max(bytes), "{threads} {behind}");
            (threads, behind)
        };
        assert_eq!(ahead(512, 1, 2), (2, 2));
        assert_eq!(ahead(512, 128, 1), (1, 2));
        assert_eq!(ahead(512, 128, 2), (2, 1));
        assert_eq!(ahead(512, 128, 3), (3, 0));
        assert_eq!(ahead(512, 200, 8), (2, 0));
        assert_eq!(ahead(512, 900, 8), (1, 0));
        assert_eq!(ahead(512, 0, 0), (1, 2));
    }

    #[test]
    fn what_is_given_is_seen_and_not_learned() {
        let prompted = Target { ids: vec![1, 8, 9, 5, 2], given: 2, weight: 1.0 };
        let rows = TargetRows::collate(&[&[prompted]], 0);
        assert_eq!(rows.inputs.input_ids, [1, 8, 9, 5]);
        assert_eq!(rows.labels, [IGNORE_INDEX, IGNORE_INDEX, 5, 2]);
        assert_eq!(rows.weights, [0.0, 0.0, 1.0, 1.0]);
        assert_eq!(rows.tokens(), 2);
    }
}
