//! The learning rate over time. A pure function of the step.

use crate::config::{ScheduleKind, ScheduleSection};

/// Steps that the research code's warm-up stays at one rate.
const RESEARCH_WARMUP_STEP: u64 = 100;

/// The learning rate at `step` (from 0) of `steps`, of parameters whose peak is `peak`.
pub fn learning_rate(schedule: &ScheduleSection, peak: f64, step: u64, steps: u64) -> f64 {
    let warmup = schedule.warmup_steps;
    if schedule.kind == ScheduleKind::Research {
        return research_rate(schedule, peak, step, steps);
    }
    if step < warmup {
        return peak * (step + 1) as f64 / warmup as f64;
    }
    let progress = ((step - warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64).min(1.0);
    let above_floor = match schedule.kind {
        ScheduleKind::Linear => 1.0 - progress,
        ScheduleKind::Constant => 1.0,
        ScheduleKind::Cosine | ScheduleKind::Research => cosine(progress),
    };
    peak * (schedule.min_ratio + (1.0 - schedule.min_ratio) * above_floor)
}

/// The research code's schedule (AliceMind's `scheduler/cosine_lr.py` as `caption_mplug.py` and `vqa_mplug.py` call it): a
/// function of whole "epochs" of which warm-up takes one for each hundred steps, called every hundred steps in the first
/// epoch and once at the start of every other.
fn research_rate(schedule: &ScheduleSection, peak: f64, step: u64, steps: u64) -> f64 {
    let epoch_steps = schedule.epoch_steps.max(1);
    let (epoch, warmup) = (step / epoch_steps, schedule.warmup_steps / RESEARCH_WARMUP_STEP);
    let time = match epoch {
        0 => (step / RESEARCH_WARMUP_STEP).min(warmup),
        epoch => epoch + warmup,
    };
    if time < warmup {
        return schedule.warmup_rate + time as f64 * (peak - schedule.warmup_rate) / warmup as f64;
    }
    let epochs = steps.div_ceil(epoch_steps);
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

    fn schedule(kind: ScheduleKind) -> ScheduleSection {
        ScheduleSection {
            kind,
            warmup_steps: 4,
            min_ratio: 0.1,
            warmup_rate: 1e-5,
            min_rate: 1e-6,
            epoch_steps: 0,
        }
    }

    #[test]
    fn rises_linearly_then_falls_to_the_floor() {
        let rate = |kind, step| learning_rate(&schedule(kind), 2.0, step, 24) / 2.0;
        for kind in [ScheduleKind::Cosine, ScheduleKind::Linear, ScheduleKind::Constant] {
            assert!((rate(kind, 0) - 0.25).abs() < 1e-12 && (rate(kind, 3) - 1.0).abs() < 1e-12);
            assert!((rate(kind, 4) - 1.0).abs() < 1e-12);
        }
        for kind in [ScheduleKind::Cosine, ScheduleKind::Linear] {
            assert!((rate(kind, 14) - 0.55).abs() < 1e-12, "half way: {}", rate(kind, 14));
            assert!((rate(kind, 24) - 0.1).abs() < 1e-12 && (rate(kind, 1000) - 0.1).abs() < 1e-12);
            assert!((4..24).all(|step| rate(kind, step + 1) < rate(kind, step)));
        }
        assert!((rate(ScheduleKind::Constant, 1000) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_research_codes_rates_are_its_own() {
        // SPEC of caption fine-tuning: 5 epochs, warm-up of 4 hundreds, peaks 1e-5 and 5e-6.
        let section =
            ScheduleSection { warmup_steps: 400, epoch_steps: 1000, ..schedule(ScheduleKind::Research) };
        let steps = [0, 100, 200, 300, 400, 1000, 2000, 3000, 4000];
        let rates = |peak: f64| steps.map(|step| learning_rate(&section, peak, step, 5000));
        let text = [1e-5, 1e-5, 1e-5, 1e-5, 1e-5, 9.14e-6, 6.89e-6, 4.11e-6, 1.86e-6];
        let vision = [1e-5, 8.75e-6, 7.5e-6, 6.25e-6, 5e-6, 4.62e-6, 3.62e-6, 2.38e-6, 1.38e-6];
        for (found, right) in [(rates(1e-5), text), (rates(5e-6), vision)] {
            for (found, right) in found.into_iter().zip(right) {
                assert!((found - right).abs() < 0.006e-6, "{found} against {right}");
            }
        }
        assert!((learning_rate(&section, 1e-5, 950, 5000) - 1e-5).abs() < 1e-15, "constant in an epoch");
    }
}
