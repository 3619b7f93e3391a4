//! The learning rate over time. A pure function of the step.

mod torch;

use self::torch::torch_rate;
use crate::config::{Fall, ResearchSchedule, ScheduleSection, Unit};
use crate::run_length::RunLength;

/// Batches that the research code's warm-up stays at one rate.
const RESEARCH_WARMUP_BATCHES: u64 = 100;

/// The learning rate at `step` (from 0) of a run of `length`, of parameters whose peak is `peak`.
pub fn learning_rate(schedule: &ScheduleSection, peak: f64, step: u64, length: &RunLength) -> f64 {
    match schedule {
        ScheduleSection::Cosine(fall) => falling(*fall, peak, step, length.steps, cosine),
        ScheduleSection::Linear(fall) => falling(*fall, peak, step, length.steps, |progress| 1.0 - progress),
        ScheduleSection::Constant(plateau) => {
            let fall = Fall { warmup_steps: plateau.warmup_steps, min_ratio: 0.0 };
            falling(fall, peak, step, length.steps, |_| 1.0)
        }
        ScheduleSection::Research(section) => research_rate(section, peak, step, length),
        of_torch => {
            let time = match of_torch.unit_and_warmup() {
                Some((Unit::Epoch, _)) => step / length.epoch_steps.unwrap_or(length.steps).max(1),
                _ => step,
            };
            torch_rate(of_torch, peak, time)
        }
    }
}

/// After a straight warm-up, what `shape` makes of the progress from 0 to 1: 1 is the peak, 0 the floor.
fn falling(fall: Fall, peak: f64, step: u64, steps: u64, shape: impl Fn(f64) -> f64) -> f64 {
    let warmup = fall.warmup_steps;
    if step < warmup {
        return peak * (step + 1) as f64 / warmup as f64;
    }
    let progress = ((step - warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64).min(1.0);
    peak * (fall.min_ratio + (1.0 - fall.min_ratio) * shape(progress))
}

/// The research code's schedule (AliceMind's `scheduler/cosine_lr.py` as `caption_mplug.py` and `vqa_mplug.py` call it): a
/// function of whole "epochs" of which warm-up takes one for each hundred batches, called after every hundredth batch in the
/// first epoch and once at the start of every other.
fn research_rate(schedule: &ResearchSchedule, peak: f64, step: u64, length: &RunLength) -> f64 {
    let epoch_steps = schedule.epoch_steps.or(length.epoch_steps).unwrap_or(length.steps).max(1);
    let warmup = schedule.warmup_steps.saturating_mul(schedule.accumulation) / RESEARCH_WARMUP_BATCHES;
    let epoch = step / epoch_steps;
    let time = if epoch == 0 {
        // The rate changes once a step is taken: a step has what the batch before its last one left.
        let batches_before = ((step + 1).saturating_mul(schedule.accumulation) - 1).saturating_sub(1);
        (batches_before / RESEARCH_WARMUP_BATCHES).min(warmup)
    } else {
        epoch + warmup
    };
    if time < warmup {
        return schedule.warmup_rate + time as f64 * (peak - schedule.warmup_rate) / warmup as f64;
    }
    let epochs = length.steps.div_ceil(epoch_steps);
    let progress = (time - warmup) as f64 / epochs.max(1) as f64;
    schedule.min_rate + (peak - schedule.min_rate) * cosine(progress)
}

/// From 1 at 0 down to 0 at 1.
fn cosine(progress: f64) -> f64 {
    0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Plateau;

    fn length(steps: u64, epoch_steps: Option<u64>) -> RunLength {
        RunLength { steps, epoch_steps, ..RunLength::default() }
    }

    #[test]
    fn rises_linearly_then_falls_to_the_floor() {
        let fall = Fall { warmup_steps: 4, min_ratio: 0.1 };
        let (cosine, linear) = (ScheduleSection::Cosine(fall), ScheduleSection::Linear(fall));
        let constant = ScheduleSection::Constant(Plateau { warmup_steps: 4 });
        let rate = |schedule, step| learning_rate(schedule, 2.0, step, &length(24, None)) / 2.0;
        for schedule in [&cosine, &linear, &constant] {
            assert!((rate(schedule, 0) - 0.25).abs() < 1e-12 && (rate(schedule, 3) - 1.0).abs() < 1e-12);
            assert!((rate(schedule, 4) - 1.0).abs() < 1e-12);
        }
        for schedule in [&cosine, &linear] {
            assert!((rate(schedule, 14) - 0.55).abs() < 1e-12, "half way: {}", rate(schedule, 14));
            assert!((rate(schedule, 24) - 0.1).abs() < 1e-12 && (rate(schedule, 1000) - 0.1).abs() < 1e-12);
            assert!((4..24).all(|step| rate(schedule, step + 1) < rate(schedule, step)));
        }
        assert!((rate(&constant, 1000) - 1.0).abs() < 1e-12);
    }

    fn research(warmup_steps: u64, accumulation: u64, epoch_steps: Option<u64>) -> ScheduleSection {
        ScheduleSection::Research(ResearchSchedule {
            warmup_steps,
            warmup_rate: 1e-5,
            min_rate: 1e-6,
            epoch_steps,
            accumulation,
        })
    }

    fn is_near(found: f64, right: f64) -> bool {
        (found - right).abs() < 0.006e-6
    }

    #[test]
    fn the_research_codes_rates_are_its_own() {
        // SPEC of caption fine-tuning: 5 epochs, warm-up of 4 hundreds, peaks 1e-5 and 5e-6.
        let schedule = research(400, 1, None);
        let steps = [0, 101, 201, 301, 401, 1000, 2000, 3000, 4000];
        let run = length(5000, Some(1000));
        let rates = |peak: f64| steps.map(|step| learning_rate(&schedule, peak, step, &run));
        let text = [1e-5, 1e-5, 1e-5, 1e-5, 1e-5, 9.14e-6, 6.89e-6, 4.11e-6, 1.86e-6];
        let vision = [1e-5, 8.75e-6, 7.5e-6, 6.25e-6, 5e-6, 4.62e-6, 3.62e-6, 2.38e-6, 1.38e-6];
        for (found, right) in [(rates(1e-5), text), (rates(5e-6), vision)] {
            for (found, right) in found.into_iter().zip(right) {
                assert!(is_near(found, right), "{found} against {right}");
            }
        }
        assert!((learning_rate(&schedule, 1e-5, 950, &run) - 1e-5).abs() < 1e-15, "constant in an epoch");
        // It is called after the optimizer's step: the hundredth batch has the rate of those before.
        assert!(is_near(learning_rate(&schedule, 5e-6, 100, &run), 1e-5));
        let own = research(400, 1, Some(1000));
        let difference = |step| {
            learning_rate(&own, 5e-6, step, &length(5000, None)) - learning_rate(&schedule, 5e-6, step, &run)
        };
        assert!((0..5000).all(|step| difference(step).abs() < 1e-15));
    }

    #[test]
    fn accumulated_batches_warm_up_as_in_the_research_code() {
        let schedule = research(100, 4, Some(553));
        let rate = |step| learning_rate(&schedule, 5e-6, step, &length(2765, None));
        for (step, right) in [(0, 1e-5), (24, 1e-5), (25, 8.75e-6), (50, 7.5e-6), (75, 6.25e-6), (100, 5e-6)]
        {
            assert!(is_near(rate(step), right), "step {step}: {}", rate(step));
        }
        assert!(is_near(rate(552), 5e-6) && is_near(rate(553), 4.62e-6));
    }
}
