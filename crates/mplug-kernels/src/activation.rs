//! The two activations of mPLUG, element by element, in place. They are different functions and keep different names.
//!
//! - [`Activation::Gelu`]: the exact form of BERT, `x · (1 + erf(x / √2)) / 2` (Hendrycks & Gimpel, arXiv 1606.08415);
//! - [`Activation::QuickGelu`]: CLIP's approximation `x · sigmoid(1.702 x)`.

use rayon::prelude::*;
use rten_simd::SimdUnaryOp;
use rten_vecmath::{Gelu, Swish};

/// Values that one thread takes at a time.
const CHUNK: usize = 1 << 15;

/// Which activation follows a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// BERT's GELU.
    Gelu,
    /// CLIP's GELU.
    QuickGelu,
}

impl Activation {
    /// Applies it in place, split over the threads of the pool.
    pub fn apply(self, data: &mut [f32]) {
        if data.len() <= CHUNK {
            self.apply_here(data);
        } else {
            data.par_chunks_mut(CHUNK).for_each(|chunk| self.apply_here(chunk));
        }
    }

    /// Applies it in place, on this thread.
    pub(crate) fn apply_here(self, data: &mut [f32]) {
        match self {
            Self::Gelu => {
                Gelu {}.map_mut(data);
            }
            Self::QuickGelu => {
                Swish { alpha: 1.702 }.map_mut(data);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::tests::assert_close;

    /// `erf` by its Taylor series (|x| ≤ 3) in f64: slow and sure.
    fn naive_erf(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    }

    #[test]
    fn both_equal_their_definitions() {
        let inputs: Vec<f32> = (-400..=400).map(|i| i as f32 / 100.0).collect();
        let (mut fast, mut quick) = (inputs.clone(), inputs.clone());
        Activation::Gelu.apply(&mut fast);
        Activation::QuickGelu.apply(&mut quick);
        let expected: Vec<f32> = inputs
            .iter()
            .map(|&x| (f64::from(x) * 0.5 * (1.0 + naive_erf(f64::from(x) / 2.0_f64.sqrt()))) as f32)
            .collect();
        assert_close(&fast, &expected, 1e-6);
        let expected: Vec<f32> =
            inputs.iter().map(|&x| (f64::from(x) / (1.0 + (-1.702 * f64::from(x)).exp())) as f32).collect();
        assert_close(&quick, &expected, 1e-6);
    }
}
