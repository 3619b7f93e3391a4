//! Self-attention: many queries over as many keys, all read where the fused projection wrote them.
#![expect(
    unsafe_code,
    reason = "heads write their own columns of one output; each block says why it is sound"
)]

use std::ops::Range;

use rayon::prelude::*;

use super::HeadShape;
use super::block::{Extras, HeadType, QUERY_BLOCK, SCRATCH, attend_block, head_panels, pack_head};
use crate::InstructionSet;
use crate::gemm::{MatrixView, Precision, Target, library};
use crate::scratch::lend;
use crate::softmax::softmax_rows;

/// One sequence attends to itself. `query_key_value` is `(len, 3 · width)`, `output` `(len, width)`;
/// keys from `valid_keys` on are masked. At bf16 and int8, products are taken at bf16 where the CPU has them, else at f32.
///
/// # Panics
/// If the lengths do not fit together, or no key or more keys than there are would be valid.
pub fn self_attention(
    query_key_value: &[f32],
    valid_keys: usize,
    shape: HeadShape,
    precision: Precision,
    output: &mut [f32],
) {
    let width = shape.width();
    let len = output.len() / width;
    assert_eq!(
        query_key_value.len(),
        len * 3 * width,
        "self-attention: the fused projection has the wrong length"
    );
    assert!((1..=len).contains(&valid_keys), "self-attention: {valid_keys} valid keys of {len}");
    let fused = Fused { query_key_value, len, valid_keys, shape };
    match InstructionSet::best() {
        InstructionSet::Portable => fused.attend_by_library(output),
        set if precision != Precision::F32 && set.multiplies_bf16() => fused.attend::<u16>(set, output),
        set => fused.attend::<f32>(set, output),
    }
}

/// The input of self-attention.
pub(super) struct Fused<'a> {
    pub(super) query_key_value: &'a [f32],
    pub(super) len: usize,
    pub(super) valid_keys: usize,
    pub(super) shape: HeadShape,
}

impl Fused<'_> {
    /// One head of the queries (0), keys (1) or values (2), `(rows, head_dim)`.
    fn part(&self, which: usize, rows: usize, head: usize) -> MatrixView<'_> {
        let width = self.shape.width();
        let offset = which * width + head * self.shape.head_dim;
        MatrixView::columns(self.query_key_value, rows, self.shape.head_dim, 3 * width, offset)
    }

    /// A task for each head, or several where there are more threads than heads.
    fn attend<T: HeadType>(&self, set: InstructionSet, output: &mut [f32]) {
        let target = Target::new(output, self.shape.width());
        let parts = rayon::current_num_threads().div_ceil(self.shape.heads);
        (0..self.shape.heads * parts).into_par_iter().with_max_len(1).for_each(|task| {
            let (head, part) = (task / parts, task % parts);
            let queries = part * self.len / parts..(part + 1) * self.len / parts;
            // SAFETY: each task has rows of its own in the columns of its head.
            unsafe { self.attend_head::<T>(set, head, queries, target) }
        });
    }

    /// # Safety
    /// Nobody else may use the columns of `head` in the rows `queries` of the target meanwhile.
    unsafe fn attend_head<T: HeadType>(
        &self,
        set: InstructionSet,
        head: usize,
        queries: Range<usize>,
        target: Target,
    ) {
        let (shape, keys) = (self.shape, self.valid_keys);
        lend(&SCRATCH, |scratch| {
            let (key_len, value_len) = (shape.key_len::<T>(keys), shape.value_len::<T>(keys));
            let mut packed = std::mem::take(T::panels_of(scratch));
            packed.resize(key_len + value_len, T::default());
            pack_head(&mut packed, self.part(1, keys, head), self.part(2, keys, head), shape);
            let panels = head_panels(&packed, keys, shape);
            let query = self.part(0, self.len, head);
            for first in queries.clone().step_by(QUERY_BLOCK) {
                let rows = (queries.end - first).min(QUERY_BLOCK);
                let block = target.at(first, head * shape.head_dim);
                // SAFETY: the caller's promise, for some of the rows.
                unsafe {
                    attend_block(
                        set,
                        query.row_block(first, rows),
                        panels,
                        shape,
                        &mut scratch.scores,
                        block,
                        Extras::default(),
                    );
                }
            }
            *T::panels_of(scratch) = packed;
        });
    }

    /// The form for CPUs without kernels of ours: the library's products, a score matrix a head.
    pub(super) fn attend_by_library(&self, output: &mut [f32]) {
        let (shape, len, keys) = (self.shape, self.len, self.valid_keys);
        let mut contexts = vec![0.0; output.len()]; // (heads, len, head_dim)
        contexts.par_chunks_mut(len * shape.head_dim).enumerate().for_each_init(
            Vec::new,
            |scores, (head, context)| {
                scores.resize(len * keys, 0.0); // (len, keys)
                library::multiply_transposed(
                    self.part(0, len, head),
                    self.part(1, keys, head),
                    shape.scale(),
                    scores,
                );
                softmax_rows(scores, keys);
                library::multiply(MatrixView::new(scores, len, keys), self.part(2, keys, head), context);
            },
        );
        output.par_chunks_mut(shape.width()).with_min_len(crate::ROWS_PER_TASK).enumerate().for_each(
            |(row, out)| {
                for (head, out) in out.chunks_exact_mut(shape.head_dim).enumerate() {
                    let start = (head * len + row) * shape.head_dim;
                    out.copy_from_slice(&contexts[start..start + shape.head_dim]);
                }
            },
        );
    }
}
