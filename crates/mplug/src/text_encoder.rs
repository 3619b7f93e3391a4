//! The text encoder: the first layers of BERT, no pooler (the original's `BertModel` with `text_encoder_layers`).

use crate::checkpoint::{CheckpointError, Weights, names};
use crate::config::{ModelConfig, TextConfig};
use crate::engine::{FeedForward, SelfAttention, TextEmbedding, Workspace};

struct Layer {
    self_attention: SelfAttention,
    feed_forward: FeedForward,
}

impl Layer {
    fn load(weights: &Weights, config: &TextConfig) -> Result<Self, CheckpointError> {
        Ok(Self {
            self_attention: SelfAttention::load(&weights.at(names::layer::SELF_ATTENTION), config)?,
            feed_forward: FeedForward::load(weights, config)?,
        })
    }
}

/// A question or a text in, one embedding per token out.
pub struct TextEncoder {
    embedding: TextEmbedding,
    layers: Vec<Layer>,
}

impl TextEncoder {
    /// Reads `text_encoder.*` from the root cursor.
    pub fn load(root: &Weights, config: &ModelConfig) -> Result<Self, CheckpointError> {
        let text = &config.text;
        let weights = root.at(names::TEXT_ENCODER);
        let embeddings = weights.at(names::EMBEDDINGS);
        let words = embeddings.tensor(names::embeddings::WORDS, &[text.vocab_size, text.hidden_size])?;
        let layers = weights.at(names::LAYERS);
        Ok(Self {
            embedding: TextEmbedding::load(&embeddings, words, text)?,
            layers: (0..text.text_encoder_layers)
                .map(|layer| Layer::load(&layers.at(layer), text))
                .collect::<Result<_, _>>()?,
        })
    }

    /// `input_ids` of one text, of which those from `valid_len` on are padding; returns `text_embeds`
    /// `(input_ids.len(), hidden_size)`.
    pub fn forward(&self, input_ids: &[u32], valid_len: usize) -> Vec<f32> {
        let mut hidden_states = self.embedding.forward(input_ids);
        let mut workspace = Workspace::default();
        for layer in &self.layers {
            layer.self_attention.forward(&mut hidden_states, valid_len, &mut workspace);
            layer.feed_forward.forward(&mut hidden_states, &mut workspace);
        }
        hidden_states
    }
}
