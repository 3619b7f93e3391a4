//! Differentiable operations in one pass over memory, forward and backward, for the CPU backend.
//!
//! burn composes layer norms, softmax and GELU from many small operations when gradients are recorded, and each of them
//! walks through memory; these four were two thirds of a training step. On other backends, and without gradients, burn's
//! own forms run. The tests hold both forms to each other. These files know rows and numbers, no network.

mod exponential;
mod gelu;
mod lanes;
mod layer_norm;
mod linear;
mod softmax;
mod tracked;

#[cfg(test)]
mod comparison;

pub(crate) use self::gelu::{gelu, quick_gelu};
pub(crate) use self::layer_norm::layer_norm;
pub(crate) use self::linear::linear;
pub(crate) use self::softmax::attention_softmax;
pub(crate) use self::tracked::{from_tracked, tracked};
