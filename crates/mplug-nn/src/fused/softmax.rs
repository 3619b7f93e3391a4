//! The softmax of attention, with the scale and the mask of its scores.

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::tensor::{Tensor, activation};

use super::exponential::exp;
use super::lanes::lanes;
use super::tracked::{Tracked, build, from_tracked, last_dim, tracked, values};

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

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::fused::comparison::check;

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
}
