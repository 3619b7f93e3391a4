//! Scaled dot-product attention, `softmax(q · kᵀ / √d) · v` per head (Vaswani et al., arXiv 1706.03762).
//!
//! Three forms for three shapes of work, all over rows of `heads × head_dim` values:
//! - [`self_attention`]: many queries over as many keys, both straight from one fused projection;
//! - [`PackedKeyValues`]: few queries, again and again, over keys and values that never change (a decoder over a picture);
//! - [`attend_one`]: one query over a short growing cache (a decoder over its own past).
//!
//! Masks are lengths: padding stands at the end of a row in every use of mPLUG, and a masked key's probability is
//! exactly zero in the original's f32 too (its −10000 underflows), so keys beyond `valid_keys` are simply left out.

use rayon::prelude::*;

use crate::gemm::{self, MatrixView, PackedMatrix};
use crate::softmax::{softmax_row, softmax_rows};

/// How a row of `heads × head_dim` values divides into heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadShape {
    /// Number of heads.
    pub heads: usize,
    /// Values per head.
    pub head_dim: usize,
}

impl HeadShape {
    /// Width of a row: all heads side by side.
    pub fn width(self) -> usize {
        self.heads * self.head_dim
    }

    /// `1 / √head_dim`.
    fn scale(self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }
}

/// One sequence attends to itself. `query_key_value` is `(len, 3 · width)`, `output` `(len, width)`;
/// keys from `valid_keys` on are masked.
///
/// # Panics
/// If the lengths do not fit together, or no key or more keys than there are would be valid.
pub fn self_attention(query_key_value: &[f32], valid_keys: usize, shape: HeadShape, output: &mut [f32]) {
    let width = shape.width();
    let len = output.len() / width;
    assert_eq!(
        query_key_value.len(),
        len * 3 * width,
        "self-attention: the fused projection has the wrong length"
    );
    assert!((1..=len).contains(&valid_keys), "self-attention: {valid_keys} valid keys of {len}");
    let part = |which: usize, rows: usize, head: usize| {
        let offset = which * width + head * shape.head_dim;
        MatrixView::columns(query_key_value, rows, shape.head_dim, 3 * width, offset)
    };
    per_head(shape, len, output, |head, scores, context| {
        scores.resize(len * valid_keys, 0.0); // (query_len, key_len)
        gemm::multiply_transposed(part(0, len, head), part(1, valid_keys, head), shape.scale(), scores);
        softmax_rows(scores, valid_keys);
        gemm::multiply(MatrixView::new(scores, len, valid_keys), part(2, valid_keys, head), context);
    });
}

/// Keys and values of one sequence, packed per head for products with few queries.
pub struct PackedKeyValues {
    shape: HeadShape,
    /// Per head: keys for `q · kᵀ` and values for `p · v`.
    heads: Vec<(PackedMatrix, PackedMatrix)>,
}

impl PackedKeyValues {
    /// Packs the first `valid_keys` rows of `key_value`, which is `(len, 2 · width)`: a key and a value per row.
    pub fn new(key_value: &[f32], valid_keys: usize, shape: HeadShape) -> Self {
        let width = shape.width();
        let part = |which: usize, head: usize| {
            let offset = which * width + head * shape.head_dim;
            MatrixView::columns(key_value, valid_keys, shape.head_dim, 2 * width, offset)
        };
        let heads = (0..shape.heads)
            .into_par_iter()
            .map(|head| (PackedMatrix::transposed(part(0, head)), PackedMatrix::plain(part(1, head))))
            .collect();
        Self { shape, heads }
    }

    /// Keys of the sequence.
    pub fn key_len(&self) -> usize {
        self.heads.first().map_or(0, |(keys, _)| keys.out_features())
    }

    /// `queries` and `output` are `(query_len, width)`.
    pub fn attend(&self, queries: &[f32], output: &mut [f32]) {
        let (shape, width) = (self.shape, self.shape.width());
        let query_len = queries.len() / width;
        per_head(shape, query_len, output, |head, scores, context| {
            self.scores(queries, head, scores);
            gemm_values(&self.heads[head].1, scores, query_len, context);
        });
    }

    /// Attention probabilities of `head`, `(query_len, key_len)`.
    fn scores(&self, queries: &[f32], head: usize, scores: &mut Vec<f32>) {
        let (shape, width) = (self.shape, self.shape.width());
        let query_len = queries.len() / width;
        let query = MatrixView::columns(queries, query_len, shape.head_dim, width, head * shape.head_dim);
        scores.resize(query_len * self.key_len(), 0.0);
        self.heads[head].0.multiply(query, shape.scale(), None, scores);
        softmax_rows(scores, self.key_len());
    }
}

fn gemm_values(values: &PackedMatrix, probabilities: &[f32], query_len: usize, context: &mut [f32]) {
    values.multiply(MatrixView::new(probabilities, query_len, values.in_features()), 1.0, None, context);
}

/// Runs `attend(head, scratch, context)` for every head in parallel, `context` being `(len, head_dim)`, and writes the
/// heads side by side into `output`, `(len, width)`.
fn per_head(
    shape: HeadShape,
    len: usize,
    output: &mut [f32],
    attend: impl Fn(usize, &mut Vec<f32>, &mut [f32]) + Sync,
) {
    let mut contexts = vec![0.0; shape.heads * len * shape.head_dim]; // (heads, len, head_dim)
    contexts
        .par_chunks_mut(len * shape.head_dim)
        .enumerate()
        .for_each_init(Vec::new, |scratch, (head, context)| attend(head, scratch, context));
    output.par_chunks_mut(shape.width()).with_min_len(crate::ROWS_PER_TASK).enumerate().for_each(
        |(row, out)| {
            for (head, out) in out.chunks_exact_mut(shape.head_dim).enumerate() {
                let start = (head * len + row) * shape.head_dim;
                out.copy_from_slice(&contexts[start..start + shape.head_dim]);
            }
        },
    );
}

/// One query row over `len` cached key and value rows, all of `width` values. `scores` is scratch.
pub fn attend_one(
    query: &[f32],
    keys: &[f32],
    values: &[f32],
    shape: HeadShape,
    scores: &mut Vec<f32>,
    output: &mut [f32],
) {
    let width = shape.width();
    let head_range = |head: usize| head * shape.head_dim..(head + 1) * shape.head_dim;
    output.fill(0.0);
    for head in 0..shape.heads {
        let range = head_range(head);
        scores.clear();
        scores.extend(
            keys.chunks_exact(width)
                .map(|key| dot(&query[range.clone()], &key[range.clone()]) * shape.scale()),
        );
        softmax_row(scores);
        let out = &mut output[range.clone()];
        for (&probability, value) in scores.iter().zip(values.chunks_exact(width)) {
            for (o, v) in out.iter_mut().zip(&value[range.clone()]) {
                *o += probability * v;
            }
        }
    }
}

/// A dot product in eight partial sums, so that it vectorises and its order is fixed.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for (sum, (x, y)) in sums.iter_mut().zip(x.iter().zip(y)) {
            *sum += x * y;
        }
    }
    sums.iter().sum::<f32>() + tail
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::naive_transposed;
    use crate::gemm::tests::{assert_close, values};
    use crate::softmax::naive_softmax;
    use proptest::prelude::*;

    /// The naive twin: one query row, keys and values as rows, head by head.
    fn naive(query: &[f32], keys: &[&[f32]], values: &[&[f32]], shape: HeadShape) -> Vec<f32> {
        (0..shape.heads)
            .flat_map(|head| {
                let range = head * shape.head_dim..(head + 1) * shape.head_dim;
                let scores: Vec<f32> = keys
                    .iter()
                    .map(|key| {
                        let (q, k) = (&query[range.clone()], &key[range.clone()]);
                        let (q, k) = (MatrixView::new(q, 1, q.len()), MatrixView::new(k, 1, k.len()));
                        naive_transposed(q, k, 1.0 / (shape.head_dim as f32).sqrt(), None)[0]
                    })
                    .collect();
                let probabilities = naive_softmax(&scores);
                range
                    .map(|i| probabilities.iter().zip(values).map(|(p, v)| p * v[i]).sum())
                    .collect::<Vec<f32>>()
            })
            .collect()
    }

    fn rows(data: &[f32], stride: usize, offset: usize, width: usize, len: usize) -> Vec<&[f32]> {
        data.chunks(stride).take(len).map(|row| &row[offset..offset + width]).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn all_forms_equal_the_naive_one(heads in 1usize..4, head_dim in 1usize..70, len in 1usize..40, masked in 0usize..5, salt in 0u32..100) {
            let shape = HeadShape { heads, head_dim };
            let (width, valid) = (shape.width(), len.saturating_sub(masked).max(1));
            let fused = values(len * 3 * width, salt);
            let query = rows(&fused, 3 * width, 0, width, len);
            let key = rows(&fused, 3 * width, width, width, valid);
            let value = rows(&fused, 3 * width, 2 * width, width, valid);
            let expected: Vec<f32> = query.iter().flat_map(|q| naive(q, &key, &value, shape)).collect();

            let mut output = vec![0.0; len * width];
            self_attention(&fused, valid, shape, &mut output);
            assert_close(&output, &expected, 1e-5);

            let queries: Vec<f32> = query.concat();
            let key_value: Vec<f32> = fused.chunks(3 * width).flat_map(|row| row[width..].to_vec()).collect();
            PackedKeyValues::new(&key_value, valid, shape).attend(&queries, &mut output);
            assert_close(&output, &expected, 1e-5);

            let (keys, values) = (key.concat(), value.concat());
            for (query, output) in query.iter().zip(output.chunks_mut(width)) {
                attend_one(query, &keys, &values, shape, &mut Vec::new(), output);
            }
            assert_close(&output, &expected, 1e-5);
        }
    }
}
