//! BERT's input embedding: word + position + token type 0, normalised (Devlin et al., arXiv 1810.04805).

use crate::checkpoint::{CheckpointError, Weights, names};
use crate::config::TextConfig;
use crate::engine::LayerNorm;

/// Tables of the text encoder's or the decoder's `embeddings`.
pub struct TextEmbedding {
    /// `(vocab_size, width)`.
    words: Vec<f32>,
    /// `(max_position_embeddings, width)`, the embedding of token type 0 already added to every row.
    positions: Vec<f32>,
    norm: LayerNorm,
    width: usize,
}

impl TextEmbedding {
    /// Reads the tables under `embeddings`; the word table is given, since the decoder shares it with its head.
    pub fn load(weights: &Weights, words: Vec<f32>, config: &TextConfig) -> Result<Self, CheckpointError> {
        let width = config.hidden_size;
        let types = weights.tensor(names::embeddings::TOKEN_TYPES, &[config.type_vocab_size, width])?;
        let mut positions =
            weights.tensor(names::embeddings::POSITIONS, &[config.max_position_embeddings, width])?;
        for row in positions.chunks_exact_mut(width) {
            row.iter_mut().zip(&types).for_each(|(p, t)| *p += t);
        }
        let norm = LayerNorm::load(&weights.at(names::embeddings::NORM), width, config.layer_norm_eps)?;
        Ok(Self { words, positions, norm, width })
    }

    /// Embeds the tokens of a text from its beginning; returns `(token_ids.len(), width)`.
    ///
    /// # Panics
    /// If an id or a position is outside its table: callers check both.
    pub fn forward(&self, token_ids: &[u32]) -> Vec<f32> {
        let mut hidden_states = Vec::with_capacity(token_ids.len() * self.width);
        self.forward_to(token_ids.iter().copied().zip(0..), &mut hidden_states);
        hidden_states
    }

    /// Embeds tokens, each with its position, into a buffer, `(tokens, width)`.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn forward_to(&self, tokens: impl IntoIterator<Item = (u32, usize)>, hidden_states: &mut Vec<f32>) {
        let row = |i: usize| i * self.width..(i + 1) * self.width;
        hidden_states.clear();
        for (id, position) in tokens {
            let word = &self.words[row(id as usize)];
            let position = &self.positions[row(position)];
            hidden_states.extend(word.iter().zip(position).map(|(w, p)| w + p));
        }
        self.norm.forward(hidden_states);
    }
}
