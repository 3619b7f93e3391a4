//! Distortions of values: three tables for each channel, and a filter over nine neighbours.
//!
//! Source: the research code's `dataset/randaugment.py`. Fractions are cut, not rounded, as its casts to bytes do; f32
//! where it has f32, f64 where it has f64, for both show in the bytes.
//!
//! Refuses to know strengths and colour spaces: channels are three gray pictures.

use mplug::preprocess::image::RgbImage;

use super::Overflow;

const CHANNELS: usize = 3;

/// What each value of a channel becomes.
type Table = [u8; 256];

/// Stretches each channel from its darkest and brightest value to 0 and 255.
pub(super) fn auto_contrast(image: RgbImage, overflow: Overflow) -> RgbImage {
    let tables = histograms(&image).map(|histogram| {
        let low = histogram.iter().position(|&count| count > 0).unwrap_or(0) as u8;
        let high = histogram.iter().rposition(|&count| count > 0).unwrap_or(0) as u8;
        if high <= low {
            return table(|value| value as u8);
        }
        let scale = 255.0 / f64::from(high - low);
        let offset = match overflow {
            Overflow::Wrap => f64::from(low.wrapping_neg()) * scale,
            Overflow::Clamp => -f64::from(low) * scale,
        };
        table(|value| (value as f64 * scale + offset) as u8)
    });
    apply_tables(image, &tables)
}

/// Levels each channel's histogram. Exact; the original counts in f32, which is the same up to 2^24 pixels.
pub(super) fn equalize(image: RgbImage) -> RgbImage {
    let tables = histograms(&image).map(|histogram| {
        let brightest = histogram.iter().rposition(|&count| count > 0).unwrap_or(0);
        let step = histogram[..brightest].iter().sum::<u64>() / 255;
        if step == 0 {
            return table(|value| value as u8);
        }
        let mut below = step / 2;
        table(|value| {
            let level = below / step;
            below += histogram[value];
            level.min(255) as u8
        })
    });
    apply_tables(image, &tables)
}

/// Multiplies every value by `factor`.
pub(super) fn brightness(image: RgbImage, factor: f32) -> RgbImage {
    let brightened = table(|value| (value as f32 * factor) as u8);
    apply_tables(image, &[brightened; CHANNELS])
}

/// Moves every value away from the mean of its nine neighbours, itself counted five times. The outermost pixels stay.
pub(super) fn sharpness(image: &RgbImage, factor: f32, overflow: Overflow) -> RgbImage {
    let mut sharpened = image.clone();
    let row_len = image.width() as usize * CHANNELS;
    if image.width() < 3 || image.height() < 3 {
        return sharpened;
    }
    let pixels = image.as_raw();
    for (row, out) in
        sharpened.chunks_exact_mut(row_len).enumerate().skip(1).take(image.height() as usize - 2)
    {
        let [above, here, below] = [row - 1, row, row + 1].map(|row| &pixels[row * row_len..][..row_len]);
        for i in CHANNELS..row_len - CHANNELS {
            let three =
                |row: &[u8]| u32::from(row[i - CHANNELS]) + u32::from(row[i]) + u32::from(row[i + CHANNELS]);
            let sum = three(above) + three(here) + three(below) + 4 * u32::from(here[i]);
            // The original sums 13ths in f32 and rounds. No sum of 13ths is a half, so that its error never shows.
            let smooth = ((2 * sum + 13) / 26) as f32;
            let value = smooth + factor * (f32::from(here[i]) - smooth);
            out[i] = match overflow {
                Overflow::Wrap => value as i32 as u8,
                Overflow::Clamp => value as u8,
            };
        }
    }
    sharpened
}

/// A table from what each value becomes, requested in ascending order.
fn table(mut to: impl FnMut(usize) -> u8) -> Table {
    let mut table = [0; 256];
    for (value, entry) in table.iter_mut().enumerate() {
        *entry = to(value);
    }
    table
}

/// How often each value occurs, channel by channel.
fn histograms(image: &RgbImage) -> [[u64; 256]; CHANNELS] {
    let mut histograms = [[0; 256]; CHANNELS];
    for pixel in image.pixels() {
        for (histogram, &value) in histograms.iter_mut().zip(&pixel.0) {
            histogram[usize::from(value)] += 1;
        }
    }
    histograms
}

fn apply_tables(mut image: RgbImage, tables: &[Table; CHANNELS]) -> RgbImage {
    for pixel in image.pixels_mut() {
        for (value, table) in pixel.0.iter_mut().zip(tables) {
            *value = table[usize::from(*value)];
        }
    }
    image
}
