//! The CPU hot loops of mPLUG inference, over slices, sizes and strides. This crate knows nothing of models.
//!
//! Every function computes each output row from its own input row alone, in an order that depends neither on the
//! number of rows nor on the number of threads: that is what makes a caption independent of its batch neighbours.
//!
//! Modules, from the largest share of the time to the smallest: [`gemm`] (matrix products over packed weights),
//! [`attention`], [`layer_norm`], [`activation`], [`softmax`]. Each fast form stands beside its reference implementation, which is
//! kept as the oracle of its property tests.

pub mod activation;
pub mod attention;
mod exponential;
pub mod finite;
pub mod gemm;
mod instruction_set;
pub mod layer_norm;
pub mod limits;
mod memory;
mod scratch;
pub mod softmax;
mod team;

pub use instruction_set::InstructionSet;
pub use memory::can_reserve;
pub use team::{for_each_chunk, for_each_part, together};

/// Rows that one task takes when a row-wise operation is split over threads: enough work to pay for the split.
const ROWS_PER_TASK: usize = 32;

/// Rows that one task takes where threads wait for work anyway, awake: a piece costs them less than a microsecond.
const ROWS_PER_TASK_TOGETHER: usize = 4;

/// Runs `operation` on every row of `data` (rows of `width` values), in parallel where there are many rows.
fn for_each_row(data: &mut [f32], width: usize, operation: impl Fn(&mut [f32]) + Sync) {
    if team::is_together() && data.len() > 2 * ROWS_PER_TASK_TOGETHER * width {
        for_each_chunk(data, ROWS_PER_TASK_TOGETHER * width, |_, rows| {
            rows.chunks_exact_mut(width).for_each(&operation);
        });
    } else if data.len() <= ROWS_PER_TASK * width {
        data.chunks_exact_mut(width).for_each(operation);
    } else {
        for_each_chunk(data, ROWS_PER_TASK * width, |_, rows| {
            rows.chunks_exact_mut(width).for_each(&operation);
        });
    }
}
