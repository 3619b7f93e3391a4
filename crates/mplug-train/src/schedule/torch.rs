//! PyTorch's schedules, and ModelScope's warm-ups before them. PyTorch makes each rate of the one before it. A warm-up of
//! ModelScope's trainer (`BaseWarmup.step`) puts the peak in that one's place at every count, and scales what comes out. So of
//! what the schedule did before the warm-up's end its last count alone remains: here too.

use std::f64::consts::PI;

use crate::config::{CosineAnnealing, LinearFactor, ScheduleSection, Warmup, WarmupKind};

/// The learning rate of parameters whose peak is `peak`, after the schedule was called `time` times.
pub(super) fn torch_rate(schedule: &ScheduleSection, peak: f64, time: u64) -> f64 {
    let warmup = schedule.unit_and_warmup().and_then(|(_, warmup)| warmup);
    let end = warmup.map_or(0, |warmup| warmup.iters);
    // The count at which the schedule last had the peak.
    let start = time.min(end).saturating_sub(1);
    let scale = warmup.map_or(1.0, |warmup| warmup_scale(warmup, time.min(end)));
    let rate = match schedule {
        ScheduleSection::Step(section) => {
            peak * power(section.gamma, time / section.step_size - start / section.step_size)
        }
        ScheduleSection::MultiStep(section) => {
            let passed = section.milestones.iter().filter(|at| (start + 1..=time).contains(*at)).count();
            peak * power(section.gamma, passed as u64)
        }
        ScheduleSection::Exponential(section) => peak * power(section.gamma, time - start),
        ScheduleSection::CosineAnnealing(section) => annealed(section, peak, start, time),
        ScheduleSection::LinearFactor(section) => {
            // Without a warm-up the first share is that of the beginning; a warm-up puts the peak in its place.
            let first = if warmup.is_none() { section.start_factor } else { 1.0 };
            peak * first * line(section, start, time)
        }
        // What the others do is not counted like this.
        _ => peak,
    };
    rate * scale
}

fn power(gamma: f64, times: u64) -> f64 {
    gamma.powi(i32::try_from(times).unwrap_or(i32::MAX))
}

/// The share of the rate at the count `time`, up to the warm-up's end.
fn warmup_scale(warmup: &Warmup, time: u64) -> f64 {
    let left = 1.0 - time as f64 / warmup.iters as f64;
    match warmup.kind {
        WarmupKind::Linear => 1.0 - left * (1.0 - warmup.ratio),
        WarmupKind::Constant if time >= warmup.iters => 1.0,
        WarmupKind::Constant => warmup.ratio,
        WarmupKind::Exponential => warmup.ratio.powf(left),
    }
}

/// What `LinearLR` multiplies the rate with from the count `start` to `time`.
fn line(section: &LinearFactor, start: u64, time: u64) -> f64 {
    let LinearFactor { start_factor, end_factor, total_iters, .. } = *section;
    let share = |at: u64| start_factor + (end_factor - start_factor) * at as f64 / total_iters as f64;
    if start >= total_iters { 1.0 } else { share(time.min(total_iters)) / share(start) }
}

/// `CosineAnnealingLR` at the count `time`, of a rate that was the peak at `start`. Each rate is what the curve makes of the
/// one before. Right after the least one PyTorch adds a step to it instead.
fn annealed(section: &CosineAnnealing, peak: f64, start: u64, time: u64) -> f64 {
    let (half, least) = (section.t_max, section.eta_min);
    let height = |at: u64| 1.0 + (PI * at as f64 / half as f64).cos();
    // How often a rate up to that count was the least one with a step added.
    let turns = |at: u64| if at > half { (at - 1 - half) / (2 * half) + 1 } else { 0 };
    let is_turn = time > start && turns(start + 1) > turns(start);
    let step = (peak - least) * (1.0 - (PI / half as f64).cos()) / 2.0;
    let (from, rate) = if is_turn { (start + 1, peak + step) } else { (start, peak) };
    if turns(time) > turns(from) {
        // The least rate is on the curve whatever was before it, and so is all after it.
        return least + (peak - least) * height(time) / 2.0;
    }
    if time == from { rate } else { least + (rate - least) * height(time) / height(from) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{StepDecay, Unit};

    /// A warm-up of PyTorch's schedules forgets the decays within it (`fixtures/schedules` has all kinds).
    #[test]
    fn decays_within_a_warm_up_last_one_count() {
        let warmup = Warmup { kind: WarmupKind::Linear, iters: 4, ratio: 0.2 };
        let section = StepDecay { by: Unit::Epoch, step_size: 2, gamma: 0.5, warmup: Some(warmup) };
        let schedule = ScheduleSection::Step(section);
        let right = [0.2, 0.4, 0.3, 0.8, 0.5, 0.5, 0.25, 0.25];
        for (time, right) in right.into_iter().enumerate() {
            let found = torch_rate(&schedule, 1.0, time as u64);
            assert!((found - right).abs() < 1e-12, "{time}: {found} against {right}");
        }
    }
}
