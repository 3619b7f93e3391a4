//! A linear layer, `y = x · Wᵀ + b`, its weight packed at load at the precision that the [`Weights`] cursor carries.

use std::sync::Arc;

use mplug_kernels::activation::Activation;
use mplug_kernels::gemm::{MatrixView, PackedMatrix, Precision, Product};

use crate::checkpoint::{CheckpointError, StoredWeight, Weights};
use crate::smoothing::ObservedInput;

/// `in_features` values a row in, `out_features` values a row out.
pub struct Linear {
    weight: PackedMatrix,
    bias: Option<Vec<f32>>,
    /// While a model is being calibrated: what its inputs are like.
    observed: Option<Arc<ObservedInput>>,
}

impl Linear {
    /// Reads `weight` `(out_features, in_features)` and `bias` `(out_features)`.
    pub fn load(weights: &Weights, in_features: usize, out_features: usize) -> Result<Self, CheckpointError> {
        let bias = weights.tensor("bias", &[out_features])?;
        Self::load_named(weights, "weight", Some(bias), in_features, out_features)
    }

    /// Reads the weight `name`; the bias was read already.
    pub fn load_named(
        weights: &Weights,
        name: &str,
        bias: Option<Vec<f32>>,
        in_features: usize,
        out_features: usize,
    ) -> Result<Self, CheckpointError> {
        let stored = weights.stored_weight(name, [out_features, in_features])?;
        Ok(Self {
            weight: stored.pack(in_features, weights.precision()),
            bias,
            observed: weights.observe(&[name], in_features),
        })
    }

    /// Reads several layers of the same input, each with `out_features` outputs, as one: their outputs side by side.
    pub fn load_fused(
        parent: &Weights,
        parts: &[&str],
        in_features: usize,
        out_features: usize,
    ) -> Result<Self, CheckpointError> {
        let mut stored = Vec::with_capacity(parts.len());
        let mut bias = Vec::with_capacity(parts.len() * out_features);
        for part in parts {
            let part = parent.at(part);
            stored.push(part.stored_weight("weight", [out_features, in_features])?);
            bias.extend(part.tensor("bias", &[out_features])?);
        }
        let names: Vec<String> = parts.iter().map(|part| format!("{part}.weight")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        Ok(Self {
            weight: StoredWeight::join(stored, in_features).pack(in_features, parent.precision()),
            bias: Some(bias),
            observed: parent.observe(&names, in_features),
        })
    }

    /// Packs a weight `(out_features, in_features)` that stays at f32 at every precision: where a product is too small to
    /// gain anything.
    pub fn exact(weight: &[f32], bias: Option<Vec<f32>>, in_features: usize, out_features: usize) -> Self {
        let weight = PackedMatrix::from_weight(weight, out_features, in_features, Precision::F32);
        Self { weight, bias, observed: None }
    }

    /// Inputs a row.
    pub fn in_features(&self) -> usize {
        self.weight.in_features()
    }

    /// Outputs a row.
    pub fn out_features(&self) -> usize {
        self.weight.out_features()
    }

    /// Bytes of weights that a product reads.
    pub fn weight_bytes(&self) -> usize {
        self.weight.bytes()
    }

    /// `x` is `(rows, in_features)`; returns `(rows, out_features)`.
    pub fn forward(&self, x: &[f32]) -> Vec<f32> {
        let mut output = Vec::new();
        self.forward_to(x, None, &mut output);
        output
    }

    /// Writes the layer's output, through an activation, to a buffer, which gets the length that is needed.
    pub fn forward_to(&self, x: &[f32], activation: Option<Activation>, output: &mut Vec<f32>) {
        let x = self.view(x);
        output.resize(x.rows() * self.out_features(), 0.0);
        self.weight.multiply(x, self.product(activation, false), output);
    }

    /// Adds the layer's output to `residual`, `(rows, out_features)`.
    pub fn forward_add(&self, x: &[f32], residual: &mut [f32]) {
        self.weight.multiply(self.view(x), self.product(None, true), residual);
    }

    /// [`forward_to`](Self::forward_to) for callers that are split over threads by rows themselves.
    pub fn forward_here(&self, x: &[f32], activation: Option<Activation>, output: &mut [f32]) {
        self.weight.multiply_here(self.view(x), self.product(activation, false), output);
    }

    /// [`forward_add`](Self::forward_add) for callers that are split over threads by rows themselves.
    pub fn forward_add_here(&self, x: &[f32], residual: &mut [f32]) {
        self.weight.multiply_here(self.view(x), self.product(None, true), residual);
    }

    fn product(&self, activation: Option<Activation>, accumulate: bool) -> Product<'_> {
        Product { scale: 1.0, bias: self.bias.as_deref(), accumulate, activation }
    }

    fn view<'a>(&self, x: &'a [f32]) -> MatrixView<'a> {
        if let Some(observed) = &self.observed {
            observed.see(x);
        }
        MatrixView::new(x, x.len() / self.weight.in_features(), self.weight.in_features())
    }
}
