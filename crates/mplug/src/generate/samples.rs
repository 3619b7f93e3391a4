//! Texts of one picture that are drawn token by token.

use super::beam_search::{BeamStep, Hypothesis};
use super::constraints::Constraints;
use super::sampling::{Sampler, SamplingOptions, filter_logits};
use super::{GenerationOptions, Resolved};

/// One row that is drawn token by token.
struct SampledRow {
    sampler: Sampler,
    hypothesis: Hypothesis,
}

impl SampledRow {
    /// Draws a token, and again where that would complete a forbidden word.
    fn draw(&mut self, logits: &mut [f32], sampling: &SamplingOptions, constraints: Option<&Constraints>) {
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

/// The texts that are drawn for one picture: those that go on, and those that have ended.
pub(super) struct Samples {
    rows: Vec<SampledRow>,
    finished: Vec<Hypothesis>,
    steps: usize,
}

impl Samples {
    /// Nothing is drawn yet; the first step has one row for all texts.
    pub(super) fn new(sampling: &SamplingOptions, options: &GenerationOptions) -> Self {
        let row = |row| SampledRow {
            sampler: Sampler::new(sampling.seed, row),
            hypothesis: Hypothesis { token_ids: Vec::new(), score: 0.0 },
        };
        let rows = (0..options.num_return_sequences).map(row).collect();
        Self { rows, finished: Vec::new(), steps: 0 }
    }

    /// Draws a token for every text that goes on; `logits` are `(rows, vocab_size)`. `None` when all have ended.
    pub(super) fn advance(
        &mut self,
        logits: &mut [f32],
        vocab_size: usize,
        resolved: &Resolved,
    ) -> Option<BeamStep> {
        let Resolved { options, eos_token_id, constraints, .. } = resolved;
        let sampling = options.sampling.as_ref()?;
        self.steps += 1;
        if self.steps <= options.min_new_tokens {
            for logits in logits.chunks_exact_mut(vocab_size) {
                logits[*eos_token_id as usize] = f32::NEG_INFINITY;
            }
        }
        let is_first = self.steps == 1;
        for (index, row) in self.rows.iter_mut().enumerate() {
            let logits = &mut logits[if is_first { 0 } else { index * vocab_size }..][..vocab_size];
            if is_first {
                row.draw(&mut logits.to_vec(), sampling, constraints.as_ref());
            } else {
                row.draw(logits, sampling, constraints.as_ref());
            }
        }
        let goes_on = |row: &SampledRow| {
            self.steps < options.max_new_tokens && row.hypothesis.token_ids.last() != Some(eos_token_id)
        };
        let mut step = BeamStep { parent_beams: Vec::new(), next_token_ids: Vec::new() };
        for (index, row) in std::mem::take(&mut self.rows).into_iter().enumerate() {
            if goes_on(&row) {
                step.parent_beams.push(if is_first { 0 } else { index });
                step.next_token_ids.extend(row.hypothesis.token_ids.last());
                self.rows.push(row);
            } else {
                self.finished.push(row.hypothesis);
            }
        }
        (!self.rows.is_empty()).then_some(step)
    }

    /// The texts, the likeliest first; of equal ones that which ended first.
    pub(super) fn take_hypotheses(&mut self) -> Vec<Hypothesis> {
        let mut found = std::mem::take(&mut self.finished);
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        found
    }
}
