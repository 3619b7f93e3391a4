//! The loop that joins a decoder to a beam search for each picture.

use mplug_kernels::finite::are_finite;

use super::beam_search::{BeamSearch, BeamSearchConfig};
use super::constraints::Constraints;
use super::sampling::log_softmax;
use super::{Hypotheses, NotANumber, StepDecoder};

pub(super) fn search(
    decoder: &mut impl StepDecoder,
    pictures: usize,
    first_token: u32,
    config: &BeamSearchConfig,
    constraints: Option<&Constraints<'_>>,
) -> Vec<Hypotheses> {
    let mut results: Vec<Hypotheses> = vec![Ok(Vec::new()); pictures];
    let mut searches: Vec<(usize, BeamSearch)> =
        (0..pictures).map(|picture| (picture, BeamSearch::new(config.clone()))).collect();
    let mut token_ids = vec![first_token; pictures];
    loop {
        let log_probs = decoder.step(&token_ids); // (rows, vocab_size)
        let vocab_size = log_probs.len() / token_ids.len();
        let is_good = log_softmax_rows(log_probs, vocab_size);
        let (mut parents, mut next_token_ids, mut alive) = (Vec::new(), Vec::new(), Vec::new());
        let mut first_row = 0;
        for (picture, mut search) in searches {
            let (first, rows) = (first_row, search.num_live_beams());
            first_row += rows;
            if is_good[first..first + rows].contains(&false) {
                results[picture] = Err(NotANumber);
                continue;
            }
            let log_probs = &log_probs[first * vocab_size..(first + rows) * vocab_size];
            let step = match constraints {
                Some(constraints) => search.advance_within(log_probs, constraints),
                None => search.advance(log_probs),
            };
            match step {
                Some(step) => {
                    parents.extend(step.parent_beams.iter().map(|parent| first + parent));
                    next_token_ids.extend(step.next_token_ids);
                    alive.push((picture, search));
                }
                None => results[picture] = Ok(search.into_hypotheses()),
            }
        }
        if alive.is_empty() {
            return results;
        }
        decoder.select_rows(&parents);
        (searches, token_ids) = (alive, next_token_ids);
    }
}

/// Takes the log-softmax of each row in place; which of them were finite.
fn log_softmax_rows(logits: &mut [f32], vocab_size: usize) -> Vec<bool> {
    use rayon::prelude::*;
    let log_softmax = |row: &mut [f32]| {
        let is_good = are_finite(row);
        log_softmax(row);
        is_good
    };
    logits.par_chunks_exact_mut(vocab_size).map(log_softmax).collect()
}
