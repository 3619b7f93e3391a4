//! What self-attention and cross-attention share: one head's keys and values packed as panels, and a block of queries that
//! attends to them.
#![expect(
    unsafe_code,
    reason = "heads write their own columns of one output; each block says why it is sound"
)]

use std::cell::Cell;

use super::{HeadShape, LeftOut};
use crate::InstructionSet;
use crate::gemm::panels::{PANEL, PanelsView, fill_columns, fill_steps, panel_len};
use crate::gemm::{MatrixView, PanelType, Target, multiply_rows};
use crate::scratch::Slot;
use crate::softmax::exponentials_row;

/// Query rows whose scores are held at once: 24 × 577 scores are 55 KB.
pub(super) const QUERY_BLOCK: usize = 24;

/// Packs one head's keys and values, `(keys, head_dim)` each, for products with queries and with probabilities.
pub(super) fn pack_head<T: PanelType>(to: &mut [T], keys: MatrixView, values: MatrixView, shape: HeadShape) {
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
pub(super) fn head_panels<T: PanelType>(
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

/// What a block of queries does beside attending to everything. Nothing, by default.
#[derive(Clone, Copy, Default)]
pub(super) struct Extras<'a> {
    /// Keys that rows of the group do not see.
    pub(super) left_out: Option<LeftOut<'a>>,
    /// Which row of the group is the block's first.
    pub(super) first_row: usize,
    /// Where the probabilities of the head go: rows of the group, a value for each key.
    pub(super) probabilities: Option<Target>,
}

impl Extras<'_> {
    /// From a later row on.
    pub(super) fn at_row(self, row: usize) -> Self {
        Self { first_row: self.first_row + row, ..self }
    }
}

/// Scores of a block of queries against all keys, their softmax, and the sum of the values by it.
///
/// # Safety
/// Nobody else may use the target's `queries.rows()` rows and `head_dim` columns meanwhile, nor those rows of the extras'
/// probabilities, which must be there.
pub(super) unsafe fn attend_block<T: PanelType>(
    set: InstructionSet,
    queries: MatrixView,
    (key_panels, value_panels): (PanelsView<T>, PanelsView<T>),
    shape: HeadShape,
    scores: &mut Vec<f32>,
    target: Target,
    extras: Extras,
) {
    let (rows, keys) = (queries.rows(), key_panels.columns);
    // Rows do not lie a multiple of 4096 bytes apart, which would share the same sets of the L1 cache.
    let stride = keys.next_multiple_of(PANEL) + PANEL;
    scores.resize(rows * stride, 0.0); // (rows, stride)
    // The last panel is computed whole, so that no product ends inside one: nobody reads the scores beyond the keys.
    let key_panels = PanelsView { columns: keys.next_multiple_of(PANEL), ..key_panels };
    // SAFETY: the scores are ours, with room for every panel in every row.
    unsafe { multiply_rows(set, queries, key_panels, shape.scale(), Target::new(scores, stride)) };
    let mut sums = [0.0; QUERY_BLOCK];
    for (index, (row, sum)) in scores.chunks_exact_mut(stride).zip(&mut sums).enumerate() {
        let row = &mut row[..keys];
        if let Some(left_out) = extras.left_out {
            for range in left_out.of_row(extras.first_row + index) {
                // Their exponentials are exactly 0.
                row[range.clone()].fill(f32::NEG_INFINITY);
            }
        }
        *sum = exponentials_row(set, row);
        if let Some(probabilities) = extras.probabilities {
            // SAFETY: the caller's promise.
            let to = unsafe { probabilities.row(extras.first_row + index, keys) };
            to.iter_mut().zip(row).for_each(|(to, value)| *to = *value / *sum);
        }
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
pub(super) struct Scratch {
    f32_panels: Vec<f32>,
    bf16_panels: Vec<u16>,
    pub(super) scores: Vec<f32>,
}

thread_local! {
    pub(super) static SCRATCH: Slot<Scratch> = const { Cell::new(None) };
}

/// Types in which keys and values are packed, and where their panels lie in the scratch.
pub(super) trait HeadType: PanelType {
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
