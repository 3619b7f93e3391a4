//! What the layers of the three BERT stacks are made of: attention and feed-forward, each with its residual and the norm
//! after it. Knows neither which stack it is in nor where its inputs come from.

use burn::tensor::Tensor;
use mplug::checkpoint::names;
use mplug::config::TextConfig;

use crate::attention::{Heads, attention};
use crate::dropout::Dropout;
use crate::error::NnError;
use crate::feed_forward::{Activation, FeedForward};
use crate::layer_norm::LayerNorm;
use crate::linear::AdaptableLinear;
use crate::parameter::{Reader, has_parameters};

/// What is added to the attention scores of hidden positions.
pub(crate) const MASKED: f32 = -10_000.0;

/// The mask that hides padding: `(batch, len)` of ones and zeros -> `(batch, 1, 1, len)` of zeros and [`MASKED`].
pub(crate) fn padding_mask(attention_mask: Tensor<2>) -> Tensor<4> {
    let [batch, len] = attention_mask.dims();
    (attention_mask - 1.0).mul_scalar(-MASKED).reshape([batch, 1, 1, len])
}

/// The standard deviation of fresh weights: BERT's 0.02 at its width of 768; narrower models need wider distributions for
/// the same activations.
pub(crate) fn fresh_std(config: &TextConfig) -> f32 {
    0.02 * (768.0 / config.hidden_size as f32).sqrt()
}

/// Attention with its output map, residual and norm.
#[derive(Clone, Debug)]
pub(crate) struct AttentionBlock {
    query: AdaptableLinear,
    key: AdaptableLinear,
    value: AdaptableLinear,
    output: AdaptableLinear,
    layer_norm: LayerNorm,
    heads: usize,
}

has_parameters!(AttentionBlock: query, key, value, output, layer_norm);

impl AttentionBlock {
    pub(crate) fn new(mut at: Reader<'_>, config: &TextConfig) -> Result<Self, NnError> {
        let (width, std) = (config.hidden_size, fresh_std(config));
        let mut linear = |name| AdaptableLinear::new(at.at(name), width, width, std);
        Ok(Self {
            query: linear(names::attention::QUERY)?,
            key: linear(names::attention::KEY)?,
            value: linear(names::attention::VALUE)?,
            output: linear(names::attention::OUTPUT)?,
            layer_norm: LayerNorm::new(
                at.at(names::attention::NORM),
                width,
                f64::from(config.layer_norm_eps),
            )?,
            heads: config.num_attention_heads,
        })
    }

    /// `hidden` `(batch · len, width)` looks at `context` `(batch · context_len, width)` through `mask`
    /// `(batch, 1, len or 1, context_len)` -> the shape of `hidden`.
    pub(crate) fn forward(
        &self,
        hidden: Tensor<2>,
        context: Tensor<2>,
        batch: usize,
        mask: Option<Tensor<4>>,
        dropout: &Dropout,
    ) -> Tensor<2> {
        let mixed = attention(
            self.query.forward(hidden.clone(), dropout),
            self.key.forward(context.clone(), dropout),
            self.value.forward(context, dropout),
            Heads { batch, count: self.heads, precision: self.query.precision() },
            mask,
            |probabilities| dropout.text(probabilities),
        );
        self.layer_norm.forward(dropout.text(self.output.forward(mixed, dropout)) + hidden)
    }
}

/// The feed-forward block with its residual and norm.
#[derive(Clone, Debug)]
pub(crate) struct FeedForwardBlock {
    feed_forward: FeedForward,
    layer_norm: LayerNorm,
}

has_parameters!(FeedForwardBlock: feed_forward, layer_norm);

impl FeedForwardBlock {
    /// Reads the block of the layer `at`.
    pub(crate) fn new(at: &mut Reader<'_>, config: &TextConfig) -> Result<Self, NnError> {
        let (width, std) = (config.hidden_size, fresh_std(config));
        Ok(Self {
            feed_forward: FeedForward::new(
                at,
                [names::layer::INTERMEDIATE, names::layer::OUTPUT],
                [width, config.intermediate_size],
                [std, std],
                Activation::Gelu,
            )?,
            layer_norm: LayerNorm::new(at.at(names::layer::NORM), width, f64::from(config.layer_norm_eps))?,
        })
    }

    /// `(rows, width)` -> the same shape.
    pub(crate) fn forward(&self, hidden: Tensor<2>, dropout: &Dropout) -> Tensor<2> {
        let inner = dropout.text(self.feed_forward.forward(hidden.clone(), dropout));
        self.layer_norm.forward(inner + hidden)
    }
}

/// A layer of self-attention and feed-forward alone.
#[derive(Clone, Debug)]
pub(crate) struct SelfAttentionLayer {
    attention: AttentionBlock,
    feed_forward: FeedForwardBlock,
}

has_parameters!(SelfAttentionLayer: attention, feed_forward);

impl SelfAttentionLayer {
    pub(crate) fn new(mut at: Reader<'_>, config: &TextConfig) -> Result<Self, NnError> {
        Ok(Self {
            attention: AttentionBlock::new(at.at(names::layer::SELF_ATTENTION), config)?,
            feed_forward: FeedForwardBlock::new(&mut at, config)?,
        })
    }

    /// `(batch · len, width)` and a mask as in [`AttentionBlock::forward`] -> the same shape.
    pub(crate) fn forward(
        &self,
        hidden: Tensor<2>,
        batch: usize,
        mask: Option<Tensor<4>>,
        dropout: &Dropout,
    ) -> Tensor<2> {
        let hidden = self.attention.forward(hidden.clone(), hidden, batch, mask, dropout);
        self.feed_forward.forward(hidden, dropout)
    }
}

/// A layer of self-attention, attention to another sequence, and feed-forward.
#[derive(Clone, Debug)]
pub(crate) struct CrossAttentionLayer {
    attention: AttentionBlock,
    crossattention: AttentionBlock,
    feed_forward: FeedForwardBlock,
}

has_parameters!(CrossAttentionLayer: attention, crossattention, feed_forward);

/// Another sequence that a stack looks at.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// `(batch · context_len, width)`.
    pub(crate) rows: Tensor<2>,
    /// Sequences; a whole fraction of those that look: neighbours share one.
    pub(crate) batch: usize,
    /// `(batch, 1, 1, context_len)`.
    pub(crate) mask: Option<Tensor<4>>,
}

impl CrossAttentionLayer {
    pub(crate) fn new(mut at: Reader<'_>, config: &TextConfig) -> Result<Self, NnError> {
        Ok(Self {
            attention: AttentionBlock::new(at.at(names::layer::SELF_ATTENTION), config)?,
            crossattention: AttentionBlock::new(at.at(names::layer::CROSS_ATTENTION), config)?,
            feed_forward: FeedForwardBlock::new(&mut at, config)?,
        })
    }

    /// `(batch · len, width)` and a mask as in [`AttentionBlock::forward`] -> the same shape.
    ///
    /// Sequences that share a context go through the cross-attention as one long query, so that its keys and values are
    /// computed once and never copied.
    pub(crate) fn forward(
        &self,
        hidden: Tensor<2>,
        batch: usize,
        mask: Option<Tensor<4>>,
        context: &Context,
        dropout: &Dropout,
    ) -> Tensor<2> {
        let hidden = self.attention.forward(hidden.clone(), hidden, batch, mask, dropout);
        let (rows, mask) = (context.rows.clone(), context.mask.clone());
        let hidden = self.crossattention.forward(hidden, rows, context.batch, mask, dropout);
        self.feed_forward.forward(hidden, dropout)
    }
}
