//! The text decoder: BERT with causal self-attention, cross-attention to the encoder's states, and a language-model head
//! tied to the word embeddings (the original's `BertPrefixModel` for captions, `BertLMHeadModel` for answers).
//!
//! It decodes rows of tokens: keys and values of the past come from a cache, those of the picture were computed once by
//! [`TextDecoder::attend_to`]. Rows of several texts take a step together.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use mplug_kernels::activation::Activation;
use mplug_kernels::attention::{CrossAttentionGroup, LeftOut};
use mplug_kernels::together;

use crate::checkpoint::{CheckpointError, Weights, names};
use crate::config::{ModelConfig, TextConfig};
use crate::encoded_picture::EncodedPicture;
use crate::engine::attention::CachedRows;
use crate::engine::{
    CrossAttention, FeedForward, LayerNorm, Linear, SelfAttention, TextEmbedding, Workspace,
};
use crate::generate::key_value_cache::KeyValueCache;

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
        past: &mut [CachedRows<'_>],
        cross_attention: &mut [CrossAttentionGroup],
        workspace: &mut Workspace,
    ) {
        self.self_attention.forward_cached(hidden_states, past, workspace);
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

/// The rows of one text in a step.
pub struct StepRows<'a> {
    picture: &'a EncodedPicture,
    cache: &'a mut KeyValueCache,
    token_ids: &'a [u32],
    logits: Range<usize>,
    left_out: Option<LeftOut<'a>>,
    recording: Option<&'a mut Vec<f32>>,
}

impl<'a> StepRows<'a> {
    /// Rows that look at `picture` and append a token each to `cache`, in which the step was begun.
    ///
    /// # Panics
    /// If the tokens are not as many as the rows of the cache.
    pub fn new(picture: &'a EncodedPicture, cache: &'a mut KeyValueCache, token_ids: &'a [u32]) -> Self {
        assert_eq!(token_ids.len(), cache.rows(), "one token for each row of the cache");
        let logits = 0..token_ids.len();
        Self { picture, cache, token_ids, logits, left_out: None, recording: None }
    }

    /// Logits are computed of these rows alone: of a prefix, the last.
    #[must_use]
    pub fn with_logits(self, logits: Range<usize>) -> Self {
        Self { logits, ..self }
    }

    /// The rows do not see some keys of the picture, as if these were not there: a mask for each of `masks.len()` equal parts of the
    /// rows, ascending and disjoint ranges of keys. Key 0 is the class token's.
    #[must_use]
    pub fn leaving_out(self, masks: &'a [Vec<Range<usize>>]) -> Self {
        let rows_per_mask = self.token_ids.len() / masks.len().max(1);
        Self { left_out: Some(LeftOut { masks, rows_per_mask }), ..self }
    }

    /// The cross-attention's probabilities are left in `recording`, `(layers, heads, rows, keys)`.
    #[must_use]
    pub fn recording(self, recording: &'a mut Vec<f32>) -> Self {
        let (keys, heads) = match self.picture.key_values() {
            [first, ..] => (first.key_len(), first.shape().heads),
            [] => (0, 0),
        };
        recording.clear();
        recording.resize(self.picture.key_values().len() * heads * self.token_ids.len() * keys, 0.0);
        Self { recording: Some(recording), ..self }
    }

    /// What layer `index` needs: the past of the rows, and what they see of the picture.
    fn layer(&mut self, index: usize) -> (CachedRows<'_>, CrossAttentionGroup<'_>) {
        let key_values = self.picture.key_values();
        let probabilities = self.recording.as_mut().map(|recording| {
            let len = recording.len() / key_values.len();
            &mut recording[index * len..(index + 1) * len]
        });
        let (key_values, rows) = (&key_values[index], self.token_ids.len());
        let group = CrossAttentionGroup {
            left_out: self.left_out,
            probabilities,
            ..CrossAttentionGroup::new(key_values, rows)
        };
        (self.cache.layer(index), group)
    }
}

/// What a step works in; the logits of the last step are its result.
#[derive(Default)]
pub struct StepBuffers {
    hidden_states: Vec<f32>,
    transformed: Vec<f32>,
    /// Of the rows that request them, in their order, `(rows, vocab_size)`.
    pub logits: Vec<f32>,
    workspace: Workspace,
}

/// Writes a text, token by token, while looking at a picture.
pub struct TextDecoder {
    embedding: TextEmbedding,
    layers: Vec<Layer>,
    head: LanguageModelHead,
    config: TextConfig,
    spare_caches: Mutex<Vec<KeyValueCache>>,
}

/// Bytes of the caches that are kept for texts to come: those of some twenty captions at the base size.
const LARGEST_SPARE: usize = 256 << 20;

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
            spare_caches: Mutex::default(),
        })
    }

    /// The sizes it was built with.
    pub fn config(&self) -> &TextConfig {
        &self.config
    }

    /// Prepares `encoder_hidden_states` `(len, hidden_size)`, of which rows from `valid_len` on are padding, for decoding.
    pub fn attend_to(&self, encoder_hidden_states: Vec<f32>, valid_len: usize) -> EncodedPicture {
        let mut workspace = Workspace::default();
        let key_values = self
            .layers
            .iter()
            .map(|layer| layer.cross_attention.key_values(&encoder_hidden_states, valid_len, &mut workspace))
            .collect();
        EncodedPicture::new(encoder_hidden_states, key_values)
    }

    /// # Panics
    /// If `picture` was prepared by a decoder of other layers.
    pub(crate) fn check(&self, picture: &EncodedPicture) {
        let (found, expected) = (picture.key_values().len(), self.layers.len());
        assert_eq!(found, expected, "a picture encoded for {found} layers in a decoder of {expected}");
        if let (Some(first), Some(layer)) = (picture.key_values().first(), self.layers.first()) {
            layer.cross_attention.check(first);
        }
    }

    /// Bytes of weights that a step reads, whatever the number of rows.
    pub fn step_weight_bytes(&self) -> usize {
        let head = self.head.transform.weight_bytes() + self.head.decoder.weight_bytes();
        self.layers.iter().map(Layer::weight_bytes).sum::<usize>() + head
    }

    /// An empty cache, of memory that [`keep_cache`](Self::keep_cache) got where there is any.
    pub fn new_cache(&self) -> KeyValueCache {
        let spare = self.spare_caches.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| KeyValueCache::new(self.layers.len()))
    }

    /// Takes back a cache that is no longer needed: fresh memory would cost the next text more than a tenth of its steps. What is kept
    /// has a limit.
    pub fn keep_cache(&self, mut cache: KeyValueCache) {
        cache.clear();
        let mut spare = self.spare_caches.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.iter().chain([&cache]).map(KeyValueCache::bytes).sum::<usize>() <= LARGEST_SPARE {
            spare.push(cache);
        }
    }

    /// Appends a token to every row, and leaves the logits of the next one in `buffers`, `(rows with logits, vocab_size)`. What a row
    /// gets does not depend on the others.
    ///
    /// # Panics
    /// If a token or a position is beyond the model's, a picture is another model's, or what a text leaves out does not fit its rows and
    /// its picture.
    pub fn step(&self, texts: &mut [StepRows<'_>], buffers: &mut StepBuffers) {
        together(|| self.step_here(texts, buffers));
    }

    fn step_here(&self, texts: &mut [StepRows<'_>], buffers: &mut StepBuffers) {
        let StepBuffers { hidden_states, transformed, logits, workspace } = buffers;
        let tokens = texts.iter().flat_map(|text| {
            text.token_ids.iter().enumerate().map(|(row, &token)| (token, text.cache.row(row).len() - 1))
        });
        self.embedding.forward_to(tokens, hidden_states); // (rows, width)
        for (i, layer) in self.layers.iter().enumerate() {
            let (mut past, mut cross_attention): (Vec<_>, Vec<_>) =
                texts.iter_mut().map(|text| text.layer(i)).unzip();
            layer.forward(hidden_states, &mut past, &mut cross_attention, workspace);
        }
        self.keep_rows_with_logits(texts, hidden_states); // (rows with logits, width)
        self.head.forward(hidden_states, transformed, logits);
    }

    /// The logits after each token of a text that is given, `(token_ids.len(), vocab_size)`, in one step.
    ///
    /// # Panics
    /// As [`step`](Self::step).
    pub fn logits(&self, picture: &EncodedPicture, token_ids: &[u32]) -> Vec<f32> {
        let (mut cache, mut buffers) = (self.new_cache(), StepBuffers::default());
        cache.begin_chains(1, token_ids.len());
        self.step(&mut [StepRows::new(picture, &mut cache, token_ids)], &mut buffers);
        buffers.logits
    }

    /// Leaves the rows whose logits are requested.
    fn keep_rows_with_logits(&self, texts: &[StepRows<'_>], hidden_states: &mut Vec<f32>) {
        let width = self.config.hidden_size;
        let (mut first, mut kept) = (0, 0);
        for text in texts {
            let rows = first + text.logits.start..first + text.logits.end;
            hidden_states.copy_within(rows.start * width..rows.end * width, kept * width);
            kept += rows.len();
            first += text.token_ids.len();
        }
        hidden_states.truncate(kept * width);
    }
}
