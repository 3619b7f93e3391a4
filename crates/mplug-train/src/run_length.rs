//! How long a run is in steps, and what an epoch of it is: an epoch's last batch may be short (PyTorch's `DataLoader`) or is
//! dropped. Where a recipe counts steps, batches go on over the end of an epoch. Knows no tensors.

use std::ops::Range;

use crate::config::TrainConfig;
use crate::error::TrainError;

/// How long a run is, and what an epoch of it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunLength {
    /// Optimizer steps in all.
    pub steps: u64,
    /// Steps of an epoch, with the last one begun; none where the data never ends.
    pub epoch_steps: Option<u64>,
    /// How batches end with an epoch; none where they go on over its end.
    pub epoch: Option<EpochShape>,
}

/// An epoch that ends with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochShape {
    /// Examples of an epoch.
    pub examples: u64,
    /// Whether what is left for a short last batch is dropped.
    pub drop_last: bool,
}

impl EpochShape {
    /// Steps of an epoch.
    pub fn steps(self, batch_size: u64) -> u64 {
        if self.drop_last { self.examples / batch_size } else { self.examples.div_ceil(batch_size) }
    }

    /// The numbers of the examples of a step.
    pub fn examples_of(self, step: u64, batch_size: u64) -> Range<u64> {
        let steps = self.steps(batch_size).max(1);
        let first = step / steps * self.examples + step % steps * batch_size;
        let end = (step / steps + 1) * self.examples;
        first..(first + batch_size).min(end)
    }
}

impl RunLength {
    /// The length of the run of a recipe on data whose epoch has `examples`, if it ends.
    ///
    /// # Errors
    /// [`TrainError::Value`] where the recipe counts epochs and there are none.
    pub fn of(config: &TrainConfig, examples: Option<u64>) -> Result<Self, TrainError> {
        let run = &config.run;
        let batch_size = run.batch_size as u64;
        if examples.is_none() {
            let ramps = config.objective.ramps_distillation().then_some("objective.distillation_ramp");
            let fields = [run.epochs.map(|_| "run.epochs"), config.schedule.counts_epochs(), ramps];
            if let Some(field) = fields.into_iter().flatten().next() {
                return Err(TrainError::Value {
                    field,
                    expected: "data that ends, for it counts epochs".to_owned(),
                    found: "data without an end; give drawn pictures a number, `data.pictures`".to_owned(),
                });
            }
        }
        let (Some(epochs), Some(examples)) = (run.epochs, examples) else {
            let epoch_steps = examples.map(|examples| examples.div_ceil(batch_size).max(1));
            return Ok(Self { steps: run.steps.unwrap_or_default(), epoch_steps, epoch: None });
        };
        let epoch = EpochShape { examples, drop_last: run.drop_last };
        let epoch_steps = epoch.steps(batch_size);
        if epoch_steps == 0 {
            return Err(TrainError::Value {
                field: "run.batch_size",
                expected: format!("at most {examples}, the examples of an epoch, with run.drop_last"),
                found: run.batch_size.to_string(),
            });
        }
        let steps = epochs.checked_mul(epoch_steps).filter(|steps| steps.checked_mul(batch_size).is_some());
        let steps = steps.ok_or_else(|| TrainError::Value {
            field: "run.epochs",
            expected: "a number of epochs whose examples can be counted".to_owned(),
            found: epochs.to_string(),
        })?;
        Ok(Self { steps, epoch_steps: Some(epoch_steps), epoch: Some(epoch) })
    }

    /// How many epochs are done before `step`, in parts of one; none where they are not known.
    pub fn epochs_before(&self, step: u64) -> Option<f64> {
        self.epoch_steps.map(|steps| step as f64 / steps.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(settings: &[(&str, &str)]) -> TrainConfig {
        let demo = include_str!("../../../configs/demo.toml");
        let settings: Vec<_> =
            settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        TrainConfig::from_toml(demo, &settings).expect("a good recipe")
    }

    #[test]
    fn an_epoch_goes_through_all_examples_once() {
        let epoch = EpochShape { examples: 10, drop_last: false };
        let ranges: Vec<_> = (0..6).map(|step| epoch.examples_of(step, 4)).collect();
        assert_eq!(ranges, [0..4, 4..8, 8..10, 10..14, 14..18, 18..20]);
        let dropped = EpochShape { drop_last: true, ..epoch };
        let ranges: Vec<_> = (0..3).map(|step| dropped.examples_of(step, 4)).collect();
        assert_eq!(ranges, [0..4, 4..8, 10..14]);
        assert_eq!([epoch.steps(5), dropped.steps(5), dropped.steps(11)], [2, 2, 0]);
    }

    #[test]
    fn epochs_are_counted_in_steps() {
        let config = recipe(&[("run.epochs", "3"), ("run.batch_size", "32")]);
        let found = RunLength::of(&config, Some(100)).expect("data that ends");
        assert_eq!((found.steps, found.epoch_steps), (12, Some(4)));
        assert_eq!(found.epochs_before(6), Some(1.5));
        let config = recipe(&[("run.epochs", "3"), ("run.drop_last", "true")]);
        assert_eq!(RunLength::of(&config, Some(100)).expect("data that ends").steps, 9);
        let steps = RunLength::of(&recipe(&[]), Some(100)).expect("steps need no end");
        assert_eq!((steps.steps, steps.epoch_steps, steps.epoch), (8000, Some(4), None));
    }

    #[test]
    fn epochs_need_data_that_ends_and_a_whole_batch() {
        let by_epoch = "{ kind = \"step\", step_size = 1 }";
        let research = "{ kind = \"research\", warmup_steps = 0 }";
        for (settings, examples, word) in [
            (&[("run.epochs", "3")][..], None, "run.epochs"),
            (&[("schedule", by_epoch)], None, "schedule.by"),
            (&[("schedule", research)], None, "schedule.epoch_steps"),
            (&[("run.epochs", "3"), ("run.drop_last", "true")], Some(31), "run.batch_size"),
            (&[("run.epochs", "9000000000000000000")], Some(100), "run.epochs"),
            (
                &[("objective", "{ kind = \"retrieval\", queue_size = 4, distillation_ramp = true }")],
                None,
                "objective.distillation_ramp",
            ),
        ] {
            let message = RunLength::of(&recipe(settings), examples).expect_err(word).to_string();
            assert!(message.contains(word), "{message}");
        }
    }
}
