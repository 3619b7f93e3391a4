//! The affine map `x Wᵀ + b` with PyTorch's weight layout `(out, in)`, and the one that a low-rank adaptation may be added to.
//! Knows nothing of batches or sequences: rows in, rows out.

use burn::tensor::Tensor;
use mplug::checkpoint::names;

use crate::dropout::Dropout;
use crate::error::NnError;
use crate::fused::linear;
use crate::lora::LoraPlace;
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
        linear(input, self.weight.matrix(), self.bias.vector(), self.precision(), self.is_frozen())
    }

    /// Whether neither weight nor bias needs a gradient.
    fn is_frozen(&self) -> bool {
        self.weight.is_frozen() && self.bias.is_frozen()
    }

    /// What its products are rounded to.
    pub(crate) fn precision(&self) -> Precision {
        self.weight.precision()
    }
}

/// An affine map of rows that a low-rank adaptation may be added to.
#[derive(Clone, Debug)]
pub(crate) struct AdaptableLinear {
    linear: Linear,
    place: LoraPlace,
}

has_parameters!(AdaptableLinear: linear, place);

impl AdaptableLinear {
    /// Reads `weight` `(output, input)` and `bias` `(output)`.
    pub(crate) fn new(at: Reader<'_>, input: usize, output: usize, std: f32) -> Result<Self, NnError> {
        let linear = Linear::new(at, input, output, std)?;
        let place = LoraPlace::of_linear(&linear.weight);
        Ok(Self { linear, place })
    }

    /// `(rows, input)` -> `(rows, output)`.
    pub(crate) fn forward(&self, input: Tensor<2>, dropout: &Dropout) -> Tensor<2> {
        match self.place.narrowed(&input, dropout) {
            None => self.linear.forward(input),
            Some(narrowed) => self.place.add(self.linear.forward(input), narrowed),
        }
    }

    /// What its products are rounded to.
    pub(crate) fn precision(&self) -> Precision {
        self.linear.precision()
    }
}
