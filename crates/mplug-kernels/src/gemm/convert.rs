//! Rows on their way into a kernel of fewer bits: bf16, or int8 with a scale a row.
//!
//! int8 is symmetric: `q = round(127 · x / max |x|)`, so that `x ≈ q · scale`. What a row becomes depends on that row
//! alone. Written so that the compiler vectorises it, and compiled once more for AVX2 and for AVX-512.

#[cfg(target_arch = "x86_64")]
use crate::InstructionSet;

/// `f32` to the nearest bf16, ties to even; NaN stays NaN.
#[inline(always)]
pub(crate) fn to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    let quiet = (bits >> 16) | 0x40;
    (if value.is_nan() { quiet } else { rounded }) as u16
}

/// The value of a bf16.
#[inline(always)]
pub(crate) fn from_bf16(value: u16) -> f32 {
    f32::from_bits(u32::from(value) << 16)
}

/// The largest quantised value.
const LARGEST: f32 = 127.0;
/// Adding and taking off 1.5 · 2²³ rounds to the nearest integer, ties to even, without a call.
const ROUNDER: f32 = 12_582_912.0;

/// How a kernel wants its quantised values.
pub(crate) trait Quantized: Copy {
    /// Of a whole number from −127 to 127.
    fn from_whole(whole: i32) -> Self;
}

impl Quantized for i8 {
    #[inline(always)]
    fn from_whole(whole: i32) -> Self {
        whole as i8
    }
}

impl Quantized for i16 {
    #[inline(always)]
    fn from_whole(whole: i32) -> Self {
        whole as i16
    }
}

impl Quantized for u8 {
    /// 128 higher, as `vpdpbusd` wants its left-hand side.
    #[inline(always)]
    fn from_whole(whole: i32) -> Self {
        (whole + 128) as u8
    }
}

/// Quantises one row into the beginning of `to`; returns its scale. `smoothing`, where there is one, multiplies the values
/// first. A row with NaN or infinity gets a scale that is not finite, so it stays visible.
pub(crate) fn quantize_row<T: Quantized>(row: &[f32], smoothing: Option<&[f32]>, to: &mut [T]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    {
        let set = InstructionSet::best();
        #[expect(unsafe_code, reason = "the CPU has the instructions, as just checked")]
        // SAFETY: checked in each condition.
        unsafe {
            if set >= InstructionSet::Avx512 {
                return quantize_row_avx512(row, smoothing, to);
            } else if set >= InstructionSet::Avx2 {
                return quantize_row_avx2(row, smoothing, to);
            }
        }
    }
    quantize_row_plain(row, smoothing, to)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn quantize_row_avx512<T: Quantized>(row: &[f32], smoothing: Option<&[f32]>, to: &mut [T]) -> f32 {
    quantize_row_plain(row, smoothing, to)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn quantize_row_avx2<T: Quantized>(row: &[f32], smoothing: Option<&[f32]>, to: &mut [T]) -> f32 {
    quantize_row_plain(row, smoothing, to)
}

#[inline(always)]
fn quantize_row_plain<T: Quantized>(row: &[f32], smoothing: Option<&[f32]>, to: &mut [T]) -> f32 {
    match smoothing {
        Some(smoothing) => quantize(row, smoothing, |x, s| x * s, to),
        None => quantize(row, row, |x, _| x, to),
    }
}

#[inline(always)]
fn quantize<T: Quantized>(row: &[f32], with: &[f32], value: impl Fn(f32, f32) -> f32, to: &mut [T]) -> f32 {
    // The largest magnitude by its bits: integers order as positive floats do, and NaN is above all.
    let bits = |(&x, &s): (&f32, &f32)| value(x, s).to_bits() & 0x7fff_ffff;
    let largest = f32::from_bits(row.iter().zip(with).map(bits).fold(0, u32::max));
    let inverse = if largest > 0.0 { LARGEST / largest } else { 0.0 };
    for (to, (&x, &s)) in to.iter_mut().zip(row.iter().zip(with)) {
        let rounded = value(x, s) * inverse + ROUNDER;
        *to = T::from_whole((rounded.to_bits() as i32).wrapping_sub(ROUNDER.to_bits() as i32));
    }
    largest / LARGEST
}

/// Converts one row into the beginning of `to`.
pub(crate) fn to_bf16_row(row: &[f32], to: &mut [u16]) {
    to.iter_mut().zip(row).for_each(|(to, &x)| *to = to_bf16(x));
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "roundings are exact")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bf16_is_the_nearest_one(value in -1e30f32..1e30) {
            let found = from_bf16(to_bf16(value));
            prop_assert!((found - value).abs() <= value.abs() / 256.0);
            prop_assert_eq!(from_bf16(to_bf16(found)), found);
        }

        #[test]
        fn quantised_rows_are_within_half_a_step(row in prop::collection::vec(-50f32..50.0, 1..200)) {
            let mut wide = vec![0_i16; row.len()];
            let mut high = vec![0_u8; row.len()];
            let scale = quantize_row(&row, None, &mut wide);
            prop_assert_eq!(scale, quantize_row_plain(&row, None, &mut high));
            for ((&x, &q), &u) in row.iter().zip(&wide).zip(&high) {
                prop_assert!((f32::from(q) * scale - x).abs() <= 0.501 * scale);
                prop_assert_eq!(i32::from(u) - 128, i32::from(q));
            }
        }
    }

    #[test]
    fn special_values() {
        assert_eq!(to_bf16(1.0), 0x3f80);
        assert!(from_bf16(to_bf16(f32::NAN)).is_nan());
        assert_eq!(from_bf16(to_bf16(f32::INFINITY)), f32::INFINITY);
        let mut to = [1_i8; 3];
        assert_eq!(quantize_row(&[0.0; 3], None, &mut to), 0.0);
        assert_eq!(to, [0; 3]);
        assert!(!quantize_row(&[0.0, f32::NAN, 1.0], None, &mut to).is_finite());
        assert_eq!(quantize_row(&[2.0, -1.0, 0.0], Some(&[0.5, 2.0, 9.0]), &mut to), 2.0 / 127.0);
        assert_eq!(to, [64, -127, 0], "63.5 goes to the even neighbour");
    }
}
