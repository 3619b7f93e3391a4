//! The texts of one picture while they are written: logits in; parents and next tokens out; at the end the hypotheses. It joins a
//! search or a draw to what was requested, and knows no model.

use std::sync::Arc;

use mplug_kernels::finite::are_finite;

use super::beam_search::{BeamSearch, BeamStep};
use super::difference::keep_different;
use super::samples::Samples;
use super::sampling::log_softmax;
use super::{Hypotheses, NotANumber, Resolved};

/// What comes after a step.
pub(super) enum Next {
    /// Each row continues a row of the last step with a token.
    Step(BeamStep),
    /// The texts are there.
    Finished(Hypotheses),
}

/// Texts in the making: one row after the prefix, then as many as the search has beams, or a row for each text that is drawn.
pub(super) struct Writing {
    resolved: Arc<Resolved>,
    method: Method,
}

enum Method {
    Search(BeamSearch),
    Samples(Samples),
}

impl Writing {
    pub(super) fn new(resolved: Arc<Resolved>) -> Self {
        let method = match &resolved.options.sampling {
            None => Method::Search(BeamSearch::new(resolved.options.beam_search(resolved.eos_token_id))),
            Some(sampling) => Method::Samples(Samples::new(sampling, &resolved.options)),
        };
        Self { resolved, method }
    }

    /// Makes of one row's logits `(vocab_size)` what [`advance`](Self::advance) takes, each row on its own; `false` where they are not
    /// finite, so that there is nothing to choose from.
    pub(super) fn prepare(&self, logits: &mut [f32]) -> bool {
        let is_good = are_finite(logits);
        if is_good && matches!(self.method, Method::Search(_)) {
            log_softmax(logits);
        }
        is_good
    }

    /// Takes a step. `rows` is `(rows, vocab_size)`, each row prepared, and is worked in.
    pub(super) fn advance(&mut self, rows: &mut [f32], vocab_size: usize) -> Next {
        let constraints = self.resolved.constraints.as_ref();
        let step = match &mut self.method {
            Method::Search(search) => match constraints {
                Some(constraints) => search.advance_within(rows, constraints),
                None => search.advance(rows),
            },
            Method::Samples(samples) => samples.advance(rows, vocab_size, &self.resolved),
        };
        step.map_or_else(|| Next::Finished(self.finish()), Next::Step)
    }

    /// What was found, best first.
    fn finish(&mut self) -> Hypotheses {
        let Resolved { options, eos_token_id, .. } = &*self.resolved;
        let mut found = match &mut self.method {
            Method::Search(search) => search.take_hypotheses(),
            Method::Samples(samples) => samples.take_hypotheses(),
        };
        keep_different(&mut found, options.min_difference, *eos_token_id);
        found.truncate(options.num_return_sequences);
        if found.iter().all(|hypothesis| hypothesis.score.is_finite()) { Ok(found) } else { Err(NotANumber) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::GenerationOptions;
    use super::super::sampling::SamplingOptions;
    use super::*;

    const END: u32 = 36;

    /// The texts of a decoder that gives `logits(the row's tokens so far, its last token)`.
    fn write(options: &GenerationOptions, logits: impl Fn(usize, u32) -> Vec<f32>) -> Hypotheses {
        let resolved = Resolved::new(vec![5], END, options.clone(), None, 99).unwrap();
        let mut writing = Writing::new(Arc::new(resolved));
        let mut last_tokens = vec![5];
        for len in 1.. {
            let mut rows: Vec<f32> = last_tokens.iter().flat_map(|&token| logits(len, token)).collect();
            let vocab_size = rows.len() / last_tokens.len();
            if !rows.chunks_mut(vocab_size).all(|row| writing.prepare(row)) {
                return Err(NotANumber);
            }
            match writing.advance(&mut rows, vocab_size) {
                Next::Step(step) => last_tokens = step.next_token_ids,
                Next::Finished(hypotheses) => return hypotheses,
            }
        }
        unreachable!("texts end")
    }

    #[test]
    fn logits_that_are_no_numbers_fail_the_text() {
        let search =
            GenerationOptions { num_beams: 3, num_return_sequences: 2, ..GenerationOptions::default() };
        let sampling = Some(SamplingOptions::default());
        for options in [GenerationOptions { sampling, ..search.clone() }, search] {
            // The token after the last one is the likeliest.
            let counting = |odd: f32| {
                write(&options, |len, token| {
                    let mut logits = vec![0.0; 37];
                    logits[(token as usize + 1) % 37] = 1.0;
                    logits[0] = if len > 2 { odd } else { 0.0 };
                    logits
                })
            };
            assert_eq!(counting(0.0).unwrap().len(), 2);
            for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                assert_eq!(counting(odd), Err(NotANumber), "{odd}");
            }
        }
    }

    #[test]
    fn no_score_is_infinite() {
        // Logits so far apart that all but one token have the log-probability minus infinity, and two beams want tokens.
        let options = GenerationOptions {
            num_beams: 2,
            min_new_tokens: 0,
            num_return_sequences: 2,
            ..GenerationOptions::default()
        };
        let far = |_, _| {
            let mut logits = vec![-3e38; 37];
            logits[1] = 3e38;
            logits
        };
        assert_eq!(write(&options, far), Err(NotANumber));
        let best = write(&GenerationOptions { num_return_sequences: 1, ..options }, far).unwrap();
        assert!(best[0].score.abs() < 1e-6);
    }
}
