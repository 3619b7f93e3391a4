//! The affine map `x Wᵀ + b` with PyTorch's weight layout `(out, in)`. Knows nothing of batches or sequences: rows in,
//! rows out.

use burn::tensor::Tensor;
use mplug::checkpoint::names;

use crate::error::NnError;
use crate::fused::linear;
use crate::parameter::{Initial, Parameter, Reader, has_parameters};
use crate::product::Precision;

/// An affine map of rows.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    weight: Parameter,
    bias: Parameter,
}

has_parameters!(Linear: weight, bias);

impl Linear {
    /// Reads `weight` `(output, input)` and `bias` `(output)`.
    pub(crate) fn new(mut at: Reader<'_>, input: usize, output: usize, std: f32) -> Result<Self, NnError> {
        Ok(Self {
            weight: at.parameter(names::WEIGHT, &[output, input], Initial::Normal(std))?,
            bias: at.parameter(names::BIAS, &[output], Initial::Zeros)?,
        })
    }

    /// `(rows, input)` -> `(rows, output)`.
    pub(crate) fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        linear(input, self.weight.matrix(), self.bias.vector(), self.precision())
    }

    /// What its products are rounded to.
    pub(crate) fn precision(&self) -> Precision {
        self.weight.precision()
    }
}
