//! A linear layer, `y = x · Wᵀ + b`, its weight packed at load.

use mplug_kernels::gemm::{MatrixView, PackedMatrix};

use crate::checkpoint::{CheckpointError, Weights};

/// `in_features` values a row in, `out_features` values a row out.
pub struct Linear {
    weight: PackedMatrix,
    bias: Option<Vec<f32>>,
}

impl Linear {
    /// Reads `weight` `(out_features, in_features)` and `bias` `(out_features)`.
    pub fn load(weights: &Weights, in_features: usize, out_features: usize) -> Result<Self, CheckpointError> {
        let weight = weights.tensor("weight", &[out_features, in_features])?;
        let bias = weights.tensor("bias", &[out_features])?;
        Ok(Self::new(&weight, Some(bias), in_features, out_features))
    }

    /// Reads several layers of the same input, each with `out_features` outputs, as one: their outputs side by side.
    pub fn load_fused(
        parts: &[Weights],
        in_features: usize,
        out_features: usize,
    ) -> Result<Self, CheckpointError> {
        let mut weight = Vec::with_capacity(parts.len() * in_features * out_features);
        let mut bias = Vec::with_capacity(parts.len() * out_features);
        for part in parts {
            weight.extend(part.tensor("weight", &[out_features, in_features])?);
            bias.extend(part.tensor("bias", &[out_features])?);
        }
        Ok(Self::new(&weight, Some(bias), in_features, parts.len() * out_features))
    }

    /// Packs a weight `(out_features, in_features)` that was read already.
    pub fn new(weight: &[f32], bias: Option<Vec<f32>>, in_features: usize, out_features: usize) -> Self {
        Self { weight: PackedMatrix::from_weight(weight, out_features, in_features), bias }
    }

    /// Outputs a row.
    pub fn out_features(&self) -> usize {
        self.weight.out_features()
    }

    /// `x` is `(rows, in_features)`; returns `(rows, out_features)`.
    pub fn forward(&self, x: &[f32]) -> Vec<f32> {
        let x = self.view(x);
        let mut output = vec![0.0; x.rows() * self.out_features()];
        self.weight.multiply(x, 1.0, self.bias.as_deref(), &mut output);
        output
    }

    /// Adds the layer's output to `residual`, `(rows, out_features)`.
    pub fn forward_add(&self, x: &[f32], residual: &mut [f32]) {
        self.weight.multiply_add(self.view(x), self.bias.as_deref(), residual);
    }

    fn view<'a>(&self, x: &'a [f32]) -> MatrixView<'a> {
        MatrixView::new(x, x.len() / self.weight.in_features(), self.weight.in_features())
    }
}
