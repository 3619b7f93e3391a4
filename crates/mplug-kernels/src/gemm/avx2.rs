//! Product kernels for AVX2 with FMA: 16 vector registers of 8 values.
//!
//! f32 keeps a tile of 6 rows × 16 columns in twelve of them: two loads and six broadcasts feed twelve multiply-adds.
//! bf16 weights are widened on the way (a shift and a mask for 16 values), so they cost half the memory and no products;
//! rows stay f32. Narrow and wide values need registers at the same time, so a tile has 5 rows: with 6, the compiler spills.
//!
//! int8 multiplies in 16 bits: `vpmaddwd` makes 16 products and sums pairs to 32 bits in one instruction, exactly.
//! (`vpmaddubsw`, the 8-bit form, sums pairs in 16 bits and saturates there; it needs the same number of multiplications.)
//! A group of four bytes becomes two such pairs, so each column has two partial sums, which meet at the end.
#![expect(unsafe_code, reason = "raw loads and stores of kernels; the trait says what callers promise")]

#[allow(clippy::wildcard_imports, reason = "intrinsics: their names are their own prefix")]
use std::arch::x86_64::*;

use super::kernel::{Finish, Kernel, Rows, for_each_tile};
use super::panels::PANEL;
use crate::InstructionSet;

/// Proof that this CPU has AVX2 and FMA.
#[derive(Clone, Copy)]
struct Avx2;

impl Avx2 {
    fn new(set: InstructionSet) -> Option<Self> {
        (set >= InstructionSet::Avx2 && set <= InstructionSet::richest()).then_some(Self)
    }
}

/// Steps of the inner dimension that f32 takes at once: enough that counting and fetching ahead hardly cost. (The other
/// kernels need all registers, and the compiler loses some when it sees more than one group.)
const BLOCK: usize = 4;
/// Bytes of a group of a panel, whatever the kernel: one cache line.
const LINE: usize = 64;
/// How far a single tile reads ahead: it goes through the panels as fast as memory brings them, one after the other. (At f32
/// a whole panel ahead is twice as far, and up to a tenth slower.)
const STREAM_AHEAD: usize = 24 << 10;

/// A panel, and where in the next one a tile begins to fetch it into the L2 cache: the tiles fetch a share each, so
/// that memory delivers evenly (the first tile alone would request three times what a core gets, and wait).
#[derive(Clone, Copy)]
struct Panel<T> {
    start: *const T,
    ahead: *const i8,
    /// Logarithm of the number of shares.
    shares: u32,
}

impl<T> Panel<T> {
    /// The share of tile `index` of `tiles`, each of which goes through `bytes` bytes of this panel. Where tiles are no power of
    /// two, the last ones ask again for what is there, at no cost.
    fn new(start: *const T, next: *const T, bytes: usize, index: usize, tiles: usize) -> Self {
        if tiles == 1 {
            return Self { start, ahead: start.cast::<i8>().wrapping_add(STREAM_AHEAD), shares: 0 };
        }
        let shares = tiles.ilog2();
        let share = (bytes >> shares) * (index & ((1 << shares) - 1));
        Self { start, ahead: next.cast::<i8>().wrapping_add(share), shares }
    }

    /// Prefetches what is due with the `LINES` lines of this panel from `line` on. Never faults.
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn fetch_ahead<const LINES: usize>(self, line: usize) {
        let ahead = self.ahead.wrapping_add((line * LINE) >> self.shares);
        _mm_prefetch::<_MM_HINT_T1>(ahead);
        // Few tiles: more than one line. The answer is the same all the time, so that asking is free.
        if LINES >> self.shares > 1 {
            for more in 1..LINES {
                _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add(more * LINE));
            }
        }
    }

    /// The share of one of two passes through the panel, of `lines` lines.
    fn pass(self, pass: usize, lines: usize) -> Self {
        let shares = self.shares + 1;
        Self { ahead: self.ahead.wrapping_add((pass * lines * LINE) >> shares), shares, ..self }
    }
}

macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident, $lhs:ty, $rhs:ty, group $group:literal, depth $depth:expr, rows $most:literal, $run:ident, $tile:ident, [$($rows:literal),*]) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(super) struct $name(Avx2);

        impl $name {
            /// The kernel, if `set` has what it needs.
            pub(super) fn new(set: InstructionSet) -> Option<Self> {
                Avx2::new(set).map(Self)
            }
        }

        impl Kernel for $name {
            type Lhs = $lhs;
            type Rhs = $rhs;
            const GROUP: usize = $group;
            const PANELS: usize = 1;
            const DEPTH_BLOCK: usize = $depth;

            unsafe fn run(self, lhs: Rows<$lhs>, depth: usize, rhs: *const $rhs, panel_stride: usize, _: usize, finish: Finish) {
                // SAFETY: the kernel's own existence proves the instructions; the rest is the caller's promise.
                unsafe { $run(lhs, depth, rhs, rhs.wrapping_add(panel_stride), finish) }
            }
        }

        #[target_feature(enable = "avx2,fma")]
        unsafe fn $run(lhs: Rows<$lhs>, depth: usize, rhs: *const $rhs, next: *const $rhs, finish: Finish) {
            let (bytes, tiles) = (depth * PANEL * size_of::<$rhs>(), lhs.count.div_ceil($most));
            let mut index = 0;
            for_each_tile(lhs.count, $most, |first, rows| {
                // SAFETY: the tile is inside the rows that the caller promised.
                unsafe {
                    let (start, finish) = (lhs.start.add(first * lhs.stride), finish.at_row(first));
                    let panel = Panel::new(rhs, next, bytes, index, tiles);
                    index += 1;
                    match rows {
                        $($rows => $tile::<$rows>(start, lhs.stride, depth, panel, finish),)*
                        _ => unreachable!("tiles have at most {} rows", $most),
                    }
                }
            });
        }
    };
}

kernel! {
    /// f32 by f32.
    F32, f32, f32, group 1, depth 768, rows 6, run_f32, tile_f32, [1, 2, 3, 4, 5, 6]
}
kernel! {
    /// f32 rows by bf16 panels.
    WidenedBf16, f32, u16, group 2, depth 768, rows 5, run_bf16, tile_bf16, [1, 2, 3, 4, 5]
}
kernel! {
    /// int8 values, widened to 16 bits in the rows already, by int8 panels.
    Int8, i16, i8, group 4, depth usize::MAX, rows 5, run_int8, tile_int8, [1, 2, 3, 4, 5]
}

#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn tile_f32<const ROWS: usize>(
    lhs: *const f32,
    stride: usize,
    depth: usize,
    panel: Panel<f32>,
    finish: Finish,
) {
    let (mut lhs, mut rhs) = (lhs, panel.start);
    let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
    // SAFETY: a panel has `depth` steps of 16 values, a row `depth` values.
    unsafe {
        let step = |sums: &mut _, lhs: *const f32, rhs: *const f32| {
            let columns = [_mm256_loadu_ps(rhs), _mm256_loadu_ps(rhs.add(PANEL / 2))];
            multiply_add(sums, lhs, stride, columns);
        };
        for block in 0..depth / BLOCK {
            panel.fetch_ahead::<BLOCK>(BLOCK * block);
            for k in 0..BLOCK {
                step(&mut sums, lhs.add(k), rhs.add(k * PANEL));
            }
            (lhs, rhs) = (lhs.add(BLOCK), rhs.add(BLOCK * PANEL));
        }
        for k in 0..depth % BLOCK {
            step(&mut sums, lhs.add(k), rhs.add(k * PANEL));
        }
    }
    // SAFETY: the caller's promise.
    unsafe { finish_f32(sums, finish) }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn tile_bf16<const ROWS: usize>(
    lhs: *const f32,
    stride: usize,
    depth: usize,
    panel: Panel<u16>,
    finish: Finish,
) {
    let rhs = panel.start;
    let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
    let high = _mm256_set1_epi32(0xffff_0000_u32.cast_signed());
    // SAFETY: a panel has a whole group for every two steps, each of 32 values, a row `depth` values: the second half of
    // the last group is left out where the depth is odd.
    unsafe {
        let step = |sums: &mut _, lhs: *const f32, rhs: *const u16| {
            let both = [_mm256_loadu_si256(rhs.cast()), _mm256_loadu_si256(rhs.add(PANEL).cast())];
            let first = both.map(|v| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(v)));
            multiply_add(sums, lhs, stride, first);
            let second = both.map(|v| _mm256_castsi256_ps(_mm256_and_si256(v, high)));
            multiply_add(sums, lhs.add(1), stride, second);
        };
        for pair in 0..depth / 2 {
            panel.fetch_ahead::<1>(pair);
            step(&mut sums, lhs.add(2 * pair), rhs.add(2 * pair * PANEL));
        }
        if depth % 2 == 1 {
            let group = rhs.add((depth - 1) * PANEL);
            let last = [_mm256_loadu_si256(group.cast()), _mm256_loadu_si256(group.add(PANEL).cast())];
            let last = last.map(|v| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(v)));
            multiply_add(&mut sums, lhs.add(depth - 1), stride, last);
        }
        finish_apart(&sums, finish);
    }
}

/// One step of the inner dimension: each row's value times the 16 columns.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn multiply_add<const ROWS: usize>(
    sums: &mut [[__m256; 2]; ROWS],
    lhs: *const f32,
    stride: usize,
    columns: [__m256; 2],
) {
    for (row, sums) in sums.iter_mut().enumerate() {
        // SAFETY: the row has a value at this step.
        let value = unsafe { _mm256_broadcast_ss(&*lhs.add(row * stride)) };
        sums[0] = _mm256_fmadd_ps(value, columns[0], sums[0]);
        sums[1] = _mm256_fmadd_ps(value, columns[1], sums[1]);
    }
}

#[inline(always)]
unsafe fn finish_f32<const ROWS: usize>(sums: [[__m256; 2]; ROWS], finish: Finish) {
    // SAFETY: inlined into kernels of AVX2.
    let scale = unsafe { _mm256_set1_ps(finish.scale) };
    // SAFETY: the bias has 16 values for the panel, the output 16 in each of the tile's rows.
    unsafe {
        let bias = if finish.bias.is_null() {
            [_mm256_setzero_ps(); 2]
        } else {
            [_mm256_loadu_ps(finish.bias), _mm256_loadu_ps(finish.bias.add(PANEL / 2))]
        };
        for (row, sums) in sums.into_iter().enumerate() {
            let to = finish.output.add(row * finish.output_stride);
            store(to, _mm256_fmadd_ps(sums[0], scale, bias[0]), finish.accumulate);
            store(to.add(PANEL / 2), _mm256_fmadd_ps(sums[1], scale, bias[1]), finish.accumulate);
        }
    }
}

/// [`finish_f32`] in a function of its own, for bf16: inlined, it was seen to cost the loop registers (with tiles of 6 rows).
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
unsafe fn finish_apart<const ROWS: usize>(sums: &[[__m256; 2]; ROWS], finish: Finish) {
    // SAFETY: the caller's promise.
    unsafe { finish_f32(*sums, finish) }
}

#[inline(always)]
unsafe fn store(to: *mut f32, value: __m256, accumulate: bool) {
    // SAFETY: the caller has eight values here.
    unsafe {
        let value = if accumulate { _mm256_add_ps(_mm256_loadu_ps(to), value) } else { value };
        _mm256_storeu_ps(to, value);
    }
}

/// Two passes of 8 columns each: their 4 + 4 columns with two partial sums fill two registers a row.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn tile_int8<const ROWS: usize>(
    lhs: *const i16,
    stride: usize,
    depth: usize,
    panel: Panel<i8>,
    finish: Finish,
) {
    let groups = depth.div_ceil(4);
    for half in 0..2 {
        let share = panel.pass(half, groups);
        let rhs = panel.start.wrapping_add(half * LINE / 2);
        let mut sums = [[_mm256_setzero_si256(); 2]; ROWS];
        // SAFETY: a panel has 64 bytes for each group, a row four values; the rest is the caller's promise, for half a panel.
        unsafe {
            for group in 0..groups {
                share.fetch_ahead::<1>(group);
                multiply_add_int8(&mut sums, lhs.add(4 * group), stride, rhs.add(group * LINE));
            }
            finish_int8(&sums, finish.at_column(half * 8));
        }
    }
}

/// One group of the inner dimension: each row's four values times those of 8 columns.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn multiply_add_int8<const ROWS: usize>(
    sums: &mut [[__m256i; 2]; ROWS],
    lhs: *const i16,
    stride: usize,
    rhs: *const i8,
) {
    // SAFETY: the half of a group has 32 bytes, each row four values.
    unsafe {
        let columns = [
            _mm256_cvtepi8_epi16(_mm_loadu_si128(rhs.cast())),
            _mm256_cvtepi8_epi16(_mm_loadu_si128(rhs.add(16).cast())),
        ];
        for (row, sums) in sums.iter_mut().enumerate() {
            let four = _mm256_set1_epi64x(lhs.add(row * stride).cast::<i64>().read_unaligned());
            sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(four, columns[0]));
            sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(four, columns[1]));
        }
    }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn finish_int8<const ROWS: usize>(sums: &[[__m256i; 2]; ROWS], finish: Finish) {
    // SAFETY: columns have 8 values, rows a scale each, the output 8 values in each row.
    unsafe {
        let column_scales = _mm256_loadu_ps(finish.column_scales);
        let bias = if finish.bias.is_null() { _mm256_setzero_ps() } else { _mm256_loadu_ps(finish.bias) };
        for (row, sums) in sums.iter().enumerate() {
            // The two partial sums of columns 0 1 4 5 | 2 3 6 7 meet, then the columns get into their order.
            let mixed = _mm256_hadd_epi32(sums[0], sums[1]);
            let whole = _mm256_permute4x64_epi64::<0b11_01_10_00>(mixed);
            let scale = _mm256_mul_ps(column_scales, _mm256_set1_ps(*finish.row_scales.add(row)));
            let value = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole), scale, bias);
            store(finish.output.add(row * finish.output_stride), value, finish.accumulate);
        }
    }
}
