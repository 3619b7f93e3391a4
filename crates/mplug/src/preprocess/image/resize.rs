//! Bicubic resizing, equal to Pillow's in every pixel.
//!
//! Source: Pillow 13.0.0's two-pass resampler for 8-bit channels: rows first, or columns first where the height shrinks
//! much more (older versions: rows first unless a picture is 100 times as high as wide, which changes a pixel by one
//! level here and there); the cubic kernel with a = −0.5, widened when the picture shrinks; weights normalised in f64
//! and rounded to 22 fractional bits; each pass rounds and clamps to 8 bits. Stretches: it does not keep the aspect.
//!
//! Refuses to know other filters, alpha, and colour spaces.

use std::borrow::Cow;

use rayon::prelude::*;

use super::RgbImage;

/// Pillow's fractional bits of a weight: 32, less 8 of the pixel, less 2 of headroom for overshoot.
const PRECISION_BITS: u32 = 32 - 8 - 2;
/// Half of a unit in the last place kept.
const ROUNDING: i32 = 1 << (PRECISION_BITS - 1);
/// Half-width of the cubic kernel, in source pixels at scale 1.
const SUPPORT: f64 = 2.0;
const CHANNELS: usize = 3;

/// Stretches a picture to `width` × `height`, both at least 1.
pub fn resize_bicubic(image: &RgbImage, width: u32, height: u32) -> RgbImage {
    let (in_width, in_height) = (image.width() as usize, image.height() as usize);
    let (out_width, out_height) = (width as usize, height as usize);
    if in_width == 0 || in_height == 0 || out_width == 0 || out_height == 0 {
        return RgbImage::new(width, height);
    }
    let pixels = if shrinks_columns_first((in_width, in_height), (out_width, out_height)) {
        // (out_height, in_width, 3)
        let lowered = resize_columns(image.as_raw(), in_width * CHANNELS, in_height, out_height);
        resize_rows(&lowered, in_width, out_height, out_width).into_owned()
    } else {
        // (in_height, out_width, 3)
        let narrowed = resize_rows(image.as_raw(), in_width, in_height, out_width);
        resize_columns(&narrowed, out_width * CHANNELS, in_height, out_height).into_owned()
    };
    // Both passes write exactly width × height × 3 values.
    RgbImage::from_raw(width, height, pixels).unwrap_or_default()
}

/// Pillow's order of the passes (13.0.0): columns first where the height loses more than twice what the width loses.
/// The order shows in the pixels, for each pass rounds and clamps.
fn shrinks_columns_first(
    (in_width, in_height): (usize, usize),
    (out_width, out_height): (usize, usize),
) -> bool {
    let lost_height = in_height as i64 - out_height as i64;
    let lost_width = in_width as i64 - out_width as i64;
    lost_height > 0 && lost_height > 2 * lost_width
}

/// The source pixels that make one output pixel, and their weights in 22-bit fixed point.
struct Window {
    start: usize,
    weights: Vec<i32>,
}

/// One window for each output position along an axis.
fn windows(in_size: usize, out_size: usize) -> Vec<Window> {
    let scale = in_size as f64 / out_size as f64;
    let filter_scale = scale.max(1.0);
    let support = SUPPORT * filter_scale;
    (0..out_size)
        .map(|out| {
            let center = (out as f64 + 0.5) * scale;
            // `as usize` cuts toward zero and stops at 0, as the original's cast and clamp do.
            let start = (center - support + 0.5) as usize;
            let end = ((center + support + 0.5) as usize).min(in_size);
            let weight = |x: usize| cubic((x as f64 - center + 0.5) * (1.0 / filter_scale));
            let weights: Vec<f64> = (start..end).map(weight).collect();
            let sum: f64 = weights.iter().sum();
            Window { start, weights: weights.iter().map(|w| fixed_point(w / sum)).collect() }
        })
        .collect()
}

/// The cubic convolution kernel with a = −0.5.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// Rounds to the nearest 22-bit fixed point number, halves away from zero.
fn fixed_point(weight: f64) -> i32 {
    (weight * f64::from(1u32 << PRECISION_BITS) + 0.5f64.copysign(weight)) as i32
}

fn to_pixel(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

/// (height, in_width, 3) to (height, out_width, 3).
fn resize_rows(pixels: &[u8], in_width: usize, height: usize, out_width: usize) -> Cow<'_, [u8]> {
    if in_width == out_width {
        return Cow::Borrowed(pixels);
    }
    let windows = windows(in_width, out_width);
    let (in_len, out_len) = (in_width * CHANNELS, out_width * CHANNELS);
    let mut resized = vec![0; height * out_len];
    resized.par_chunks_mut(out_len).zip(pixels.par_chunks(in_len)).for_each(|(out, row)| {
        for (pixel, window) in out.chunks_exact_mut(CHANNELS).zip(&windows) {
            pixel.copy_from_slice(&weighted_pixel(&row[window.start * CHANNELS..], &window.weights));
        }
    });
    Cow::Owned(resized)
}

/// The weighted sum of a window's pixels, channel by channel. Three plain sums: the compiler makes vectors of them.
fn weighted_pixel(row: &[u8], weights: &[i32]) -> [u8; CHANNELS] {
    let (mut red, mut green, mut blue) = (ROUNDING, ROUNDING, ROUNDING);
    for (pixel, &weight) in row.chunks_exact(CHANNELS).zip(weights) {
        red += i32::from(pixel[0]) * weight;
        green += i32::from(pixel[1]) * weight;
        blue += i32::from(pixel[2]) * weight;
    }
    [red, green, blue].map(to_pixel)
}

/// (in_height, row_len) to (out_height, row_len).
fn resize_columns(pixels: &[u8], row_len: usize, in_height: usize, out_height: usize) -> Cow<'_, [u8]> {
    if in_height == out_height {
        return Cow::Borrowed(pixels);
    }
    let windows = windows(in_height, out_height);
    let mut resized = vec![0; out_height * row_len];
    resized.par_chunks_mut(row_len).zip(&windows).for_each_init(
        || vec![0; row_len],
        |sums, (out, window)| {
            sums.fill(ROUNDING);
            for (row, &weight) in pixels[window.start * row_len..].chunks_exact(row_len).zip(&window.weights)
            {
                for (sum, &value) in sums.iter_mut().zip(row) {
                    *sum += i32::from(value) * weight;
                }
            }
            for (value, &sum) in out.iter_mut().zip(sums.iter()) {
                *value = to_pixel(sum);
            }
        },
    );
    Cow::Owned(resized)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The resampling, written as plainly as it can be said: one 64-bit sum for each value, no blocks, no halves.
    fn naive(image: &RgbImage, width: u32, height: u32) -> RgbImage {
        let pass = |image: &RgbImage, out_size: u32, in_size: u32, is_row: bool| {
            let (w, h) = if is_row { (out_size, image.height()) } else { (image.width(), out_size) };
            RgbImage::from_fn(w, h, |x, y| {
                let out = if is_row { x } else { y };
                let scale = f64::from(in_size) / f64::from(out_size);
                let stretch = if scale < 1.0 { 1.0 } else { scale };
                let center = (f64::from(out) + 0.5) * scale;
                let first = ((center - 2.0 * stretch + 0.5) as i64).max(0);
                let last = ((center + 2.0 * stretch + 0.5) as i64).min(i64::from(in_size));
                let raw: Vec<f64> =
                    (first..last).map(|i| cubic((i as f64 - center + 0.5) * (1.0 / stretch))).collect();
                let total: f64 = raw.iter().sum();
                let mut sums = [1i64 << 21; 3];
                for (i, weight) in (first..last).zip(&raw) {
                    let weight = weight / total * 4_194_304.0;
                    let weight = if weight < 0.0 { (weight - 0.5) as i64 } else { (weight + 0.5) as i64 };
                    let pixel =
                        if is_row { image.get_pixel(i as u32, y) } else { image.get_pixel(x, i as u32) };
                    for (sum, &value) in sums.iter_mut().zip(&pixel.0) {
                        *sum += i64::from(value) * weight;
                    }
                }
                ::image::Rgb(sums.map(|sum| (sum >> 22).clamp(0, 255) as u8))
            })
        };
        if image.height() > height && image.height() - height > 2 * image.width().saturating_sub(width) {
            pass(&pass(image, height, image.height(), false), width, image.width(), true)
        } else {
            pass(&pass(image, width, image.width(), true), height, image.height(), false)
        }
    }

    fn noise(width: u32, height: u32, seed: u64) -> RgbImage {
        let mut state = seed;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // black and white are drawn often: only extremes overshoot and clamp
            match (state >> 60) & 3 {
                0 => 0,
                1 => 255,
                _ => (state >> 33) as u8,
            }
        };
        RgbImage::from_fn(width, height, |_, _| ::image::Rgb([next(), next(), next()]))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn equals_the_reference(sizes in prop::array::uniform4(1u32..200), seed: u64) {
            let image = noise(sizes[0], sizes[1], seed);
            prop_assert_eq!(resize_bicubic(&image, sizes[2], sizes[3]), naive(&image, sizes[2], sizes[3]));
        }
    }

    #[test]
    fn edge_sizes_equal_the_reference() {
        for (w, h, to_w, to_h) in
            [(1, 1, 64, 64), (200, 1, 1, 200), (1, 200, 7, 1), (8, 8, 8, 8), (8, 9, 8, 3), (4000, 3, 2, 9)]
        {
            let image = noise(w, h, 7);
            assert_eq!(
                resize_bicubic(&image, to_w, to_h),
                naive(&image, to_w, to_h),
                "{w}x{h} to {to_w}x{to_h}"
            );
        }
    }

    #[test]
    fn a_flat_picture_stays_flat() {
        let image = RgbImage::from_pixel(301, 17, ::image::Rgb([255, 0, 137]));
        assert!(resize_bicubic(&image, 64, 64).pixels().all(|pixel| pixel.0 == [255, 0, 137]));
    }
}
