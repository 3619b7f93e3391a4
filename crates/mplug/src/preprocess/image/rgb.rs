//! Colours: from what decoders give to RGB of 8 bits, as Pillow's `convert("RGB")` gives it.
//!
//! Source: Pillow's conversions. Alpha is dropped, as in the original, or with a background the picture is laid over it. One
//! documented difference: gray of 16 bits is shown by its upper bits, where the original clips it to white.

use ::image::{ColorType, DynamicImage};

use super::RgbImage;
use super::background::{Background, over};

/// RGB of any decoded picture: alpha dropped or laid over `background`, 16 bits to their high byte (as Pillow reads 16-bit RGB), gray
/// repeated.
pub(super) fn into_rgb(decoded: DynamicImage, background: Option<Background>) -> RgbImage {
    let (width, height) = (decoded.width(), decoded.height());
    let raw = match decoded.color() {
        ColorType::Rgb8 => decoded.into_bytes(),
        ColorType::Rgba8 => drop_alpha(decoded.into_bytes(), background),
        ColorType::L8 => repeat_gray(decoded.as_bytes().iter().copied()),
        ColorType::La8 => gray_alpha(decoded.as_bytes().iter().copied(), background),
        _ => match decoded {
            DynamicImage::ImageLuma16(image) => repeat_gray(shown_gray(image.as_raw())),
            DynamicImage::ImageLumaA16(image) => gray_alpha(high_bytes(image.as_raw()), background),
            DynamicImage::ImageRgb16(image) => high_bytes(image.as_raw()).collect(),
            DynamicImage::ImageRgba16(image) => drop_alpha(high_bytes(image.as_raw()).collect(), background),
            other => other.into_rgb8().into_raw(),
        },
    };
    // The buffer holds three bytes a pixel in every branch.
    RgbImage::from_raw(width, height, raw).unwrap_or_default()
}

fn high_bytes(values: &[u16]) -> impl Iterator<Item = u8> {
    values.iter().map(|value| (value >> 8) as u8)
}

/// Gray of 16 bits by its high byte; where all of it fits into 12 bits or fewer, as cameras, scanners and depth sensors write it, by
/// the upper 8 bits of what its largest value takes. Values up to 255 are shown as they are.
pub(super) fn shown_gray(values: &[u16]) -> impl Iterator<Item = u8> {
    const WIDEST_NARROW: u32 = 12;
    let bits = u16::BITS - values.iter().max().map_or(0, |largest| largest.leading_zeros());
    let shift = if bits > WIDEST_NARROW { 8 } else { bits.saturating_sub(8) };
    values.iter().map(move |value| (value >> shift) as u8)
}

pub(super) fn repeat_gray(levels: impl Iterator<Item = u8>) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(levels.size_hint().0 * 3);
    levels.for_each(|level| rgb.extend_from_slice(&[level; 3]));
    rgb
}

/// Pairs of gray and alpha.
fn gray_alpha(mut levels: impl Iterator<Item = u8>, background: Option<Background>) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(levels.size_hint().0 / 2 * 3);
    while let (Some(gray), Some(alpha)) = (levels.next(), levels.next()) {
        rgb.extend_from_slice(&over(background, [gray; 3], alpha));
    }
    rgb
}

/// RGBA to RGB in place: a large picture is not held twice.
fn drop_alpha(mut rgba: Vec<u8>, background: Option<Background>) -> Vec<u8> {
    let pixels = rgba.len() / 4;
    for pixel in 0..pixels {
        let [red, green, blue, alpha] = [0, 1, 2, 3].map(|i| rgba[pixel * 4 + i]);
        rgba[pixel * 3..pixel * 3 + 3].copy_from_slice(&over(background, [red, green, blue], alpha));
    }
    rgba.truncate(pixels * 3);
    rgba
}

/// `a * b / 255`, rounded as Pillow's `MULDIV255` does.
pub(super) fn scaled(a: u8, b: u8) -> u8 {
    let product = u32::from(a) * u32::from(b) + 128;
    ((product + (product >> 8)) >> 8) as u8
}

/// CMYK with 0 for no ink.
pub(super) fn of_cmyk([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    let paper = 255 - k;
    [c, m, y].map(|ink| paper.saturating_sub(scaled(ink, paper)))
}

/// YCbCr by Pillow's own table, which is not libjpeg's.
pub(super) fn of_ycbcr([luma, blue, red]: [u8; 3]) -> [u8; 3] {
    let part = |factor: f64, level: u8| (factor * 64.0 * (level as f64 - 128.0) + 0.5) as i32;
    let level = |change: i32| (i32::from(luma) + (change >> 6)).clamp(0, 255) as u8;
    [level(part(1.402, red)), level(part(-0.344_14, blue) + part(-0.714_14, red)), level(part(1.772, blue))]
}

/// A level that was multiplied by its alpha, before that. Nothing is known of one whose alpha is 0.
pub(super) fn unmultiplied(level: u8, alpha: u8) -> u8 {
    match alpha {
        0 => 0,
        255 => level,
        _ => (u32::from(level) * 255 / u32::from(alpha)).min(255) as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alpha_is_dropped_and_the_hidden_colour_shows() {
        assert_eq!(drop_alpha(vec![1, 2, 3, 0, 4, 5, 6, 255], None), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn case_39_a_background_shows_through() {
        let white = Some(Background([255; 3]));
        assert_eq!(drop_alpha(vec![1, 2, 3, 0, 4, 5, 6, 255], white), [255, 255, 255, 4, 5, 6]);
        assert_eq!(gray_alpha([7, 0, 9, 255].into_iter(), white), [255, 255, 255, 9, 9, 9]);
    }

    #[test]
    fn sixteen_bits_keep_their_high_byte() {
        let gray = ::image::ImageBuffer::from_raw(2, 1, vec![0x12FFu16, 0xFF00]).expect("two pixels");
        assert_eq!(
            into_rgb(DynamicImage::ImageLuma16(gray), None).into_raw(),
            [0x12, 0x12, 0x12, 0xFF, 0xFF, 0xFF]
        );
        let rgba =
            ::image::ImageBuffer::from_raw(1, 1, vec![0x0180u16, 0x02FF, 0x0300, 0]).expect("one pixel");
        assert_eq!(into_rgb(DynamicImage::ImageRgba16(rgba), None).into_raw(), [1, 2, 3]);
    }

    #[test]
    fn case_27_gray_of_fewer_bits_in_16_is_shown_by_its_own_bits() {
        let shown = |values: &[u16]| shown_gray(values).collect::<Vec<u8>>();
        assert_eq!(shown(&[0, 0x123, 0xFFF]), [0, 0x12, 0xFF]);
        assert_eq!(shown(&[0, 0x3FF]), [0, 0xFF]);
        assert_eq!(shown(&[0, 200, 255]), [0, 200, 255]);
        assert_eq!(shown(&[0, 0x123, 0x1000]), [0, 1, 0x10]);
        assert_eq!(shown(&[0, 0]), [0, 0]);
        assert!(shown(&[]).is_empty());
    }

    #[test]
    fn colours_of_print_and_video_are_pillows() {
        assert_eq!(of_cmyk([0, 128, 255, 0]), [255, 127, 0]);
        assert_eq!(of_cmyk([55, 155, 205, 127]), [100, 50, 25]);
        // Image.frombytes("YCbCr", (3, 1), …).convert("RGB")
        let pixels = [[0, 128, 128], [255, 90, 240], [100, 200, 30]];
        assert_eq!(pixels.map(of_ycbcr), [[0, 0, 0], [255, 188, 187], [0, 145, 227]]);
        assert_eq!([0, 255, 100].map(|alpha| unmultiplied(20, alpha)), [0, 20, 51]);
    }
}
