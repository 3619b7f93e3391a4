//! Batches: examples put side by side, made by threads ahead of the network. Which examples a step gets depends on the
//! step's number alone. Knows no tensors.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use crate::error::TrainError;
use crate::training_data::{EncodedExample, Split, TrainingData};

/// The label of places that do not count (PyTorch's default).
pub const IGNORE_INDEX: i32 = -100;

/// Batches that each data thread keeps ready.
const AHEAD: usize = 2;

/// Examples that go through the network at once. Inputs are the captions without their last token, labels the captions
/// without their first: the place `i` predicts the token `i + 1`.
#[derive(Clone, Debug, PartialEq)]
pub struct MicroBatch {
    /// Number of examples.
    pub rows: usize,
    /// Longest input.
    pub len: usize,
    /// `(rows, 3, size, size)`.
    pub pixel_values: Vec<f32>,
    /// `(rows, len)`, padded.
    pub input_ids: Vec<i32>,
    /// `(rows, len)`: 1 for tokens, 0 for padding.
    pub attention_mask: Vec<f32>,
    /// `(rows, len)`: the next token, or [`IGNORE_INDEX`].
    pub labels: Vec<i32>,
}

impl MicroBatch {
    /// Puts examples side by side, padded with `pad` to the longest.
    pub fn collate(examples: &[EncodedExample], pad: u32) -> Self {
        let (rows, len) = (examples.len(), examples.iter().map(|e| e.input_ids.len() - 1).max().unwrap_or(0));
        let mut batch = Self {
            rows,
            len,
            pixel_values: Vec::with_capacity(rows * examples.first().map_or(0, |e| e.pixel_values.len())),
            input_ids: vec![pad as i32; rows * len],
            attention_mask: vec![0.0; rows * len],
            labels: vec![IGNORE_INDEX; rows * len],
        };
        for (row, example) in examples.iter().enumerate() {
            batch.pixel_values.extend_from_slice(&example.pixel_values);
            for (place, pair) in example.input_ids.windows(2).enumerate() {
                batch.input_ids[row * len + place] = pair[0] as i32;
                batch.attention_mask[row * len + place] = 1.0;
                batch.labels[row * len + place] = pair[1] as i32;
            }
        }
        batch
    }

    /// Labels that count.
    pub fn tokens(&self) -> usize {
        self.labels.iter().filter(|label| **label != IGNORE_INDEX).count()
    }
}

/// The examples of one step, in portions.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The portions; captions of like length share one, so that little is padded.
    pub micro_batches: Vec<MicroBatch>,
}

impl Batch {
    /// The batch of `step`.
    pub fn make(
        data: &dyn TrainingData,
        step: u64,
        size: usize,
        micro_size: usize,
    ) -> Result<Self, TrainError> {
        let first = step * size as u64;
        let mut examples = (first..first + size as u64)
            .map(|index| data.example(Split::Train, index))
            .collect::<Result<Vec<_>, _>>()?;
        examples.sort_by_key(|example| example.input_ids.len());
        let pad = data.special_ids().pad;
        let micro_batches =
            examples.chunks(micro_size).map(|portion| MicroBatch::collate(portion, pad)).collect();
        Ok(Self { micro_batches })
    }

    /// Labels that count.
    pub fn tokens(&self) -> usize {
        self.micro_batches.iter().map(MicroBatch::tokens).sum()
    }
}

/// Threads that make the batches of a range of steps ahead of their use.
pub struct Loader {
    /// One per thread; the thread `i` of `n` makes every `n`-th batch.
    channels: Vec<Receiver<Result<Batch, TrainError>>>,
    next: usize,
}

impl Loader {
    /// Starts `threads` threads; they end when the steps are done or the loader is dropped.
    pub fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        data: &'scope dyn TrainingData,
        steps: std::ops::Range<u64>,
        [size, micro_size, threads]: [usize; 3],
    ) -> Self {
        let channels = (0..threads)
            .map(|thread| {
                let (sender, receiver) = sync_channel(AHEAD);
                let steps = steps.clone().skip(thread).step_by(threads);
                scope.spawn(move || fill(data, steps, [size, micro_size], &sender));
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
    [size, micro_size]: [usize; 2],
    sender: &SyncSender<Result<Batch, TrainError>>,
) {
    for step in steps {
        if sender.send(Batch::make(data, step, size, micro_size)).is_err() {
            return;
        }
    }
}
