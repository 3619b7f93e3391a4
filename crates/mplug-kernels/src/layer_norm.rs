//! Layer normalisation of rows: `(x − mean) / √(variance + ε) · weight + bias` (Ba et al., arXiv 1607.06450).
//!
//! The variance is the mean of squared differences from the mean (two passes): the one-pass form `E[x²] − E[x]²`
//! loses digits where the mean is large, as it is in trained transformers.

use rten_simd::SimdOp;
use rten_vecmath::{Normalize, NormalizeOptions, Sum, SumSquareSub};

use crate::for_each_row;

/// Normalises each row of `data`, in place. The rows are as wide as `weight` and `bias`.
///
/// # Panics
/// If `weight` and `bias` differ in length.
pub fn layer_norm(data: &mut [f32], weight: &[f32], bias: &[f32], epsilon: f32) {
    assert_eq!(weight.len(), bias.len(), "layer norm: weight and bias differ in length");
    for_each_row(data, weight.len(), |row| layer_norm_row(row, weight, bias, epsilon));
}

/// Normalises each row of `data`, in place, on this thread alone.
///
/// # Panics
/// If `weight` and `bias` differ in length.
pub fn layer_norm_here(data: &mut [f32], weight: &[f32], bias: &[f32], epsilon: f32) {
    assert_eq!(weight.len(), bias.len(), "layer norm: weight and bias differ in length");
    data.chunks_exact_mut(weight.len()).for_each(|row| layer_norm_row(row, weight, bias, epsilon));
}

fn layer_norm_row(row: &mut [f32], weight: &[f32], bias: &[f32], epsilon: f32) {
    let width = row.len() as f32;
    let mean = Sum::new(row).dispatch() / width;
    let variance = SumSquareSub::new(row, mean).dispatch() / width;
    Normalize::new_mut(
        row,
        NormalizeOptions {
            pre_scale_bias: mean,
            scale: 1.0 / (variance + epsilon).sqrt(),
            element_scale: Some(weight),
            bias: 0.0,
            element_bias: Some(bias),
        },
    )
    .dispatch();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gemm::tests::{assert_close, values};

    fn naive(row: &[f32], weight: &[f32], bias: &[f32], epsilon: f32) -> Vec<f32> {
        let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / row.len() as f64;
        let variance = row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / row.len() as f64;
        let scale = 1.0 / (variance + f64::from(epsilon)).sqrt();
        row.iter()
            .zip(weight.iter().zip(bias))
            .map(|(&x, (&w, &b))| ((f64::from(x) - mean) * scale * f64::from(w) + f64::from(b)) as f32)
            .collect()
    }

    proptest! {
        #[test]
        fn equals_the_naive_one(rows in 1usize..70, width in 2usize..200, shift in -50f32..50.0, salt in 0u32..100) {
            let data: Vec<f32> = values(rows * width, salt).iter().map(|x| x + shift).collect();
            let (weight, bias) = (values(width, salt + 1), values(width, salt + 2));
            let mut fast = data.clone();
            layer_norm(&mut fast, &weight, &bias, 1e-5);
            let expected: Vec<f32> =
                data.chunks(width).flat_map(|row| naive(row, &weight, &bias, 1e-5)).collect();
            assert_close(&fast, &expected, 1e-3);
        }
    }
}
