//! The captioning loss: cross-entropy of the next token, averaged over all labels that count (as in the original's `BertPrefixModel`). Knows no model.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};

use crate::batch::IGNORE_INDEX;

/// The summed cross-entropy of `labels` `(batch, len)` under `logits` `(batch, len, vocab)`, divided by `tokens`; labels
/// of [`IGNORE_INDEX`] do not count. With `tokens` the number of labels that count in the whole batch, the losses of its
/// portions sum to the batch's mean.
pub fn cross_entropy(logits: Tensor<3>, labels: Tensor<2, Int>, tokens: usize) -> Tensor<1> {
    let [batch, len, vocab] = logits.dims();
    let labels = labels.reshape([batch * len, 1]);
    let counts = labels.clone().not_equal_scalar(IGNORE_INDEX).float(); // (rows, 1)
    let labels = labels.clamp_min(0);
    let log_probabilities = log_softmax(logits.reshape([batch * len, vocab]), 1);
    let chosen = log_probabilities.gather(1, labels); // (rows, 1)
    (chosen * counts).sum().div_scalar(-(tokens as f32))
}
