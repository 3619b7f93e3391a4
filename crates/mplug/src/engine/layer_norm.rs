//! Layer normalisation with its weights.

use crate::checkpoint::{CheckpointError, Weights, names};

/// Normalises rows of `width` values.
pub struct LayerNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f32,
}

impl LayerNorm {
    /// Reads `weight` and `bias`, `(width)` each.
    pub fn load(weights: &Weights, width: usize, epsilon: f32) -> Result<Self, CheckpointError> {
        let weight = weights.tensor(names::WEIGHT, &[width])?;
        let bias = weights.tensor(names::BIAS, &[width])?;
        Ok(Self { weight, bias, epsilon })
    }

    /// Normalises every row of `hidden_states` `(rows, width)` into a buffer, on this thread alone.
    pub fn forward_to(&self, hidden_states: &[f32], normed: &mut Vec<f32>) {
        normed.clear();
        normed.extend_from_slice(hidden_states);
        mplug_kernels::layer_norm::layer_norm_here(normed, &self.weight, &self.bias, self.epsilon);
    }

    /// Normalises every row of `hidden_states` `(rows, width)` in place.
    pub fn forward(&self, hidden_states: &mut [f32]) {
        mplug_kernels::layer_norm::layer_norm(hidden_states, &self.weight, &self.bias, self.epsilon);
    }
}
