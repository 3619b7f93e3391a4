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
    /// Packs a weight as PyTorch stores it, a row of `depth` values for each column, in parallel.
    pub(crate) fn pack<S: Copy + Sync>(
        weight: &[S],
        columns: usize,
        depth: usize,
        group: usize,
        convert: impl Fn(S) -> T + Sync,
    ) -> Self {
        let mut panels = Self::zeroed(columns, depth, group);
        let len = panels.panel_len();
        let columns = weight.par_chunks(PANEL * depth);
        panels.data.par_chunks_mut(len).zip(columns).for_each(|(panel, weight)| {
            fill_columns(panel, group, weight.chunks_exact(depth), &convert);
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

/// Writes columns, at most 16, of `depth` values each, into a panel of zeros.
pub(crate) fn fill_columns<'a, S: Copy + 'a, T: Number>(
    panel: &mut [T],
    group: usize,
    columns: impl Iterator<Item = &'a [S]>,
    convert: impl Fn(S) -> T,
) {
    match group {
        1 => fill_columns_of::<1, S, T>(panel, columns, convert),
        2 => fill_columns_of::<2, S, T>(panel, columns, convert),
        4 => fill_columns_of::<4, S, T>(panel, columns, convert),
        _ => unreachable!("no kernel has groups of {group}"),
    }
}

fn fill_columns_of<'a, const GROUP: usize, S: Copy + 'a, T: Number>(
    panel: &mut [T],
    columns: impl Iterator<Item = &'a [S]>,
    convert: impl Fn(S) -> T,
) {
    let (slots, _) = panel.as_chunks_mut::<GROUP>();
    for (column, values) in columns.enumerate() {
        let (groups, rest) = values.as_chunks::<GROUP>();
        for (step, group) in groups.iter().enumerate() {
            slots[step * PANEL + column] = group.map(&convert);
        }
        for (i, &value) in rest.iter().enumerate() {
            slots[groups.len() * PANEL + column][i] = convert(value);
        }
    }
}

/// Writes steps of the inner dimension, at most 16 values each, into a panel of zeros.
pub(crate) fn fill_steps<'a, S: Copy + 'a, T: Number>(
    panel: &mut [T],
    group: usize,
    steps: impl Iterator<Item = &'a [S]>,
    convert: impl Fn(S) -> T,
) {
    match group {
        1 => fill_steps_of::<1, S, T>(panel, steps, convert),
        2 => fill_steps_of::<2, S, T>(panel, steps, convert),
        _ => unreachable!("no kernel of attention has groups of {group}"),
    }
}

fn fill_steps_of<'a, const GROUP: usize, S: Copy + 'a, T: Number>(
    panel: &mut [T],
    mut steps: impl Iterator<Item = &'a [S]>,
    convert: impl Fn(S) -> T,
) {
    let (slots, _) = panel.as_chunks_mut::<GROUP>();
    for slots in slots.chunks_exact_mut(PANEL) {
        for i in 0..GROUP {
            let Some(values) = steps.next() else { return };
            if let Ok(whole) = <&[S; PANEL]>::try_from(values) {
                // Of known length, which the compiler makes a few vector moves of.
                slots.iter_mut().zip(whole).for_each(|(slot, &value)| slot[i] = convert(value));
            } else {
                slots.iter_mut().zip(values).for_each(|(slot, &value)| slot[i] = convert(value));
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
        let weight: Vec<f32> =
            (0..17).flat_map(|column| (0..3).map(move |k| (10 * column + k) as f32)).collect();
        let panels = Panels::<f32>::pack(&weight, 17, 3, 2, |value| value);
        let view = panels.view();
        assert_eq!(view.data.len(), panels_len(17, 3, 2));
        assert_eq!(view.count(), 2);
        assert_eq!(&view.data[..6], [0.0, 1.0, 10.0, 11.0, 20.0, 21.0]);
        assert_eq!(&view.data[32..36], [2.0, 0.0, 12.0, 0.0], "the third value has no partner");
        assert_eq!(&view.data[64..68], [160.0, 161.0, 0.0, 0.0], "the second panel has one column");

        let steps: Vec<Vec<f32>> = (0..3).map(|k| (0..16).map(|c| (10 * c + k) as f32).collect()).collect();
        let mut panel = vec![0.0; panel_len(3, 2)];
        fill_steps(&mut panel, 2, steps.iter().map(Vec::as_slice), |value| value);
        assert_eq!(panel, view.data[..64], "the same panel from its other side");
    }
}
