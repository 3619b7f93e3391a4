//! Matrix products, and what their factors and results are rounded to: nothing, or 16 bits (mixed precision, Micikevicius et
//! al., arXiv 1710.03740). Parameters, norms, softmax and losses are f32 in any case. Knows no layer.

use burn::tensor::{FloatDType, Tensor};

/// What the factors and results of matrix products are rounded to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Nothing: products of f32.
    #[default]
    F32,
    /// bfloat16: the range of f32, 8 bits of precision.
    Bf16,
    /// IEEE half: 11 bits of precision, from 6e-8 to 65504. Small gradients vanish unless the loss is scaled up.
    F16,
}

impl Precision {
    /// The type of the factors.
    pub fn dtype(self) -> FloatDType {
        match self {
            Self::F32 => FloatDType::F32,
            Self::Bf16 => FloatDType::BF16,
            Self::F16 => FloatDType::F16,
        }
    }
}

/// `left · right` of f32 tensors at `precision`, as f32.
pub(crate) fn product<const D: usize>(left: Tensor<D>, right: Tensor<D>, precision: Precision) -> Tensor<D> {
    if precision == Precision::F32 {
        return left.matmul(right);
    }
    let dtype = precision.dtype();
    left.cast(dtype).matmul(right.cast(dtype)).cast(FloatDType::F32)
}
