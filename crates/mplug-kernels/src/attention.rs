//! Scaled dot-product attention, `softmax(q · kᵀ / √d) · v` per head (Vaswani et al., arXiv 1706.03762).
//!
//! Three forms for three shapes of work, all over rows of `heads × head_dim` values:
//! - [`self_attention`]: many queries over as many keys, both straight from one fused projection;
//! - [`cross_attention`] over [`PackedKeyValues`]: few queries, again and again, over keys and values that never change (a
//!   decoder over a picture);
//! - [`attend_one`]: one query over a short growing cache (a decoder over its own past).
//!
//! The first two never store a score matrix: a block of query rows is scored against all keys, normalised and multiplied
//! with the values while its scores are in the nearest caches. (A plain softmax over the whole row beats one that is
//! corrected block by block at these lengths: a row of 577 scores is 2 KB.)
//!
//! Masks are lengths: padding stands at the end of a row in every use of mPLUG, and a masked key's probability is
//! exactly zero in the original's f32 too (its −10000 underflows), so keys beyond `valid_keys` are simply left out.
#![expect(
    unsafe_code,
    reason = "heads write their own columns of one output; each block says why it is sound"
)]

use std::cell::Cell;
use std::ops::Range;

use rayon::prelude::*;

use crate::InstructionSet;
use crate::gemm::library;
use crate::gemm::panels::{PANEL, PanelsView, fill_columns, fill_steps, panel_len, panels_len};
use crate::gemm::{MatrixView, PanelType, Precision, Target, multiply_rows};
use crate::memory::Buffer;
use crate::scratch::{Slot, lend};
use crate::softmax::{exponentials_row, softmax_row, softmax_rows};

/// Query rows whose scores are held at once: 24 × 577 scores are 55 KB.
const QUERY_BLOCK: usize = 24;

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
struct Fused<'a> {
    query_key_value: &'a [f32],
    len: usize,
    valid_keys: usize,
    shape: HeadShape,
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
            let (key_panels, value_panels) = head_panels(&packed, keys, shape);
            let query = self.part(0, self.len, head);
            for first in queries.clone().step_by(QUERY_BLOCK) {
                let rows = (queries.end - first).min(QUERY_BLOCK);
                let block = target.at(first, head * shape.head_dim);
                // SAFETY: the caller's promise, for some of the rows.
                unsafe {
                    attend_block(
                        set,
                        query.row_block(first, rows),
                        key_panels,
                        value_panels,
                        shape,
                        &mut scratch.scores,
                        block,
                    );
                }
            }
            *T::panels_of(scratch) = packed;
        });
    }

    /// The form for CPUs without kernels of ours: the library's products, a score matrix a head.
    fn attend_by_library(&self, output: &mut [f32]) {
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

/// Packs one head's keys and values, `(keys, head_dim)` each, for products with queries and with probabilities.
fn pack_head<T: PanelType>(to: &mut [T], keys: MatrixView, values: MatrixView, shape: HeadShape) {
    let count = keys.rows();
    let (key_panels, value_panels) = to.split_at_mut(shape.key_len::<T>(count));
    for (index, panel) in key_panels.chunks_exact_mut(panel_len(shape.head_dim, T::GROUP)).enumerate() {
        let columns = index * PANEL..count.min((index + 1) * PANEL);
        fill_columns(panel, T::GROUP, columns.map(|key| keys.row(key)), T::from_f32);
    }
    for (index, panel) in value_panels.chunks_exact_mut(panel_len(count, T::GROUP)).enumerate() {
        let features = index * PANEL..shape.head_dim.min((index + 1) * PANEL);
        fill_steps(panel, T::GROUP, (0..count).map(|key| &values.row(key)[features.clone()]), T::from_f32);
    }
}

/// What [`pack_head`] packed, as two right-hand sides.
fn head_panels<T: PanelType>(
    packed: &[T],
    keys: usize,
    shape: HeadShape,
) -> (PanelsView<'_, T>, PanelsView<'_, T>) {
    let (key_panels, value_panels) = packed.split_at(shape.key_len::<T>(keys));
    (
        PanelsView { data: key_panels, columns: keys, depth: shape.head_dim, group: T::GROUP },
        PanelsView { data: value_panels, columns: shape.head_dim, depth: keys, group: T::GROUP },
    )
}

/// Scores of a block of queries against all keys, their softmax, and the sum of the values by it.
///
/// # Safety
/// Nobody else may use the target's `queries.rows()` rows and `head_dim` columns meanwhile.
unsafe fn attend_block<T: PanelType>(
    set: InstructionSet,
    queries: MatrixView,
    key_panels: PanelsView<T>,
    value_panels: PanelsView<T>,
    shape: HeadShape,
    scores: &mut Vec<f32>,
    target: Target,
) {
    let (rows, keys) = (queries.rows(), key_panels.columns);
    // Rows do not lie a multiple of 4096 bytes apart, which would share places in the L1 cache.
    let stride = keys.next_multiple_of(PANEL) + PANEL;
    scores.resize(rows * stride, 0.0); // (rows, stride)
    // The last panel is computed whole, so that no product ends inside one: nobody reads the scores beyond the keys.
    let key_panels = PanelsView { columns: keys.next_multiple_of(PANEL), ..key_panels };
    // SAFETY: the scores are ours, with room for every panel in every row.
    unsafe { multiply_rows(set, queries, key_panels, shape.scale(), Target::new(scores, stride)) };
    let mut sums = [0.0; QUERY_BLOCK];
    for (row, sum) in scores.chunks_exact_mut(stride).zip(&mut sums) {
        *sum = exponentials_row(&mut row[..keys]);
    }
    let exponentials = MatrixView::columns(scores, rows, keys, stride, 0);
    // SAFETY: the caller's promise.
    unsafe {
        multiply_rows(set, exponentials, value_panels, 1.0, target);
        for (row, sum) in sums.iter().enumerate().take(rows) {
            // The softmax's division, once a feature instead of once a key.
            target.row(row, shape.head_dim).iter_mut().for_each(|value| *value /= sum);
        }
    }
}

/// Memory of a thread that works on a head.
#[derive(Default)]
struct Scratch {
    f32_panels: Vec<f32>,
    bf16_panels: Vec<u16>,
    scores: Vec<f32>,
}

thread_local! {
    static SCRATCH: Slot<Scratch> = const { Cell::new(None) };
}

/// Types in which keys and values are packed, and where their panels lie in the scratch.
trait HeadType: PanelType {
    fn panels_of(scratch: &mut Scratch) -> &mut Vec<Self>;
}

impl HeadType for f32 {
    fn panels_of(scratch: &mut Scratch) -> &mut Vec<Self> {
        &mut scratch.f32_panels
    }
}

impl HeadType for u16 {
    fn panels_of(scratch: &mut Scratch) -> &mut Vec<Self> {
        &mut scratch.bf16_panels
    }
}

/// Keys and values of one sequence, packed per head for products with few queries: at bf16 unless f32 is requested.
pub struct PackedKeyValues {
    shape: HeadShape,
    keys: usize,
    panels: KeyValuePanels,
}

/// Of each head its keys, then its values.
enum KeyValuePanels {
    F32(Buffer<f32>),
    Bf16(Buffer<u16>),
}

impl PackedKeyValues {
    /// Packs the first `valid_keys` rows of `key_value`, which is `(len, 2 · width)`: a key and a value per row.
    pub fn new(key_value: &[f32], valid_keys: usize, shape: HeadShape, precision: Precision) -> Self {
        let panels = match precision {
            Precision::F32 => KeyValuePanels::F32(pack_heads(key_value, valid_keys, shape)),
            Precision::Bf16 | Precision::Int8 => {
                KeyValuePanels::Bf16(pack_heads(key_value, valid_keys, shape))
            }
        };
        Self { shape, keys: valid_keys, panels }
    }

    /// Keys of the sequence.
    pub fn key_len(&self) -> usize {
        self.keys
    }

    /// # Safety
    /// Nobody else may use the columns of `head` in the target meanwhile.
    unsafe fn attend_head(&self, head: usize, queries: MatrixView, target: Target) {
        // SAFETY: the caller's promise.
        unsafe {
            match &self.panels {
                KeyValuePanels::F32(panels) => self.attend_panels(panels, head, queries, target),
                KeyValuePanels::Bf16(panels) => self.attend_panels(panels, head, queries, target),
            }
        }
    }

    unsafe fn attend_panels<T: PanelType>(
        &self,
        panels: &[T],
        head: usize,
        queries: MatrixView,
        target: Target,
    ) {
        let (shape, keys) = (self.shape, self.keys);
        let len = shape.key_len::<T>(keys) + shape.value_len::<T>(keys);
        let (key_panels, value_panels) = head_panels(&panels[head * len..][..len], keys, shape);
        lend(&SCRATCH, |scratch| {
            for first in (0..queries.rows()).step_by(QUERY_BLOCK) {
                let block = queries.row_block(first, (queries.rows() - first).min(QUERY_BLOCK));
                // SAFETY: the caller's promise, for some of the rows.
                unsafe {
                    attend_block(
                        InstructionSet::best(),
                        block,
                        key_panels,
                        value_panels,
                        shape,
                        &mut scratch.scores,
                        target.at(first, 0),
                    );
                }
            }
        });
    }
}

fn pack_heads<T: PanelType>(key_value: &[f32], valid_keys: usize, shape: HeadShape) -> Buffer<T> {
    let width = shape.width();
    let part = |which: usize, head: usize| {
        let offset = which * width + head * shape.head_dim;
        MatrixView::columns(key_value, valid_keys, shape.head_dim, 2 * width, offset)
    };
    let len = shape.key_len::<T>(valid_keys) + shape.value_len::<T>(valid_keys);
    let mut panels = Buffer::zeroed(shape.heads * len);
    panels
        .par_chunks_mut(len)
        .enumerate()
        .for_each(|(head, panels)| pack_head(panels, part(0, head), part(1, head), shape));
    panels
}

/// Rows of `queries` attend to what their group holds: the first group's rows come first. `queries` and `output` are
/// `(rows, width)`.
///
/// # Panics
/// If the groups have other rows than the queries.
pub fn cross_attention(
    queries: &[f32],
    groups: &[(&PackedKeyValues, usize)],
    shape: HeadShape,
    output: &mut [f32],
) {
    let width = shape.width();
    assert_eq!(queries.len(), output.len(), "cross-attention: queries and output differ");
    let rows = groups.iter().map(|(_, rows)| rows).sum::<usize>();
    assert_eq!(rows * width, queries.len(), "cross-attention: the groups have {rows} rows");
    let mut first = 0;
    let groups: Vec<_> = groups
        .iter()
        .map(|&(key_values, rows)| {
            assert_eq!(key_values.shape, shape, "cross-attention: heads of another shape");
            first += rows;
            (key_values, first - rows, rows)
        })
        .collect();
    let target = Target::new(output, width);
    let tasks = groups.len() * shape.heads;
    let at_once = tasks.div_ceil(rayon::current_num_threads());
    (0..tasks).into_par_iter().with_min_len(at_once).for_each(|task| {
        let (key_values, first, rows) = groups[task / shape.heads];
        let head = task % shape.heads;
        let offset = head * shape.head_dim;
        let rows_of_group = &queries[first * width..(first + rows) * width];
        let queries = MatrixView::columns(rows_of_group, rows, shape.head_dim, width, offset);
        // SAFETY: each task has the columns of its head in the rows of its group.
        unsafe { key_values.attend_head(head, queries, target.at(first, offset)) }
    });
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
    #[cfg(target_arch = "x86_64")]
    if InstructionSet::best() >= InstructionSet::Avx2 {
        // SAFETY: the CPU has AVX2, as just checked.
        return unsafe { attend_one_avx2(query, keys, values, shape, scores, output) };
    }
    attend_one_plain(query, keys, values, shape, scores, output);
}

/// The plain form, compiled once more for AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn attend_one_avx2(
    query: &[f32],
    keys: &[f32],
    values: &[f32],
    shape: HeadShape,
    scores: &mut Vec<f32>,
    output: &mut [f32],
) {
    attend_one_plain(query, keys, values, shape, scores, output);
}

#[inline(always)]
fn attend_one_plain(
    query: &[f32],
    keys: &[f32],
    values: &[f32],
    shape: HeadShape,
    scores: &mut Vec<f32>,
    output: &mut [f32],
) {
    let width = shape.width();
    output.fill(0.0);
    for head in 0..shape.heads {
        let range = head * shape.head_dim..(head + 1) * shape.head_dim;
        let query = &query[range.clone()];
        scores.clear();
        scores.extend(keys.chunks_exact(width).map(|key| dot(query, &key[range.clone()]) * shape.scale()));
        softmax_row(scores);
        let out = &mut output[range.clone()];
        for (&probability, value) in scores.iter().zip(values.chunks_exact(width)) {
            for (o, v) in out.iter_mut().zip(&value[range.clone()]) {
                *o += probability * v;
            }
        }
    }
}

/// A dot product in partial sums, so that it vectorises and its order is fixed.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const PARTS: usize = 32;
    let mut sums = [0.0f32; PARTS];
    let (a_chunks, b_chunks) = (a.chunks_exact(PARTS), b.chunks_exact(PARTS));
    let tail: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for (sum, (x, y)) in sums.iter_mut().zip(x.iter().zip(y)) {
            *sum += x * y;
        }
    }
    let mut len = PARTS;
    while len > 1 {
        len /= 2;
        for i in 0..len {
            sums[i] += sums[i + len];
        }
    }
    sums[0] + tail
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::tests::{assert_close, naive_transposed, values};
    use crate::softmax::naive_softmax;
    use proptest::prelude::*;

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
                cross_attention(&queries, &[(&packed, len)], shape, &mut output);
                assert_close(&output, &expected, tolerance);
            }
            let all_keys = Fused { query_key_value: &fused, len, valid_keys: valid, shape };
            all_keys.attend_by_library(&mut output);
            assert_close(&output, &expected, 1e-5);

            let (keys, values) = (key.concat(), value.concat());
            for (query, output) in query.iter().zip(output.chunks_mut(width)) {
                attend_one(query, &keys, &values, shape, &mut Vec::new(), output);
            }
            assert_close(&output, &expected, 1e-5);
        }
    }
}
