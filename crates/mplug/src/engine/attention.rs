//! BERT's attention blocks: projections, heads, output projection, residual, norm (post-norm: `LN(x + attention(x))`).

use mplug_kernels::attention::{HeadShape, PackedKeyValues, attend_one, self_attention};
use rayon::prelude::*;

use crate::checkpoint::{CheckpointError, Weights};
use crate::config::TextConfig;
use crate::engine::{LayerNorm, Linear};
use crate::generate::key_value_cache::LayerCache;

/// What follows the heads in both kinds of block: output projection, residual, norm.
struct AttentionOutput {
    dense: Linear,
    norm: LayerNorm,
}

impl AttentionOutput {
    fn load(weights: &Weights, config: &TextConfig) -> Result<Self, CheckpointError> {
        let width = config.hidden_size;
        Ok(Self {
            dense: Linear::load(&weights.at("dense"), width, width)?,
            norm: LayerNorm::load(&weights.at("LayerNorm"), width, config.layer_norm_eps)?,
        })
    }

    fn forward(&self, context: &[f32], hidden_states: &mut [f32]) {
        self.dense.forward_add(context, hidden_states);
        self.norm.forward(hidden_states);
    }
}

fn head_shape(config: &TextConfig) -> HeadShape {
    HeadShape { heads: config.num_attention_heads, head_dim: config.hidden_size / config.num_attention_heads }
}

/// A sequence attends to itself.
pub struct SelfAttention {
    query_key_value: Linear,
    output: AttentionOutput,
    shape: HeadShape,
}

impl SelfAttention {
    /// Reads `attention.*` of a layer.
    pub fn load(weights: &Weights, config: &TextConfig) -> Result<Self, CheckpointError> {
        let width = config.hidden_size;
        let projections = weights.at("self");
        let parts = ["query", "key", "value"].map(|part| projections.at(part));
        Ok(Self {
            query_key_value: Linear::load_fused(&parts, width, width)?,
            output: AttentionOutput::load(&weights.at("output"), config)?,
            shape: head_shape(config),
        })
    }

    /// `hidden_states` `(len, width)` of one sequence, in place; keys from `valid_len` on are padding.
    pub fn forward(&self, hidden_states: &mut [f32], valid_len: usize) {
        let query_key_value = self.query_key_value.forward(hidden_states); // (len, 3 · width)
        let mut context = vec![0.0; hidden_states.len()]; // (len, width)
        self_attention(&query_key_value, valid_len, self.shape, &mut context);
        self.output.forward(&context, hidden_states);
    }

    /// One new token a row: `hidden_states` `(rows, width)`, in place; keys and values are appended to the cache.
    pub fn forward_cached(&self, hidden_states: &mut [f32], cache: &mut LayerCache) {
        let width = self.shape.width();
        let query_key_value = self.query_key_value.forward(hidden_states); // (rows, 3 · width)
        let mut context = vec![0.0; hidden_states.len()]; // (rows, width)
        for (row, projected) in query_key_value.chunks_exact(3 * width).enumerate() {
            cache.append(row, &projected[width..2 * width], &projected[2 * width..]);
        }
        let cache = &*cache;
        context.par_chunks_mut(width).zip(query_key_value.par_chunks(3 * width)).enumerate().for_each_init(
            Vec::new,
            |scores, (row, (context, projected))| {
                let (keys, values) = cache.row(row);
                attend_one(&projected[..width], keys, values, self.shape, scores, context);
            },
        );
        self.output.forward(&context, hidden_states);
    }
}

/// A sequence attends to another one (the picture, or picture and question).
pub struct CrossAttention {
    query: Linear,
    key_value: Linear,
    output: AttentionOutput,
    shape: HeadShape,
}

impl CrossAttention {
    /// Reads `crossattention.*` of a layer.
    pub fn load(weights: &Weights, config: &TextConfig) -> Result<Self, CheckpointError> {
        let width = config.hidden_size;
        let projections = weights.at("self");
        let key_value = ["key", "value"].map(|part| projections.at(part));
        Ok(Self {
            query: Linear::load(&projections.at("query"), width, width)?,
            key_value: Linear::load_fused(&key_value, width, width)?,
            output: AttentionOutput::load(&weights.at("output"), config)?,
            shape: head_shape(config),
        })
    }

    /// Keys and values of what is attended to, `(len, width)`, of which rows from `valid_len` on are padding.
    pub fn key_values(&self, encoder_hidden_states: &[f32], valid_len: usize) -> PackedKeyValues {
        PackedKeyValues::new(&self.key_value.forward(encoder_hidden_states), valid_len, self.shape)
    }

    /// `hidden_states` `(rows, width)`, in place. `groups` says which rows attend to what: the first group's rows come
    /// first.
    pub fn forward(&self, hidden_states: &mut [f32], groups: &[(&PackedKeyValues, usize)]) {
        let width = self.shape.width();
        let query = self.query.forward(hidden_states); // (rows, width)
        let mut context = vec![0.0; hidden_states.len()]; // (rows, width)
        let mut tasks = Vec::with_capacity(groups.len());
        let (mut queries, mut contexts) = (&query[..], &mut context[..]);
        for &(key_values, rows) in groups {
            let (query, rest) = queries.split_at(rows * width);
            let (context, rest_contexts) = contexts.split_at_mut(rows * width);
            tasks.push((key_values, query, context));
            (queries, contexts) = (rest, rest_contexts);
        }
        tasks.into_par_iter().for_each(|(key_values, query, context)| key_values.attend(query, context));
        self.output.forward(&context, hidden_states);
    }
}
