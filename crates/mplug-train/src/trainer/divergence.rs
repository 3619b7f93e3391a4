//! Losses, gradients and weights that are not finite: none is applied or saved, and a run that has nothing else any more ends
//! with the last good checkpoint.

use mplug_nn::Mplug;

use super::{Stepped, Trainer};
use crate::batch::{Batch, MicroBatch};
use crate::config::TrainConfig;
use crate::error::{TrainError, WayOn};
use crate::gradients::Outcome;
use crate::log::Progress;
use crate::loss_scale::LossScale;
use crate::optimizer::norm;
use crate::training_data::TrainingData;

/// Pictures that a message about a batch names.
const NAMED_PICTURES: usize = 8;
/// What the advice divides learning rates by.
const LOWER: f64 = 10.0;

/// What shows whether the weights are good: a micro-batch whose loss was finite before the last step.
#[derive(Default)]
pub(super) struct Proof {
    micro_batch: Option<MicroBatch>,
    /// The pictures of its batch.
    pub(super) picture_ids: Vec<u64>,
    /// Whether the weights have changed since they were tried.
    is_wanted: bool,
}

impl Proof {
    /// Takes a micro-batch of a batch that was just applied.
    pub(super) fn renew(&mut self, mut batch: Batch) {
        self.picture_ids = picture_ids(&batch);
        self.micro_batch = batch.micro_batches.drain(..).next();
        self.is_wanted = true;
    }
}

/// Every weight that a run starts from is finite.
///
/// # Errors
/// [`TrainError::Weight`] for the first that is not.
pub(super) fn check_weights(config: &TrainConfig, model: &Mplug) -> Result<(), TrainError> {
    for parameter in model.parameters() {
        if let Some(found) = parameter.to_vec().into_iter().find(|value| !value.is_finite()) {
            let start = config.start.as_ref().and_then(|start| start.model.as_ref());
            let weights = config.model.as_ref().and_then(|model| model.weights.as_ref());
            let origin = start.or(weights).map_or("the start".to_owned(), |path| path.display().to_string());
            return Err(TrainError::Weight { origin, tensor: parameter.name().to_owned(), found });
        }
    }
    Ok(())
}

fn picture_ids(batch: &Batch) -> Vec<u64> {
    batch.micro_batches.iter().flat_map(|micro_batch| micro_batch.picture_ids.iter().copied()).collect()
}

fn names(data: &dyn TrainingData, picture_ids: &[u64]) -> String {
    let mut names: Vec<String> =
        picture_ids.iter().take(NAMED_PICTURES).map(|picture| data.name(*picture)).collect();
    if picture_ids.len() > NAMED_PICTURES {
        names.push(format!("and {} more", picture_ids.len() - NAMED_PICTURES));
    }
    names.join(", ")
}

impl Trainer<'_> {
    /// Leaves everything as it was before the step, but that it is done. All processes do the same, for all have the summed
    /// loss and gradients. The loss scale is what it was, `scale`: a batch that no scale helps says nothing about it.
    pub(super) fn skip(
        &mut self,
        loss: f32,
        gradient_norm: f64,
        scale: LossScale,
        batch: &Batch,
    ) -> Result<Stepped, TrainError> {
        let progress = &mut self.progress;
        progress.loss_scale = scale;
        progress.skipped_steps += 1;
        progress.skipped_in_a_row += 1;
        let (step, skipped_steps, in_a_row) =
            (progress.steps, progress.skipped_steps, progress.skipped_in_a_row);
        let picture_ids = picture_ids(batch);
        if in_a_row >= self.config.run.max_skipped_steps {
            let problem = format!(
                "{in_a_row} steps in a row were skipped, for the loss or the gradient was not finite (here: loss {loss}, \
                 gradient norm {gradient_norm})"
            );
            return Err(self.diverged(problem, loss, gradient_norm, &picture_ids));
        }
        let (loss, pictures) = (f64::from(loss), names(self.data, &picture_ids));
        Ok(Stepped::Skipped(Progress::Skipped {
            step,
            loss,
            gradient_norm,
            skipped_steps,
            in_a_row,
            pictures,
        }))
    }

    /// Whether there are weights worth an evaluation and a checkpoint: some step was not skipped, and the micro-batch that had a
    /// finite loss before the last of these has one after it, with a finite gradient. One step too long leaves finite
    /// weights that no batch has a finite loss with.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] where the weights are not good, and at the last step where there are none.
    pub(super) fn has_good_weights(&mut self, is_last: bool) -> Result<bool, TrainError> {
        if self.progress.steps == 0 {
            // The weights that the run starts from were looked at.
            return Ok(true);
        }
        if self.progress.applied_steps() == 0 {
            if is_last {
                let problem =
                    "every step was skipped, for the loss or the gradient was not finite".to_owned();
                return Err(self.diverged(problem, f32::NAN, f64::NAN, &[]));
            }
            return Ok(false);
        }
        if !self.proof.is_wanted {
            return Ok(true);
        }
        let batch = Batch { micro_batches: self.proof.micro_batch.take().into_iter().collect() };
        let Outcome { loss, gradients, .. } =
            self.workers.gradients(&self.model, &*self.objective, &batch, |_| true, 1.0);
        let norm = norm(&gradients);
        if !(loss.is_finite() && norm.is_finite()) {
            let problem = format!(
                "the weights after it are not saved, for with them the loss is {loss} and the gradient's norm {norm}"
            );
            return Err(self.diverged(problem, loss, norm, &self.proof.picture_ids));
        }
        self.proof.is_wanted = false;
        Ok(true)
    }

    /// The error that ends the run, with a way on.
    pub(super) fn diverged(
        &self,
        problem: String,
        loss: f32,
        gradient_norm: f64,
        picture_ids: &[u64],
    ) -> TrainError {
        TrainError::Diverged {
            step: self.progress.steps,
            loss,
            gradient_norm,
            problem,
            pictures: names(self.data, picture_ids),
            way_on: Box::new(WayOn {
                earlier: self.earlier_checkpoints(),
                checkpoint: self.saved.map(|step| (step, self.folder.step_path(step))),
                settings: self.lower_rates(),
            }),
        }
    }

    /// The steps of the checkpoints before the last.
    fn earlier_checkpoints(&self) -> Vec<u64> {
        let mut steps = self.folder.checkpoints().unwrap_or_default();
        steps.retain(|step| self.saved.is_some_and(|saved| *step < saved));
        steps
    }

    /// The recipe's learning rates, lower.
    fn lower_rates(&self) -> Vec<(String, String)> {
        let optimizer = &self.config.optimizer;
        let rates = [
            ("optimizer.learning_rate", Some(optimizer.learning_rate)),
            ("optimizer.vision_learning_rate", optimizer.vision_learning_rate),
        ];
        let lower =
            |(key, rate): (&str, Option<f64>)| Some((key.to_owned(), format!("{:.1e}", rate? / LOWER)));
        rates.into_iter().filter_map(lower).collect()
    }
}
