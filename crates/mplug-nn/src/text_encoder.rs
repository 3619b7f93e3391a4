//! The text encoder: BERT's first layers, no pooler (the original's `BertModel` with `text_encoder_layers`). Knows nothing of
//! pictures.

use burn::tensor::{Int, Tensor};
use mplug::checkpoint::names;
use mplug::config::TextConfig;

use crate::dropout::Dropout;
use crate::embedding::Embeddings;
use crate::error::NnError;
use crate::parameter::{Initial, Parameter, Reader, has_parameters};
use crate::text_layer::{SelfAttentionLayer, fresh_std, padding_mask};

/// A question or a text in, one vector per token out.
#[derive(Clone, Debug)]
pub struct TextEncoder {
    word_embeddings: Parameter,
    embeddings: Embeddings,
    layers: Vec<SelfAttentionLayer>,
}

has_parameters!(TextEncoder: word_embeddings, embeddings, layers);

impl TextEncoder {
    /// Reads the encoder from the root of a checkpoint.
    pub(crate) fn new(root: &mut Reader<'_>, config: &TextConfig) -> Result<Self, NnError> {
        let mut at = root.at(names::TEXT_ENCODER);
        let std = fresh_std(config);
        let words = [config.vocab_size, config.hidden_size];
        Ok(Self {
            word_embeddings: at.parameter(
                &names::below(names::EMBEDDINGS, names::embeddings::WORDS),
                &words,
                Initial::Normal(std),
            )?,
            embeddings: Embeddings::new(at.at(names::EMBEDDINGS), config, std)?,
            layers: (0..config.text_encoder_layers)
                .map(|i| SelfAttentionLayer::new(at.at(format!("{}.{i}", names::LAYERS)), config))
                .collect::<Result<_, _>>()?,
        })
    }

    /// The word table `(vocab, width)`.
    pub(crate) fn words(&self) -> Tensor<2> {
        self.word_embeddings.matrix()
    }

    /// `input_ids` `(batch, len)`; `attention_mask` `(batch, len)`, 1 for tokens and 0 for padding -> `text_embeds`
    /// `(batch, len, width)`.
    pub fn forward(
        &self,
        input_ids: Tensor<2, Int>,
        attention_mask: Tensor<2>,
        dropout: &Dropout,
    ) -> Tensor<3> {
        let [batch, len] = input_ids.dims();
        let mask = padding_mask(attention_mask);
        let mut hidden = self.embeddings.forward(input_ids, self.words(), dropout); // (batch · len, width)
        for layer in &self.layers {
            hidden = layer.forward(hidden, batch, Some(mask.clone()), dropout);
        }
        let width = hidden.dims()[1];
        hidden.reshape([batch, len, width])
    }
}
