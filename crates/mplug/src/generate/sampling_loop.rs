//! The loop that joins a decoder to a sampler for each text.

use mplug_kernels::finite::are_finite;

use super::beam_search::Hypothesis;
use super::constraints::Constraints;
use super::sampling::{Sampler, SamplingOptions, filter_logits};
use super::{GenerationOptions, Hypotheses, NotANumber, StepDecoder};

/// When sampled texts end, and what they may not have.
pub(super) struct Ends<'a> {
    pub(super) eos_token_id: u32,
    pub(super) options: &'a GenerationOptions,
    pub(super) constraints: Option<&'a Constraints<'a>>,
}

/// One row that is drawn token by token.
struct SampledRow {
    picture: usize,
    sampler: Sampler,
    hypothesis: Hypothesis,
}

impl SampledRow {
    /// Draws a token, and again where that would complete a forbidden word.
    fn draw(
        &mut self,
        logits: &mut [f32],
        sampling: &SamplingOptions,
        constraints: Option<&Constraints<'_>>,
    ) {
        let Some(constraints) = constraints else {
            filter_logits(logits, sampling);
            let (token, log_prob) = self.sampler.draw(logits);
            self.hypothesis.token_ids.push(token);
            self.hypothesis.score += log_prob;
            return;
        };
        for _ in 0..logits.len() {
            let mut filtered = logits.to_vec();
            filter_logits(&mut filtered, sampling);
            let (token, log_prob) = self.sampler.draw(&mut filtered);
            self.hypothesis.token_ids.push(token);
            if constraints.allows(&self.hypothesis.token_ids) {
                self.hypothesis.score += log_prob;
                return;
            }
            self.hypothesis.token_ids.pop();
            logits[token as usize] = f32::NEG_INFINITY;
        }
    }
}

pub(super) fn sample(
    decoder: &mut impl StepDecoder,
    pictures: usize,
    first_token: u32,
    ends: &Ends<'_>,
    sampling: &SamplingOptions,
) -> Vec<Hypotheses> {
    let &Ends { eos_token_id, options, constraints } = ends;
    let per_picture = options.num_return_sequences;
    let mut results: Vec<Hypotheses> = vec![Ok(Vec::new()); pictures];
    let mut rows: Vec<SampledRow> = (0..pictures * per_picture)
        .map(|row| SampledRow {
            picture: row / per_picture,
            sampler: Sampler::new(sampling.seed, row % per_picture),
            hypothesis: Hypothesis { token_ids: Vec::new(), score: 0.0 },
        })
        .collect();
    decoder.select_rows(&rows.iter().map(|row| row.picture).collect::<Vec<_>>());
    let mut token_ids = vec![first_token; rows.len()];
    for step in 1..=options.max_new_tokens {
        let logits = decoder.step(&token_ids); // (rows, vocab_size)
        let vocab_size = logits.len() / rows.len();
        for (row, logits) in rows.iter_mut().zip(logits.chunks_exact_mut(vocab_size)) {
            if !are_finite(logits) {
                results[row.picture] = Err(NotANumber);
                continue;
            }
            if step <= options.min_new_tokens {
                logits[eos_token_id as usize] = f32::NEG_INFINITY;
            }
            row.draw(logits, sampling, constraints);
        }
        let ends = |row: &SampledRow| row.hypothesis.token_ids.last() == Some(&eos_token_id);
        let goes_on =
            |row: &SampledRow| step < options.max_new_tokens && results[row.picture].is_ok() && !ends(row);
        let alive: Vec<usize> = (0..rows.len()).filter(|&i| goes_on(&rows[i])).collect();
        let mut kept = Vec::with_capacity(alive.len());
        for (i, row) in rows.into_iter().enumerate() {
            if alive.binary_search(&i).is_ok() {
                kept.push(row);
            } else if let Ok(found) = &mut results[row.picture] {
                found.push(row.hypothesis);
            }
        }
        rows = kept;
        if rows.is_empty() {
            break;
        }
        decoder.select_rows(&alive);
        token_ids = rows.iter().filter_map(|row| row.hypothesis.token_ids.last().copied()).collect();
    }
    for found in results.iter_mut().flatten() {
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
    }
    results
}
