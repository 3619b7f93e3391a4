//! The text decoder: a post-norm BERT with causal self-attention and cross-attention to an encoder's hidden states, and a head tied to the
//! word embeddings (the original's `BertPrefixModel` and `BertLMHeadModel`). Knows nothing of where those come
//! from, nothing of tokens but their ids.

use burn::tensor::{Int, Tensor};
use mplug::checkpoint::names;
use mplug::config::TextConfig;

use crate::dropout::Dropout;
use crate::embedding::Embeddings;
use crate::error::NnError;
use crate::language_head::LanguageHead;
use crate::parameter::{Initial, Parameter, Reader, has_parameters};
use crate::text_layer::{Context, CrossAttentionLayer, MASKED, fresh_std, padding_mask};

/// What a decoder looks at: a picture, or a picture and a question.
#[derive(Clone, Debug)]
pub struct EncoderHiddenStates {
    /// `(sequences, encoder_len, width)`.
    pub states: Tensor<3>,
    /// `(sequences, encoder_len)`, 1 for what may be seen and 0 for padding; nothing is hidden without one.
    pub mask: Option<Tensor<2>>,
}

impl EncoderHiddenStates {
    /// The hidden states of each row of a batch: row `i` gets the sequence `of_row[i]`.
    #[must_use]
    pub fn select(self, of_row: Tensor<1, Int>) -> Self {
        let mask = self.mask.map(|mask| mask.select(0, of_row.clone()));
        Self { states: self.states.select(0, of_row), mask }
    }
}

/// Token ids and hidden states in, scores of the next tokens out.
#[derive(Clone, Debug)]
pub struct TextDecoder {
    word_embeddings: Parameter,
    embeddings: Embeddings,
    layers: Vec<CrossAttentionLayer>,
    head: LanguageHead,
}

has_parameters!(TextDecoder: word_embeddings, embeddings, layers, head);

impl TextDecoder {
    /// Reads the decoder from the root of a checkpoint.
    pub(crate) fn new(root: &mut Reader<'_>, config: &TextConfig) -> Result<Self, NnError> {
        let words = names::below(names::EMBEDDINGS, names::embeddings::WORDS);
        let std = fresh_std(config);
        Ok(Self {
            word_embeddings: root.tied_parameter(
                &names::below(names::TEXT_DECODER, &words),
                &names::below(names::DECODER_HEAD, names::language_head::WORDS),
                &[config.vocab_size, config.hidden_size],
                Initial::Normal(std),
            )?,
            embeddings: Embeddings::new(
                root.at(names::below(names::TEXT_DECODER, names::EMBEDDINGS)),
                config,
                std,
            )?,
            layers: (0..config.decoder_layers)
                .map(|i| {
                    CrossAttentionLayer::new(
                        root.at(format!("{}.{}.{i}", names::TEXT_DECODER, names::LAYERS)),
                        config,
                    )
                })
                .collect::<Result<_, _>>()?,
            head: LanguageHead::new(root.at(names::DECODER_HEAD), config)?,
        })
    }

    /// Scores of the token after each of `input_ids`.
    ///
    /// `input_ids` `(batch, len)`; `attention_mask` `(batch, len)`, 1 for tokens and 0 for padding; a sequence for every
    /// row, or one for every group of neighbouring rows, all groups of one size -> logits `(batch, len, vocab)`. `len` is at most the position
    /// embeddings' number.
    ///
    /// # Panics
    /// If the rows are no multiple of the sequences.
    pub fn forward(
        &self,
        input_ids: Tensor<2, Int>,
        attention_mask: Tensor<2>,
        encoder: EncoderHiddenStates,
        dropout: &Dropout,
    ) -> Tensor<3> {
        let [batch, len] = input_ids.dims();
        let [sequences, encoder_len, width] = encoder.states.dims();
        assert!(batch.is_multiple_of(sequences), "{batch} rows for {sequences} sequences");
        let context = Context {
            rows: encoder.states.reshape([sequences * encoder_len, width]),
            batch: sequences,
            mask: encoder.mask.map(padding_mask),
        };
        let mask = causal_mask(attention_mask);
        let words = self.word_embeddings.matrix(); // (vocab, width)
        let mut hidden = self.embeddings.forward(input_ids, words.clone(), dropout); // (batch · len, width)
        for layer in &self.layers {
            hidden = layer.forward(hidden, batch, Some(mask.clone()), &context, dropout);
        }
        let logits = self.head.forward(hidden, words); // (batch · len, vocab)
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
