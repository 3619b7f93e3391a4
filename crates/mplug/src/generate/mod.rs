//! Writing text with a decoder: the loop that joins a model to a search. It knows no text and no pictures.
//!
//! ```text
//! decoder --logits--> log-probabilities --beam_search | sampling--> parents, tokens --> decoder
//! ```
//!
//! Images finish on their own and leave the batch; nothing that an image is given depends on its neighbours.

pub mod beam_search;
pub mod constraints;
pub mod key_value_cache;
pub mod sampling;

use mplug_kernels::finite::are_finite;

use self::beam_search::{BeamSearch, BeamSearchConfig, Hypothesis, LengthPenalty};
use self::constraints::Constraints;
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
    /// tokens leave fewer positions for the result, however many are requested.
    pub prompt: Option<String>,
    /// Text that every result begins with; it takes positions likewise.
    pub prefix: Option<String>,
    /// Words, or several in a row, that no result has. In scripts with spaces whole words are meant.
    pub forbidden_words: Vec<String>,
    /// The same that every result has; with beam search alone. More beams find better places for them.
    pub required_words: Vec<String>,
    /// Of several results, each differs from every better one in at least this share of its tokens (0 to 1): those that do
    /// not are left out, so that fewer may remain.
    pub min_difference: f32,
}

impl Default for GenerationOptions {
    /// The original's: five beams, 8 to 25 tokens.
    fn default() -> Self {
        Self {
            num_beams: 5,
            min_new_tokens: 8,
            max_new_tokens: 25,
            num_return_sequences: 1,
            length_penalty: LengthPenalty::Gnmt { alpha: 0.6 },
            sampling: None,
            prompt: None,
            prefix: None,
            forbidden_words: Vec::new(),
            required_words: Vec::new(),
            min_difference: 0.0,
        }
    }
}

/// The decoder's logits for a picture are NaN or infinite, so that there is nothing to choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the model's output is not a number: its weights, though finite, lead out of range; use another checkpoint"
)]
pub struct NotANumber;

/// The hypotheses of a picture, best first, with finite scores.
pub type Hypotheses = Result<Vec<Hypothesis>, NotANumber>;

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
        if !(0.0..=1.0).contains(&self.min_difference) {
            return error("min_difference", &self.min_difference, "0 to 1".into());
        }
        if let Some(sampling) = &self.sampling {
            if !self.required_words.is_empty() {
                let why = "none where texts are sampled: only beam search can require words";
                return error("required_words", &self.required_words.join(", "), why.into());
            }
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

fn search(
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

/// Leaves out what differs too little from a better hypothesis.
fn keep_different(hypotheses: &mut Vec<Hypothesis>, min_difference: f32, eos_token_id: u32) {
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

/// When sampled texts end, and what they may not have.
struct Ends<'a> {
    eos_token_id: u32,
    options: &'a GenerationOptions,
    constraints: Option<&'a Constraints<'a>>,
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

fn sample(
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

#[cfg(test)]
mod tests {
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
