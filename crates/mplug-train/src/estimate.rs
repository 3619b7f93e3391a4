//! How long a run will take, from its first steps, and what would make it shorter. Knows no clock and no trainer.

use std::fmt;

use mplug::config::{ModelConfig, Task};
use serde::Serialize;

use crate::config::TrainConfig;
use crate::preflight::cost::{Work, work};

/// Seconds of a day: runs that take longer are worth a thought.
const DAY: f64 = 86_400.0;
/// Beams of a model that says nothing of its own.
const USUAL_BEAMS: usize = 5;

/// The time of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Estimate {
    /// Steps done when it was made.
    pub step: u64,
    /// Seconds to the end of the run, evaluations included.
    pub seconds_left: f64,
    /// Seconds of a step.
    pub step_seconds: f64,
    /// Evaluations to come.
    pub evaluations: u64,
    /// Seconds of an evaluation: measured, or guessed from the time of a step where there was none yet.
    pub evaluation_seconds: f64,
    /// Whether they were measured.
    pub is_measured: bool,
    /// What would make a run of more than a day shorter, each with a rough factor; empty for others.
    pub advice: Vec<String>,
}

/// What is known when an estimate is made.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// Steps done.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// Seconds of a step, the mean.
    pub step_seconds: f64,
    /// Seconds of an evaluation, if there was one.
    pub evaluation_seconds: Option<f64>,
    /// Held-out examples of an evaluation.
    pub held_out: usize,
}

impl Estimate {
    /// Of a run of `config` with a network of this shape and texts of at most `max_len` tokens.
    pub fn of(config: &TrainConfig, shape: &ModelConfig, max_len: usize, measured: Measured) -> Self {
        let Measured { step, steps, step_seconds, evaluation_seconds, held_out } = measured;
        let costs = work(shape, &config.objective, max_len.div_ceil(2));
        let left = steps.saturating_sub(step);
        let evaluations = evaluations_after(config.evaluation.every, step, steps);
        let guess =
            || held_out as f64 * step_seconds / config.run.batch_size as f64 * share_of_step(config, costs);
        let seconds = evaluation_seconds.unwrap_or_else(guess);
        let seconds_left = left as f64 * step_seconds + evaluations as f64 * seconds;
        Self {
            step,
            seconds_left,
            step_seconds,
            evaluations,
            evaluation_seconds: if evaluations > 0 { seconds } else { 0.0 },
            is_measured: evaluation_seconds.is_some(),
            advice: if seconds_left > DAY {
                advice(config, shape, max_len, costs, &measured)
            } else {
                Vec::new()
            },
        }
    }
}

/// Evaluations after `step`, one every `every` steps and one at the end.
fn evaluations_after(every: u64, step: u64, steps: u64) -> u64 {
    if every == 0 || step >= steps {
        return 0;
    }
    steps / every - step / every + u64::from(!steps.is_multiple_of(every))
}

/// What a held-out example costs in an evaluation, as a share of what an example costs in a step: forward once for the loss, and
/// once, with every beam, for what is written.
fn share_of_step(config: &TrainConfig, costs: Work) -> f64 {
    let beams = if config.objective.task() == Task::ImageTextRetrieval {
        config.evaluation.rerank
    } else {
        config.evaluation.num_beams.or(config.generation.num_beams).unwrap_or(USUAL_BEAMS)
    };
    (2.0 * costs.vision + (1 + beams) as f64 * costs.rest) / costs.training().max(1.0)
}

/// What would make the run shorter.
fn advice(
    config: &TrainConfig,
    shape: &ModelConfig,
    max_len: usize,
    costs: Work,
    measured: &Measured,
) -> Vec<String> {
    let mut advice = Vec::new();
    let in_a_day = (DAY / measured.step_seconds).floor() as u64;
    if in_a_day > 0 {
        advice.push(format!("run.steps = {in_a_day} take a day"));
    }
    let table = if config.model.is_some() { "model" } else { "start" };
    if let Some(smaller) = smaller_size(shape.vision.image_size, shape.vision.patch_size) {
        let mut small = shape.clone();
        small.vision.image_size = smaller;
        let share = total(work(&small, &config.objective, max_len.div_ceil(2))) / total(costs);
        advice.push(format!("{table}.image_size = {smaller} takes about {share:.2} of the time"));
    }
    if config.run.batch_size > 1 {
        let half = config.run.batch_size.div_ceil(2);
        advice.push(format!("run.batch_size = {half} takes about half of the time for as many steps"));
    }
    // A visual encoder that stays as it is goes forward alone; where pictures do not change, once for the whole run.
    let frozen = (costs.vision + 3.0 * costs.rest) / costs.training();
    let kept = 3.0 * costs.rest / costs.training();
    advice.push(format!(
        "freeze = [\"visual_encoder\"] takes about {frozen:.2} of the time, with a table [features] about {kept:.2}"
    ));
    advice
}

fn total(costs: Work) -> f64 {
    (costs.vision + costs.rest).max(1.0)
}

/// A picture side of about two thirds of `size`, a multiple of the patch.
fn smaller_size(size: usize, patch: usize) -> Option<usize> {
    let smaller = size * 2 / 3 / patch.max(1) * patch.max(1);
    (smaller >= 2 * patch).then_some(smaller)
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the rest of the run takes about {}: {} a step",
            time(self.seconds_left),
            time(self.step_seconds)
        )?;
        if self.evaluations > 0 {
            let kind = if self.is_measured { "" } else { " (a guess)" };
            let (count, each) = (self.evaluations, time(self.evaluation_seconds));
            write!(f, ", {count} evaluations of {each}{kind}")?;
        }
        if self.advice.is_empty() { Ok(()) } else { write!(f, "; shorter: {}", self.advice.join("; ")) }
    }
}

/// Seconds as people read them.
fn time(seconds: f64) -> String {
    match seconds {
        s if s < 100.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 2.0 * DAY => format!("{:.1} h", s / 3600.0),
        s => format!("{:.0} days", s / DAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evaluations_to_come_are_counted() {
        for (every, step, steps, count) in [
            (0, 0, 100, 0),
            (10, 0, 100, 10),
            (10, 10, 100, 9),
            (10, 9, 100, 10),
            (30, 0, 100, 4),
            (30, 90, 100, 1),
            (10, 100, 100, 0),
        ] {
            assert_eq!(evaluations_after(every, step, steps), count, "{every} {step} {steps}");
        }
    }

    #[test]
    fn times_are_read_at_a_glance() {
        let times = [0.5, 119.0, 8000.0, 172_800.0, 9_000_000.0].map(time);
        assert_eq!(times, ["0.5 s", "2 min", "2.2 h", "2 days", "104 days"]);
    }
}
