//! The text decoder: a post-norm BERT with causal self-attention and cross-attention to the picture, and a head tied to
//! the word embeddings (the original's `BertPrefixModel`). Knows nothing of pictures but their embeddings, nothing of tokens but their ids.

use burn::tensor::{Int, Tensor};
use mplug::config::TextConfig;

use crate::attention::{Heads, attention};
use crate::dropout::dropout;
use crate::embedding::Embeddings;
use crate::error::NnError;
use crate::feed_forward::{Activation, FeedForward};
use crate::fused::gelu;
use crate::layer_norm::LayerNorm;
use crate::linear::Linear;
use crate::parameter::{Initial, Parameter, Reader, has_parameters};

/// What is added to the scores of hidden places.
const MASKED: f32 = -10_000.0;

/// Attention with its output map, residual and norm.
#[derive(Clone, Debug)]
struct AttentionBlock {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    layer_norm: LayerNorm,
    heads: usize,
}

has_parameters!(AttentionBlock: query, key, value, output, layer_norm);

impl AttentionBlock {
    fn new(mut at: Reader<'_>, config: &TextConfig, std: f32) -> Result<Self, NnError> {
        let width = config.hidden_size;
        let mut linear = |name| Linear::new(at.at(name), width, width, std);
        Ok(Self {
            query: linear("self.query")?,
            key: linear("self.key")?,
            value: linear("self.value")?,
            output: linear("output.dense")?,
            layer_norm: LayerNorm::new(at.at("output.LayerNorm"), width, f64::from(config.layer_norm_eps))?,
            heads: config.num_attention_heads,
        })
    }

    /// `hidden` `(batch · len, width)` looks at `context` `(batch · context_len, width)` -> the shape of `hidden`.
    fn forward(
        &self,
        hidden: Tensor<2>,
        context: Tensor<2>,
        mask: Option<Tensor<4>>,
        step: Step,
    ) -> Tensor<2> {
        let mixed = attention(
            self.query.forward(hidden.clone()),
            self.key.forward(context.clone()),
            self.value.forward(context),
            Heads { batch: step.batch, heads: self.heads },
            mask,
            step.dropout,
        );
        self.layer_norm.forward(dropout(self.output.forward(mixed), step.dropout) + hidden)
    }
}

/// What all layers of one pass share.
#[derive(Clone, Copy)]
struct Step {
    batch: usize,
    dropout: f32,
}

/// A decoder layer.
#[derive(Clone, Debug)]
struct DecoderLayer {
    attention: AttentionBlock,
    crossattention: AttentionBlock,
    feed_forward: FeedForward,
    layer_norm: LayerNorm,
}

has_parameters!(DecoderLayer: attention, crossattention, feed_forward, layer_norm);

impl DecoderLayer {
    fn new(mut at: Reader<'_>, config: &TextConfig, std: f32) -> Result<Self, NnError> {
        let width = config.hidden_size;
        Ok(Self {
            attention: AttentionBlock::new(at.at("attention"), config, std)?,
            crossattention: AttentionBlock::new(at.at("crossattention"), config, std)?,
            feed_forward: FeedForward::new(
                &mut at,
                ["intermediate.dense", "output.dense"],
                [width, config.intermediate_size],
                [std, std],
                Activation::Gelu,
            )?,
            layer_norm: LayerNorm::new(at.at("output.LayerNorm"), width, f64::from(config.layer_norm_eps))?,
        })
    }

    fn forward(&self, hidden: Tensor<2>, image: Tensor<2>, mask: Tensor<4>, step: Step) -> Tensor<2> {
        let hidden = self.attention.forward(hidden.clone(), hidden, Some(mask), step);
        let hidden = self.crossattention.forward(hidden, image, None, step);
        let inner = dropout(self.feed_forward.forward(hidden.clone()), step.dropout);
        self.layer_norm.forward(inner + hidden)
    }
}

/// Token ids and image embeddings in, scores of the next tokens out.
#[derive(Clone, Debug)]
pub struct TextDecoder {
    word_embeddings: Parameter,
    embeddings: Embeddings,
    layers: Vec<DecoderLayer>,
    transform: Linear,
    transform_layer_norm: LayerNorm,
    head_bias: Parameter,
}

has_parameters!(TextDecoder: word_embeddings, embeddings, layers, transform, transform_layer_norm, head_bias);

impl TextDecoder {
    /// Reads the decoder from the root of a checkpoint.
    pub(crate) fn new(root: &mut Reader<'_>, config: &TextConfig) -> Result<Self, NnError> {
        let mut at = root.at("text_decoder");
        let (width, vocab, eps) = (config.hidden_size, config.vocab_size, f64::from(config.layer_norm_eps));
        // BERT's 0.02 at its width of 768; narrower models need wider distributions for the same activations.
        let std = 0.02 * (768.0 / width as f32).sqrt();
        Ok(Self {
            word_embeddings: at.tied_parameter(
                "bert.embeddings.word_embeddings.weight",
                "cls.predictions.decoder.weight",
                &[vocab, width],
                Initial::Normal(std),
            )?,
            embeddings: Embeddings::new(at.at("bert.embeddings"), config, std)?,
            layers: (0..config.decoder_layers)
                .map(|i| DecoderLayer::new(at.at(format!("bert.encoder.layer.{i}")), config, std))
                .collect::<Result<_, _>>()?,
            transform: Linear::new(at.at("cls.predictions.transform.dense"), width, width, std)?,
            transform_layer_norm: LayerNorm::new(at.at("cls.predictions.transform.LayerNorm"), width, eps)?,
            head_bias: at.tied_parameter(
                "cls.predictions.bias",
                "cls.predictions.decoder.bias",
                &[vocab],
                Initial::Zeros,
            )?,
        })
    }

    /// Scores of the token after each of `input_ids`.
    ///
    /// `input_ids` `(batch, len)`; `attention_mask` `(batch, len)`, 1 for tokens and 0 for padding; `image_embeds`
    /// `(batch, image_len, width)` -> logits `(batch, len, vocab)`. `len` is at most the position embeddings' number.
    pub fn forward(
        &self,
        input_ids: Tensor<2, Int>,
        attention_mask: Tensor<2>,
        image_embeds: Tensor<3>,
        dropout_rate: f32,
    ) -> Tensor<3> {
        let [batch, len] = input_ids.dims();
        let [_, image_len, width] = image_embeds.dims();
        let step = Step { batch, dropout: dropout_rate };
        let image = image_embeds.reshape([batch * image_len, width]);
        let mask = causal_mask(attention_mask);
        let words = self.word_embeddings.matrix(); // (vocab, width)
        let mut hidden = self.embeddings.forward(input_ids, words.clone(), dropout_rate);
        for layer in &self.layers {
            hidden = layer.forward(hidden, image.clone(), mask.clone(), step);
        }
        let hidden = self.transform_layer_norm.forward(gelu(self.transform.forward(hidden)));
        let logits = hidden.matmul(words.transpose()) + self.head_bias.vector().unsqueeze::<2>();
        let vocab = logits.dims()[1];
        logits.reshape([batch, len, vocab])
    }
}

/// The mask added to self-attention scores: `(batch, len)` of ones and zeros -> `(batch, 1, len, len)` of zeros where a
/// token may look (at real tokens, not after itself) and [`MASKED`] elsewhere.
fn causal_mask(attention_mask: Tensor<2>) -> Tensor<4> {
    let [batch, len] = attention_mask.dims();
    let causal = Tensor::<2>::ones([len, len], &attention_mask.device()).tril(0).reshape([1, 1, len, len]);
    let visible = causal * attention_mask.reshape([batch, 1, 1, len]);
    (visible - 1.0).mul_scalar(-MASKED)
}
