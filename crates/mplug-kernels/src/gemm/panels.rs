//! Weights in panels: the layout that every kernel of ours reads, whatever its instruction set.
//!
//! A panel holds [`PANEL`] columns of the product. Along the inner dimension, values stand in groups of one (f32), two
//! (bf16) or four (int8): `panel[depth / GROUP][PANEL][GROUP]`. So one vector load brings a step of the inner dimension for
//! 16 columns, and the instructions that sum a group (`vdpbf16ps`, `vpdpbusd`, `vpmaddwd`) find it side by side.
//! Missing columns and the rest of the last group are zero.

use rayon::prelude::*;

use crate::memory::{Buffer, Number};

/// Columns of a panel.
pub(crate) const PANEL: usize = 16;

/// A matrix of `columns` columns and `depth` values each, in panels of groups of `GROUP`.
pub(crate) struct Panels<T: Number> {
    data: Buffer<T>,
    columns: usize,
    depth: usize,
    group: usize,
}

impl<T: Number> Panels<T> {
    /// Packs the values `value(column, k)`, in parallel: weights at load.
    pub(crate) fn pack(
        columns: usize,
        depth: usize,
        group: usize,
        value: impl Fn(usize, usize) -> T + Sync,
    ) -> Self {
        let mut panels = Self::zeroed(columns, depth, group);
        let (len, columns) = (panels.panel_len(), panels.columns);
        panels.data.par_chunks_mut(len).enumerate().for_each(|(index, panel)| {
            let first = index * PANEL;
            fill_panel(panel, group, (columns - first).min(PANEL), depth, |column, k| {
                value(first + column, k)
            });
        });
        panels
    }

    fn zeroed(columns: usize, depth: usize, group: usize) -> Self {
        let len = columns.div_ceil(PANEL) * panel_len(depth, group);
        Self { data: Buffer::zeroed(len), columns, depth, group }
    }

    /// Columns of the matrix, those that pad the last panel not counted.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Length of the inner dimension.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// All panels, one after the other.
    pub(crate) fn view(&self) -> PanelsView<'_, T> {
        PanelsView { data: &self.data, columns: self.columns, depth: self.depth, group: self.group }
    }

    fn panel_len(&self) -> usize {
        panel_len(self.depth, self.group)
    }
}

/// Values of a panel of `depth` steps.
pub(crate) fn panel_len(depth: usize, group: usize) -> usize {
    depth.next_multiple_of(group) * PANEL
}

/// Values of all panels of a matrix.
pub(crate) fn panels_len(columns: usize, depth: usize, group: usize) -> usize {
    columns.div_ceil(PANEL) * panel_len(depth, group)
}

/// Writes one panel of zeros: `value(column, k)` of its own columns.
pub(crate) fn fill_panel<T: Number>(
    panel: &mut [T],
    group: usize,
    columns: usize,
    depth: usize,
    value: impl Fn(usize, usize) -> T,
) {
    for (g, step) in panel.chunks_exact_mut(PANEL * group).enumerate() {
        let first = g * group;
        for (column, slot) in step.chunks_exact_mut(group).take(columns).enumerate() {
            for (i, slot) in slot.iter_mut().enumerate().take(depth - first) {
                *slot = value(column, first + i);
            }
        }
    }
}

/// Panels that are borrowed: of a weight, or of scratch memory.
#[derive(Clone, Copy)]
pub(crate) struct PanelsView<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) columns: usize,
    pub(crate) depth: usize,
    pub(crate) group: usize,
}

impl<T> PanelsView<'_, T> {
    /// Number of panels.
    pub(crate) fn count(&self) -> usize {
        self.columns.div_ceil(PANEL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_stand_side_by_side_and_the_rest_is_zero() {
        let panels = Panels::<f32>::pack(17, 3, 2, |column, k| (10 * column + k) as f32);
        let view = panels.view();
        assert_eq!(view.data.len(), panels_len(17, 3, 2));
        assert_eq!(view.count(), 2);
        assert_eq!(&view.data[..6], [0.0, 1.0, 10.0, 11.0, 20.0, 21.0]);
        assert_eq!(&view.data[32..36], [2.0, 0.0, 12.0, 0.0], "the third value has no partner");
        assert_eq!(&view.data[64..68], [160.0, 161.0, 0.0, 0.0], "the second panel has one column");
    }
}
