//! Softmax of rows, in place: `exp(x − max) / Σ exp(x − max)`, in three passes, and its logarithm
//! (vectorised by `rten-vecmath`).

use rten_simd::SimdOp;
use rten_vecmath::{LogSoftmax, Softmax};

/// Softmax of one row.
pub fn softmax_row(row: &mut [f32]) {
    if !row.is_empty() {
        Softmax::new_mut(row).dispatch();
    }
}

/// Logarithm of the softmax of one row: `x − max − ln Σ exp(x − max)`.
pub fn log_softmax_row(row: &mut [f32]) {
    if !row.is_empty() {
        LogSoftmax::new_mut(row).dispatch();
    }
}

/// Softmax of each row of `width` values.
pub fn softmax_rows(data: &mut [f32], width: usize) {
    data.chunks_exact_mut(width).for_each(softmax_row);
}

/// The naive twin, in f64.
#[cfg(test)]
pub(crate) fn naive_softmax(row: &[f32]) -> Vec<f32> {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials: Vec<f64> = row.iter().map(|&x| f64::from(x - max).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|e| (e / sum) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::tests::{assert_close, values};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_the_naive_one(width in 1usize..300, salt in 0u32..100, spread in 0.1f32..60.0) {
            let row: Vec<f32> = values(width, salt).iter().map(|x| x * spread).collect();
            let mut fast = row.clone();
            softmax_row(&mut fast);
            assert_close(&fast, &naive_softmax(&row), 1e-6);
            let mut fast = row.clone();
            log_softmax_row(&mut fast);
            let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
            let expected: Vec<f32> = row.iter().map(|&x| (f64::from(x) - sum.ln()) as f32).collect();
            assert_close(&fast, &expected, 1e-5);
        }
    }
}
