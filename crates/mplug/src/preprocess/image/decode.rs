//! Decoding: a picture's bytes to upright RGB, as Pillow's `exif_transpose` and `convert("RGB")` give it.
//!
//! Source: the original's `LoadImage`, which opens with Pillow. Every limit is checked on the header, before memory is taken for
//! pixels.
//!
//! Refuses to know files and sizes that a model wants.

use std::io::{Cursor, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};

use ::image::metadata::Orientation;
use ::image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::format::{Format, sniff};
use super::jpeg::{self, Colours};
use super::rgb::into_rgb;
use super::{ImageError, ImageFault, ImageLimits, RgbImage, gif, ico, png, pnm, tiff, webp};

/// What a decoder may take beside the pixels: its tables, a row, a copy of the encoded bytes' structure.
const DECODER_SLACK_BYTES: u64 = 32 << 20;

/// Decodes a picture held in memory. Its errors call it "picture"; [`ImageError::named`] gives it a better name.
pub fn decode_image(bytes: &[u8], limits: &ImageLimits) -> Result<RgbImage, ImageError> {
    decode(bytes, limits).map_err(|fault| ImageError { origin: "picture".into(), fault })
}

/// Decodes, and turns a decoder's panic into an error of this picture.
pub(super) fn decode(bytes: &[u8], limits: &ImageLimits) -> Result<RgbImage, ImageFault> {
    if bytes.is_empty() {
        return Err(ImageFault::Empty);
    }
    if bytes.len() as u64 > limits.max_file_bytes {
        return Err(ImageFault::TooManyBytes { found: bytes.len() as u64, limit: limits.max_file_bytes });
    }
    // Nothing outlives a panic here: the decoder and its buffers are dropped with it.
    catch_unwind(AssertUnwindSafe(|| decode_sniffed(bytes, limits)))
        .unwrap_or_else(|panic| Err(ImageFault::Panicked(panic_text(panic.as_ref()))))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

fn decode_sniffed(bytes: &[u8], limits: &ImageLimits) -> Result<RgbImage, ImageFault> {
    let (image, orientation) = match sniff(bytes)? {
        Format::Png => decode_png(bytes, limits)?,
        Format::Jpeg => jpeg::decode(bytes, Colours::OfFile, limits)?,
        Format::WebP => (decode_by_crate(bytes, Format::WebP, limits)?, webp::orientation(bytes)),
        Format::Tiff => tiff::decode(bytes, limits)?,
        Format::Gif => return gif::decode(bytes, limits),
        Format::Pnm => return pnm::decode(bytes, limits),
        Format::Ico => return ico::decode(bytes, limits),
        Format::Bmp => return decode_by_crate(bytes, Format::Bmp, limits),
        Format::Tga => return decode_by_crate(bytes, Format::Tga, limits),
    };
    let mut image = DynamicImage::ImageRgb8(image);
    image.apply_orientation(orientation);
    Ok(image.into_rgb8())
}

/// The picture of a PNG, and how it lies.
pub(super) fn decode_png(bytes: &[u8], limits: &ImageLimits) -> Result<(RgbImage, Orientation), ImageFault> {
    let (essential, orientation) = png::read(bytes);
    Ok((decode_by_crate(&essential, Format::Png, limits)?, orientation))
}

/// The picture as the crate `image` decodes it, as it lies in the file.
pub(super) fn decode_by_crate(
    bytes: &[u8],
    format: Format,
    limits: &ImageLimits,
) -> Result<RgbImage, ImageFault> {
    let known = match format {
        Format::WebP => ImageFormat::WebP,
        Format::Bmp => ImageFormat::Bmp,
        Format::Tga => ImageFormat::Tga,
        Format::Ico => ImageFormat::Ico,
        _ => ImageFormat::Png,
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), known);
    let max_decoded_bytes = limits.max_pixels.saturating_mul(4);
    let mut decoder_limits = Limits::no_limits();
    decoder_limits.max_alloc = Some(max_decoded_bytes.saturating_add(DECODER_SLACK_BYTES));
    reader.limits(decoder_limits);

    let name = format.name();
    let decoder = reader.into_decoder().map_err(|error| fault_of(error, name))?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, limits)?;
    check_decoded_bytes(decoder.total_bytes(), limits)?;
    let decoded = DynamicImage::from_decoder(decoder).map_err(|error| fault_of(error, name))?;
    Ok(into_rgb(decoded, limits.background))
}

/// Refuses deep colours that would take more than four bytes for each pixel of the limit.
pub(super) fn check_decoded_bytes(found: u64, limits: &ImageLimits) -> Result<(), ImageFault> {
    let limit = limits.max_pixels.saturating_mul(4);
    if found > limit { Err(ImageFault::TooManyDecodedBytes { found, limit }) } else { Ok(()) }
}

pub(super) fn check_size(width: u32, height: u32, limits: &ImageLimits) -> Result<(), ImageFault> {
    let (pixels, limit) = (u64::from(width) * u64::from(height), limits.max_pixels);
    if pixels == 0 {
        return Err(ImageFault::NoPixels { width, height });
    }
    if pixels > limit {
        return Err(ImageFault::TooManyPixels { width, height, pixels, limit });
    }
    Ok(())
}

/// How the standard library words [`ErrorKind::UnexpectedEof`].
const UNEXPECTED_END: &str = "unexpected end of file";

/// Says "truncated" where the decoder ran out of bytes.
fn fault_of(error: ::image::ImageError, format: &'static str) -> ImageFault {
    if is_unexpected_end(&error) {
        return ImageFault::Truncated { format };
    }
    ImageFault::Decode(error.into())
}

/// Whether a decoder's error is that the file ended.
pub(super) fn is_unexpected_end(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(inner) = cause {
        if inner.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == ErrorKind::UnexpectedEof) {
            return true;
        }
        cause = inner.source();
    }
    // The PNG decoder hands its cause over as a text alone.
    error.to_string().ends_with(UNEXPECTED_END)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_reported_in_words() {
        assert_eq!(panic_text(&"words"), "words");
        assert_eq!(panic_text(&String::from("more words")), "more words");
        assert_eq!(panic_text(&5), "no message");
    }
}
