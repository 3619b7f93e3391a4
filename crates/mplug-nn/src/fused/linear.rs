//! The affine map of rows, at the precision of its product.

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{Shape, Tensor, module};

use super::tracked::{Tracked, build, from_tracked, last_dim, tracked, values};
use crate::product::{Precision, product};

/// The affine map `input · weightᵀ + bias`: `(rows, in)`, `(out, in)`, `(out)` -> `(rows, out)`.
/// The product is at `precision`. Of a map that `is_frozen` the input is not kept: neither weight nor bias gets a gradient.
pub(crate) fn linear(
    input: Tensor<2>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    precision: Precision,
    is_frozen: bool,
) -> Tensor<2> {
    if precision != Precision::F32 {
        return product(input, weight.transpose(), precision) + bias.unsqueeze();
    }
    match (tracked(&input), tracked(&weight), tracked(&bias)) {
        (Some(input), Some(weight), Some(bias)) if is_frozen => frozen_tracked(&input, &weight, &bias),
        (Some(input), Some(weight), Some(bias)) => linear_tracked(&input, &weight, &bias),
        _ => module::linear(input, weight.transpose(), Some(bias)),
    }
}

#[derive(Debug)]
struct LinearBackward;

/// The map without its place in the graph.
fn map(rows: &FlexTensor, matrix: &FlexTensor, bias: &Tracked) -> FlexTensor {
    let mut output = Flex::float_matmul(rows.clone(), matrix.transpose(0, 1));
    let shift = bias.primitive().to_contiguous();
    let shift = values(&shift);
    for row in output.storage_mut::<f32>().chunks_exact_mut(shift.len()) {
        row.iter_mut().zip(shift).for_each(|(value, shift)| *value += shift);
    }
    output
}

#[derive(Debug)]
struct FrozenBackward;

fn frozen_tracked(input: &Tracked, weight: &Tracked, bias: &Tracked) -> Tensor<2> {
    let matrix = weight.primitive().clone();
    let output = map(input.primitive(), &matrix, bias);
    let prepared = FrozenBackward.prepare::<NoCheckpointing>([input.node()]).compute_bound().stateful();
    from_tracked(match prepared {
        OpsKind::Tracked(op) => op.finish(matrix, output),
        OpsKind::UnTracked(op) => op.finish(output),
    })
}

impl Backward<Flex, 1> for FrozenBackward {
    type State = FlexTensor;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let [to_input] = ops.parents;
        if let Some(parent) = to_input {
            grads.register::<Flex>(parent.id, Flex::float_matmul(gradient, ops.state));
        }
    }
}

fn linear_tracked(input: &Tracked, weight: &Tracked, bias: &Tracked) -> Tensor<2> {
    let (rows, matrix) = (input.primitive().clone(), weight.primitive().clone());
    let output = map(&rows, &matrix, bias);
    let prepared = LinearBackward
        .prepare::<NoCheckpointing>([input.node(), weight.node(), bias.node()])
        .compute_bound()
        .stateful();
    from_tracked(match prepared {
        OpsKind::Tracked(op) => op.finish((rows, matrix), output),
        OpsKind::UnTracked(op) => op.finish(output),
    })
}

impl Backward<Flex, 3> for LinearBackward {
    type State = (FlexTensor, FlexTensor);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let (input, weight) = ops.state;
        let [to_input, to_weight, to_bias] = ops.parents;
        if let Some(parent) = to_bias {
            let mut sums = vec![0.0; last_dim(&gradient)];
            for row in values(&gradient).chunks_exact(sums.len()) {
                sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
            let shape = Shape::new([sums.len()]);
            grads.register::<Flex>(parent.id, build(sums, &shape));
        }
        if let Some(parent) = to_weight {
            // The product comes out in the weight's own layout, so that nothing has to be transposed.
            let product = Flex::float_matmul(gradient.transpose(0, 1), input);
            grads.register::<Flex>(parent.id, product);
        }
        if let Some(parent) = to_input {
            grads.register::<Flex>(parent.id, Flex::float_matmul(gradient, weight));
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::fused::comparison::check;

    #[test]
    fn linear_is_burns_in_all_three_gradients() {
        let device = Device::flex().autodiff();
        let weight = Tensor::<2>::random([21, 33], Distribution::Normal(0.0, 0.3), &device).require_grad();
        let bias = Tensor::<1>::random([21], Distribution::Normal(0.0, 0.3), &device).require_grad();
        let composed = |x: Tensor<2>| module::linear(x, weight.clone().transpose(), Some(bias.clone()));
        let fused = |x: Tensor<2>| linear(x, weight.clone(), bias.clone(), Precision::F32, false);
        let squared = |y: Tensor<2>| y.matmul(Tensor::<2>::ones([21, 33], &device)).mul_scalar(0.1);
        check([7, 33], |x| squared(fused(x)), |x| squared(composed(x)));
        let input = Tensor::<2>::random([7, 33], Distribution::Normal(0.0, 1.0), &device);
        let [plain, shift] = [weight.clone().detach(), bias.clone().detach().unsqueeze::<2>()];
        let frozen = |x| linear(x, plain.clone(), shift.clone().reshape([21]), Precision::F32, true);
        check([7, 33], |x| squared(frozen(x)), |x| squared(composed(x)));
        let gradients = [fused(input.clone()), composed(input)].map(|y| y.clone().mul(y).sum().backward());
        let [left, right] = [0, 1].map(|i| weight.grad(&gradients[i]).expect("has a gradient"));
        assert!((left - right).abs().max().into_scalar::<f32>() < 1e-4);
        let [left, right] = [0, 1].map(|i| bias.grad(&gradients[i]).expect("has a gradient"));
        assert!((left - right).abs().max().into_scalar::<f32>() < 1e-4);
    }
}
