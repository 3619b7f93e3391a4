//! Scaled dot-product attention over several heads. Knows no projections: queries, keys and values in, mixtures out.

use burn::tensor::Tensor;

use crate::fused::attention_softmax;
use crate::product::{Precision, product};

/// Mixes `value` by the agreement of `query` and `key`, head by head.
///
/// `query` is `(batch · query_len, width)`, `key` and `value` are `(batch · key_len, width)`; `mask` is added to the
/// scores, `(batch, 1, query_len or 1, key_len)`; `drop` is what happens to the probabilities before they mix. Returns
/// `(batch · query_len, width)`.
pub(crate) fn attention(
    query: Tensor<2>,
    key: Tensor<2>,
    value: Tensor<2>,
    shape: Heads,
    mask: Option<Tensor<4>>,
    drop: impl FnOnce(Tensor<4>) -> Tensor<4>,
) -> Tensor<2> {
    let [rows, width] = query.dims();
    let scale = 1.0 / ((width / shape.count) as f32).sqrt();
    let query = shape.split(query); // (batch, heads, query_len, head_size)
    let key = shape.split(key).swap_dims(2, 3); // (batch, heads, head_size, key_len)
    let value = shape.split(value); // (batch, heads, key_len, head_size)
    let scores = product(query, key, shape.precision); // (batch, heads, query_len, key_len)
    let probabilities = drop(attention_softmax(scores, scale, mask));
    product(probabilities, value, shape.precision).swap_dims(1, 2).reshape([rows, width])
}

/// How rows divide into a batch, and channels into heads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    /// Sequences in the batch.
    pub(crate) batch: usize,
    /// Heads that the width divides into.
    pub(crate) count: usize,
    /// What the two products are rounded to.
    pub(crate) precision: Precision,
}

impl Heads {
    /// `(batch · len, width)` -> `(batch, heads, len, head_size)`.
    fn split(self, rows: Tensor<2>) -> Tensor<4> {
        let [total, width] = rows.dims();
        rows.reshape([self.batch, total / self.batch, self.count, width / self.count]).swap_dims(1, 2)
    }
}
