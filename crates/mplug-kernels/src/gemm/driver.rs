//! The loops around the kernels: which kernel, rows converted for it, work divided over threads and caches.
//!
//! Work is divided by rows where there are many (an encoder): each part converts its own rows and sees the whole weight.
//! Where there are few (a decoder's beams), it is divided by columns, so that each thread reads its own part of the weight.
#![expect(
    unsafe_code,
    reason = "threads write disjoint parts of one output; each block says why it is sound"
)]

use std::cell::Cell;
use std::ops::Range;

use rayon::prelude::*;

use super::convert::{quantize_row, to_bf16_row};
use super::kernel::{Finish, Kernel, Rows};
use super::panels::{PANEL, PanelsView};
use super::{Int8Columns, MatrixView, PackedMatrix, Product, Storage, portable};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
use crate::InstructionSet;
use crate::memory::Number;
use crate::scratch::{Slot, lend};
use crate::team::{for_each_chunk, for_each_part, is_together};

/// Rows that one part takes when work is divided by rows. Every part reads the whole weight, so few and large parts spare
/// the outer caches; much larger ones no longer find their own rows in the L2 cache. (48 rows: 10 % slower at f32 on one thread; 150: no faster.)
const ROW_BLOCK: usize = 96;
/// Fewest rows for each thread with which work is divided by rows: with fewer, reading the whole weight costs a thread more than the
/// multiplications.
const FEWEST_ROWS: usize = 32;
/// Panels after which an activation is applied, while their output is in the L1 cache.
const PANEL_BLOCK: usize = 8;
/// Parts in which even a product of this thread alone is offered to threads that have nothing else to do: row blocks are
/// large, and on a busy machine threads do not finish together.
const SPARE_PARTS: usize = 6;
/// Multiplications below which a product stays on its thread: a hand-over costs about two microseconds.
const SMALLEST_SPLIT: usize = 1 << 17;

/// Rows of a part when `rows` are divided over the threads of the pool: about 96, the number of parts a multiple of the
/// threads, so that all finish together.
pub fn row_block(rows: usize) -> usize {
    let parts = rows.div_ceil(ROW_BLOCK).next_multiple_of(rayon::current_num_threads());
    rows.div_ceil(parts).max(1)
}

/// See [`PackedMatrix::multiply`].
pub(super) fn multiply(matrix: &PackedMatrix, x: MatrixView, product: Product, output: &mut [f32]) {
    let (rows, columns) = (x.rows, matrix.out_features());
    let threads = rayon::current_num_threads();
    if threads == 1 || rows * columns * matrix.in_features() < SMALLEST_SPLIT {
        multiply_here(matrix, x, product, output);
    } else if rows >= threads * FEWEST_ROWS {
        let block = row_block(rows);
        output.par_chunks_mut(block * columns).enumerate().for_each(|(part, output)| {
            multiply_here(matrix, x.row_block(part * block, output.len() / columns), product, output);
        });
    } else {
        let (target, panels) = (Target::new(output, columns), columns.div_ceil(PANEL));
        // A kernel takes two panels at a time.
        let parts = threads.min(panels.div_ceil(2));
        prepared(matrix, x, product, |ready| split_columns(ready, panels, parts, target));
    }
}

/// Gives each thread a range of panels.
fn split_columns(ready: &dyn Ready, panels: usize, parts: usize, target: Target) {
    for_each_part(parts, |part| {
        let range = part * panels / parts..(part + 1) * panels / parts;
        // SAFETY: the output has all rows and columns, and ranges of panels are different columns of it.
        unsafe { ready.run(range, target) }
    });
}

/// See [`PackedMatrix::multiply_here`]. Threads with nothing to do may take some of the columns.
pub(super) fn multiply_here(matrix: &PackedMatrix, x: MatrixView, product: Product, output: &mut [f32]) {
    let columns = matrix.out_features();
    for (part, output) in output.chunks_mut(ROW_BLOCK * columns).enumerate() {
        let rows = x.row_block(part * ROW_BLOCK, output.len() / columns);
        let target = Target::new(output, columns);
        let panels = columns.div_ceil(PANEL);
        let is_small = rows.rows * columns * matrix.in_features() < SMALLEST_SPLIT;
        prepared(matrix, rows, product, |ready| {
            if is_small {
                // SAFETY: the output has these rows and all columns, and is borrowed mutably.
                unsafe { ready.run(0..panels, target) }
            } else {
                split_columns(ready, panels, SPARE_PARTS, target);
            }
        });
    }
}

/// Product of `x` with borrowed panels on this thread, for attention: `target = scale · x · panels`.
///
/// # Safety
/// `target` must have `x.rows` rows of `panels.columns` values, and nobody else may use them meanwhile.
///
/// # Panics
/// If the inner dimensions differ.
pub(crate) unsafe fn multiply_rows<T: PanelType>(
    set: InstructionSet,
    x: MatrixView,
    panels: PanelsView<T>,
    scale: f32,
    target: Target,
) {
    assert_eq!(x.cols, panels.depth, "inner dimension of an attention product");
    let product = Product { scale, ..Product::default() };
    lend(&SCRATCH, |scratch| {
        T::ready(set, x, panels, product, scratch, &mut |ready| {
            // SAFETY: the caller's promise.
            unsafe { ready.run(0..panels.count(), target) }
        });
    });
}

/// Where a product goes: row-major, `stride` values from row to row.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    output: *mut f32,
    stride: usize,
}

impl Target {
    /// Rows of `stride` values in `output`.
    pub(crate) fn new(output: &mut [f32], stride: usize) -> Self {
        Self { output: output.as_mut_ptr(), stride }
    }

    /// The first `len` values of a row.
    ///
    /// # Safety
    /// They must be there, and nobody else may use them meanwhile.
    pub(crate) unsafe fn row<'a>(self, row: usize, len: usize) -> &'a mut [f32] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.output.add(row * self.stride), len) }
    }

    /// The part of the target from a later row and column on.
    pub(crate) fn at(self, row: usize, column: usize) -> Self {
        // Only the functions that write to it use the pointer, and their callers answer for its range.
        Self { output: self.output.wrapping_add(row * self.stride + column), ..self }
    }
}

// SAFETY: whoever runs a part of a product promises that its part of the output is its own.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

/// A product whose left-hand side is in the kernel's form.
pub(crate) trait Ready: Sync {
    /// Computes the columns of `panels`.
    ///
    /// # Safety
    /// `target` must have all rows and these columns, and nobody else may use them meanwhile.
    unsafe fn run(&self, panels: Range<usize>, target: Target);
}

/// A product whose left-hand side is in the form of `kernel`.
struct ReadyFor<'a, K: Kernel> {
    kernel: K,
    lhs: Rows<K::Lhs>,
    /// int8 alone.
    row_scales: &'a [f32],
    columns: Option<&'a Int8Columns>,
    panels: PanelsView<'a, K::Rhs>,
    product: Product<'a>,
}

// SAFETY: the pointer in `lhs` is to values that live as long as `'a` and are only read.
unsafe impl<K: Kernel> Sync for ReadyFor<'_, K> {}

impl<K: Kernel> Ready for ReadyFor<'_, K> {
    unsafe fn run(&self, panels: Range<usize>, target: Target) {
        let mut first = panels.start;
        while first < panels.end {
            let block = first..panels.end.min(first + PANEL_BLOCK);
            first = block.end;
            // SAFETY: the caller's promise, for a part of the panels.
            unsafe {
                self.run_block(block.clone(), target);
                self.activate(block, target);
            }
        }
    }
}

impl<K: Kernel> ReadyFor<'_, K> {
    /// The sums of a few panels, block by block of the inner dimension.
    unsafe fn run_block(&self, panels: Range<usize>, target: Target) {
        let mut done = 0;
        while done < self.panels.depth {
            let depth = (self.panels.depth - done).min(K::DEPTH_BLOCK);
            let mut panel = panels.start;
            while panel < panels.end {
                let whole = (self.panels.columns / PANEL).saturating_sub(panel);
                let count = whole.min(panels.end - panel).min(K::PANELS);
                // SAFETY: the panels are this product's, the output is the caller's promise.
                unsafe {
                    if count == 0 {
                        self.run_edge(panel, done, depth, target);
                    } else {
                        let finish = self.finish(panel, done > 0, target);
                        self.run_kernel(panel, count, done, depth, finish);
                    }
                }
                panel += count.max(1);
            }
            done += depth;
        }
    }

    unsafe fn run_kernel(&self, panel: usize, count: usize, done: usize, depth: usize, finish: Finish) {
        let panel_stride = self.panels.depth.next_multiple_of(K::GROUP) * PANEL;
        // SAFETY: `done` is a multiple of the group and below the depth, which every row and panel has.
        unsafe {
            let rhs = self.panels.data.as_ptr().add(panel * panel_stride + done * PANEL);
            let lhs = Rows { start: self.lhs.start.add(done), ..self.lhs };
            self.kernel.run(lhs, depth, rhs, panel_stride, count, finish);
        }
    }

    /// The last panel, where the matrix ends inside it: the kernel writes to memory of its own.
    unsafe fn run_edge(&self, panel: usize, done: usize, depth: usize, target: Target) {
        let columns = self.panels.columns - panel * PANEL;
        // SAFETY: the output has these rows and columns.
        let row = |row: usize| unsafe { target.at(0, panel * PANEL).row(row, columns) };
        let mut whole = vec![0.0; self.lhs.count * PANEL]; // (rows, 16)
        let mut bias = [0.0; PANEL];
        let mut finish = self.finish(panel, done > 0, target);
        if !finish.bias.is_null() {
            bias[..columns].copy_from_slice(&self.product.bias.unwrap_or_default()[panel * PANEL..]);
            finish.bias = bias.as_ptr();
        }
        (finish.output, finish.output_stride) = (whole.as_mut_ptr(), PANEL);
        if finish.accumulate {
            for (index, to) in whole.chunks_exact_mut(PANEL).enumerate() {
                to[..columns].copy_from_slice(row(index));
            }
        }
        // SAFETY: the output is `whole` now, the bias has 16 values.
        unsafe { self.run_kernel(panel, 1, done, depth, finish) };
        for (index, from) in whole.chunks_exact(PANEL).enumerate() {
            row(index).copy_from_slice(&from[..columns]);
        }
    }

    fn finish(&self, panel: usize, is_continued: bool, target: Target) -> Finish {
        let column = panel * PANEL;
        let bias = self
            .product
            .bias
            .filter(|_| !is_continued)
            .map_or(std::ptr::null(), |bias| bias[column..].as_ptr());
        let (column_scales, column_offsets) =
            self.columns.map_or((std::ptr::null(), std::ptr::null()), |columns| {
                (columns.scales[column..].as_ptr(), columns.offsets[column..].as_ptr())
            });
        Finish {
            // Never read or written beyond what the caller of `run` promised.
            output: target.output.wrapping_add(column),
            output_stride: target.stride,
            accumulate: self.product.accumulate || is_continued,
            scale: self.product.scale,
            bias,
            row_scales: if self.row_scales.is_empty() { std::ptr::null() } else { self.row_scales.as_ptr() },
            column_scales,
            column_offsets,
        }
    }

    unsafe fn activate(&self, panels: Range<usize>, target: Target) {
        let Some(activation) = self.product.activation else { return };
        let columns = panels.start * PANEL..(panels.end * PANEL).min(self.panels.columns);
        for row in 0..self.lhs.count {
            // SAFETY: the output has these rows and columns, and they are ours.
            activation.apply_here(unsafe { target.at(0, columns.start).row(row, columns.len()) });
        }
    }
}

/// Memory for converted rows.
#[derive(Default)]
pub(crate) struct Scratch {
    bf16: Vec<u16>,
    wide: Vec<i16>,
    bytes: Vec<u8>,
    scales: Vec<f32>,
}

thread_local! {
    static SCRATCH: Slot<Scratch> = const { Cell::new(None) };
}

/// Values from one converted row to the next: whole groups, and a cache line more, because rows that are a multiple of
/// 4096 bytes apart would share the same sets of the L1 cache.
fn converted_stride<T>(depth: usize) -> usize {
    depth.next_multiple_of(4) + 64 / size_of::<T>()
}

/// Values above which rows are converted by several threads, where these wait for work anyway.
const SMALLEST_CONVERSION: usize = 1 << 13;

/// Converts every row of `x` into `to`, and returns them as a kernel reads them; `scales` gets what `convert` returns of each row.
fn converted<T: Number + Send>(
    x: MatrixView,
    to: &mut Vec<T>,
    scales: &mut Vec<f32>,
    convert: impl Fn(&[f32], &mut [T]) -> f32 + Sync,
) -> Rows<T> {
    let stride = converted_stride::<T>(x.cols);
    to.resize(x.rows * stride, T::default());
    scales.resize(x.rows, 0.0);
    let convert_row = |index: usize, to: &mut [T], scale: &mut f32| {
        *scale = convert(x.row(index), to);
        // The rest of the last group meets zeros in the panel, but must not be NaN.
        to[x.cols..].fill(T::default());
    };
    let rows = to.chunks_exact_mut(stride).zip(scales).enumerate();
    if is_together() && x.rows * x.cols >= SMALLEST_CONVERSION {
        let mut rows: Vec<_> = rows.collect();
        let rows_each = x.rows.div_ceil(rayon::current_num_threads());
        for_each_chunk(&mut rows, rows_each, |_, rows| {
            for (index, (to, scale)) in rows {
                convert_row(*index, to, scale);
            }
        });
    } else {
        rows.for_each(|(index, (to, scale))| convert_row(index, to, scale));
    }
    Rows { start: to.as_ptr(), stride, count: x.rows }
}

/// Types of panels whose rows need no scales: f32 and bf16.
pub(crate) trait PanelType: Number {
    /// Values that stand side by side along the inner dimension.
    const GROUP: usize;

    /// Of an f32 value.
    fn from_f32(value: f32) -> Self;

    /// Chooses the kernel, converts the rows and hands both to `then`.
    #[doc(hidden)]
    fn ready(
        set: InstructionSet,
        x: MatrixView,
        panels: PanelsView<Self>,
        product: Product,
        scratch: &mut Scratch,
        then: &mut dyn FnMut(&dyn Ready),
    );
}

fn f32_rows(x: MatrixView) -> Rows<f32> {
    Rows { start: x.data.as_ptr(), stride: x.row_stride, count: x.rows }
}

/// A product without scales of rows and columns.
fn plain<'a, K: Kernel>(
    kernel: K,
    lhs: Rows<K::Lhs>,
    panels: PanelsView<'a, K::Rhs>,
    product: Product<'a>,
) -> ReadyFor<'a, K> {
    debug_assert_eq!(panels.group, K::GROUP, "panels of another kernel");
    ReadyFor { kernel, lhs, row_scales: &[], columns: None, panels, product }
}

impl PanelType for f32 {
    const GROUP: usize = 1;

    fn from_f32(value: f32) -> Self {
        value
    }

    fn ready(
        set: InstructionSet,
        x: MatrixView,
        panels: PanelsView<Self>,
        product: Product,
        _: &mut Scratch,
        then: &mut dyn FnMut(&dyn Ready),
    ) {
        #[cfg(target_arch = "x86_64")]
        if let Some(kernel) = avx512::F32::new(set) {
            return then(&plain(kernel, f32_rows(x), panels, product));
        } else if let Some(kernel) = avx2::F32::new(set) {
            return then(&plain(kernel, f32_rows(x), panels, product));
        }
        let _ = set;
        then(&plain(portable::F32, f32_rows(x), panels, product));
    }
}

impl PanelType for u16 {
    const GROUP: usize = 2;

    fn from_f32(value: f32) -> Self {
        super::convert::to_bf16(value)
    }

    fn ready(
        set: InstructionSet,
        x: MatrixView,
        panels: PanelsView<Self>,
        product: Product,
        scratch: &mut Scratch,
        then: &mut dyn FnMut(&dyn Ready),
    ) {
        #[cfg(target_arch = "x86_64")]
        if let Some(kernel) = avx512::Bf16::new(set) {
            let to_row = |row: &[f32], to: &mut [u16]| {
                to_bf16_row(row, to);
                1.0
            };
            let rows = converted(x, &mut scratch.bf16, &mut scratch.scales, to_row);
            return then(&plain(kernel, rows, panels, product));
        } else if let Some(kernel) = avx512::WidenedBf16::new(set) {
            return then(&plain(kernel, f32_rows(x), panels, product));
        } else if let Some(kernel) = avx2::WidenedBf16::new(set) {
            return then(&plain(kernel, f32_rows(x), panels, product));
        }
        let _ = (set, scratch);
        then(&plain(portable::WidenedBf16, f32_rows(x), panels, product));
    }
}

/// Chooses the kernel of a matrix, converts the rows and hands both to `then`.
fn prepared(matrix: &PackedMatrix, x: MatrixView, product: Product, mut then: impl FnMut(&dyn Ready)) {
    lend(&SCRATCH, |scratch| match &matrix.storage {
        Storage::F32(panels) => f32::ready(matrix.set, x, panels.view(), product, scratch, &mut then),
        Storage::Bf16(panels) => u16::ready(matrix.set, x, panels.view(), product, scratch, &mut then),
        Storage::Int8(panels, columns) => {
            ready_int8(matrix.set, x, panels.view(), columns, product, scratch, &mut then);
        }
        Storage::Library(_) => unreachable!("the library has its own loops"),
    });
}

fn ready_int8(
    set: InstructionSet,
    x: MatrixView,
    panels: PanelsView<i8>,
    columns: &Int8Columns,
    product: Product,
    scratch: &mut Scratch,
    then: &mut dyn FnMut(&dyn Ready),
) {
    let factors = columns.input_factors.as_deref();
    let scales = &mut scratch.scales;
    macro_rules! ready {
        ($kernel:expr, $rows:expr) => {{
            let lhs = converted(x, $rows, scales, |row, to| quantize_row(row, factors, to));
            then(&ReadyFor {
                kernel: $kernel,
                lhs,
                row_scales: scales,
                columns: Some(columns),
                panels,
                product,
            })
        }};
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(kernel) = avx512::Int8::new(set) {
        return ready!(kernel, &mut scratch.bytes);
    } else if let Some(kernel) = avx2::Int8::new(set) {
        return ready!(kernel, &mut scratch.wide);
    }
    let _ = set;
    ready!(portable::Int8, &mut scratch.wide);
}
