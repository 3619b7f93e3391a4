//! From 8-bit pixels to the visual encoder's input: torchvision's `ToTensor` and `Normalize` with CLIP's constants.
//!
//! Source: torchvision's `ToTensor` and `Normalize` with CLIP's mean and deviation. Refuses to know any picture size: it takes what it is given.

use super::RgbImage;

/// Mean of each channel (R, G, B) over CLIP's training pictures.
pub const IMAGE_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
/// Standard deviation of each channel (R, G, B) over CLIP's training pictures.
pub const IMAGE_STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// `(x / 255 − mean) / std` in this order of f32 operations. Returns (3, height, width), row-major.
pub fn pixel_values(resized: &RgbImage) -> Vec<f32> {
    let area = resized.width() as usize * resized.height() as usize;
    let mut values = vec![0.0; 3 * area];
    for (channel, plane) in values.chunks_exact_mut(area.max(1)).enumerate() {
        let table = channel_table(channel);
        for (value, pixel) in plane.iter_mut().zip(resized.as_raw().chunks_exact(3)) {
            *value = table[pixel[channel] as usize];
        }
    }
    values
}

/// The bytes (R, G, B, pixel by pixel) behind normalised values (3, height, width); what no byte is behind becomes the
/// nearest.
pub fn bytes_of(pixel_values: &[f32]) -> Vec<u8> {
    let area = pixel_values.len() / 3;
    let byte = |channel: usize, pixel: usize| {
        let level = pixel_values[channel * area + pixel] * IMAGE_STD[channel] + IMAGE_MEAN[channel];
        (level * 255.0).round().clamp(0.0, 255.0) as u8
    };
    (0..area).flat_map(|pixel| [0, 1, 2].map(|channel| byte(channel, pixel))).collect()
}

/// The normalised value of each of the 256 levels: three divisions a level instead of two a pixel.
fn channel_table(channel: usize) -> [f32; 256] {
    std::array::from_fn(|level| (level as f32 / 255.0 - IMAGE_MEAN[channel]) / IMAGE_STD[channel])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_come_one_after_the_other() {
        let image = RgbImage::from_raw(2, 1, vec![0, 128, 255, 255, 0, 1]).expect("6 bytes");
        let values = pixel_values(&image);
        let expect = |level: f32, c: usize| (level / 255.0 - IMAGE_MEAN[c]) / IMAGE_STD[c];
        let expected =
            [expect(0., 0), expect(255., 0), expect(128., 1), expect(0., 1), expect(255., 2), expect(1., 2)];
        assert_eq!(values, expected);
        assert_eq!(bytes_of(&values), *image.as_raw());
        // torchvision's own numbers for black and white in the red channel
        assert!((values[0] - -1.792_262_6).abs() < 1e-6 && (values[1] - 1.930_336_2).abs() < 1e-6);
    }
}
