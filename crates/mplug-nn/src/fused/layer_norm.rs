//! Layer normalisation of rows.

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::tensor::{Tensor, module};

use super::lanes::{lanes, sum};
use super::tracked::{Tracked, build, from_tracked, tracked, values};

/// Layer normalisation over the last axis.
pub(crate) fn layer_norm(input: Tensor<2>, weight: Tensor<1>, bias: Tensor<1>, epsilon: f64) -> Tensor<2> {
    match (tracked(&input), tracked(&weight), tracked(&bias)) {
        (Some(input), Some(weight), Some(bias)) => layer_norm_tracked(&input, &weight, &bias, epsilon as f32),
        _ => module::layer_norm(input, weight, Some(bias), epsilon),
    }
}

#[derive(Debug)]
struct LayerNormBackward;

/// What the backward pass of a layer norm needs: the input, the weight, and each row's mean and inverse deviation.
#[derive(Clone, Debug)]
struct LayerNormState {
    input: FlexTensor,
    weight: FlexTensor,
    moments: Vec<[f32; 2]>,
}

fn layer_norm_tracked(input: &Tracked, weight: &Tracked, bias: &Tracked, epsilon: f32) -> Tensor<2> {
    let rows = input.primitive().to_contiguous();
    let (scale, shift) = (weight.primitive().to_contiguous(), bias.primitive().to_contiguous());
    let (output, moments) = layer_norm_forward(values(&rows), values(&scale), values(&shift), epsilon);
    let output = build(output, rows.layout().shape());
    let prepared = LayerNormBackward
        .prepare::<NoCheckpointing>([input.node(), weight.node(), bias.node()])
        .compute_bound()
        .stateful();
    from_tracked(match prepared {
        OpsKind::Tracked(op) => op.finish(LayerNormState { input: rows, weight: scale, moments }, output),
        OpsKind::UnTracked(op) => op.finish(output),
    })
}

impl Backward<Flex, 3> for LayerNormBackward {
    type State = LayerNormState;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let LayerNormState { input, weight, moments } = ops.state;
        let [to_input, to_weight, to_bias] =
            layer_norm_backward(values(&input), values(&weight), &moments, values(&gradient));
        let shapes = [input.layout().shape(), weight.layout().shape(), weight.layout().shape()];
        for ((parent, gradient), shape) in
            ops.parents.into_iter().zip([to_input, to_weight, to_bias]).zip(shapes)
        {
            if let Some(parent) = parent {
                grads.register::<Flex>(parent.id, build(gradient, shape));
            }
        }
    }
}

/// The normalised rows, and each row's mean and inverse deviation.
fn layer_norm_forward(
    input: &[f32],
    weight: &[f32],
    bias: &[f32],
    epsilon: f32,
) -> (Vec<f32>, Vec<[f32; 2]>) {
    let width = weight.len();
    let mut output = Vec::with_capacity(input.len());
    let mut moments = Vec::with_capacity(input.len() / width);
    for row in input.chunks_exact(width) {
        let mean = sum(row.iter().copied()) / width as f32;
        let variance = lanes(row, row, |x, _| (x - mean) * (x - mean)) / width as f32;
        let inverse = 1.0 / (variance + epsilon).sqrt();
        output.extend(row.iter().zip(weight).zip(bias).map(|((x, w), b)| (x - mean) * inverse * w + b));
        moments.push([mean, inverse]);
    }
    (output, moments)
}

/// The gradients to the input, the weight and the bias.
fn layer_norm_backward(
    input: &[f32],
    weight: &[f32],
    moments: &[[f32; 2]],
    gradient: &[f32],
) -> [Vec<f32>; 3] {
    let width = weight.len();
    let mut to_input = Vec::with_capacity(input.len());
    let (mut to_weight, mut to_bias) = (vec![0.0; width], vec![0.0; width]);
    let mut scaled = vec![0.0; width];
    let mut normal = vec![0.0; width];
    for ((row, gradient), &[mean, inverse]) in
        input.chunks_exact(width).zip(gradient.chunks_exact(width)).zip(moments)
    {
        for i in 0..width {
            normal[i] = (row[i] - mean) * inverse;
            scaled[i] = gradient[i] * weight[i];
            to_weight[i] += gradient[i] * normal[i];
            to_bias[i] += gradient[i];
        }
        let along_one = sum(scaled.iter().copied()) / width as f32;
        let along_normal = lanes(&scaled, &normal, |s, n| s * n) / width as f32;
        to_input
            .extend(scaled.iter().zip(&normal).map(|(s, n)| inverse * (s - along_one - n * along_normal)));
    }
    [to_input, to_weight, to_bias]
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::fused::comparison::check;

    #[test]
    fn layer_norm_is_burns_in_all_three_gradients() {
        let device = Device::flex().autodiff();
        let random = |std| Tensor::<1>::random([33], Distribution::Normal(1.0, std), &device).require_grad();
        let (weight, bias) = (random(0.3), random(0.5));
        check(
            [7, 33],
            |x| layer_norm(x, weight.clone(), bias.clone(), 1e-5),
            |x| module::layer_norm(x, weight.clone(), Some(bias.clone()), 1e-5),
        );
        let input = Tensor::<2>::random([7, 33], Distribution::Normal(0.0, 3.0), &device);
        let outer = Tensor::<2>::random([7, 33], Distribution::Normal(0.0, 1.0), &device);
        let outputs = [
            layer_norm(input.clone(), weight.clone(), bias.clone(), 1e-5),
            module::layer_norm(input, weight.clone(), Some(bias.clone()), 1e-5),
        ];
        let gradients = outputs.map(|output| (output * outer.clone()).sum().backward());
        for parameter in [&weight, &bias] {
            let [fused, composed] = [0, 1].map(|i| parameter.grad(&gradients[i]).expect("has a gradient"));
            assert!((fused - composed).abs().max().into_scalar::<f32>() < 2e-5);
        }
    }
}
