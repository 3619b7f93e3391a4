//! Product kernels for AVX-512: 32 vector registers of 16 values. Every type keeps a tile of 12 rows × 32 columns (two
//! panels) in 24 of them; int8 needs VNNI, bf16 the BF16 extension.
//!
//! `vpdpbusd` multiplies unsigned by signed bytes: rows are stored 128 higher, and 128 times the sum of each column is taken
//! off at the end, exactly.
#![expect(unsafe_code, reason = "raw loads and stores of kernels; the trait says what callers promise")]

#[allow(clippy::wildcard_imports, reason = "intrinsics: their names are their own prefix")]
use std::arch::x86_64::*;

use super::kernel::{Finish, Kernel, Rows, for_each_tile};
use super::panels::PANEL;
use crate::InstructionSet;

/// `$body` for every row of a tile of `$rows`, each row a constant. A loop in its place may stay a loop, and an array that a
/// loop indexes lies in memory: the sums of large tiles were then written to the stack at every step of the inner dimension
/// (`tests/it/spills.rs` looks for such stores).
macro_rules! with_constant_rows {
    ($rows:ident, |$row:ident| $body:block) => { with_constant_rows!($rows, |$row| $body, 0 1 2 3 4 5 6 7 8 9 10 11) };
    ($rows:ident, |$row:ident| $body:block, $($at:literal)*) => {
        $(if $at < $rows {
            const $row: usize = $at;
            $body
        })*
    };
}

/// Bytes of a cache line.
const LINE: usize = 64;

/// The next panels, which are fetched into the L2 cache while these are multiplied: each tile fetches a share of them as large as its
/// own of the rows, so that memory is read all the time and not in the first tile alone. A lone tile of f32 fetches nothing: it waits for
/// memory anyway, and a decoder's step took 8 % longer.
struct Ahead {
    next: *const u8,
    /// Bytes that are fetched at every step: of two panels two lines by a lone tile, less than a line by one of many.
    stride: usize,
}

impl Ahead {
    /// The line at `here` again and again, which is there already.
    fn nothing(here: *const u8) -> Self {
        Self { next: here, stride: 0 }
    }

    /// Of the tile of `rows` rows from `first` on among `all` rows, beside `bytes_each` bytes for each of `steps` steps.
    fn new(next: *const u8, steps: usize, bytes_each: usize, [all, first, rows]: [usize; 3]) -> Self {
        if rows == all {
            return Self { next, stride: bytes_each }; // no divisions where there is little to do
        }
        Self { next: next.wrapping_add(steps * bytes_each * first / all), stride: bytes_each * rows / all }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn fetch<const LINES: usize>(&mut self) {
        // Always as many as a lone tile must: a line that comes with the next step too costs little, a condition more.
        for line in 0..LINES {
            _mm_prefetch::<_MM_HINT_T1>(self.next.wrapping_add(line * LINE).cast());
        }
        self.next = self.next.wrapping_add(self.stride);
    }
}

macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident needs $set:ident $features:literal, $lhs:ty, $rhs:ty, group $group:literal, depth $depth:expr, lone tile fetches $lone_fetches:literal, sums $sum:ty = $zero:ident,
     |$values:ident, $columns:ident, $old:ident| $step:expr, load $load:expr, broadcast $broadcast:expr, last $last:expr, $finish_tile:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(super) struct $name(());

        impl $name {
            /// The kernel, if `set` has what it needs.
            pub(super) fn new(set: InstructionSet) -> Option<Self> {
                (set >= InstructionSet::$set && set <= InstructionSet::richest()).then_some(Self(()))
            }

            #[target_feature(enable = $features)]
            unsafe fn rows<const PANELS: usize>(lhs: Rows<$lhs>, depth: usize, rhs: *const $rhs, panel_stride: usize, finish: Finish) {
                for_each_tile(lhs.count, 12, |first, rows| {
                    // SAFETY: the tile is inside the rows that the caller promised.
                    unsafe {
                        let (start, finish) = (lhs.start.add(first * lhs.stride), finish.at_row(first));
                        let stride = lhs.stride;
                        let next = rhs.wrapping_add(PANELS * panel_stride).cast();
                        let ahead = || {
                            if rows == lhs.count && !$lone_fetches {
                                return Ahead::nothing(rhs.cast());
                            }
                            Ahead::new(next, depth.div_ceil($group), PANELS * LINE, [lhs.count, first, rows])
                        };
                        macro_rules! tile {
                            ($rows:literal) => { Self::tile::<$rows, PANELS>(start, stride, depth, rhs, panel_stride, ahead(), finish) };
                        }
                        match rows {
                            1 => tile!(1), 2 => tile!(2), 3 => tile!(3), 4 => tile!(4), 5 => tile!(5), 6 => tile!(6),
                            7 => tile!(7), 8 => tile!(8), 9 => tile!(9), 10 => tile!(10), 11 => tile!(11), 12 => tile!(12),
                            _ => unreachable!("tiles have at most 12 rows"),
                        }
                    }
                });
            }

            #[target_feature(enable = $features)]
            #[inline]
            unsafe fn tile<const ROWS: usize, const PANELS: usize>(
                lhs: *const $lhs,
                stride: usize,
                depth: usize,
                rhs: *const $rhs,
                panel_stride: usize,
                mut ahead: Ahead,
                finish: Finish,
            ) {
                let mut sums = [[$zero(); PANELS]; ROWS];
                macro_rules! step {
                    ($at:expr, $values_of:expr) => {{
                        let at = $at * $group * PANEL;
                        let first = ($load)(rhs.add(at).cast());
                        let mut columns = [first; PANELS];
                        if PANELS > 1 {
                            columns[PANELS - 1] = ($load)(rhs.add(at + panel_stride).cast());
                        }
                        ahead.fetch::<PANELS>();
                        for (row, sums) in sums.iter_mut().enumerate() {
                            let $values = ($values_of)(lhs.add(row * stride + $at * $group).cast());
                            for ($old, &$columns) in sums.iter_mut().zip(&columns) {
                                *$old = $step;
                            }
                        }
                    }};
                }
                // SAFETY: every panel has 16 groups at each step, every row one, or the beginning of one at the end of an f32 row.
                unsafe {
                    let whole = depth / $group;
                    for group in 0..whole {
                        step!(group, $broadcast);
                    }
                    if whole * $group < depth {
                        step!(whole, $last);
                    }
                }
                // SAFETY: the caller's promise.
                unsafe {
                    with_constant_rows!(ROWS, |ROW| {
                        $finish_tile(sums[ROW][0], ROW, finish);
                        if PANELS > 1 {
                            $finish_tile(sums[ROW][1], ROW, finish.at_column(PANEL));
                        }
                    });
                }
            }
        }

        impl Kernel for $name {
            type Lhs = $lhs;
            type Rhs = $rhs;
            const GROUP: usize = $group;
            const PANELS: usize = 2;
            const DEPTH_BLOCK: usize = $depth;

            unsafe fn run(self, lhs: Rows<$lhs>, depth: usize, rhs: *const $rhs, panel_stride: usize, panels: usize, finish: Finish) {
                // SAFETY: the kernel's own existence proves the instructions; the rest is the caller's promise.
                unsafe {
                    if panels == 2 {
                        Self::rows::<2>(lhs, depth, rhs, panel_stride, finish);
                    } else {
                        Self::rows::<1>(lhs, depth, rhs, panel_stride, finish);
                    }
                }
            }
        }
    };
}

kernel! {
    /// f32 by f32.
    F32 needs Avx512 "avx512f,avx512bw,avx512dq,avx512vl", f32, f32, group 1, depth 768, lone tile fetches false, sums __m512 = _mm512_setzero_ps,
    |values, columns, old| _mm512_fmadd_ps(values, columns, *old),
    load |from: *const f32| _mm512_loadu_ps(from), broadcast |from: *const f32| _mm512_set1_ps(*from), last |from: *const f32| _mm512_set1_ps(*from), finish_f32
}
kernel! {
    /// bf16 by bf16, summed at f32.
    Bf16 needs Avx512Bf16 "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16", u16, u16, group 2, depth 1536, lone tile fetches true, sums __m512 = _mm512_setzero_ps,
    |values, columns, old| _mm512_dpbf16_ps(*old, as_bf16(values), as_bf16(columns)),
    load |from: *const f32| _mm512_loadu_ps(from), broadcast |from: *const f32| _mm512_set1_ps(from.read_unaligned()),
    last |from: *const f32| _mm512_set1_ps(from.read_unaligned()), finish_f32
}
kernel! {
    /// f32 by bf16 that is widened on the way: where the CPU multiplies bf16 slowly or not at all.
    WidenedBf16 needs Avx512 "avx512f,avx512bw,avx512dq,avx512vl", f32, u16, group 2, depth 1536, lone tile fetches true, sums __m512 = _mm512_setzero_ps,
    |values, columns, old| _mm512_fmadd_ps(values[1], columns[1], _mm512_fmadd_ps(values[0], columns[0], *old)),
    load |from: *const i32| widen(_mm512_loadu_si512(from.cast())), broadcast |from: *const f32| [_mm512_set1_ps(*from), _mm512_set1_ps(*from.add(1))],
    last |from: *const f32| [_mm512_set1_ps(*from), _mm512_setzero_ps()], finish_f32
}
kernel! {
    /// int8 by int8: rows are stored 128 higher.
    Int8 needs Avx512Vnni "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni", u8, i8, group 4, depth usize::MAX, lone tile fetches true, sums __m512i = _mm512_setzero_si512,
    |values, columns, old| _mm512_dpbusd_epi32(*old, values, columns),
    load |from: *const i32| _mm512_loadu_si512(from.cast()), broadcast |from: *const i32| _mm512_set1_epi32(from.read_unaligned()),
    last |from: *const i32| _mm512_set1_epi32(from.read_unaligned()), finish_int8
}

/// 16 pairs of bf16 values as the 16 first ones and the 16 second ones.
#[target_feature(enable = "avx512f")]
#[inline]
fn widen(pairs: __m512i) -> [__m512; 2] {
    let second = _mm512_and_si512(pairs, _mm512_set1_epi32(0xffff_0000_u32.cast_signed()));
    [_mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs)), _mm512_castsi512_ps(second)]
}

/// 64 bytes as 32 bf16 values.
#[target_feature(enable = "avx512f")]
#[inline]
fn as_bf16(values: __m512) -> __m512bh {
    // SAFETY: both are plain vectors of 64 bytes, and every bit pattern is a value of either.
    unsafe { std::mem::transmute(values) }
}

#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn finish_f32(sum: __m512, row: usize, finish: Finish) {
    // SAFETY: the bias has 16 values, the output 16 in this row.
    unsafe {
        let bias = if finish.bias.is_null() { _mm512_setzero_ps() } else { _mm512_loadu_ps(finish.bias) };
        store(row, _mm512_fmadd_ps(sum, _mm512_set1_ps(finish.scale), bias), finish);
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn finish_int8(sum: __m512i, row: usize, finish: Finish) {
    // SAFETY: columns have 16 values, rows a scale each, the output 16 values in this row.
    unsafe {
        let whole = _mm512_sub_epi32(sum, _mm512_loadu_si512(finish.column_offsets.cast()));
        let scale =
            _mm512_mul_ps(_mm512_loadu_ps(finish.column_scales), _mm512_set1_ps(*finish.row_scales.add(row)));
        let bias = if finish.bias.is_null() { _mm512_setzero_ps() } else { _mm512_loadu_ps(finish.bias) };
        store(row, _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), scale, bias), finish);
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn store(row: usize, value: __m512, finish: Finish) {
    // SAFETY: the output has 16 values in this row.
    unsafe {
        let to = finish.output.add(row * finish.output_stride);
        let value = if finish.accumulate { _mm512_add_ps(_mm512_loadu_ps(to), value) } else { value };
        _mm512_storeu_ps(to, value);
    }
}
