//! BERT's and CLIP's GELU.

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::tensor::{Tensor, activation};

use super::exponential::exp;
use super::tracked::{Tracked, build, from_tracked, tracked, values};

/// BERT's GELU, `x Φ(x)`.
pub(crate) fn gelu(input: Tensor<2>) -> Tensor<2> {
    match tracked(&input) {
        Some(input) => activate_tracked(&input, Bend::Gelu),
        None => activation::gelu(input),
    }
}

/// CLIP's GELU, `x σ(1.702 x)`.
pub(crate) fn quick_gelu(input: Tensor<2>) -> Tensor<2> {
    match tracked(&input) {
        Some(input) => activate_tracked(&input, Bend::QuickGelu),
        None => input.clone() * activation::sigmoid(input.mul_scalar(QUICK)),
    }
}

/// CLIP's factor.
const QUICK: f32 = 1.702;

#[derive(Clone, Copy, Debug)]
enum Bend {
    Gelu,
    QuickGelu,
}

#[derive(Debug)]
struct BendBackward;

fn activate_tracked(input: &Tracked, bend: Bend) -> Tensor<2> {
    let rows = input.primitive().to_contiguous();
    let output = values(&rows).iter();
    let output = match bend {
        Bend::Gelu => output.map(|x| x * normal_cdf(*x)[0]).collect(),
        Bend::QuickGelu => output.map(|x| x * sigmoid(QUICK * x)).collect(),
    };
    let output = build(output, rows.layout().shape());
    let prepared = BendBackward.prepare::<NoCheckpointing>([input.node()]).compute_bound().stateful();
    from_tracked(match prepared {
        OpsKind::Tracked(op) => op.finish((rows, bend), output),
        OpsKind::UnTracked(op) => op.finish(output),
    })
}

impl Backward<Flex, 1> for BendBackward {
    type State = (FlexTensor, Bend);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let (input, bend) = ops.state;
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            let pairs = values(&input).iter().zip(values(&gradient));
            let result = match bend {
                Bend::Gelu => pairs
                    .map(|(x, g)| {
                        let [cdf, density] = normal_cdf(*x);
                        g * (cdf + x * density)
                    })
                    .collect(),
                Bend::QuickGelu => pairs
                    .map(|(x, g)| {
                        let s = sigmoid(QUICK * x);
                        g * s * (1.0 + QUICK * x * (1.0 - s))
                    })
                    .collect(),
            };
            grads.register::<Flex>(parent.id, build(result, input.layout().shape()));
        }
    }
}

/// The logistic function.
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The normal distribution's cumulative probability and density at `x`: Abramowitz and Stegun 7.1.26, whose error is at
/// most 1.5e-7, and whose exponential is the density's.
#[inline(always)]
fn normal_cdf(x: f32) -> [f32; 2] {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let poly =
        ((((1.061_405_4 * t - 1.453_152_1) * t + 1.421_413_8) * t - 0.284_496_72) * t + 0.254_829_6) * t;
    let bell = exp(-z * z);
    let tail = 0.5 * poly * bell;
    let cdf = if x < 0.0 { tail } else { 1.0 - tail };
    [cdf, 0.398_942_3 * bell]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fused::comparison::check;

    #[test]
    fn gelus_are_burns() {
        check([7, 33], gelu, activation::gelu);
        check([7, 33], quick_gelu, |x| x.clone() * activation::sigmoid(x.mul_scalar(QUICK)));
    }
}
