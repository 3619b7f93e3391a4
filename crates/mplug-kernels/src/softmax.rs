//! Softmax of rows, in place: `exp(x − max) / Σ exp(x − max)`, in three passes, and its logarithm.

use rten_simd::SimdOp;
use rten_vecmath::{MaxNum, Softmax, SumExpSub};

use crate::InstructionSet;
use crate::finite::are_finite;

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
    let _ = set;
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for value in row.iter_mut() {
        *value = (*value - most).exp();
    }
    row.iter().sum()
}

/// Logarithm of the softmax of one row: `x − max − ln Σ exp(x − max)`. It is −∞ where `x` is; a row with NaN or +∞, or of −∞
/// alone, becomes NaN throughout.
pub fn log_softmax_row(row: &mut [f32]) {
    log_softmax_by(InstructionSet::best(), row);
}

fn log_softmax_by(set: InstructionSet, row: &mut [f32]) {
    let LogSumExp { max, ln_sum, .. } = log_sum_exp_by(set, row);
    #[cfg(target_arch = "x86_64")]
    {
        use crate::exponential::{avx2, avx512};
        #[expect(unsafe_code, reason = "the instructions were detected")]
        // SAFETY: the CPU has the instructions, as `log_sum_exp_by` checked.
        unsafe {
            match set {
                InstructionSet::Portable => {}
                InstructionSet::Avx2 => return avx2::subtract(row, max, ln_sum),
                _ => return avx512::subtract(row, max, ln_sum),
            }
        }
    }
    for value in row {
        *value = *value - max - ln_sum;
    }
}

/// What turns the logits of a row into log-probabilities, `ln Σ exp(x)` in two parts: their sum would cost small
/// log-probabilities digits where the maximum is large.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogSumExp {
    /// The largest logit.
    pub max: f32,
    /// `ln Σ exp(x − max)`; NaN in a row with NaN or +∞, or of −∞ alone.
    pub ln_sum: f32,
    /// Whether no logit is NaN or infinite.
    pub is_finite: bool,
}

impl LogSumExp {
    /// The log-probability of a logit of the row, with the bits that [`log_softmax_row`] writes.
    pub fn log_probability(self, logit: f32) -> f32 {
        logit - self.max - self.ln_sum
    }

    /// `ln Σ exp(x)`.
    pub fn total(self) -> f32 {
        self.max + self.ln_sum
    }
}

/// `ln Σ exp(x)` of one row, which is only read.
pub fn log_sum_exp_row(row: &[f32]) -> LogSumExp {
    log_sum_exp_by(InstructionSet::best(), row)
}

fn log_sum_exp_by(set: InstructionSet, row: &[f32]) -> LogSumExp {
    #[cfg(target_arch = "x86_64")]
    if set >= InstructionSet::Avx2 {
        use crate::exponential::{avx2, avx512};
        assert!(set <= InstructionSet::best(), "instructions that this CPU does not have");
        #[expect(unsafe_code, reason = "the instructions were detected")]
        // SAFETY: the CPU has the instructions, as just checked.
        let (least, max, sum) = unsafe {
            if set == InstructionSet::Avx2 {
                let (least, max) = avx2::extremes(row);
                (least, max, avx2::sum_of_exponentials(row, max))
            } else {
                let (least, max) = avx512::extremes(row);
                (least, max, avx512::sum_of_exponentials(row, max))
            }
        };
        // NaN and +∞ make the sum NaN, whatever the extremes make of them.
        return LogSumExp { max, ln_sum: sum.ln(), is_finite: least > f32::NEG_INFINITY && !sum.is_nan() };
    }
    let _ = set;
    let max = MaxNum::new(row).dispatch();
    let sum: f32 = SumExpSub::new(row, max).dispatch();
    LogSumExp { max, ln_sum: sum.ln(), is_finite: are_finite(row) }
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

    /// The reference implementation, in f64.
    fn naive_log_softmax(row: &[f32]) -> Vec<f32> {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|&x| f64::from(x - max).exp()).sum();
        row.iter().map(|&x| (f64::from(x) - f64::from(max) - sum.ln()) as f32).collect()
    }

    proptest! {
        #[test]
        fn equals_the_naive_one(width in 1usize..300, salt in 0u32..100, spread in 0.1f32..60.0) {
            let row: Vec<f32> = values(width, salt).iter().map(|x| x * spread).collect();
            let mut fast = row.clone();
            softmax_row(&mut fast);
            assert_close(&fast, &naive_softmax(&row), 1e-6);
            for set in InstructionSet::available() {
                let mut fast = row.clone();
                let sum = exponentials_row(set, &mut fast);
                for value in &mut fast {
                    *value /= sum;
                }
                assert_close(&fast, &naive_softmax(&row), 1e-6);
            }
        }

        #[test]
        fn log_softmax_equals_the_naive_one(width in 1usize..300, long in any::<bool>(), salt in 0u32..100, spread in 0.1f32..60.0, shift in -1e4f32..1e4, without in 0usize..400) {
            let width = if long { 70 * width } else { width };
            let mut row: Vec<f32> = values(width, salt).iter().map(|x| x * spread + shift).collect();
            let is_finite = width == 1 || without >= width;
            if !is_finite {
                row[without] = f32::NEG_INFINITY;
            }
            let expected = naive_log_softmax(&row);
            for set in InstructionSet::available() {
                let mut fast = row.clone();
                log_softmax_by(set, &mut fast);
                let stats = log_sum_exp_by(set, &row);
                prop_assert_eq!(stats.is_finite, is_finite);
                for ((fast, expected), &logit) in fast.iter().zip(&expected).zip(&row) {
                    let is_near = (fast - expected).abs() <= 1e-6 * (1.0 + expected.abs());
                    let is_same = fast.to_bits() == expected.to_bits();
                    prop_assert!(is_same || is_near, "{} instead of {}", fast, expected);
                    prop_assert_eq!(fast.to_bits(), stats.log_probability(logit).to_bits());
                }
            }
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

    #[test]
    fn log_softmax_hides_no_odd_number() {
        for set in InstructionSet::available() {
            for (odd, at) in
                [f32::NAN, f32::INFINITY].into_iter().flat_map(|odd| (0..200).map(move |at| (odd, at)))
            {
                let mut row = [1.0; 200];
                row[at] = odd;
                assert!(!log_sum_exp_by(set, &row).is_finite, "{odd} at {at}, {}", set.name());
                log_softmax_by(set, &mut row);
                assert!(row.iter().all(|x| x.is_nan()), "{odd} at {at}, {}", set.name());
            }
            let mut row = [f32::NEG_INFINITY; 70];
            assert!(!log_sum_exp_by(set, &row).is_finite);
            log_softmax_by(set, &mut row);
            assert!(row.iter().all(|x| x.is_nan()), "{}: {row:?}", set.name());
            let mut row = [f32::MAX, f32::MIN, 0.0];
            assert!(log_sum_exp_by(set, &row).is_finite);
            log_softmax_by(set, &mut row);
            assert_eq!(row.map(f32::to_bits), [0.0, f32::NEG_INFINITY, f32::MIN].map(f32::to_bits));
            log_softmax_by(set, &mut []);
        }
    }
}
