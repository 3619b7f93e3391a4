//! Cross-attention: few queries, again and again, over keys and values that are packed once.
#![expect(
    unsafe_code,
    reason = "heads write their own columns of one output; each block says why it is sound"
)]

use rayon::prelude::*;

use super::block::{Extras, QUERY_BLOCK, SCRATCH, attend_block, head_panels, pack_head};
use super::{HeadShape, LeftOut};
use crate::InstructionSet;
use crate::gemm::{MatrixView, PanelType, Precision, Target};
use crate::memory::Buffer;
use crate::scratch::lend;

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

    /// The heads' shape.
    pub fn shape(&self) -> HeadShape {
        self.shape
    }

    /// Bytes of the keys and values as they are packed.
    pub fn bytes(&self) -> usize {
        match &self.panels {
            KeyValuePanels::F32(panels) => size_of_val::<[f32]>(panels),
            KeyValuePanels::Bf16(panels) => size_of_val::<[u16]>(panels),
        }
    }

    /// # Safety
    /// Nobody else may use the columns of `head` in the target meanwhile, nor the extras' probabilities, which must have
    /// all rows.
    unsafe fn attend_head(
        &self,
        set: InstructionSet,
        head: usize,
        queries: MatrixView,
        target: Target,
        extras: Extras,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            match &self.panels {
                KeyValuePanels::F32(panels) => self.attend_panels(panels, set, head, queries, target, extras),
                KeyValuePanels::Bf16(panels) => {
                    self.attend_panels(panels, set, head, queries, target, extras);
                }
            }
        }
    }

    unsafe fn attend_panels<T: PanelType>(
        &self,
        panels: &[T],
        set: InstructionSet,
        head: usize,
        queries: MatrixView,
        target: Target,
        extras: Extras,
    ) {
        let (shape, keys) = (self.shape, self.keys);
        let len = shape.key_len::<T>(keys) + shape.value_len::<T>(keys);
        let panels = head_panels(&panels[head * len..][..len], keys, shape);
        lend(&SCRATCH, |scratch| {
            for first in (0..queries.rows()).step_by(QUERY_BLOCK) {
                let block = queries.row_block(first, (queries.rows() - first).min(QUERY_BLOCK));
                let (scores, target) = (&mut scratch.scores, target.at(first, 0));
                // SAFETY: the caller's promise, for some of the rows.
                unsafe { attend_block(set, block, panels, shape, scores, target, extras.at_row(first)) };
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

/// Rows of queries that attend to the same keys and values.
pub struct CrossAttentionGroup<'a> {
    /// What they attend to.
    pub key_values: &'a PackedKeyValues,
    /// How many they are.
    pub rows: usize,
    /// Keys that they do not see.
    pub left_out: Option<LeftOut<'a>>,
    /// Where their probabilities are written, `(heads, rows, keys)`. A key that is left out has exactly 0.
    pub probabilities: Option<&'a mut [f32]>,
}

impl<'a> CrossAttentionGroup<'a> {
    /// Rows that see every key and whose probabilities nobody wants.
    pub fn new(key_values: &'a PackedKeyValues, rows: usize) -> Self {
        Self { key_values, rows, left_out: None, probabilities: None }
    }

    /// What the tasks of the group's heads share.
    fn checked(&mut self, first: usize, shape: HeadShape) -> Checked<'_> {
        let Self { key_values, rows, left_out, ref mut probabilities } = *self;
        let keys = key_values.keys;
        assert_eq!(key_values.shape, shape, "cross-attention: heads of another shape");
        if let Some(left_out) = left_out {
            left_out.check(rows, keys);
        }
        let probabilities = probabilities.as_deref_mut().map(|to| {
            let (found, expected) = (to.len(), shape.heads * rows * keys);
            assert_eq!(
                found, expected,
                "cross-attention: room for {found} probabilities, {expected} are needed"
            );
            Target::new(to, keys)
        });
        Checked { key_values, first, rows, extras: Extras { left_out, first_row: 0, probabilities } }
    }
}

/// A group whose parts fit together, and where its rows begin.
struct Checked<'a> {
    key_values: &'a PackedKeyValues,
    first: usize,
    rows: usize,
    extras: Extras<'a>,
}

impl Checked<'_> {
    /// The extras of one head: its own part of the probabilities.
    fn extras_of(&self, head: usize) -> Extras<'_> {
        let probabilities = self.extras.probabilities.map(|to| to.at(head * self.rows, 0));
        Extras { probabilities, ..self.extras }
    }
}

/// Rows of `queries` attend to what their group holds: the first group's rows come first. `queries` and `output` are
/// `(rows, width)`.
///
/// # Panics
/// If the groups have other rows than the queries, or what a group leaves out or records does not fit it.
pub fn cross_attention(
    queries: &[f32],
    groups: &mut [CrossAttentionGroup],
    shape: HeadShape,
    output: &mut [f32],
) {
    cross_attention_by(InstructionSet::best(), queries, groups, shape, output);
}

fn cross_attention_by(
    set: InstructionSet,
    queries: &[f32],
    groups: &mut [CrossAttentionGroup],
    shape: HeadShape,
    output: &mut [f32],
) {
    let width = shape.width();
    assert_eq!(queries.len(), output.len(), "cross-attention: queries and output differ");
    let rows = groups.iter().map(|group| group.rows).sum::<usize>();
    assert_eq!(rows * width, queries.len(), "cross-attention: the groups have {rows} rows");
    let mut first = 0;
    let groups: Vec<_> = groups
        .iter_mut()
        .map(|group| {
            first += group.rows;
            group.checked(first - group.rows, shape)
        })
        .collect();
    let target = Target::new(output, width);
    let tasks = groups.len() * shape.heads;
    let at_once = tasks.div_ceil(rayon::current_num_threads());
    (0..tasks).into_par_iter().with_min_len(at_once).for_each(|task| {
        let (group, head) = (&groups[task / shape.heads], task % shape.heads);
        let (first, rows, offset) = (group.first, group.rows, head * shape.head_dim);
        let rows_of_group = &queries[first * width..(first + rows) * width];
        let queries = MatrixView::columns(rows_of_group, rows, shape.head_dim, width, offset);
        let (target, extras) = (target.at(first, offset), group.extras_of(head));
        // SAFETY: each task has the columns of its head in the rows of its group, and its head's part of the probabilities.
        unsafe { group.key_values.attend_head(set, head, queries, target, extras) }
    });
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use proptest::prelude::*;

    use super::*;
    use crate::gemm::tests::{assert_close, naive_transposed, values};
    use crate::softmax::naive_softmax;

    /// Rows of `(len, 2 · width)` keys and values that `mask` leaves, as `(left, 2 · width)`.
    fn without(key_value: &[f32], width: usize, mask: &[Range<usize>]) -> Vec<f32> {
        let rows = key_value.chunks(2 * width).enumerate();
        let seen = rows.filter(|(key, _)| !mask.iter().any(|range| range.contains(key)));
        seen.flat_map(|(_, row)| row.to_vec()).collect()
    }

    /// The reference implementation of the probabilities, `(heads, rows, keys)`, without what `masks` leave out.
    fn naive_probabilities(
        queries: &[f32],
        key_value: &[f32],
        shape: HeadShape,
        masks: &[&[Range<usize>]],
    ) -> Vec<f32> {
        let (width, mut probabilities) = (shape.width(), Vec::new());
        let keys = key_value.len() / (2 * width);
        for head in 0..shape.heads {
            let offset = head * shape.head_dim;
            let queries = MatrixView::columns(queries, masks.len(), shape.head_dim, width, offset);
            let key = MatrixView::columns(key_value, keys, shape.head_dim, 2 * width, offset);
            let mut scores = naive_transposed(queries, key, shape.scale(), None);
            for (row, mask) in scores.chunks_mut(keys).zip(masks) {
                mask.iter().for_each(|range| row[range.clone()].fill(f32::NEG_INFINITY));
                probabilities.extend(naive_softmax(row));
            }
        }
        probabilities
    }

    /// Masks over `keys` keys, of which at least one is left.
    fn masks(count: usize, keys: usize, salt: u32) -> Vec<Vec<Range<usize>>> {
        let draw = |index: usize| {
            let numbers = values(4, salt + index as u32);
            let mut ends: Vec<usize> =
                numbers.iter().map(|x| ((x + 1.0) / 2.0 * keys as f32) as usize).collect();
            ends.sort_unstable();
            match index % 3 {
                0 => Vec::new(),
                1 => vec![ends[0]..ends[1], ends[2]..ends[3]],
                _ => vec![0..ends[0], ends[0] + 1..keys],
            }
        };
        (0..count).map(draw).collect()
    }

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

        #[test]
        fn keys_that_are_left_out_might_as_well_not_be_there(heads in 1usize..4, head_dim in 1usize..70, keys in 1usize..100, count in 1usize..6, rows_per_mask in 1usize..8, salt in 0u32..100) {
            let shape = HeadShape { heads, head_dim };
            let (width, rows) = (shape.width(), count * rows_per_mask);
            let (queries, key_value) = (values(rows * width, salt), values(keys * 2 * width, salt + 1));
            let masks = masks(count, keys, salt);
            let left_out = LeftOut { masks: &masks, rows_per_mask };
            for (set, precision) in InstructionSet::available().flat_map(|set| Precision::ALL.map(|precision| (set, precision))) {
                let tolerance = if precision == Precision::F32 { 1e-5 } else { 1e-4 };
                let packed = PackedKeyValues::new(&key_value, keys, shape, precision);
                let attend = |mut group: CrossAttentionGroup, queries: &[f32]| {
                    let mut output = vec![f32::NAN; queries.len()];
                    cross_attention_by(set, queries, std::slice::from_mut(&mut group), shape, &mut output);
                    output
                };
                let all = attend(CrossAttentionGroup::new(&packed, rows), &queries);
                let some = attend(CrossAttentionGroup { left_out: Some(left_out), ..CrossAttentionGroup::new(&packed, rows) }, &queries);
                for (index, mask) in masks.iter().enumerate() {
                    let rows = index * rows_per_mask * width..(index + 1) * rows_per_mask * width;
                    if mask.is_empty() {
                        prop_assert_eq!(bits(&some[rows.clone()]), bits(&all[rows.clone()]), "a row with nothing left out");
                    }
                    let left = without(&key_value, width, mask);
                    let packed = PackedKeyValues::new(&left, left.len() / (2 * width), shape, precision);
                    let expected = attend(CrossAttentionGroup::new(&packed, rows_per_mask), &queries[rows.clone()]);
                    assert_close(&some[rows], &expected, tolerance);
                }
            }
        }

        #[test]
        fn probabilities_equal_the_naive_ones(heads in 1usize..4, head_dim in 1usize..70, keys in 1usize..100, count in 1usize..6, rows_per_mask in 1usize..8, salt in 0u32..100) {
            let shape = HeadShape { heads, head_dim };
            let (width, rows) = (shape.width(), count * rows_per_mask);
            // The second of two groups, of which the first is recorded too, without masks.
            let (queries, key_value) = (values((rows + 1) * width, salt), values(keys * 2 * width, salt + 1));
            let masks = masks(count, keys, salt);
            let mask_of_row: Vec<&[_]> = (0..rows).map(|row| masks[row / rows_per_mask].as_slice()).collect();
            let expected_first = naive_probabilities(&queries[..width], &key_value, shape, &[&[]]);
            let expected = naive_probabilities(&queries[width..], &key_value, shape, &mask_of_row);
            for (set, precision) in InstructionSet::available().flat_map(|set| Precision::ALL.map(|precision| (set, precision))) {
                let tolerance = if precision == Precision::F32 { 1e-5 } else { 1e-2 };
                let packed = PackedKeyValues::new(&key_value, keys, shape, precision);
                let (mut first, mut second) = (vec![f32::NAN; heads * keys], vec![f32::NAN; heads * rows * keys]);
                let (mut output, mut unrecorded) = (vec![0.0; queries.len()], vec![0.0; queries.len()]);
                let left_out = Some(LeftOut { masks: &masks, rows_per_mask });
                let [one, all] = [CrossAttentionGroup::new(&packed, 1), CrossAttentionGroup { left_out, ..CrossAttentionGroup::new(&packed, rows) }];
                cross_attention_by(set, &queries, &mut [one, all], shape, &mut unrecorded);
                let mut groups = [
                    CrossAttentionGroup { key_values: &packed, rows: 1, left_out: None, probabilities: Some(&mut first) },
                    CrossAttentionGroup { key_values: &packed, rows, left_out, probabilities: Some(&mut second) },
                ];
                cross_attention_by(set, &queries, &mut groups, shape, &mut output);
                prop_assert_eq!(bits(&output), bits(&unrecorded), "recording changes nothing");
                assert_close(&first, &expected_first, tolerance);
                assert_close(&second, &expected, tolerance);
                for (row, expected) in second.chunks(keys).zip(expected.chunks(keys)) {
                    prop_assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                    prop_assert!(row.iter().zip(expected).all(|(p, e)| *e > 0.0 || *p == 0.0), "a key that is left out");
                }
            }
        }
    }

    #[test]
    fn bytes_are_those_of_the_panels() {
        let shape = HeadShape { heads: 2, head_dim: 24 };
        let key_value = values(17 * 2 * 48, 0);
        let bytes = |precision| PackedKeyValues::new(&key_value, 17, shape, precision).bytes();
        // Two panels of 16 keys each, 24 deep, and two of 16 features each, 17 (bf16: 18) deep, for each head.
        assert_eq!(bytes(Precision::F32), 2 * (2 * 16 * 24 + 2 * 16 * 17) * 4);
        assert_eq!(bytes(Precision::Bf16), 2 * (2 * 16 * 24 + 2 * 16 * 18) * 2);
    }

    #[test]
    #[should_panic(expected = "room for 5 probabilities, 6 are needed")]
    fn probabilities_must_fit() {
        let shape = HeadShape { heads: 1, head_dim: 4 };
        let packed = PackedKeyValues::new(&values(3 * 8, 0), 3, shape, Precision::F32);
        let (mut probabilities, mut output) = ([0.0; 5], [0.0; 8]);
        let mut group = CrossAttentionGroup::new(&packed, 2);
        group.probabilities = Some(&mut probabilities);
        cross_attention(&values(8, 1), &mut [group], shape, &mut output);
    }
}
