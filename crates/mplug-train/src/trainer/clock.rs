//! How long steps and evaluations take, and what is said of it: the time of the whole run after its first steps.

use std::time::{Duration, Instant};

use super::Trainer;
use super::reporter::Reporter;
use crate::batch::Lookahead;
use crate::error::TrainError;
use crate::estimate::{Estimate, Measured};
use crate::log::Progress;

/// Steps after which the time of a run is estimated,
const STEPS: u32 = 10;
/// or the time, if they take longer.
const TIME: Duration = Duration::from_mins(2);
/// Bytes of a megabyte.
const MEGABYTE: usize = 1_000_000;

/// The time of a process's steps and evaluations.
pub(super) struct Clock {
    started: Instant,
    /// The first step is apart: it finds caches cold and waits for its data.
    first: Option<Duration>,
    others: Duration,
    count: u32,
    evaluation: Option<Duration>,
    is_estimated: bool,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            first: None,
            others: Duration::ZERO,
            count: 0,
            evaluation: None,
            is_estimated: false,
        }
    }

    pub(super) fn stepped(&mut self, time: Duration) {
        if self.first.is_none() {
            self.first = Some(time);
        } else {
            self.others += time;
            self.count += 1;
        }
    }

    pub(super) fn evaluated(&mut self, time: Duration) {
        self.evaluation = Some(time);
    }

    /// What was measured, once, when it says something of the rest.
    pub(super) fn measured(&mut self, step: u64, steps: u64) -> Option<Measured> {
        let is_time = self.count + 1 >= STEPS || self.started.elapsed() >= TIME;
        let first = self.first?;
        if self.is_estimated || !is_time || step >= steps {
            return None;
        }
        self.is_estimated = true;
        let mean = if self.count == 0 { first } else { self.others / self.count };
        Some(Measured {
            step,
            steps,
            step_seconds: mean.as_secs_f64(),
            evaluation_seconds: self.evaluation.map(|time| time.as_secs_f64()),
            held_out: 0,
        })
    }
}

impl Trainer<'_> {
    /// The time of the whole run.
    pub(super) fn estimated(&self, measured: Measured) -> Progress {
        let pictures = self.config.evaluation.pictures;
        let held_out = self.data.held_out_len().map_or(pictures, |len| pictures.min(len as usize));
        let measured = Measured { held_out, ..measured };
        Progress::Estimated(Box::new(Estimate::of(self.config, &self.shape, self.max_len, measured)))
    }

    /// How far batches are made ahead.
    pub(super) fn lookahead(&self) -> Lookahead {
        let run = &self.config.run;
        let picture = 3 * self.shape.vision.image_size.pow(2) * size_of::<f32>();
        let memory = run.data_memory.saturating_mul(MEGABYTE);
        Lookahead::within(memory, run.batch_size.saturating_mul(picture), run.data_threads)
    }

    /// Names the pictures that were skipped since the last call.
    pub(super) fn report_skipped(&self, reporter: &mut Reporter<'_>) -> Result<(), TrainError> {
        let (step, new) = (self.progress.steps, self.data.take_skipped());
        let before = self.data.skipped().saturating_sub(new.len());
        for (number, picture) in new.into_iter().enumerate() {
            let (picture, reason) = (picture.name, picture.reason);
            reporter.report(&Progress::PictureSkipped {
                step,
                picture,
                reason,
                skipped: before + number + 1,
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_steps_give_one_estimate() {
        let mut clock = Clock::new();
        clock.stepped(Duration::from_secs(5));
        assert_eq!(clock.measured(1, 100), None);
        for step in 2..10 {
            clock.stepped(Duration::from_secs(2));
            assert_eq!(clock.measured(step, 100), None);
        }
        clock.evaluated(Duration::from_secs(7));
        clock.stepped(Duration::from_secs(2));
        let found = clock.measured(10, 100).expect("an estimate");
        assert_eq!((found.step_seconds, found.evaluation_seconds), (2.0, Some(7.0)));
        clock.stepped(Duration::from_secs(2));
        assert_eq!(clock.measured(11, 100), None);
    }
}
