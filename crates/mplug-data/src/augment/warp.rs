//! Affine distortions, equal to OpenCV's `warpAffine` (bilinear, constant border) in every byte.
//!
//! Source: OpenCV 4, as measured on 4.5.5, 4.8.1, 4.12 and 4.13, which agree; 5.0 computes in floats, and up to 8 levels
//! off. A pixel's position in the source is kept in 1/1024 of a pixel, its column's and its row's part rounded apart and
//! then added, and cut to 1/32; the four neighbours are weighed in whole 1/1024. OpenCV's weights have 15 bits, but all
//! of them are multiples of 32 save those of a pixel hit squarely, whose one stray bit cannot show in a byte.
//!
//! Refuses to know angles other than in degrees, other interpolations and other borders.

use mplug::preprocess::image::RgbImage;

/// What is seen beyond the picture's edge.
const FILL: [u8; CHANNELS] = [128; CHANNELS];
const CHANNELS: usize = 3;
/// Fractional bits of a position while it is added up.
const POSITION_BITS: u32 = 10;
/// Fractional bits of a position that choose the weights.
const WEIGHT_BITS: u32 = 5;
const WEIGHT_ONE: i64 = 1 << WEIGHT_BITS;
/// Half of the finest position kept: makes a cut a rounding.
const HALF: i64 = 1 << (POSITION_BITS - WEIGHT_BITS - 1);

/// Two rows of x, y, 1: where a source pixel goes, or where a pixel comes from.
type Matrix = [[f64; 3]; 2];

/// The matrix that turns by `degrees` about the centre, counter-clockwise as seen.
pub(super) fn rotation(width: u32, height: u32, degrees: f64) -> Matrix {
    let (center_x, center_y) = (f64::from(width) / 2.0, f64::from(height) / 2.0);
    let angle = degrees * (std::f64::consts::PI / 180.0);
    let (cos, sin) = (angle.cos(), angle.sin());
    [
        [cos, sin, (1.0 - cos) * center_x - sin * center_y],
        [-sin, cos, sin * center_x + (1.0 - cos) * center_y],
    ]
}

/// Moves every source pixel to where `matrix` says, within the same frame.
pub(super) fn warp(image: &RgbImage, matrix: Matrix) -> RgbImage {
    let mut warped = RgbImage::new(image.width(), image.height());
    if image.is_empty() {
        return warped;
    }
    let [[xx, xy, x1], [yx, yy, y1]] = inverse(matrix);
    let columns: Vec<(i64, i64)> = (0..image.width())
        .map(|x| (to_position(xx * f64::from(x)), to_position(yx * f64::from(x))))
        .collect();
    let row_len = image.width() as usize * CHANNELS;
    for (y, row) in warped.chunks_exact_mut(row_len).enumerate() {
        let row_x = to_position(xy * y as f64 + x1) + HALF;
        let row_y = to_position(yy * y as f64 + y1) + HALF;
        for (pixel, &(column_x, column_y)) in row.chunks_exact_mut(CHANNELS).zip(&columns) {
            let shift = POSITION_BITS - WEIGHT_BITS;
            pixel.copy_from_slice(&sample(image, (row_x + column_x) >> shift, (row_y + column_y) >> shift));
        }
    }
    warped
}

/// Where pixels come from, of where they go to; in OpenCV's order of operations, for the last bits may show.
fn inverse([[xx, xy, x1], [yx, yy, y1]]: Matrix) -> Matrix {
    let determinant = xx * yy - xy * yx;
    let d = if determinant == 0.0 { 0.0 } else { 1.0 / determinant };
    let (to_xx, to_yy) = (yy * d, xx * d);
    let (to_xy, to_yx) = (xy * -d, yx * -d);
    [[to_xx, to_xy, -to_xx * x1 - to_xy * y1], [to_yx, to_yy, -to_yx * x1 - to_yy * y1]]
}

/// To 1/1024 of a pixel, halves to even. Bounded far beyond any picture, so that sums of two cannot overflow.
fn to_position(coordinate: f64) -> i64 {
    const BOUND: f64 = (1u64 << 50) as f64;
    (coordinate * f64::from(1u32 << POSITION_BITS)).round_ties_even().clamp(-BOUND, BOUND) as i64
}

/// The picture's colour at a position in 1/32 of a pixel.
fn sample(image: &RgbImage, x: i64, y: i64) -> [u8; CHANNELS] {
    let (left, top) = (x >> WEIGHT_BITS, y >> WEIGHT_BITS);
    let (right_part, lower_part) = (x & (WEIGHT_ONE - 1), y & (WEIGHT_ONE - 1));
    let (left_part, upper_part) = (WEIGHT_ONE - right_part, WEIGHT_ONE - lower_part);
    let weights =
        [left_part * upper_part, right_part * upper_part, left_part * lower_part, right_part * lower_part];
    let mut sums = [1u32 << (2 * WEIGHT_BITS - 1); CHANNELS];
    for (color, weight) in neighbours(image, left, top).into_iter().zip(weights) {
        for (sum, value) in sums.iter_mut().zip(color) {
            *sum += u32::from(value) * weight as u32;
        }
    }
    sums.map(|sum| (sum >> (2 * WEIGHT_BITS)) as u8)
}

/// Four pixels: upper left, upper right, lower left, lower right.
fn neighbours(image: &RgbImage, left: i64, top: i64) -> [[u8; CHANNELS]; 4] {
    let (width, height) = (i64::from(image.width()), i64::from(image.height()));
    // Most pixels lie inside: two runs of bytes, checked once each.
    if left >= 0 && top >= 0 && left < width - 1 && top < height - 1 {
        let start = (top * width + left) as usize * CHANNELS;
        let pixels = image.as_raw();
        let upper = &pixels[start..start + 2 * CHANNELS];
        let lower = &pixels[start + width as usize * CHANNELS..][..2 * CHANNELS];
        return [
            [upper[0], upper[1], upper[2]],
            [upper[3], upper[4], upper[5]],
            [lower[0], lower[1], lower[2]],
            [lower[3], lower[4], lower[5]],
        ];
    }
    [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(right, down)| pixel_or_fill(image, left + right, top + down))
}

fn pixel_or_fill(image: &RgbImage, x: i64, y: i64) -> [u8; CHANNELS] {
    let is_inside = (0..i64::from(image.width())).contains(&x) && (0..i64::from(image.height())).contains(&y);
    if is_inside { image.get_pixel(x as u32, y as u32).0 } else { FILL }
}
