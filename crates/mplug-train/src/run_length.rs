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
    /// Epochs in all, where the recipe counts them.
    pub epochs: Option<u64>,
    /// Examples of a batch that is not short.
    pub batch_size: u64,
    /// Examples of an epoch; none where the data never ends.
    pub examples: Option<u64>,
    /// Where batches or data changed last.
    pub origin: Origin,
}

/// A place in a run at which its batches or its data changed. What was seen before is not seen again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Steps done.
    pub step: u64,
    /// Examples that they went through.
    pub example: u64,
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

    /// What is left of an epoch that has begun at `origin`.
    fn rest_at(self, origin: Origin) -> Option<Self> {
        let begun = origin.example % self.examples;
        (begun > 0).then(|| Self { examples: self.examples - begun, ..self })
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
            let steps = run.steps.unwrap_or_default();
            return Ok(Self { steps, epoch_steps, batch_size, examples, ..Self::default() });
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
        let (epochs, examples) = (Some(epochs), Some(examples));
        let origin = Origin::default();
        Ok(Self {
            steps,
            epoch_steps: Some(epoch_steps),
            epoch: Some(epoch),
            epochs,
            batch_size,
            examples,
            origin,
        })
    }

    /// The length of a run that cut its batches otherwise, or from other data, up to `origin`.
    #[must_use]
    pub fn from(self, origin: Origin) -> Self {
        let (Some(epochs), Some(epoch)) = (self.epochs, self.epoch) else { return Self { origin, ..self } };
        let done = origin.example / epoch.examples;
        let steps = match epoch.rest_at(origin) {
            _ if origin.example >= epochs * epoch.examples => 0,
            None => (epochs - done) * epoch.steps(self.batch_size),
            Some(rest) => rest.steps(self.batch_size) + (epochs - done - 1) * epoch.steps(self.batch_size),
        };
        Self { steps: origin.step + steps, origin, ..self }
    }

    /// The numbers of the examples of a step.
    pub fn examples_of(&self, step: u64) -> Range<u64> {
        let (size, first, step) = (self.batch_size, self.origin.example, step - self.origin.step);
        let found_at = |start: u64, found: Range<u64>| start + found.start..start + found.end;
        let Some(epoch) = self.epoch else { return found_at(first, step * size..(step + 1) * size) };
        match epoch.rest_at(self.origin) {
            None => found_at(first, epoch.examples_of(step, size)),
            Some(rest) if step < rest.steps(size) => found_at(first, rest.examples_of(step, size)),
            Some(rest) => found_at(first + rest.examples, epoch.examples_of(step - rest.steps(size), size)),
        }
    }

    /// The epoch of a step, its number there, both from 1, and the steps of an epoch.
    pub fn place_of(&self, step: u64) -> (u64, u64, u64) {
        let epoch_steps = self.epoch_steps.unwrap_or(self.steps).max(1);
        match self.examples {
            Some(examples) if self.origin != Origin::default() => {
                let first = self.examples_of(step).start;
                (first / examples + 1, first % examples / self.batch_size + 1, epoch_steps)
            }
            _ => (step / epoch_steps + 1, step % epoch_steps + 1, epoch_steps),
        }
    }

    /// How many epochs are done before `step`, in parts of one; none where they are not known.
    pub fn epochs_before(&self, step: u64) -> Option<f64> {
        if self.origin != Origin::default() {
            return self.examples.map(|examples| self.examples_of(step).start as f64 / examples as f64);
        }
        self.epoch_steps.map(|steps| step as f64 / steps.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(settings: &[(&str, &str)]) -> TrainConfig {
        let demo = include_str!("../../../configs/demo.toml");
        let decodes = !settings.iter().any(|(_, value)| value.contains("retrieval"));
        let demo = if decodes { demo.to_owned() } else { demo.replace("decoder_layers = 3\n", "") };
        let settings: Vec<_> =
            settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        TrainConfig::from_toml(&demo, &settings).expect("a good recipe")
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

    /// The rest of the epoch comes in batches of the new size; no example is left out or comes twice.
    #[test]
    fn batches_of_another_size_go_on_where_those_before_ended() {
        let origin = Origin { step: 4, example: 14 };
        let of = |drop_last: &str, epochs: &str| {
            let config =
                recipe(&[("run.epochs", epochs), ("run.batch_size", "3"), ("run.drop_last", drop_last)]);
            RunLength::of(&config, Some(10)).expect("data that ends")
        };
        let whole = of("false", "3");
        assert_eq!(whole.from(Origin::default()), whole);
        assert_eq!(whole.from(Origin { step: 8, example: 20 }).steps, 12);
        let found = whole.from(origin);
        let ranges: Vec<_> = (4..8).map(|step| found.examples_of(step)).collect();
        assert_eq!((ranges, found.steps), (vec![14..17, 17..20, 20..23, 23..26], 10));
        assert_eq!((found.epochs_before(4), found.epochs_before(6)), (Some(1.4), Some(2.0)));
        let dropped = of("true", "3").from(Origin { step: 4, example: 15 });
        let ranges: Vec<_> = (4..7).map(|step| dropped.examples_of(step)).collect();
        assert_eq!((ranges, dropped.steps), (vec![15..18, 20..23, 23..26], 8));
        assert_eq!(of("false", "1").from(origin).steps, 4);
        let steps = RunLength::of(&recipe(&[("run.batch_size", "3")]), Some(10)).expect("steps").from(origin);
        assert_eq!((steps.examples_of(4), steps.examples_of(6), steps.steps), (14..17, 20..23, 8000));
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
