//! What training minimises: one file an objective. Each knows which parts of the network it needs, what has to be made of a
//! batch before its micro-batches go through the network, and the loss of a micro-batch.
//!
//! A micro-batch is what one device of the original holds: negatives come from the micro-batch, and from the queue, which the
//! micro-batches fill in their order once the step is done. So a step's result does not depend on the number of threads.

mod build;
mod cider;
mod contrastive;
mod masked_language;
mod matching;
mod pre_training;
mod prefix_language;
mod retrieval;
mod tensors;
mod writing;

pub use build::Ingredients;
use burn::tensor::{Device, Tensor};
pub use cider::CiderOptimisation;
pub use contrastive::{Contrast, FeatureQueue};
use mplug_nn::{Dropout, Mplug, Parts};
pub use pre_training::PreTraining;
pub use retrieval::Retrieval;
pub use writing::{Distillation, Writing};

use crate::batch::{Batch, MicroBatch};
use crate::error::TrainError;
use crate::training_data::TrainingData;

/// A tensor with its name, shape and values.
pub type NamedTensor = (String, Vec<usize>, Vec<f32>);

/// Gives the values of a tensor of a state, by its name and number of values.
pub type StateReader<'a> = dyn FnMut(&str, usize) -> Result<Vec<f32>, TrainError> + 'a;

/// What all micro-batches of a batch share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Totals {
    /// Labels that count.
    pub tokens: usize,
    /// Pictures.
    pub pictures: usize,
}

impl Totals {
    /// Those of a batch.
    pub fn of(batch: &Batch) -> Self {
        Self { tokens: batch.tokens(), pictures: batch.pictures() }
    }
}

/// What a micro-batch brings along besides its loss.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// The loss's parts, by name, as shares of the batch's.
    pub parts: Vec<(&'static str, f64)>,
    /// The momentum models' features of pictures and texts, `(pictures, space)` each, for the queue; empty where there is none.
    pub features: [Vec<f32>; 2],
    /// The pictures' numbers.
    pub picture_ids: Vec<u64>,
}

/// A micro-batch on its way through the network.
pub struct Pass<'a> {
    /// The network.
    pub model: &'a Mplug,
    /// The micro-batch.
    pub micro_batch: &'a MicroBatch,
    /// What it is a share of.
    pub totals: Totals,
    /// Where the network is.
    pub device: &'a Device,
    /// The dropout of this pass.
    pub dropout: &'a Dropout,
}

/// What training minimises.
pub trait Objective: Send + Sync {
    /// What the network must have.
    fn parts(&self) -> Parts;

    /// Called before [`begin_step`](Self::begin_step) where an epoch is known: how many are done, in parts of one.
    fn advance_to(&mut self, _epochs: f64) {}

    /// Called before a step: what follows the model follows it, what is bounded is brought back into its bounds.
    fn begin_step(&mut self, _model: &mut Mplug) {}

    /// Makes of a batch what its micro-batches need, from the model as it is. Gives the mean reward where there is one.
    fn prepare(
        &self,
        _model: &Mplug,
        _batch: &mut Batch,
        _data: &dyn TrainingData,
    ) -> Result<Option<f64>, TrainError> {
        Ok(None)
    }

    /// The micro-batch's share `(1)` of the batch's loss.
    fn loss(&self, pass: &Pass<'_>) -> (Tensor<1>, Findings);

    /// Called after a step with what its micro-batches brought along, in their order.
    fn end_step(&mut self, _findings: &[Findings]) {}

    /// What a resumed run needs beside weights and moments.
    fn state(&self) -> Vec<NamedTensor> {
        Vec::new()
    }

    /// Takes a state back; `read` gives the values of a name.
    fn restore(&mut self, _read: &mut StateReader<'_>) -> Result<(), TrainError> {
        Ok(())
    }
}
