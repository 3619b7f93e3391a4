//! The learning rate over time: linear warm-up, then a cosine down to a floor. A pure function of the step.

use crate::config::ScheduleSection;

/// The share of the peak learning rate at `step` (from 0) of `steps`.
pub fn rate_share(schedule: &ScheduleSection, step: u64, steps: u64) -> f64 {
    let warmup = schedule.warmup_steps;
    if step < warmup {
        return (step + 1) as f64 / warmup as f64;
    }
    let progress = (step - warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64;
    let cosine = 0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos());
    schedule.min_ratio + (1.0 - schedule.min_ratio) * cosine
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_linearly_then_falls_to_the_floor() {
        let schedule = ScheduleSection { warmup_steps: 4, min_ratio: 0.1 };
        let share = |step| rate_share(&schedule, step, 24);
        assert!((share(0) - 0.25).abs() < 1e-12 && (share(3) - 1.0).abs() < 1e-12);
        assert!((share(4) - 1.0).abs() < 1e-12);
        assert!((share(14) - 0.55).abs() < 1e-12, "half way of the cosine: {}", share(14));
        assert!((share(24) - 0.1).abs() < 1e-12 && (share(1000) - 0.1).abs() < 1e-12);
        assert!((4..24).all(|step| share(step + 1) < share(step)));
    }
}
