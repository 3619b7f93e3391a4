//! Scaled dot-product attention, `softmax(q · kᵀ / √d) · v` per head (Vaswani et al., arXiv 1706.03762).
//!
//! Three forms for three shapes of work, all over rows of `heads × head_dim` values:
//! - [`self_attention`]: many queries over as many keys, both straight from one fused projection;
//! - [`cross_attention`] over [`PackedKeyValues`]: few queries, again and again, over keys and values that never change (a
//!   decoder over a picture), some of which rows may leave out, and with probabilities that may be recorded;
//! - [`attend_entries`]: one query over some rows of a growing table (a decoder over its own past).
//!
//! The first two never store a score matrix: a block of query rows is scored against all keys, normalised and multiplied
//! with the values while its scores are in the nearest caches. (A plain softmax over the whole row beats one that is
//! corrected block by block at these lengths: a row of 577 scores is 2 KB.)
//!
//! Masks are lengths: padding stands at the end of a row in every use of mPLUG, and a masked key's probability is
//! exactly zero in the original's f32 too (its −10000 underflows), so keys beyond `valid_keys` are simply left out. Cross-attention alone
//! knows others, for who asks what an output owes to some of the keys ([`LeftOut`]).

mod block;
mod cached;
mod fused;
mod left_out;
mod packed;

pub use cached::attend_entries;
pub use fused::self_attention;
pub use left_out::LeftOut;
pub use packed::{CrossAttentionGroup, PackedKeyValues, cross_attention};

use crate::gemm::PanelType;
use crate::gemm::panels::panels_len;

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

    /// Panels of one head's keys: a column a key.
    fn key_len<T: PanelType>(self, keys: usize) -> usize {
        panels_len(keys, self.head_dim, T::GROUP)
    }

    /// Panels of one head's values: a column a feature.
    fn value_len<T: PanelType>(self, keys: usize) -> usize {
        panels_len(self.head_dim, keys, T::GROUP)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::fused::Fused;
    use super::*;
    use crate::gemm::tests::{assert_close, naive_transposed, values};
    use crate::gemm::{MatrixView, Precision};
    use crate::softmax::naive_softmax;

    /// The reference implementation: one query row, keys and values as rows, head by head.
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

            let queries: Vec<f32> = query.concat();
            let key_value: Vec<f32> = fused.chunks(3 * width).flat_map(|row| row[width..].to_vec()).collect();
            let mut output = vec![0.0; len * width];
            for precision in Precision::ALL {
                // bf16 keeps 8 bits of a value.
                let tolerance = if precision == Precision::F32 { 1e-5 } else { 1e-2 };
                self_attention(&fused, valid, shape, precision, &mut output);
                assert_close(&output, &expected, tolerance);
                let packed = PackedKeyValues::new(&key_value, valid, shape, precision);
                cross_attention(&queries, &mut [CrossAttentionGroup::new(&packed, len)], shape, &mut output);
                assert_close(&output, &expected, tolerance);
            }
            let all_keys = Fused { query_key_value: &fused, len, valid_keys: valid, shape };
            all_keys.attend_by_library(&mut output);
            assert_close(&output, &expected, 1e-5);

            let (keys, values) = (key.concat(), value.concat());
            let entries: Vec<u32> = (0..valid as u32).collect();
            for (query, output) in query.iter().zip(output.chunks_mut(width)) {
                attend_entries(query, &keys, &values, &entries, shape, &mut Vec::new(), output);
            }
            assert_close(&output, &expected, 1e-5);
        }
    }
}
