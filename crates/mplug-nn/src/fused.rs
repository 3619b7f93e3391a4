//! Differentiable operations in one pass over memory, forward and backward, for the CPU backend.
//!
//! burn composes layer norms, softmax and GELU from many small operations when gradients are recorded, and each of them
//! walks through memory; these four were two thirds of a training step. On other backends, and without gradients, burn's
//! own forms run. The tests hold both forms to each other. This file knows rows and numbers, no network.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;
use burn::backend::{Autodiff, Flex};
use burn::tensor::{Shape, Tensor, TensorData, activation, module};

use crate::product::{Precision, product};

/// The CPU backend with gradients.
type Differentiable = Autodiff<Flex>;
/// A tensor of it.
pub(crate) type Tracked = <Differentiable as burn::backend::BackendTypes>::FloatTensorPrimitive;

/// The affine map `input · weightᵀ + bias`: `(rows, in)`, `(out, in)`, `(out)` -> `(rows, out)`.
/// The product is at `precision`.
pub(crate) fn linear(
    input: Tensor<2>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    precision: Precision,
) -> Tensor<2> {
    if precision != Precision::F32 {
        return product(input, weight.transpose(), precision) + bias.unsqueeze();
    }
    match (tracked(&input), tracked(&weight), tracked(&bias)) {
        (Some(input), Some(weight), Some(bias)) => linear_tracked(&input, &weight, &bias),
        _ => module::linear(input, weight.transpose(), Some(bias)),
    }
}

/// Layer normalisation over the last axis.
pub(crate) fn layer_norm(input: Tensor<2>, weight: Tensor<1>, bias: Tensor<1>, epsilon: f64) -> Tensor<2> {
    match (tracked(&input), tracked(&weight), tracked(&bias)) {
        (Some(input), Some(weight), Some(bias)) => layer_norm_tracked(&input, &weight, &bias, epsilon as f32),
        _ => module::layer_norm(input, weight, Some(bias), epsilon),
    }
}

/// Softmax over the last axis of `scores · scale + mask`; `scores` is `(batch, heads, query_len, key_len)`, the mask, which
/// has no gradient, `(batch, 1, query_len or 1, key_len)`.
pub(crate) fn attention_softmax(scores: Tensor<4>, scale: f32, mask: Option<Tensor<4>>) -> Tensor<4> {
    let values = |mask: &Tensor<4>| {
        let mask = mask.clone().without_autodiff();
        mask.try_into_primitive::<Flex>().ok().map(|mask| mask.to_contiguous())
    };
    match (tracked(&scores), mask.as_ref().map(values)) {
        (Some(scores), None) => softmax_tracked(&scores, scale, None),
        (Some(scores), Some(Some(mask))) => softmax_tracked(&scores, scale, Some(&mask)),
        _ => {
            let scores = scores.mul_scalar(scale);
            activation::softmax(
                match mask {
                    Some(mask) => scores + mask,
                    None => scores,
                },
                3,
            )
        }
    }
}

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

/// The CPU backend's tensor with its node in the graph, if `tensor` is one.
pub(crate) fn tracked<const D: usize>(tensor: &Tensor<D>) -> Option<Tracked> {
    if !tensor.is_autodiff() {
        return None;
    }
    tensor.clone().try_into_primitive::<Differentiable>().ok()
}

/// The tensor of a result.
pub(crate) fn from_tracked<const D: usize>(tensor: Tracked) -> Tensor<D> {
    Tensor::from_primitive::<Differentiable>(tensor)
}

/// A tensor of `values`.
fn build(values: Vec<f32>, shape: &Shape) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.clone()))
}

/// The values of a tensor, which must be contiguous and f32.
fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("made contiguous, f32 throughout")
}

fn last_dim(tensor: &FlexTensor) -> usize {
    let shape = tensor.layout().shape();
    shape[shape.num_dims() - 1]
}

// ---- Affine map ---------------------------------------------------------------------------------------------------

#[derive(Debug)]
struct LinearBackward;

fn linear_tracked(input: &Tracked, weight: &Tracked, bias: &Tracked) -> Tensor<2> {
    let (rows, matrix) = (input.primitive().clone(), weight.primitive().clone());
    let mut output = Flex::float_matmul(rows.clone(), matrix.transpose(0, 1));
    let shift = bias.primitive().to_contiguous();
    let shift = values(&shift);
    for row in output.storage_mut::<f32>().chunks_exact_mut(shift.len()) {
        row.iter_mut().zip(shift).for_each(|(value, shift)| *value += shift);
    }
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

// ---- Layer norm ---------------------------------------------------------------------------------------------------

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

/// A sum in 16 lanes, which the compiler turns into vector instructions.
fn sum(numbers: impl ExactSizeIterator<Item = f32> + Clone) -> f32 {
    let numbers: Vec<f32> = numbers.collect();
    lanes(&numbers, &numbers, |x, _| x)
}

/// The sum of `term` over pairs, in 16 lanes.
fn lanes(left: &[f32], right: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; 16];
    let (left, left_rest) = left.as_chunks::<16>();
    let (right, right_rest) = right.as_chunks::<16>();
    for (left, right) in left.iter().zip(right) {
        for i in 0..16 {
            lanes[i] += term(left[i], right[i]);
        }
    }
    let rest: f32 = left_rest.iter().zip(right_rest).map(|(l, r)| term(*l, *r)).sum();
    lanes.iter().sum::<f32>() + rest
}

// ---- Softmax ------------------------------------------------------------------------------------------------------

#[derive(Debug)]
struct SoftmaxBackward;

/// What the backward pass of a softmax needs: its result, and the scale of its input.
#[derive(Clone, Debug)]
struct SoftmaxState {
    output: FlexTensor,
    scale: f32,
}

fn softmax_tracked(scores: &Tracked, scale: f32, mask: Option<&FlexTensor>) -> Tensor<4> {
    let input = scores.primitive().to_contiguous();
    let shape = input.layout().shape().clone();
    let mask = mask.map(|mask| (values(mask), mask.layout().shape()[2]));
    let output = softmax_forward(values(&input), [shape[1], shape[2], shape[3]], scale, mask);
    let output = build(output, &shape);
    let prepared = SoftmaxBackward.prepare::<NoCheckpointing>([scores.node()]).compute_bound().stateful();
    from_tracked(match prepared {
        OpsKind::Tracked(op) => op.finish(SoftmaxState { output: output.clone(), scale }, output),
        OpsKind::UnTracked(op) => op.finish(output),
    })
}

impl Backward<Flex, 1> for SoftmaxBackward {
    type State = SoftmaxState;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let SoftmaxState { output, scale } = ops.state;
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            let result = softmax_backward(values(&output), values(&gradient), last_dim(&output), scale);
            grads.register::<Flex>(parent.id, build(result, output.layout().shape()));
        }
    }
}

/// Softmax of rows of `width`, of which `rows` make the plane of a head. A mask has one plane for `heads` of the input's, of
/// as many rows or of one row for all.
fn softmax_forward(
    input: &[f32],
    [heads, rows, width]: [usize; 3],
    scale: f32,
    mask: Option<(&[f32], usize)>,
) -> Vec<f32> {
    let mut output = Vec::with_capacity(input.len());
    match mask {
        Some((mask, mask_rows)) => {
            for (index, scores) in input.chunks_exact(width).enumerate() {
                let (sequence, row) = (index / (heads * rows), index % rows);
                let mask_row = sequence * mask_rows + if mask_rows == 1 { 0 } else { row };
                let mask = &mask[mask_row * width..][..width];
                output.extend(scores.iter().zip(mask).map(|(score, mask)| score * scale + mask));
            }
        }
        None => output.extend(input.iter().map(|score| score * scale)),
    }
    for row in output.chunks_exact_mut(width) {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for x in row.iter_mut() {
            *x = exp(*x - max);
        }
        let inverse = 1.0 / lanes(row, row, |x, _| x);
        for x in row.iter_mut() {
            *x *= inverse;
        }
    }
    output
}

/// The gradient to the scores before scaling: `scale · p (g − Σ p g)`.
fn softmax_backward(output: &[f32], gradient: &[f32], width: usize, scale: f32) -> Vec<f32> {
    let mut result = Vec::with_capacity(output.len());
    for (p, g) in output.chunks_exact(width).zip(gradient.chunks_exact(width)) {
        let dot = lanes(p, g, |p, g| p * g);
        result.extend(p.iter().zip(g).map(|(p, g)| scale * p * (g - dot)));
    }
    result
}

// ---- GELU ---------------------------------------------------------------------------------------------------------

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

/// `eˣ` without a branch, so that loops over it become vector instructions: 2 to the whole part of `x / ln 2`, times a
/// polynomial of the rest (Cephes' `expf`). Relative error below 2e-7 from −87 to 88; outside it is held to those ends.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// Adding and taking away 1.5 · 2²³ rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let whole = x * std::f32::consts::LOG2_E + ROUND - ROUND;
    let rest = x - whole * 0.693_359_4 - whole * -2.121_944_4e-4;
    let poly = ((((1.987_569_1e-4 * rest + 1.398_199_9e-3) * rest + 8.333_452e-3) * rest + 4.166_579_6e-2)
        * rest
        + 1.666_666_5e-1)
        * rest
        + 0.5;
    let power = f32::from_bits(((whole as i32 + 127) << 23) as u32);
    (poly * rest * rest + rest + 1.0) * power
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    /// Checks values and gradients of `fused` against `composed` on random input.
    fn check<const D: usize>(
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
            let worst =
                (results[0][index].clone() - results[1][index].clone()).abs().max().into_scalar::<f32>();
            assert!(worst < 2e-5, "{name}: worst difference {worst}");
        }
    }

    #[test]
    fn gelus_are_burns() {
        check([7, 33], gelu, activation::gelu);
        check([7, 33], quick_gelu, |x| x.clone() * activation::sigmoid(x.mul_scalar(QUICK)));
    }

    #[test]
    fn softmax_is_burns_with_and_without_a_mask() {
        check(
            [2, 3, 5, 19],
            |x| attention_softmax(x, 0.3, None),
            |x| activation::softmax(x.mul_scalar(0.3), 3),
        );
        let device = Device::flex().autodiff();
        let mask =
            Tensor::<4>::random([2, 1, 5, 19], Distribution::Bernoulli(0.3), &device).mul_scalar(-10_000.0);
        check(
            [2, 3, 5, 19],
            |x| attention_softmax(x, 0.3, Some(mask.clone())),
            |x| activation::softmax(x.mul_scalar(0.3) + mask.clone(), 3),
        );
    }

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

    #[test]
    fn linear_is_burns_in_all_three_gradients() {
        let device = Device::flex().autodiff();
        let weight = Tensor::<2>::random([21, 33], Distribution::Normal(0.0, 0.3), &device).require_grad();
        let bias = Tensor::<1>::random([21], Distribution::Normal(0.0, 0.3), &device).require_grad();
        let composed = |x: Tensor<2>| module::linear(x, weight.clone().transpose(), Some(bias.clone()));
        let fused = |x: Tensor<2>| linear(x, weight.clone(), bias.clone(), Precision::F32);
        let squared = |y: Tensor<2>| y.matmul(Tensor::<2>::ones([21, 33], &device)).mul_scalar(0.1);
        check([7, 33], |x| squared(fused(x)), |x| squared(composed(x)));
        let input = Tensor::<2>::random([7, 33], Distribution::Normal(0.0, 1.0), &device);
        let gradients = [fused(input.clone()), composed(input)].map(|y| y.clone().mul(y).sum().backward());
        let [left, right] = [0, 1].map(|i| weight.grad(&gradients[i]).expect("has a gradient"));
        assert!((left - right).abs().max().into_scalar::<f32>() < 1e-4);
        let [left, right] = [0, 1].map(|i| bias.grad(&gradients[i]).expect("has a gradient"));
        assert!((left - right).abs().max().into_scalar::<f32>() < 1e-4);
    }

    #[test]
    fn exp_is_exact_enough() {
        for step in -8700..=8800 {
            let x = step as f32 * 0.01;
            let right = f64::from(x).exp();
            assert!((f64::from(exp(x)) - right).abs() <= 3e-7 * right, "exp({x})");
        }
        assert!(exp(-1e9) < 1e-37, "masked scores vanish");
    }
}
