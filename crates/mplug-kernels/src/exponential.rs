//! `exp` in vector registers: the rows of exponentials behind every softmax.
//!
//! `exp(x) = 2ⁿ · exp(r)`, with `n` the nearest integer to `x / ln 2` and `r` what is left, |r| ≤ ln 2 / 2, by a polynomial of
//! degree 6 whose relative error there is below 1e-8 (the coefficients of the series, adjusted by a random search for the
//! smallest largest error). `ln 2` is taken off in two parts, so that `r` keeps its digits. Below −87.3 the result is 0: f32 has only subnormal numbers there.
#![expect(unsafe_code, reason = "vector loads and stores inside of slices")]
#![cfg(target_arch = "x86_64")]

#[allow(clippy::wildcard_imports, reason = "intrinsics: their names are their own prefix")]
use std::arch::x86_64::*;

/// `1 / ln 2`, and `ln 2` as a short number and its rest.
const LOG2_E: f32 = std::f32::consts::LOG2_E;
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// Below this, 2ⁿ would be subnormal.
const SMALLEST: f32 = -87.3;
/// Coefficients of r² to r⁶.
const TERMS: [f32; 5] = [0.5, 0.166_665_18, 0.041_666_454, 0.008_368_641, 0.001_392_341_5];
/// Vectors of a long row that are compared at once.
const COMPARED: usize = 4;

macro_rules! row_functions {
    ($features:literal, $vector:ident, $lanes:literal, set $set:ident, zero $zero:ident, load $load:expr, store $store:ident, min $min:ident, max $max:ident, add $add:ident, mul $mul:ident,
     fma $fma:ident, fnma $fnma:ident, round $round:expr, scale $scale:expr, mask $mask:expr, minimum $reduce_min:expr, maximum $reduce_max:expr, sum $reduce_sum:expr) => {
        /// `exp` of values of at most 0.
        #[target_feature(enable = $features)]
        #[inline]
        fn exp(x: $vector) -> $vector {
            let n = ($round)($mul(x, $set(LOG2_E)));
            let r = $fnma(n, $set(LN_2_LOW), $fnma(n, $set(LN_2_HIGH), x));
            let mut p = $set(TERMS[4]);
            for term in [TERMS[3], TERMS[2], TERMS[1], TERMS[0], 1.0, 1.0] {
                p = $fma(p, r, $set(term));
            }
            ($mask)(x, ($scale)(p, n))
        }

        /// The largest value of a row.
        #[target_feature(enable = $features)]
        pub(crate) fn largest(row: &[f32]) -> f32 {
            let mut most = $set(f32::NEG_INFINITY);
            let chunks = row.chunks_exact($lanes);
            let rest = chunks.remainder().iter().copied().fold(f32::NEG_INFINITY, f32::max);
            for chunk in chunks {
                // SAFETY: a chunk holds a vector.
                most = $max(most, unsafe { ($load)(chunk.as_ptr()) });
            }
            rest.max(($reduce_max)(most))
        }

        /// The least and the largest value of a long row, each in vectors that do not wait for each other.
        #[target_feature(enable = $features)]
        pub(crate) fn extremes(row: &[f32]) -> (f32, f32) {
            let (mut least, mut most) =
                ([$set(f32::INFINITY); COMPARED], [$set(f32::NEG_INFINITY); COMPARED]);
            let (blocks, rest) = row.as_chunks::<{ COMPARED * $lanes }>();
            for block in blocks {
                for (i, (least, most)) in least.iter_mut().zip(&mut most).enumerate() {
                    // SAFETY: a block holds as many vectors.
                    let value = unsafe { ($load)(block.as_ptr().add(i * $lanes)) };
                    (*least, *most) = ($min(*least, value), $max(*most, value));
                }
            }
            let least =
                least.into_iter().map($reduce_min).chain(rest.iter().copied()).fold(f32::INFINITY, f32::min);
            let most = most
                .into_iter()
                .map($reduce_max)
                .chain(rest.iter().copied())
                .fold(f32::NEG_INFINITY, f32::max);
            (least, most)
        }

        /// The sum of `exp(x − most)` over a row. An exponential takes longer than an addition, so one sum is enough.
        #[target_feature(enable = $features)]
        pub(crate) fn sum_of_exponentials(row: &[f32], most: f32) -> f32 {
            let offset = $set(-most);
            let mut sum = $zero();
            let (chunks, rest) = row.as_chunks::<$lanes>();
            // The rest, padded with values whose exponential is 0.
            let mut padded = [f32::NEG_INFINITY; $lanes];
            padded[..rest.len()].copy_from_slice(rest);
            for chunk in chunks.iter().chain([&padded]) {
                // SAFETY: a chunk holds a vector.
                sum = $add(sum, exp($add(unsafe { ($load)(chunk.as_ptr()) }, offset)));
            }
            ($reduce_sum)(sum)
        }

        /// Takes two numbers off every value of a row, one after the other.
        #[target_feature(enable = $features)]
        pub(crate) fn subtract(row: &mut [f32], first: f32, second: f32) {
            for value in row {
                *value = *value - first - second;
            }
        }

        /// Replaces a row by `exp(x − most)`; returns the sum.
        #[target_feature(enable = $features)]
        pub(crate) fn exponentials(row: &mut [f32], most: f32) -> f32 {
            let offset = $set(-most);
            let mut sums = [$zero(); 2];
            let mut chunks = row.chunks_exact_mut($lanes);
            for (i, chunk) in chunks.by_ref().enumerate() {
                // SAFETY: a chunk holds a vector.
                unsafe {
                    let value = exp($add(($load)(chunk.as_ptr()), offset));
                    $store(chunk.as_mut_ptr(), value);
                    sums[i % 2] = $add(sums[i % 2], value);
                }
            }
            // The rest, padded with values whose exponential is 0.
            let rest = chunks.into_remainder();
            let mut padded = [f32::NEG_INFINITY; $lanes];
            padded[..rest.len()].copy_from_slice(rest);
            // SAFETY: the array holds a vector.
            unsafe {
                let value = exp($add(($load)(padded.as_ptr()), offset));
                $store(padded.as_mut_ptr(), value);
                sums[0] = $add(sums[0], value);
            }
            rest.copy_from_slice(&padded[..rest.len()]);
            ($reduce_sum)($add(sums[0], sums[1]))
        }
    };
}

/// Eight values at a time.
pub(crate) mod avx2 {
    #[allow(clippy::wildcard_imports, reason = "all that stands above")]
    use super::*;

    row_functions! {
        "avx2,fma", __m256, 8, set _mm256_set1_ps, zero _mm256_setzero_ps, load |from| _mm256_loadu_ps(from), store _mm256_storeu_ps, min _mm256_min_ps, max _mm256_max_ps, add _mm256_add_ps, mul _mm256_mul_ps,
        fma _mm256_fmadd_ps, fnma _mm256_fnmadd_ps,
        round |x| _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x),
        scale |p: __m256, n: __m256| {
            // Adding n to the exponent's bits multiplies by 2ⁿ.
            let shifted = _mm256_slli_epi32::<23>(_mm256_cvtps_epi32(n));
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), shifted))
        },
        mask |x: __m256, value: __m256| {
            _mm256_and_ps(value, _mm256_cmp_ps::<_CMP_NLT_UQ>(x, _mm256_set1_ps(SMALLEST)))
        },
        minimum |v: __m256| lanes(v).into_iter().fold(f32::INFINITY, f32::min),
        maximum |v: __m256| lanes(v).into_iter().fold(f32::NEG_INFINITY, f32::max),
        sum |v: __m256| lanes(v).into_iter().sum::<f32>()
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn lanes(v: __m256) -> [f32; 8] {
        let mut lanes = [0.0; 8];
        // SAFETY: the array holds a vector.
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), v) };
        lanes
    }
}

/// Sixteen values at a time.
pub(crate) mod avx512 {
    #[allow(clippy::wildcard_imports, reason = "all that stands above")]
    use super::*;

    row_functions! {
        "avx512f,avx512bw,avx512dq,avx512vl", __m512, 16, set _mm512_set1_ps, zero _mm512_setzero_ps, load |from| _mm512_loadu_ps(from), store _mm512_storeu_ps, min _mm512_min_ps, max _mm512_max_ps, add _mm512_add_ps, mul _mm512_mul_ps,
        fma _mm512_fmadd_ps, fnma _mm512_fnmadd_ps,
        round |x| _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x),
        scale |p: __m512, n: __m512| _mm512_scalef_ps(p, n),
        mask |x: __m512, value: __m512| {
            _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_NLT_UQ>(x, _mm512_set1_ps(SMALLEST)), value)
        },
        minimum |v: __m512| _mm512_reduce_min_ps(v),
        maximum |v: __m512| _mm512_reduce_max_ps(v),
        sum |v: __m512| _mm512_reduce_add_ps(v)
    }
}
