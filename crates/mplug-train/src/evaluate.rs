//! Evaluation while training: the loss on held-out examples, and the figures of the task: texts that the engine writes,
//! judged by the data and against what people wrote; or how well pictures and texts find each other. Knows no optimizer.
//!
//! Pictures are decoded when their turn comes and are gone after it. They are dealt out to all workers; each goes its way on one
//! thread, and figures are summed in the order of the examples, so that they do not depend on the number of threads.

mod captions;
mod search;
mod writing;

use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use mplug::config::ModelConfig;
use mplug_eval::run_history::ClassFigure;
use mplug_nn::Mplug;

pub use self::captions::CaptionFigures;
use crate::config::{BestBy, ObjectiveSection};
use crate::error::TrainError;
use crate::gradients::Workers;
use crate::log::Sample;
use crate::objective::Objective;
use crate::training_data::{Reading, TrainingData};

/// The names of the figures that an evaluation of `objective` can give, as the log has them. Which of them it gives depends on
/// the data, see [`ObjectiveSection::figures`].
pub fn metric_names(objective: &ObjectiveSection) -> Vec<&'static str> {
    objective.figures().into_iter().map(BestBy::name).collect()
}

/// What an evaluation found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// The task's figures by name: `loss` (the mean on held-out examples, where the objective has one there), `truth`
    /// (the share of captions that are true in full), `accuracy` of answers, `cider` (0 to 10), `bleu_4` and `rouge_l`, the recalls
    /// `text_r1`, `text_r5`, `text_r10`, `image_r1`, `image_r5`, `image_r10` and their mean `r_mean` (0 to 1), and those that
    /// were requested.
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
    /// Beams of the texts that are written; those of the model's settings if `None`.
    pub num_beams: Option<usize>,
    /// Candidates of each picture and text that the matching head orders; 0 for the contrast's order.
    pub rerank: usize,
}

/// A model with what it is evaluated on.
pub struct Evaluator<'a> {
    /// The model, without gradients.
    pub model: &'a Mplug,
    /// Its shape, and how it writes.
    pub config: &'a ModelConfig,
    /// What it is trained for.
    pub objective: &'a dyn Objective,
    /// The data.
    pub data: &'a dyn TrainingData,
    /// Where it is.
    pub device: &'a Device,
    /// Ends the evaluation once it is set.
    pub stop: &'a AtomicBool,
    /// Who works.
    pub workers: &'a Workers,
    /// The figures of captions.
    pub figures: &'a CaptionFigures,
    /// How.
    pub plan: Plan,
}

impl Evaluator<'_> {
    /// Evaluates the model on the first held-out examples.
    ///
    /// # Errors
    /// When an example cannot be read, a text cannot be written, or a figure cannot be computed; [`TrainError::Stopped`] where the
    /// end was requested.
    pub fn run(&self, reading: Reading) -> Result<Evaluation, TrainError> {
        let len = self.data.held_out_len();
        let count = len.map_or(self.plan.examples, |len| self.plan.examples.min(len as usize));
        match reading {
            Reading::Pairs => self.searched(count),
            _ => self.written(count, reading),
        }
    }

    /// An error once the end was requested: each piece of work begins with this.
    fn go_on(&self) -> Result<(), TrainError> {
        if self.stop.load(Ordering::Relaxed) { Err(TrainError::Stopped) } else { Ok(()) }
    }
}
