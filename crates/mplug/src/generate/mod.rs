//! Writing text with a decoder: the loop that joins a model to a search. It knows no text and no pictures.
//!
//! ```text
//! decoder --logits--> log-probabilities --beam_search | sampling--> parents, tokens --> decoder
//! ```
//!
//! Images finish on their own and leave the batch; nothing that an image is given depends on its neighbours.

pub mod beam_search;
pub mod key_value_cache;
pub mod sampling;

use self::beam_search::{BeamSearch, BeamSearchConfig, Hypothesis, LengthPenalty};
use self::sampling::{Sampler, SamplingOptions, filter_logits, log_softmax};

/// A decoder as the loop sees it: rows that grow by a token at a time. At the start there is one row for each picture.
pub trait StepDecoder {
    /// Appends one token to every row; returns the logits of the next one, `(rows, vocab_size)`.
    fn step(&mut self, token_ids: &[u32]) -> &mut [f32];

    /// Row `i` becomes what row `parents[i]` was; a row may have several children or none.
    fn select_rows(&mut self, parents: &[usize]);
}

/// How to generate.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerationOptions {
    /// Beam width; ignored when sampling.
    pub num_beams: usize,
    /// Tokens that must precede the end token.
    pub min_new_tokens: usize,
    /// Most tokens generated, the end token included.
    pub max_new_tokens: usize,
    /// Texts returned for each picture: at most `num_beams` with beam search.
    pub num_return_sequences: usize,
    /// Length penalty of beam scores.
    pub length_penalty: LengthPenalty,
    /// Draw at random instead of searching.
    pub sampling: Option<SamplingOptions>,
    /// Text given before every result, which is not part of it: what tells a model of several languages which to write. Its
    /// tokens leave fewer positions for the result, however many are asked for.
    pub prompt: Option<String>,
    /// Text that every result begins with.
    pub prefix: Option<String>,
}

/// A way of generating that cannot work.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum GenerationError {
    /// An option is outside its range.
    #[error("`{option}` is {found}, expected {expected}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// What was given.
        found: String,
        /// What would do.
        expected: String,
    },
}

impl GenerationOptions {
    /// Checks ranges; `max_positions` is the longest sequence of the model, `prefix_len` the tokens before the first
    /// generated one (the start token included).
    pub fn check(&self, max_positions: usize, prefix_len: usize) -> Result<(), GenerationError> {
        let error = |option, found: &dyn ToString, expected: String| {
            Err(GenerationError::Option { option, found: found.to_string(), expected })
        };
        if !(1..=256).contains(&self.num_beams) {
            return error("num_beams", &self.num_beams, "1 to 256".into());
        }
        if self.max_new_tokens == 0 || self.max_new_tokens + prefix_len > max_positions + 1 {
            let most = (max_positions + 1).saturating_sub(prefix_len);
            let why =
                format!("1 to {most} (the model's positions less {prefix_len} for the start and the prefix)");
            return error("max_new_tokens", &self.max_new_tokens, why);
        }
        if self.min_new_tokens > self.max_new_tokens {
            return error("min_new_tokens", &self.min_new_tokens, format!("at most {}", self.max_new_tokens));
        }
        let most = if self.sampling.is_some() { 256 } else { self.num_beams };
        if !(1..=most).contains(&self.num_return_sequences) {
            return error("num_return_sequences", &self.num_return_sequences, format!("1 to {most}"));
        }
        if let Some(sampling) = &self.sampling {
            if !(sampling.temperature > 0.0 && sampling.temperature.is_finite()) {
                return error("temperature", &sampling.temperature, "above 0".into());
            }
            if !(sampling.top_p > 0.0 && sampling.top_p <= 1.0) {
                return error("top_p", &sampling.top_p, "above 0, at most 1".into());
            }
        }
        Ok(())
    }

    fn beam_search(&self, eos_token_id: u32) -> BeamSearchConfig {
        BeamSearchConfig {
            num_beams: self.num_beams,
            min_new_tokens: self.min_new_tokens,
            max_new_tokens: self.max_new_tokens,
            length_penalty: self.length_penalty,
            eos_token_id,
        }
    }
}

/// Generates for every picture that `decoder` holds a row of, after the tokens of `prefix` (the start token first).
/// Returns each picture's hypotheses, best first. `options` must have passed [`GenerationOptions::check`].
///
/// # Panics
/// If `prefix` is empty.
pub fn generate(
    decoder: &mut impl StepDecoder,
    pictures: usize,
    prefix: &[u32],
    eos_token_id: u32,
    options: &GenerationOptions,
) -> Vec<Vec<Hypothesis>> {
    if pictures == 0 {
        return Vec::new();
    }
    let (&last, before) = prefix.split_last().expect("a prefix holds the start token at least");
    for &token in before {
        decoder.step(&vec![token; pictures]);
    }
    let mut hypotheses = match &options.sampling {
        None => search(decoder, pictures, last, &options.beam_search(eos_token_id)),
        Some(sampling) => sample(decoder, pictures, last, eos_token_id, options, sampling),
    };
    for found in &mut hypotheses {
        found.truncate(options.num_return_sequences);
    }
    hypotheses
}

fn search(
    decoder: &mut impl StepDecoder,
    pictures: usize,
    first_token: u32,
    config: &BeamSearchConfig,
) -> Vec<Vec<Hypothesis>> {
    let mut results: Vec<Vec<Hypothesis>> = vec![Vec::new(); pictures];
    let mut searches: Vec<(usize, BeamSearch)> =
        (0..pictures).map(|picture| (picture, BeamSearch::new(config.clone()))).collect();
    let mut token_ids = vec![first_token; pictures];
    loop {
        let log_probs = decoder.step(&token_ids); // (rows, vocab_size)
        let vocab_size = log_probs.len() / token_ids.len();
        log_softmax_rows(log_probs, vocab_size);
        let (mut parents, mut next_token_ids, mut alive) = (Vec::new(), Vec::new(), Vec::new());
        let mut first_row = 0;
        for (picture, mut search) in searches {
            let rows = search.num_live_beams();
            match search.advance(&log_probs[first_row * vocab_size..(first_row + rows) * vocab_size]) {
                Some(step) => {
                    parents.extend(step.parent_beams.iter().map(|parent| first_row + parent));
                    next_token_ids.extend(step.next_token_ids);
                    alive.push((picture, search));
                }
                None => results[picture] = search.into_hypotheses(),
            }
            first_row += rows;
        }
        if alive.is_empty() {
            return results;
        }
        decoder.select_rows(&parents);
        (searches, token_ids) = (alive, next_token_ids);
    }
}

/// One row that is drawn token by token.
struct SampledRow {
    picture: usize,
    sampler: Sampler,
    hypothesis: Hypothesis,
}

fn sample(
    decoder: &mut impl StepDecoder,
    pictures: usize,
    first_token: u32,
    eos_token_id: u32,
    options: &GenerationOptions,
    sampling: &SamplingOptions,
) -> Vec<Vec<Hypothesis>> {
    let per_picture = options.num_return_sequences;
    let mut results: Vec<Vec<Hypothesis>> = vec![Vec::new(); pictures];
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
            if step <= options.min_new_tokens {
                logits[eos_token_id as usize] = f32::NEG_INFINITY;
            }
            filter_logits(logits, sampling);
            let (token, log_prob) = row.sampler.draw(logits);
            row.hypothesis.token_ids.push(token);
            row.hypothesis.score += log_prob;
        }
        let ends = |row: &SampledRow| row.hypothesis.token_ids.last() == Some(&eos_token_id);
        let alive: Vec<usize> =
            (0..rows.len()).filter(|&i| step < options.max_new_tokens && !ends(&rows[i])).collect();
        let mut kept = Vec::with_capacity(alive.len());
        for (i, row) in rows.into_iter().enumerate() {
            if alive.binary_search(&i).is_ok() {
                kept.push(row);
            } else {
                results[row.picture].push(row.hypothesis);
            }
        }
        rows = kept;
        if rows.is_empty() {
            break;
        }
        decoder.select_rows(&alive);
        token_ids = rows.iter().filter_map(|row| row.hypothesis.token_ids.last().copied()).collect();
    }
    for found in &mut results {
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
    }
    results
}

fn log_softmax_rows(logits: &mut [f32], vocab_size: usize) {
    use rayon::prelude::*;
    logits.par_chunks_exact_mut(vocab_size).for_each(log_softmax);
}
