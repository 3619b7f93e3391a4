//! Dropout: each value is zeroed with a probability, the others scaled up so that the mean stays. Knows nothing of
//! when training happens: a rate of zero does nothing.

use burn::tensor::{Distribution, Tensor};

/// Drops values of `input` with the probability `rate` (0 to 1, 1 excluded).
pub(crate) fn dropout<const D: usize>(input: Tensor<D>, rate: f32) -> Tensor<D> {
    if rate == 0.0 {
        return input;
    }
    let keep = f64::from(1.0 - rate);
    let mask = input.random_like(Distribution::Bernoulli(keep));
    input * mask.div_scalar(keep)
}
