//! Holds a fused operation to burn's composed one, for the tests of each.

use burn::tensor::{Device, Distribution, Tensor};

/// Checks values and gradients of `fused` against `composed` on random input.
pub(super) fn check<const D: usize>(
    shape: [usize; D],
    fused: impl Fn(Tensor<D>) -> Tensor<D>,
    composed: impl Fn(Tensor<D>) -> Tensor<D>,
) {
    let device = Device::flex().autodiff();
    let input = Tensor::<D>::random(shape, Distribution::Normal(0.0, 3.0), &device).require_grad();
    let weight = Tensor::<D>::random(shape, Distribution::Normal(0.0, 1.0), &device);
    let results = [fused(input.clone()), composed(input.clone())].map(|output| {
        let gradients = (output.clone() * weight.clone()).sum().backward();
        [output.inner(), input.grad(&gradients).expect("the input has a gradient")]
    });
    for (name, index) in [("value", 0), ("gradient", 1)] {
        let worst = (results[0][index].clone() - results[1][index].clone()).abs().max().into_scalar::<f32>();
        assert!(worst < 2e-5, "{name}: worst difference {worst}");
    }
}
