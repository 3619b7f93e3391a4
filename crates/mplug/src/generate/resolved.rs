//! What is generated, in tokens and checked: what a [`GenerationEngine`](super::GenerationEngine) takes.

use super::constraints::Constraints;
use super::{GenerationError, GenerationOptions};

/// Options that were checked against a model, with their words as tokens. Made by
/// [`Captioner::resolve`](crate::Captioner::resolve) and [`Answerer::resolve`](crate::Answerer::resolve), or from tokens by
/// [`new`](Self::new).
pub struct Resolved {
    /// The start token, a prompt, what the text begins with.
    pub(super) prefix: Vec<u32>,
    /// Tokens at the end of the prefix that belong to the text.
    begun: usize,
    pub(super) eos_token_id: u32,
    pub(super) options: GenerationOptions,
    pub(super) constraints: Option<Constraints>,
}

impl Resolved {
    /// Texts that continue `prefix` (the start token first) and end with `eos_token_id`, in a model of `max_positions` positions. Of the
    /// options' texts (prompt, prefix, words) nothing is read: the prefix has them in tokens, `constraints` the words.
    ///
    /// # Errors
    /// [`GenerationError::Option`] for what is out of range.
    ///
    /// # Panics
    /// If the prefix is empty.
    pub fn new(
        prefix: Vec<u32>,
        eos_token_id: u32,
        options: GenerationOptions,
        constraints: Option<Constraints>,
        max_positions: usize,
    ) -> Result<Self, GenerationError> {
        assert!(!prefix.is_empty(), "a prefix holds the start token at least");
        options.check(max_positions, prefix.len())?;
        Ok(Self { prefix, begun: 0, eos_token_id, options, constraints })
    }

    /// The last `begun` tokens of the prefix are the beginning of every text.
    pub(crate) fn with_begun(self, begun: usize) -> Self {
        Self { begun, ..self }
    }

    /// The tokens of the prefix that belong to every text.
    pub fn begun(&self) -> &[u32] {
        &self.prefix[self.prefix.len() - self.begun..]
    }

    /// The tokens before the first generated one, the start token first.
    pub fn prefix(&self) -> &[u32] {
        &self.prefix
    }

    /// The options, in range.
    pub fn options(&self) -> &GenerationOptions {
        &self.options
    }
}
