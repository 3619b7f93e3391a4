//! BERT's feed-forward block: `LN(x + W₂ · gelu(W₁ · x))`.

use mplug_kernels::activation::Activation;

use crate::checkpoint::{CheckpointError, Weights, names};
use crate::config::TextConfig;
use crate::engine::{LayerNorm, Linear, Workspace};

/// `intermediate`, `output.dense` and `output.LayerNorm` of a layer.
pub struct FeedForward {
    intermediate: Linear,
    output: Linear,
    norm: LayerNorm,
}

impl FeedForward {
    /// Reads the block from the cursor of its layer.
    pub fn load(layer: &Weights, config: &TextConfig) -> Result<Self, CheckpointError> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        Ok(Self {
            intermediate: Linear::load(&layer.at(names::layer::INTERMEDIATE), width, inner)?,
            output: Linear::load(&layer.at(names::layer::OUTPUT), inner, width)?,
            norm: LayerNorm::load(&layer.at(names::layer::NORM), width, config.layer_norm_eps)?,
        })
    }

    /// Values a row.
    pub fn width(&self) -> usize {
        self.output.out_features()
    }

    /// Bytes of weights that a step reads.
    pub fn weight_bytes(&self) -> usize {
        self.intermediate.weight_bytes() + self.output.weight_bytes()
    }

    /// `hidden_states` `(rows, width)`, in place.
    pub fn forward(&self, hidden_states: &mut [f32], workspace: &mut Workspace) {
        let inner = &mut workspace.inner; // (rows, intermediate_size)
        self.intermediate.forward_to(hidden_states, Some(Activation::Gelu), inner);
        self.output.forward_add(inner, hidden_states);
        self.norm.forward(hidden_states);
    }
}
