//! Layer normalisation over the last axis. Knows nothing but rows.

use burn::tensor::Tensor;
use mplug::checkpoint::names;

use crate::error::NnError;
use crate::fused::layer_norm;
use crate::parameter::{Initial, Parameter, Reader, has_parameters};

/// Layer normalisation with scale and shift.
#[derive(Clone, Debug)]
pub(crate) struct LayerNorm {
    weight: Parameter,
    bias: Parameter,
    epsilon: f64,
}

has_parameters!(LayerNorm: weight, bias);

impl LayerNorm {
    /// Reads `weight` and `bias`, both `(width)`.
    pub(crate) fn new(mut at: Reader<'_>, width: usize, epsilon: f64) -> Result<Self, NnError> {
        Ok(Self {
            weight: at.parameter(names::WEIGHT, &[width], Initial::Constant(1.0))?,
            bias: at.parameter(names::BIAS, &[width], Initial::Zeros)?,
            epsilon,
        })
    }

    /// `(rows, width)` -> the same shape, every row normalised.
    pub(crate) fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        layer_norm(input, self.weight.vector(), self.bias.vector(), self.epsilon)
    }
}
