//! From states to scores of tokens: BERT's head, whose last map is the word table itself. Knows neither the stack below
//! nor the tokens' meaning.

use burn::tensor::Tensor;
use mplug::checkpoint::names;
use mplug::config::TextConfig;

use crate::error::NnError;
use crate::fused::gelu;
use crate::layer_norm::LayerNorm;
use crate::linear::Linear;
use crate::parameter::{Initial, Parameter, Reader, has_parameters};
use crate::product::product;
use crate::text_layer::fresh_std;

/// A transform, and the bias of the product with the word table, which belongs to somebody else.
#[derive(Clone, Debug)]
pub(crate) struct LanguageHead {
    transform: Linear,
    layer_norm: LayerNorm,
    bias: Parameter,
}

has_parameters!(LanguageHead: transform, layer_norm, bias);

impl LanguageHead {
    /// Reads the head below `at` (the original's `cls.predictions`).
    pub(crate) fn new(mut at: Reader<'_>, config: &TextConfig) -> Result<Self, NnError> {
        let width = config.hidden_size;
        Ok(Self {
            transform: Linear::new(at.at(names::language_head::TRANSFORM), width, width, fresh_std(config))?,
            layer_norm: LayerNorm::new(
                at.at(names::language_head::NORM),
                width,
                f64::from(config.layer_norm_eps),
            )?,
            bias: at.tied_parameter(
                names::BIAS,
                names::language_head::WORDS_BIAS,
                &[config.vocab_size],
                Initial::Zeros,
            )?,
        })
    }

    /// `hidden` `(rows, width)`, `words` `(vocab, width)` -> scores `(rows, vocab)`.
    pub(crate) fn forward(&self, hidden: Tensor<2>, words: Tensor<2>) -> Tensor<2> {
        let hidden = self.layer_norm.forward(gelu(self.transform.forward(hidden)));
        product(hidden, words.transpose(), self.transform.precision()) + self.bias.vector().unsqueeze::<2>()
    }
}
