//! How much two texts differ, and which of several are left out because they differ too little.

use super::beam_search::Hypothesis;

/// Leaves out what differs too little from a better hypothesis.
pub(super) fn keep_different(hypotheses: &mut Vec<Hypothesis>, min_difference: f32, eos_token_id: u32) {
    if min_difference <= 0.0 {
        return;
    }
    let mut kept: Vec<Hypothesis> = Vec::with_capacity(hypotheses.len());
    for hypothesis in hypotheses.drain(..) {
        let differs = |other: &Hypothesis| difference(other, &hypothesis, eos_token_id) >= min_difference;
        if kept.iter().all(differs) {
            kept.push(hypothesis);
        }
    }
    *hypotheses = kept;
}

/// The share of tokens that must change to make one text of the other: their edit distance over the longer one's length.
fn difference(one: &Hypothesis, other: &Hypothesis, eos_token_id: u32) -> f32 {
    let read = |hypothesis: &Hypothesis| -> Vec<u32> {
        hypothesis.token_ids.iter().copied().filter(|token| *token != eos_token_id).collect()
    };
    let (one, other) = (read(one), read(other));
    let longer = one.len().max(other.len());
    if longer == 0 {
        return 0.0;
    }
    strsim::generic_levenshtein(&one, &other) as f32 / longer as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_differ_too_little_are_left_out() {
        let text = |token_ids: &[u32]| Hypothesis { token_ids: token_ids.to_vec(), score: 0.0 };
        let all = [text(&[1, 2, 3, 4, 9]), text(&[1, 2, 3, 4]), text(&[1, 2, 3, 5]), text(&[6, 7, 3, 4])];
        let kept = |min_difference| {
            let mut left = all.to_vec();
            keep_different(&mut left, min_difference, 9);
            left.iter().map(|found| all.iter().position(|one| one == found).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(kept(0.0), [0, 1, 2, 3]);
        assert_eq!(kept(0.25), [0, 2, 3]);
        assert_eq!(kept(0.5), [0, 3]);
        assert_eq!(kept(1.0), [0]);
    }
}
