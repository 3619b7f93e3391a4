//! BERT's embeddings: word + position + token type 0, normalised. Knows no tokens' meaning.

use burn::tensor::module::embedding;
use burn::tensor::{Int, Tensor};
use mplug::checkpoint::names;
use mplug::config::TextConfig;

use crate::dropout::Dropout;
use crate::error::NnError;
use crate::layer_norm::LayerNorm;
use crate::parameter::{Initial, Parameter, Reader, has_parameters};

/// Word, position and token type embeddings with their norm. The word table belongs to the stack above, which shares it
/// with its head.
#[derive(Clone, Debug)]
pub(crate) struct Embeddings {
    positions: Parameter,
    token_types: Parameter,
    layer_norm: LayerNorm,
}

has_parameters!(Embeddings: positions, token_types, layer_norm);

impl Embeddings {
    /// Reads the tables below `at`.
    pub(crate) fn new(mut at: Reader<'_>, config: &TextConfig, std: f32) -> Result<Self, NnError> {
        let (width, initial) = (config.hidden_size, Initial::Normal(std));
        let positions_shape = [config.max_position_embeddings, width];
        let types_shape = [config.type_vocab_size, width];
        Ok(Self {
            positions: at.parameter(names::embeddings::POSITIONS, &positions_shape, initial)?,
            token_types: at.parameter(names::embeddings::TOKEN_TYPES, &types_shape, initial)?,
            layer_norm: LayerNorm::new(
                at.at(names::embeddings::NORM),
                width,
                f64::from(config.layer_norm_eps),
            )?,
        })
    }

    /// `input_ids` `(batch, len)`, table `(vocab, width)` -> `(batch · len, width)`.
    pub(crate) fn forward(
        &self,
        input_ids: Tensor<2, Int>,
        words: Tensor<2>,
        dropout: &Dropout,
    ) -> Tensor<2> {
        let [batch, len] = input_ids.dims();
        let words = embedding(words, input_ids); // (batch, len, width)
        let width = words.dims()[2];
        let added = self.positions.matrix().narrow(0, 0, len) + self.token_types.matrix().narrow(0, 0, 1); // (len, width)
        let sum = (words + added.unsqueeze::<3>()).reshape([batch * len, width]);
        dropout.text(self.layer_norm.forward(sum))
    }
}
