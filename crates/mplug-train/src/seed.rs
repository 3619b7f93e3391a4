//! Seeds of what is drawn at random: each place in a run has its own, so that nothing depends on what was drawn before.

/// The seed of a place that has several numbers, such as run, step and micro-batch.
pub(crate) fn seed_of(numbers: &[u64]) -> u64 {
    numbers.iter().fold(0, |state, number| mixed(state ^ mixed(*number)))
}

/// Neighbouring numbers become far ones (splitmix64).
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_differ_by_run_step_and_micro_batch() {
        let mut seeds: Vec<u64> = (0..3)
            .flat_map(|run| (0..20).flat_map(move |step| (0..4).map(move |p| seed_of(&[run, step, p]))))
            .collect();
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 240);
    }
}
