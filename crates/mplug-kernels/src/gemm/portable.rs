//! Product kernels in plain Rust, for CPUs without instructions of ours, and the reference implementations of those that have them. One row
//! at a time against 16 columns, an order that the compiler can vectorise. (f32 weights on such CPUs are the library's.)
#![expect(
    unsafe_code,
    reason = "the trait passes pointers; the slices made of them are what callers promise"
)]

use super::convert::from_bf16;
use super::kernel::{Finish, Kernel, Rows};
use super::panels::PANEL;

macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident, $lhs:ty, $rhs:ty, group $group:literal, sums $sum:ty, |$old:ident, $l:ident, $r:ident| $step:expr, |$done:ident, $column:ident, $row:ident, $finish:ident| $value:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(super) struct $name;

        impl Kernel for $name {
            type Lhs = $lhs;
            type Rhs = $rhs;
            const GROUP: usize = $group;
            const PANELS: usize = 1;
            const DEPTH_BLOCK: usize = usize::MAX;

            unsafe fn run(self, lhs: Rows<$lhs>, depth: usize, rhs: *const $rhs, _: usize, _: usize, finish: Finish) {
                // SAFETY: the panel has `depth` steps, rounded up to a whole group.
                let panel = unsafe { std::slice::from_raw_parts(rhs, depth.next_multiple_of($group) * PANEL) };
                for $row in 0..lhs.count {
                    // SAFETY: every row has `depth` values.
                    let values = unsafe { std::slice::from_raw_parts(lhs.start.add($row * lhs.stride), depth) };
                    let mut sums = [<$sum>::default(); PANEL];
                    for (values, group) in values.chunks($group).zip(panel.chunks_exact($group * PANEL)) {
                        for (i, &$l) in values.iter().enumerate() {
                            for (column, $old) in sums.iter_mut().enumerate() {
                                let $r = group[column * $group + i];
                                *$old = $step;
                            }
                        }
                    }
                    let $finish = finish;
                    for ($column, &$done) in sums.iter().enumerate() {
                        // SAFETY: columns, rows and output reach this far.
                        unsafe {
                            let bias = if finish.bias.is_null() { 0.0 } else { *finish.bias.add($column) };
                            let to = finish.output.add($row * finish.output_stride + $column);
                            let old = if finish.accumulate { *to } else { 0.0 };
                            *to = $value + bias + old;
                        }
                    }
                }
            }
        }
    };
}

kernel! {
    /// f32 by f32: keys and values that were packed for a decoder.
    F32, f32, f32, group 1, sums f32, |old, l, r| *old + l * r,
    |done, column, row, finish| { let _ = row; done * finish.scale }
}
kernel! {
    /// f32 rows by bf16 panels.
    WidenedBf16, f32, u16, group 2, sums f32, |old, l, r| *old + l * from_bf16(r),
    |done, column, row, finish| { let _ = row; done * finish.scale }
}
kernel! {
    /// int8 values, widened to 16 bits in the rows already, by int8 panels.
    Int8, i16, i8, group 4, sums i32, |old, l, r| *old + i32::from(l) * i32::from(r),
    |done, column, row, finish| done as f32 * (*finish.column_scales.add(column) * *finish.row_scales.add(row))
}
