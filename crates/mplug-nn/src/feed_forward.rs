//! The feed-forward block of a transformer layer: widen, bend, narrow. Knows neither the residual nor the norm.

use burn::tensor::Tensor;

use crate::dropout::Dropout;
use crate::error::NnError;
use crate::fused::{gelu, quick_gelu};
use crate::linear::AdaptableLinear;
use crate::parameter::{Reader, has_parameters};

/// The bend between the two maps.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Activation {
    /// `x Φ(x)`, by the error function (BERT).
    Gelu,
    /// `x σ(1.702 x)` (CLIP).
    QuickGelu,
}

/// Two maps with a bend between them.
#[derive(Clone, Debug)]
pub(crate) struct FeedForward {
    widen: AdaptableLinear,
    narrow: AdaptableLinear,
    activation: Activation,
}

has_parameters!(FeedForward: widen, narrow);

impl FeedForward {
    /// Reads the two maps called `names`, with the standard deviations `stds` if they are drawn.
    pub(crate) fn new(
        at: &mut Reader<'_>,
        names: [&str; 2],
        [width, inner]: [usize; 2],
        stds: [f32; 2],
        activation: Activation,
    ) -> Result<Self, NnError> {
        Ok(Self {
            widen: AdaptableLinear::new(at.at(names[0]), width, inner, stds[0])?,
            narrow: AdaptableLinear::new(at.at(names[1]), inner, width, stds[1])?,
            activation,
        })
    }

    /// `(rows, width)` -> `(rows, width)`.
    pub(crate) fn forward(&self, input: Tensor<2>, dropout: &Dropout) -> Tensor<2> {
        let inner = self.widen.forward(input, dropout); // (rows, inner)
        let bent = match self.activation {
            Activation::Gelu => gelu(inner),
            Activation::QuickGelu => quick_gelu(inner),
        };
        self.narrow.forward(bent, dropout)
    }
}
