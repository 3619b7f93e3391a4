//! BERT's attention blocks: projections, heads, output projection, residual, norm (post-norm: `LN(x + attention(x))`).

use mplug_kernels::attention::{
    CachedRow, CrossAttentionGroup, HeadShape, PackedKeyValues, attend_rows, cross_attention, self_attention,
};
use mplug_kernels::gemm::{MatrixView, Precision};

use crate::checkpoint::{CheckpointError, Weights, names};
use crate::config::TextConfig;
use crate::engine::{LayerNorm, Linear, Workspace};
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
            dense: Linear::load(&weights.at(names::attention::OUTPUT), width, width)?,
            norm: LayerNorm::load(&weights.at(names::attention::NORM), width, config.layer_norm_eps)?,
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
    precision: Precision,
}

impl SelfAttention {
    /// Reads `attention.*` of a layer.
    pub fn load(weights: &Weights, config: &TextConfig) -> Result<Self, CheckpointError> {
        let width = config.hidden_size;
        Ok(Self {
            query_key_value: Linear::load_fused(
                weights,
                &[names::attention::QUERY, names::attention::KEY, names::attention::VALUE],
                width,
                width,
            )?,
            output: AttentionOutput::load(weights, config)?,
            shape: head_shape(config),
            precision: weights.precision(),
        })
    }

    /// Bytes of weights that a step reads.
    pub fn weight_bytes(&self) -> usize {
        self.query_key_value.weight_bytes() + self.output.dense.weight_bytes()
    }

    /// `hidden_states` `(len, width)` of one sequence, in place; keys from `valid_len` on are padding.
    pub fn forward(&self, hidden_states: &mut [f32], valid_len: usize, workspace: &mut Workspace) {
        let Workspace { projected, context, .. } = workspace;
        self.query_key_value.forward_to(hidden_states, None, projected); // (len, 3 · width)
        context.resize(hidden_states.len(), 0.0); // (len, width)
        self_attention(projected, valid_len, self.shape, self.precision, context);
        self.output.forward(context, hidden_states);
    }

    /// A new token a row: `hidden_states` `(rows, width)`, in place; keys and values are appended to the texts' caches. The first
    /// text's rows come first.
    pub fn forward_cached(
        &self,
        hidden_states: &mut [f32],
        texts: &mut [CachedRows<'_>],
        workspace: &mut Workspace,
    ) {
        let width = self.shape.width();
        let Workspace { projected, context, .. } = workspace;
        self.query_key_value.forward_to(hidden_states, None, projected); // (rows, 3 · width)
        context.resize(hidden_states.len(), 0.0); // (rows, width)
        let mut projected_rows = projected.chunks_exact(3 * width);
        for (cache, rows) in &mut *texts {
            for projected in projected_rows.by_ref().take(rows.len()) {
                cache.append(&projected[width..2 * width], &projected[2 * width..]);
            }
        }
        let mut rows = Vec::with_capacity(hidden_states.len() / width);
        for (cache, entries) in &*texts {
            let (keys, values) = cache.tables();
            rows.extend(entries.iter().map(|entries| CachedRow { keys, values, entries }));
        }
        let queries = MatrixView::columns(projected, rows.len(), width, 3 * width, 0);
        attend_rows(queries, &rows, self.shape, context);
        self.output.forward(context, hidden_states);
    }
}

/// One layer's past of a text, and what each of the text's rows sees of it.
pub type CachedRows<'a> = (&'a mut LayerCache, &'a [Vec<u32>]);

/// A sequence attends to another one (the picture, or picture and question).
pub struct CrossAttention {
    query: Linear,
    key_value: Linear,
    output: AttentionOutput,
    shape: HeadShape,
    precision: Precision,
}

impl CrossAttention {
    /// Reads `crossattention.*` of a layer.
    pub fn load(weights: &Weights, config: &TextConfig) -> Result<Self, CheckpointError> {
        let width = config.hidden_size;
        Ok(Self {
            query: Linear::load(&weights.at(names::attention::QUERY), width, width)?,
            key_value: Linear::load_fused(
                weights,
                &[names::attention::KEY, names::attention::VALUE],
                width,
                width,
            )?,
            output: AttentionOutput::load(weights, config)?,
            shape: head_shape(config),
            precision: weights.precision(),
        })
    }

    /// Bytes of weights that a step reads, keys and values being there already.
    pub fn weight_bytes(&self) -> usize {
        self.query.weight_bytes() + self.output.dense.weight_bytes()
    }

    /// Keys and values of what is attended to, `(len, width)`, of which rows from `valid_len` on are padding.
    pub fn key_values(
        &self,
        encoder_hidden_states: &[f32],
        valid_len: usize,
        workspace: &mut Workspace,
    ) -> PackedKeyValues {
        self.key_value.forward_to(encoder_hidden_states, None, &mut workspace.projected); // (len, 2 · width)
        PackedKeyValues::new(&workspace.projected, valid_len, self.shape, self.precision)
    }

    /// # Panics
    /// If the keys and values have heads of another shape.
    pub fn check(&self, key_values: &PackedKeyValues) {
        assert_eq!(key_values.shape(), self.shape, "a picture encoded for heads of another shape");
    }

    /// `hidden_states` `(rows, width)`, in place. `groups` say which rows attend to what: the first group's rows come first.
    pub fn forward(
        &self,
        hidden_states: &mut [f32],
        groups: &mut [CrossAttentionGroup],
        workspace: &mut Workspace,
    ) {
        let Workspace { projected, context, .. } = workspace;
        self.query.forward_to(hidden_states, None, projected); // (rows, width)
        context.resize(hidden_states.len(), 0.0); // (rows, width)
        cross_attention(projected, groups, self.shape, context);
        self.output.forward(context, hidden_states);
    }
}
