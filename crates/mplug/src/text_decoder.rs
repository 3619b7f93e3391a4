//! The text decoder: BERT with causal self-attention, cross-attention to the encoder's states, and a language-model head
//! tied to the word embeddings (the original's `BertPrefixModel` for captions, `BertLMHeadModel` for answers).
//!
//! It decodes one token a row at a time: keys and values of the past come from a cache, those of the picture were
//! computed once by [`TextDecoder::attend_to`].

use mplug_kernels::activation::gelu;
use mplug_kernels::attention::PackedKeyValues;
use mplug_kernels::gemm::{MatrixView, PackedMatrix};

use crate::checkpoint::{CheckpointError, Weights};
use crate::config::{ModelConfig, TextConfig};
use crate::engine::{CrossAttention, FeedForward, LayerNorm, Linear, SelfAttention, TextEmbedding};
use crate::generate::key_value_cache::{KeyValueCache, LayerCache};

struct Layer {
    self_attention: SelfAttention,
    cross_attention: CrossAttention,
    feed_forward: FeedForward,
}

impl Layer {
    fn load(weights: &Weights, config: &TextConfig) -> Result<Self, CheckpointError> {
        Ok(Self {
            self_attention: SelfAttention::load(&weights.at("attention"), config)?,
            cross_attention: CrossAttention::load(&weights.at("crossattention"), config)?,
            feed_forward: FeedForward::load(weights, config)?,
        })
    }

    fn forward(
        &self,
        hidden_states: &mut [f32],
        cache: &mut LayerCache,
        memory: &[(&PackedKeyValues, usize)],
    ) {
        self.self_attention.forward_cached(hidden_states, cache);
        self.cross_attention.forward(hidden_states, memory);
        self.feed_forward.forward(hidden_states);
    }
}

/// `logits = E · LN(gelu(W · h)) + bias`, `E` being the word embeddings.
struct LanguageModelHead {
    transform: Linear,
    norm: LayerNorm,
    decoder: PackedMatrix,
    bias: Vec<f32>,
}

impl LanguageModelHead {
    fn load(weights: &Weights, words: &[f32], config: &TextConfig) -> Result<Self, CheckpointError> {
        let width = config.hidden_size;
        let transform = weights.at("transform");
        // Both names mean one tensor; where a file's copies differ, the later one wins in the original.
        let bias = if weights.has("decoder.bias") { "decoder.bias" } else { "bias" };
        Ok(Self {
            transform: Linear::load(&transform.at("dense"), width, width)?,
            norm: LayerNorm::load(&transform.at("LayerNorm"), width, config.layer_norm_eps)?,
            decoder: PackedMatrix::from_weight(words, config.vocab_size, width),
            bias: weights.tensor(bias, &[config.vocab_size])?,
        })
    }

    fn forward(&self, hidden_states: &[f32], logits: &mut Vec<f32>) {
        let mut transformed = self.transform.forward(hidden_states); // (rows, width)
        gelu(&mut transformed);
        self.norm.forward(&mut transformed);
        let width = self.decoder.in_features();
        let rows = transformed.len() / width;
        logits.resize(rows * self.decoder.out_features(), 0.0); // (rows, vocab_size)
        self.decoder.multiply(MatrixView::new(&transformed, rows, width), 1.0, Some(&self.bias), logits);
    }
}

/// Keys and values of what a picture's rows attend to, for every layer of the decoder.
pub struct CrossAttentionCache {
    layers: Vec<PackedKeyValues>,
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
        let bert = root.at("text_decoder.bert");
        let head = root.at("text_decoder.cls.predictions");
        // The head and the embeddings are one tensor; where a file's copies differ, the head's wins in the original.
        let table = [text.vocab_size, text.hidden_size];
        let words = if head.has("decoder.weight") {
            head.tensor("decoder.weight", &table)?
        } else {
            bert.tensor("embeddings.word_embeddings.weight", &table)?
        };
        let layers = bert.at("encoder.layer");
        Ok(Self {
            head: LanguageModelHead::load(&head, &words, text)?,
            embedding: TextEmbedding::load(&bert.at("embeddings"), words, text)?,
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
        let layers = self
            .layers
            .iter()
            .map(|layer| layer.cross_attention.key_values(encoder_hidden_states, valid_len))
            .collect();
        CrossAttentionCache { layers }
    }

    /// An empty cache for `rows` rows of at most `capacity` tokens.
    pub fn new_cache(&self, rows: usize, capacity: usize) -> KeyValueCache {
        KeyValueCache::new(self.layers.len(), rows, capacity, self.config.hidden_size)
    }

    /// Appends one token to every row and writes the logits of the next one, `(rows, vocab_size)`.
    ///
    /// `memory` says which rows look at what: the first entry's rows come first, and so on.
    ///
    /// # Panics
    /// If the rows of `memory`, of the cache and of `token_ids` differ in number, or the cache is full.
    pub fn step(
        &self,
        token_ids: &[u32],
        cache: &mut KeyValueCache,
        memory: &[(&CrossAttentionCache, usize)],
        logits: &mut Vec<f32>,
    ) {
        assert_eq!(token_ids.len(), cache.rows(), "one token for each row of the cache");
        assert_eq!(memory.iter().map(|(_, rows)| rows).sum::<usize>(), token_ids.len(), "rows of the memory");
        let mut hidden_states = self.embedding.forward(token_ids, cache.len(), 0); // (rows, width)
        cache.begin_step();
        for (i, layer) in self.layers.iter().enumerate() {
            let memory: Vec<_> = memory.iter().map(|&(picture, rows)| (&picture.layers[i], rows)).collect();
            layer.forward(&mut hidden_states, cache.layer(i), &memory);
        }
        self.head.forward(&hidden_states, logits);
    }
}
