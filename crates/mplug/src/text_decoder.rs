//! The text decoder: BERT with causal self-attention, cross-attention to the encoder's states, and a language-model head
//! tied to the word embeddings (the original's `BertPrefixModel` for captions, `BertLMHeadModel` for answers).
//!
//! It decodes one token a row at a time: keys and values of the past come from a cache, those of the picture were
//! computed once by [`TextDecoder::attend_to`].

use mplug_kernels::activation::Activation;
use mplug_kernels::attention::PackedKeyValues;

use crate::checkpoint::{CheckpointError, Weights, names};
use crate::config::{ModelConfig, TextConfig};
use crate::engine::{
    CrossAttention, FeedForward, LayerNorm, Linear, SelfAttention, TextEmbedding, Workspace,
};
use crate::generate::key_value_cache::{KeyValueCache, LayerCache};

struct Layer {
    self_attention: SelfAttention,
    cross_attention: CrossAttention,
    feed_forward: FeedForward,
}

impl Layer {
    fn load(weights: &Weights, config: &TextConfig) -> Result<Self, CheckpointError> {
        Ok(Self {
            self_attention: SelfAttention::load(&weights.at(names::layer::SELF_ATTENTION), config)?,
            cross_attention: CrossAttention::load(&weights.at(names::layer::CROSS_ATTENTION), config)?,
            feed_forward: FeedForward::load(weights, config)?,
        })
    }

    fn forward(
        &self,
        hidden_states: &mut [f32],
        cache: &mut LayerCache,
        cross_attention: &[(&PackedKeyValues, usize)],
        workspace: &mut Workspace,
    ) {
        self.self_attention.forward_cached(hidden_states, cache, workspace);
        self.cross_attention.forward(hidden_states, cross_attention, workspace);
        self.feed_forward.forward(hidden_states, workspace);
    }

    fn weight_bytes(&self) -> usize {
        self.self_attention.weight_bytes()
            + self.cross_attention.weight_bytes()
            + self.feed_forward.weight_bytes()
    }
}

/// `logits = E · LN(gelu(W · h)) + bias`, `E` being the word embeddings.
struct LanguageModelHead {
    transform: Linear,
    norm: LayerNorm,
    decoder: Linear,
}

impl LanguageModelHead {
    fn load(weights: &Weights, embeddings: &Weights, config: &TextConfig) -> Result<Self, CheckpointError> {
        let width = config.hidden_size;
        // Both names mean one tensor; where a file's copies differ, the later one wins in the original.
        let bias = if weights.has(names::language_head::WORDS_BIAS) {
            names::language_head::WORDS_BIAS
        } else {
            names::BIAS
        };
        let bias = weights.tensor(bias, &[config.vocab_size])?;
        // The head and the embeddings are one tensor as well.
        let (words, name) = if weights.has(names::language_head::WORDS) {
            (weights, names::language_head::WORDS)
        } else {
            (embeddings, names::embeddings::WORDS)
        };
        Ok(Self {
            transform: Linear::load(&weights.at(names::language_head::TRANSFORM), width, width)?,
            norm: LayerNorm::load(&weights.at(names::language_head::NORM), width, config.layer_norm_eps)?,
            decoder: Linear::load_named(words, name, Some(bias), width, config.vocab_size)?,
        })
    }

    fn forward(&self, hidden_states: &[f32], transformed: &mut Vec<f32>, logits: &mut Vec<f32>) {
        self.transform.forward_to(hidden_states, Some(Activation::Gelu), transformed); // (rows, width)
        self.norm.forward(transformed);
        self.decoder.forward_to(transformed, None, logits); // (rows, vocab_size)
    }
}

/// Keys and values of what a picture's rows attend to, for every layer of the decoder.
pub struct CrossAttentionCache {
    layers: Vec<PackedKeyValues>,
}

/// What a step works in; the logits of the last step are its result.
#[derive(Default)]
pub struct StepBuffers {
    hidden_states: Vec<f32>,
    transformed: Vec<f32>,
    /// `(rows, vocab_size)`.
    pub logits: Vec<f32>,
    workspace: Workspace,
}

/// Writes a text, token by token, while looking at a picture.
pub struct TextDecoder {
    embedding: TextEmbedding,
    layers: Vec<Layer>,
    head: LanguageModelHead,
    config: TextConfig,
}

impl TextDecoder {
    /// Reads `text_decoder.*` from the root cursor.
    pub fn load(root: &Weights, config: &ModelConfig) -> Result<Self, CheckpointError> {
        let text = &config.text;
        let bert = root.at(names::TEXT_DECODER);
        let head = root.at(names::DECODER_HEAD);
        // The head and the embeddings are one tensor; where a file's copies differ, the head's wins in the original.
        let table = [text.vocab_size, text.hidden_size];
        let words = if head.has(names::language_head::WORDS) {
            head.tensor(names::language_head::WORDS, &table)?
        } else {
            bert.at(names::EMBEDDINGS).tensor(names::embeddings::WORDS, &table)?
        };
        let layers = bert.at(names::LAYERS);
        Ok(Self {
            head: LanguageModelHead::load(&head, &bert.at(names::EMBEDDINGS), text)?,
            embedding: TextEmbedding::load(&bert.at(names::EMBEDDINGS), words, text)?,
            layers: (0..text.decoder_layers)
                .map(|layer| Layer::load(&layers.at(layer), text))
                .collect::<Result<_, _>>()?,
            config: text.clone(),
        })
    }

    /// The sizes it was built with.
    pub fn config(&self) -> &TextConfig {
        &self.config
    }

    /// Prepares `encoder_hidden_states` `(len, hidden_size)`, of which rows from `valid_len` on are padding, for decoding.
    pub fn attend_to(&self, encoder_hidden_states: &[f32], valid_len: usize) -> CrossAttentionCache {
        let mut workspace = Workspace::default();
        let layers = self
            .layers
            .iter()
            .map(|layer| layer.cross_attention.key_values(encoder_hidden_states, valid_len, &mut workspace))
            .collect();
        CrossAttentionCache { layers }
    }

    /// Bytes of weights that a step reads, whatever the number of rows.
    pub fn step_weight_bytes(&self) -> usize {
        let head = self.head.transform.weight_bytes() + self.head.decoder.weight_bytes();
        self.layers.iter().map(Layer::weight_bytes).sum::<usize>() + head
    }

    /// An empty cache for `rows` rows of at most `capacity` tokens.
    pub fn new_cache(&self, rows: usize, capacity: usize) -> KeyValueCache {
        KeyValueCache::new(self.layers.len(), rows, capacity, self.config.hidden_size)
    }

    /// Appends one token to every row and leaves the logits of the next one in `buffers`, `(rows, vocab_size)`.
    ///
    /// `cross_attention` says which rows look at what: the first entry's rows come first, and so on.
    ///
    /// # Panics
    /// If the rows of `cross_attention`, of the cache and of `token_ids` differ in number, or the cache is full.
    pub fn step(
        &self,
        token_ids: &[u32],
        cache: &mut KeyValueCache,
        cross_attention: &[(&CrossAttentionCache, usize)],
        buffers: &mut StepBuffers,
    ) {
        assert_eq!(token_ids.len(), cache.rows(), "one token for each row of the cache");
        assert_eq!(
            cross_attention.iter().map(|(_, rows)| rows).sum::<usize>(),
            token_ids.len(),
            "rows of the cross-attention"
        );
        let StepBuffers { hidden_states, transformed, logits, workspace } = buffers;
        self.embedding.forward_to(token_ids, cache.len(), 0, hidden_states); // (rows, width)
        cache.begin_step();
        for (i, layer) in self.layers.iter().enumerate() {
            let cross_attention: Vec<_> =
                cross_attention.iter().map(|&(picture, rows)| (&picture.layers[i], rows)).collect();
            layer.forward(hidden_states, cache.layer(i), &cross_attention, workspace);
        }
        self.head.forward(hidden_states, transformed, logits);
    }
}
