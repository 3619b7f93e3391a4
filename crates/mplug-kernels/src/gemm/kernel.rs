//! What the loops around a kernel need to know of it: one trait, implemented once for each instruction set and element
//! type (`avx2`, `avx512`, `portable`).
#![expect(unsafe_code, reason = "the trait's one function works on pointers; it says what callers promise")]

/// Where the sums of a tile go, and what is done to them on the way. Pointers are to the tile's first row and column;
/// those of columns reach over the 16 columns of each of its panels.
#[derive(Clone, Copy)]
pub(super) struct Finish {
    /// Row-major output.
    pub(super) output: *mut f32,
    /// Values from one output row to the next.
    pub(super) output_stride: usize,
    /// Whether what the output holds is added.
    pub(super) accumulate: bool,
    /// Factor of every sum.
    pub(super) scale: f32,
    /// Added to every column, or null.
    pub(super) bias: *const f32,
    /// int8 alone: what a quantised row and a quantised column are worth, and 128 times the sum of each column.
    pub(super) row_scales: *const f32,
    pub(super) column_scales: *const f32,
    pub(super) column_offsets: *const i32,
}

impl Finish {
    /// What is done to the panel `columns` further on. Safe, because nothing is read or written here: those who do answer for
    /// the range.
    pub(super) fn at_column(self, columns: usize) -> Self {
        Self {
            output: self.output.wrapping_add(columns),
            bias: further(self.bias, columns),
            column_scales: further(self.column_scales, columns),
            column_offsets: further(self.column_offsets, columns),
            ..self
        }
    }

    /// What is done to the tile `rows` further down.
    pub(super) fn at_row(self, rows: usize) -> Self {
        Self {
            output: self.output.wrapping_add(rows * self.output_stride),
            row_scales: further(self.row_scales, rows),
            ..self
        }
    }
}

/// A pointer `by` values on, where it is not null.
fn further<T>(pointer: *const T, by: usize) -> *const T {
    if pointer.is_null() { pointer } else { pointer.wrapping_add(by) }
}

/// The left-hand side of a kernel's work: `count` rows, `stride` values apart.
#[derive(Clone, Copy)]
pub(super) struct Rows<T> {
    pub(super) start: *const T,
    pub(super) stride: usize,
    pub(super) count: usize,
}

/// One product kernel. A value of it proves that this CPU has the instructions.
pub(super) trait Kernel: Copy + Send + Sync {
    /// An element of the left-hand side, as the kernel reads it.
    type Lhs: Copy + Send + Sync;
    /// An element of the panels.
    type Rhs: crate::memory::Number;
    /// Values of the inner dimension that stand side by side in a panel.
    const GROUP: usize;
    /// Most panels that one call takes side by side.
    const PANELS: usize;
    /// Steps of the inner dimension after which the sums go to the output, so that the panel's part stays in the cache;
    /// a multiple of `GROUP`. Sums that the output cannot hold (int8) take the whole depth at once.
    const DEPTH_BLOCK: usize;

    /// All rows of `lhs` times `panels` panels that are `panel_stride` values apart, over `depth` steps.
    ///
    /// # Safety
    /// - every row of `lhs` has `depth` readable values, rounded up to a whole group unless the left-hand side is f32;
    /// - each panel has `depth` steps, rounded up to a whole group;
    /// - `finish` may be written over `lhs.count` rows of `16 · panels` values, and its columns read as far.
    unsafe fn run(
        self,
        lhs: Rows<Self::Lhs>,
        depth: usize,
        rhs: *const Self::Rhs,
        panel_stride: usize,
        panels: usize,
        finish: Finish,
    );
}

/// Divides `rows` into the fewest tiles of at most `most` rows, as equal as can be: `tile(first, rows)` for each.
/// (577 rows in tiles of 6 are 92 of 6 and 5 of 5: no tile of one.)
#[inline(always)]
pub(super) fn for_each_tile(rows: usize, most: usize, mut tile: impl FnMut(usize, usize)) {
    let tiles = rows.div_ceil(most);
    let mut first = 0;
    for index in 0..tiles {
        let count = (rows - first).div_ceil(tiles - index);
        tile(first, count);
        first += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_all_rows_evenly() {
        for rows in 0..200 {
            let mut sizes = Vec::new();
            for_each_tile(rows, 6, |first, count| {
                assert_eq!(first, sizes.iter().sum::<usize>());
                sizes.push(count);
            });
            assert_eq!(sizes.iter().sum::<usize>(), rows);
            assert_eq!(sizes.len(), rows.div_ceil(6));
            assert!(sizes.iter().max().unwrap_or(&0) - sizes.iter().min().unwrap_or(&0) <= 1);
        }
    }
}
