//! Cross-entropies. Knows no model.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};

/// The sum over labels of weight times cross-entropy: `labels` `(rows)` under `logits` `(rows, classes)`; labels
/// below 0 are no class and must weigh 0.
pub fn weighted_cross_entropy(logits: Tensor<2>, labels: Tensor<1, Int>, weights: Tensor<1>) -> Tensor<1> {
    let rows = labels.dims()[0];
    let labels = labels.clamp_min(0).reshape([rows, 1]);
    let chosen = log_softmax(logits, 1).gather(1, labels).reshape([rows]);
    (chosen * weights).sum().neg()
}

/// The sum over rows of weight times cross-entropy with soft targets: `targets` `(rows, classes)`, each row a
/// distribution.
pub fn soft_cross_entropy(logits: Tensor<2>, targets: Tensor<2>, weights: Tensor<1>) -> Tensor<1> {
    let rows = weights.dims()[0];
    let each = (log_softmax(logits, 1) * targets).sum_dim(1).reshape([rows]);
    (each * weights).sum().neg()
}
