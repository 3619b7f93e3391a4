//! Softmax of rows, in place: `exp(x − max) / Σ exp(x − max)`, in three passes, and its logarithm.

use rten_simd::SimdOp;
use rten_vecmath::{LogSoftmax, Softmax};

use crate::InstructionSet;

/// Softmax of one row.
pub fn softmax_row(row: &mut [f32]) {
    if row.is_empty() {
    } else if InstructionSet::best() == InstructionSet::Portable {
        Softmax::new_mut(row).dispatch();
    } else {
        let inverse = 1.0 / exponentials_row(InstructionSet::best(), row);
        for value in row {
            *value *= inverse;
        }
    }
}

/// Replaces a row by `exp(x − max)`, and returns their sum: a softmax whose division is left to whoever uses it next.
pub(crate) fn exponentials_row(set: InstructionSet, row: &mut [f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    {
        use crate::exponential::{avx2, avx512};
        assert!(set <= InstructionSet::best(), "instructions that this CPU does not have");
        #[expect(unsafe_code, reason = "the instructions were detected")]
        // SAFETY: the CPU has the instructions, as just checked.
        unsafe {
            match set {
                InstructionSet::Portable => {}
                InstructionSet::Avx2 => return avx2::exponentials(row, avx2::largest(row)),
                _ => return avx512::exponentials(row, avx512::largest(row)),
            }
        }
    }
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for value in row.iter_mut() {
        *value = (*value - most).exp();
    }
    row.iter().sum()
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

/// The reference implementation, in f64.
#[cfg(test)]
pub(crate) fn naive_softmax(row: &[f32]) -> Vec<f32> {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials: Vec<f64> = row.iter().map(|&x| f64::from(x - max).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|e| (e / sum) as f32).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gemm::tests::{assert_close, values};

    proptest! {
        #[test]
        fn equals_the_naive_one(width in 1usize..300, salt in 0u32..100, spread in 0.1f32..60.0) {
            let row: Vec<f32> = values(width, salt).iter().map(|x| x * spread).collect();
            let mut fast = row.clone();
            softmax_row(&mut fast);
            assert_close(&fast, &naive_softmax(&row), 1e-6);
            let mut fast = row.clone();
            let sum = exponentials_row(InstructionSet::best(), &mut fast);
            for value in &mut fast {
                *value /= sum;
            }
            assert_close(&fast, &naive_softmax(&row), 1e-6);
            let mut fast = row.clone();
            log_softmax_row(&mut fast);
            let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
            let expected: Vec<f32> = row.iter().map(|&x| (f64::from(x) - sum.ln()) as f32).collect();
            assert_close(&fast, &expected, 1e-5);
        }
    }
    #[test]
    fn extreme_values() {
        let mut row = [-1e30, 0.0, -88.0, f32::NEG_INFINITY, -80.0, -0.0, 0.0, 0.0, 0.0];
        softmax_row(&mut row);
        assert_eq!([row[0], row[2], row[3]].map(f32::to_bits), [0; 3]);
        assert!((row[1] - 0.2).abs() < 1e-6 && row[4] > 0.0 && row[4] < 1e-34, "{row:?}");
        let mut row = [1.0; 11];
        row[4] = f32::NAN;
        softmax_row(&mut row);
        assert!(row[0].is_nan(), "a number that is none does not hide");
    }
}
