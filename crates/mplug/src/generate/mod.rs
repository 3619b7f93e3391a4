//! Writing text with a decoder: the loop that joins a model to a search. It knows no text and no pictures.
//!
//! ```text
//! decoder --logits--> log-probabilities --beam_search | sampling--> parents, tokens --> decoder
//! ```
//!
//! Images finish on their own and leave the batch; nothing that an image is given depends on its neighbours.

pub mod beam_search;
pub mod constraints;
mod difference;
pub mod key_value_cache;
mod options;
pub mod sampling;
mod sampling_loop;
mod search_loop;

use self::beam_search::Hypothesis;
use self::constraints::Constraints;
use self::difference::keep_different;
pub use self::options::{GenerationError, GenerationOptions};
use self::sampling_loop::{Ends, sample};
use self::search_loop::search;

/// A decoder as the loop sees it: rows that grow by a token at a time. At the start there is one row for each picture.
pub trait StepDecoder {
    /// Appends one token to every row; returns the logits of the next one, `(rows, vocab_size)`.
    fn step(&mut self, token_ids: &[u32]) -> &mut [f32];

    /// Row `i` becomes what row `parents[i]` was; a row may have several children or none.
    fn select_rows(&mut self, parents: &[usize]);
}

/// The decoder's logits for a picture are NaN or infinite, so that there is nothing to choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the model's output is not a number: its weights, though finite, lead out of range; use another checkpoint"
)]
pub struct NotANumber;

/// The hypotheses of a picture, best first, with finite scores.
pub type Hypotheses = Result<Vec<Hypothesis>, NotANumber>;

/// Generates for every picture that `decoder` holds a row of, after the tokens of `prefix` (the start token first).
/// Returns each picture's hypotheses, best first; none where `constraints` require words that found no place. A picture whose
/// logits are not finite fails alone.
/// `options` must have passed [`GenerationOptions::check`]; of words it is `constraints` that counts.
///
/// # Panics
/// If `prefix` is empty.
pub fn generate(
    decoder: &mut impl StepDecoder,
    pictures: usize,
    prefix: &[u32],
    eos_token_id: u32,
    options: &GenerationOptions,
    constraints: Option<&Constraints<'_>>,
) -> Vec<Hypotheses> {
    if pictures == 0 {
        return Vec::new();
    }
    let (&last, before) = prefix.split_last().expect("a prefix holds the start token at least");
    for &token in before {
        decoder.step(&vec![token; pictures]);
    }
    let mut hypotheses = match &options.sampling {
        None => search(decoder, pictures, last, &options.beam_search(eos_token_id), constraints),
        Some(sampling) => {
            let ends = Ends { eos_token_id, options, constraints };
            sample(decoder, pictures, last, &ends, sampling)
        }
    };
    for picture in &mut hypotheses {
        let Ok(found) = picture else { continue };
        keep_different(found, options.min_difference, eos_token_id);
        found.truncate(options.num_return_sequences);
        if !found.iter().all(|hypothesis| hypothesis.score.is_finite()) {
            *picture = Err(NotANumber);
        }
    }
    hypotheses
}

#[cfg(test)]
mod tests {
    use super::sampling::SamplingOptions;
    use super::*;

    /// Writes whatever the logits of each picture say: 1 for the token after the last one, else 0; but `odd` for the token 0 of
    /// the pictures `broken`, once they have two tokens.
    struct Counting {
        rows: Vec<(usize, usize)>,
        logits: Vec<f32>,
        broken: Vec<usize>,
        odd: f32,
    }

    const VOCABULARY: usize = 37;
    const END: u32 = 36;

    impl Counting {
        fn new(pictures: usize, broken: &[usize], odd: f32) -> Self {
            let rows = (0..pictures).map(|picture| (picture, 0)).collect();
            Self { rows, logits: Vec::new(), broken: broken.to_vec(), odd }
        }
    }

    impl StepDecoder for Counting {
        fn step(&mut self, token_ids: &[u32]) -> &mut [f32] {
            assert_eq!(token_ids.len(), self.rows.len());
            self.logits = vec![0.0; token_ids.len() * VOCABULARY];
            let rows = self.logits.chunks_exact_mut(VOCABULARY);
            for ((logits, &token), (picture, len)) in rows.zip(token_ids).zip(&mut self.rows) {
                logits[(token as usize + *picture + 1) % VOCABULARY] = 1.0;
                *len += 1;
                if *len > 2 && self.broken.contains(picture) {
                    logits[0] = self.odd;
                }
            }
            &mut self.logits
        }

        fn select_rows(&mut self, parents: &[usize]) {
            self.rows = parents.iter().map(|&parent| self.rows[parent]).collect();
        }
    }

    #[test]
    fn a_picture_without_numbers_fails_and_changes_nothing_for_the_others() {
        let search =
            GenerationOptions { num_beams: 3, num_return_sequences: 2, ..GenerationOptions::default() };
        let sampling = Some(SamplingOptions::default());
        for options in [GenerationOptions { sampling, ..search.clone() }, search] {
            let write =
                |decoder: &mut Counting, pictures| generate(decoder, pictures, &[5], END, &options, None);
            let whole = write(&mut Counting::new(3, &[], 0.0), 3);
            assert!(whole.iter().flatten().all(|found| found.len() == 2), "{whole:?}");
            for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let found = write(&mut Counting::new(3, &[1], odd), 3);
                assert_eq!(found, [whole[0].clone(), Err(NotANumber), whole[2].clone()], "{odd}");
                let all = write(&mut Counting::new(3, &[0, 1, 2], odd), 3);
                assert_eq!(all, vec![Err(NotANumber); 3], "{odd}");
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
        let write = |options: &GenerationOptions| {
            struct Far(Vec<f32>);
            impl StepDecoder for Far {
                fn step(&mut self, token_ids: &[u32]) -> &mut [f32] {
                    let row = [-3e38, 3e38, -3e38];
                    self.0 = row.repeat(token_ids.len());
                    &mut self.0
                }
                fn select_rows(&mut self, _: &[usize]) {}
            }
            generate(&mut Far(Vec::new()), 1, &[0], 2, options, None).remove(0)
        };
        assert_eq!(write(&options), Err(NotANumber));
        let best = write(&GenerationOptions { num_return_sequences: 1, ..options }).unwrap();
        assert!(best[0].score.abs() < 1e-6);
    }
}
