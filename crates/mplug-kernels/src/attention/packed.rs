//! Cross-attention: few queries, again and again, over keys and values that are packed once.
#![expect(
    unsafe_code,
    reason = "heads write their own columns of one output; each block says why it is sound"
)]

use rayon::prelude::*;

use super::HeadShape;
use super::block::{QUERY_BLOCK, SCRATCH, attend_block, head_panels, pack_head};
use crate::InstructionSet;
use crate::gemm::{MatrixView, PanelType, Precision, Target};
use crate::memory::Buffer;
use crate::scratch::lend;
use crate::team::for_each_part;

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

    /// Bytes of the panels.
    pub fn bytes(&self) -> usize {
        match &self.panels {
            KeyValuePanels::F32(panels) => size_of_val(&**panels),
            KeyValuePanels::Bf16(panels) => size_of_val(&**panels),
        }
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
    let parts = rayon::current_num_threads().min(tasks);
    for_each_part(parts, |part| {
        for task in part * tasks / parts..(part + 1) * tasks / parts {
            let (key_values, first, rows) = groups[task / shape.heads];
            let head = task % shape.heads;
            let offset = head * shape.head_dim;
            let rows_of_group = &queries[first * width..(first + rows) * width];
            let queries = MatrixView::columns(rows_of_group, rows, shape.head_dim, width, offset);
            // SAFETY: each task has the columns of its head in the rows of its group.
            unsafe { key_values.attend_head(head, queries, target.at(first, offset)) }
        }
    });
}
