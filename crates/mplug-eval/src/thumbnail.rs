//! Pictures small enough to stand in a page.

use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::{JpegDecoder, JpegEncoder};
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageDecoder, ImageEncoder, ImageError, RgbImage, RgbaImage, imageops};

/// The longest side, in pixels: twice what the page shows, for dense screens.
const LONGEST_SIDE: u32 = 360;
const JPEG_QUALITY: u8 = 80;
/// How the address of a JPEG begins.
const JPEG: &str = "data:image/jpeg;base64,";

/// A picture as a `data:` address of a JPEG, made smaller where its longest side has more than 360 pixels.
///
/// # Errors
/// If it has no pixels, or sides that no JPEG can have.
pub fn data_address(image: &RgbImage) -> Result<String, ImageError> {
    let small = within(image, LONGEST_SIDE);
    let small = small.as_ref().unwrap_or(image);
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, JPEG_QUALITY).encode_image(small)?;
    Ok(format!("{JPEG}{}", STANDARD.encode(jpeg)))
}

/// The JPEG of such an address, with its width and height; none if it is another one.
pub fn jpeg_of(address: &str) -> Option<(Vec<u8>, [u32; 2])> {
    let jpeg = STANDARD.decode(address.strip_prefix(JPEG)?).ok()?;
    let (width, height) = JpegDecoder::new(Cursor::new(&jpeg)).ok()?.dimensions();
    Some((jpeg, [width, height]))
}

/// A picture with sides of at most `longest` pixels; none if it has such sides already.
pub(crate) fn within(image: &RgbImage, longest: u32) -> Option<RgbImage> {
    let (width, height) = image.dimensions();
    let found = width.max(height);
    let scaled = |side: u32| (u64::from(side) * u64::from(longest) / u64::from(found)).max(1) as u32;
    (found > longest).then(|| imageops::thumbnail(image, scaled(width), scaled(height)))
}

/// A picture with transparent parts as a `data:` address of a PNG.
pub(crate) fn png_address(image: &RgbaImage) -> Result<String, ImageError> {
    let (mut png, (width, height)) = (Vec::new(), image.dimensions());
    PngEncoder::new(&mut png).write_image(image, width, height, ExtendedColorType::Rgba8)?;
    Ok(format!("data:image/png;base64,{}", STANDARD.encode(png)))
}

#[cfg(test)]
mod tests {
    use mplug::preprocess::image::{ImageLimits, decode_image};

    use super::*;

    #[test]
    fn pictures_are_made_smaller_never_larger() {
        for (width, height, expected) in [(1000, 500, (360, 180)), (20, 10, (20, 10)), (4000, 1, (360, 1))] {
            let address = data_address(&RgbImage::new(width, height)).unwrap();
            let base64 = address.strip_prefix("data:image/jpeg;base64,").unwrap();
            let jpeg = STANDARD.decode(base64).unwrap();
            let small = decode_image(&jpeg, &ImageLimits::default()).unwrap();
            assert_eq!((small.width(), small.height()), expected);
            assert_eq!(jpeg_of(&address), Some((jpeg, [expected.0, expected.1])));
        }
    }
}
