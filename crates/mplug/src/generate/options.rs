//! How to generate: the options, and the check of their ranges.

use super::beam_search::{BeamSearchConfig, LengthPenalty};
use super::sampling::SamplingOptions;

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
    /// Text given before every result, which is not part of it: what makes a model of several languages write one of them. Its
    /// tokens leave fewer positions for the result, however many are requested.
    pub prompt: Option<String>,
    /// Text that every result begins with; its tokens too leave fewer positions for the rest.
    pub prefix: Option<String>,
    /// Words, or several in a row, that no result has. In scripts with spaces whole words are meant.
    pub forbidden_words: Vec<String>,
    /// Words, or several in a row, that every result has; with beam search alone. More beams find better places for them.
    pub required_words: Vec<String>,
    /// Of several results, each differs from every better one in at least this share of its tokens (0 to 1): those that do
    /// not are left out, so that fewer may remain.
    pub min_difference: f32,
    /// Whether texts that never ended are replaced by texts that did; with beam search alone. Otherwise the list is the original's.
    pub finished_only: bool,
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
            finished_only: false,
        }
    }
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
        if !(0.0..=1.0).contains(&self.min_difference) {
            return error("min_difference", &self.min_difference, "0 to 1".into());
        }
        if self.finished_only && self.min_new_tokens >= self.max_new_tokens {
            let expected = format!("below {}: the end token is one of them", self.max_new_tokens);
            return error("min_new_tokens", &self.min_new_tokens, expected);
        }
        if let Some(sampling) = &self.sampling {
            if self.finished_only {
                let why = "false where texts are sampled: only beam search goes on until they end";
                return error("finished_only", &true, why.into());
            }
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

    /// How many texts that end the search goes on for: what differs too little from a better one is left out later.
    fn min_ended(&self) -> usize {
        match (self.finished_only, self.min_difference > 0.0) {
            (false, _) => 0,
            (true, false) => self.num_return_sequences,
            (true, true) => self.num_beams,
        }
    }

    pub(super) fn beam_search(&self, eos_token_id: u32) -> BeamSearchConfig {
        BeamSearchConfig {
            num_beams: self.num_beams,
            min_new_tokens: self.min_new_tokens,
            max_new_tokens: self.max_new_tokens,
            length_penalty: self.length_penalty,
            eos_token_id,
            min_ended: self.min_ended(),
        }
    }
}
