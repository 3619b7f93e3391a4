//! Decoding: a picture's bytes to upright RGB, as Pillow's `exif_transpose` and `convert("RGB")` give it.
//!
//! Source: the original's `LoadImage`, which opens with Pillow. Alpha is dropped, not composited: a transparent pixel shows the colour hidden under it.
//! One documented difference: 16-bit gray keeps its high byte, where the original clips it to white.
//! Every limit is checked on the header, before memory is taken for pixels.
//!
//! Refuses to know files and sizes that a model wants.

use std::io::{Cursor, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};

use ::image::metadata::Orientation;
use ::image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::jpeg::{self, Colours};
use super::{ImageError, ImageFault, ImageLimits, RgbImage, tiff};

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
    let format = sniff(bytes)?;
    match format {
        ImageFormat::Png => decode_format(&essential_png_chunks(bytes), format, limits),
        ImageFormat::Jpeg => decode_jpeg(bytes, limits),
        ImageFormat::Tiff => match tiff::decode(bytes, limits)? {
            Some((image, orientation)) => Ok(upright(image, orientation)),
            None => decode_format(bytes, format, limits),
        },
        _ => decode_format(bytes, format, limits),
    }
}

/// The format that the first bytes announce; a file's name says nothing.
fn sniff(bytes: &[u8]) -> Result<ImageFormat, ImageFault> {
    if let Some(format) = phone_format(bytes) {
        return Err(ImageFault::OtherFormat { format: format.to_owned() });
    }
    match ::image::guess_format(bytes) {
        Ok(format) if format.reading_enabled() => Ok(format),
        Ok(format) => Err(ImageFault::OtherFormat { format: format!("{format:?}") }),
        Err(_) => {
            Err(ImageFault::NotAPicture(format!("\"{}\"", bytes[..bytes.len().min(12)].escape_ascii())))
        }
    }
}

/// The formats of phones that have the box structure of MP4 (ISO/IEC 14496-12), by their brand.
fn phone_format(bytes: &[u8]) -> Option<&'static str> {
    match (bytes.get(4..8)?, bytes.get(8..12)?) {
        (b"ftyp", b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1") => {
            Some("HEIC")
        }
        (b"ftyp", b"avif" | b"avis") => Some("AVIF"),
        _ => None,
    }
}

fn decode_format(bytes: &[u8], format: ImageFormat, limits: &ImageLimits) -> Result<RgbImage, ImageFault> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let max_decoded_bytes = limits.max_pixels.saturating_mul(4);
    let mut decoder_limits = Limits::no_limits();
    decoder_limits.max_alloc = Some(max_decoded_bytes.saturating_add(DECODER_SLACK_BYTES));
    reader.limits(decoder_limits);

    let name = format_name(format);
    let mut decoder = reader.into_decoder().map_err(|error| fault_of(error, name))?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, limits)?;
    let (found, limit) = (decoder.total_bytes(), max_decoded_bytes);
    if found > limit {
        return Err(ImageFault::TooManyDecodedBytes { found, limit });
    }
    // A damaged EXIF block is no reason to refuse the picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let decoded = DynamicImage::from_decoder(decoder).map_err(|error| fault_of(error, name))?;
    Ok(upright(into_rgb(decoded), orientation))
}

fn decode_jpeg(bytes: &[u8], limits: &ImageLimits) -> Result<RgbImage, ImageFault> {
    let (image, exif) = jpeg::decode(bytes, Colours::OfFile, limits)?;
    let orientation = exif.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms);
    Ok(upright(image, orientation))
}

fn upright(image: RgbImage, orientation: Orientation) -> RgbImage {
    let mut image = DynamicImage::ImageRgb8(image);
    image.apply_orientation(orientation);
    image.into_rgb8()
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

fn format_name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "PNG",
        ImageFormat::WebP => "WebP",
        ImageFormat::Gif => "GIF",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Tiff => "TIFF",
        _ => "picture",
    }
}

/// How the standard library words [`ErrorKind::UnexpectedEof`].
const UNEXPECTED_END: &str = "unexpected end of file";

/// Says "truncated" where the decoder ran out of bytes.
fn fault_of(error: ::image::ImageError, format: &'static str) -> ImageFault {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if inner.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == ErrorKind::UnexpectedEof) {
            return ImageFault::Truncated { format };
        }
        cause = inner.source();
    }
    // The PNG decoder hands its cause over as a text alone.
    if error.to_string().ends_with(UNEXPECTED_END) {
        return ImageFault::Truncated { format };
    }
    ImageFault::Decode(error.into())
}

/// RGB of any decoded picture: alpha dropped, 16 bits to their high byte (as Pillow reads 16-bit RGB), gray repeated.
fn into_rgb(decoded: DynamicImage) -> RgbImage {
    let (width, height) = (decoded.width(), decoded.height());
    let raw = match decoded.color() {
        ColorType::Rgb8 => decoded.into_bytes(),
        ColorType::Rgba8 => drop_alpha(decoded.into_bytes()),
        ColorType::L8 => repeat_gray(decoded.as_bytes().iter().copied()),
        ColorType::La8 => repeat_gray(decoded.as_bytes().iter().step_by(2).copied()),
        _ => match decoded {
            DynamicImage::ImageLuma16(image) => repeat_gray(high_bytes(image.as_raw())),
            DynamicImage::ImageLumaA16(image) => repeat_gray(high_bytes(image.as_raw()).step_by(2)),
            DynamicImage::ImageRgb16(image) => high_bytes(image.as_raw()).collect(),
            DynamicImage::ImageRgba16(image) => drop_alpha(high_bytes(image.as_raw()).collect()),
            other => other.into_rgb8().into_raw(), // floating point TIFF
        },
    };
    // The buffer holds three bytes a pixel in every branch.
    RgbImage::from_raw(width, height, raw).unwrap_or_default()
}

fn high_bytes(values: &[u16]) -> impl Iterator<Item = u8> {
    values.iter().map(|value| (value >> 8) as u8)
}

fn repeat_gray(levels: impl Iterator<Item = u8>) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(levels.size_hint().0 * 3);
    levels.for_each(|level| rgb.extend_from_slice(&[level; 3]));
    rgb
}

/// RGBA to RGB in place: a large picture is not held twice.
fn drop_alpha(mut rgba: Vec<u8>) -> Vec<u8> {
    let pixels = rgba.len() / 4;
    for pixel in 0..pixels {
        rgba.copy_within(pixel * 4..pixel * 4 + 3, pixel * 3);
    }
    rgba.truncate(pixels * 3);
    rgba
}

/// The chunks of a PNG that decide its pixels and its orientation. The others (colour profile, text, animation) are
/// left out before decoding: compressed ones may unpack to hundreds of megabytes, and nothing here reads them.
fn essential_png_chunks(bytes: &[u8]) -> Vec<u8> {
    const ESSENTIAL: [&[u8; 4]; 6] = [b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"eXIf"];
    const SIGNATURE_LEN: usize = 8;
    let (signature, mut rest) = bytes.split_at(bytes.len().min(SIGNATURE_LEN));
    let mut kept = Vec::with_capacity(bytes.len());
    kept.extend_from_slice(signature);
    while let Some((length, body)) = rest.split_first_chunk::<4>() {
        let chunk_len = (u32::from_be_bytes(*length) as usize).saturating_add(12); // length, type, data, checksum
        let (chunk, after) = rest.split_at(chunk_len.min(rest.len()));
        if ESSENTIAL.iter().any(|kind| body.starts_with(*kind)) {
            kept.extend_from_slice(chunk);
        }
        rest = after;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alpha_is_dropped_and_the_hidden_colour_shows() {
        assert_eq!(drop_alpha(vec![1, 2, 3, 0, 4, 5, 6, 255]), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn sixteen_bits_keep_their_high_byte() {
        let gray = ::image::ImageBuffer::from_raw(2, 1, vec![0x12FFu16, 0xFF00]).expect("two pixels");
        assert_eq!(
            into_rgb(DynamicImage::ImageLuma16(gray)).into_raw(),
            [0x12, 0x12, 0x12, 0xFF, 0xFF, 0xFF]
        );
        let rgba =
            ::image::ImageBuffer::from_raw(1, 1, vec![0x0180u16, 0x02FF, 0x0300, 0]).expect("one pixel");
        assert_eq!(into_rgb(DynamicImage::ImageRgba16(rgba)).into_raw(), [1, 2, 3]);
    }

    #[test]
    fn a_panic_is_reported_in_words() {
        assert_eq!(panic_text(&"words"), "words");
        assert_eq!(panic_text(&String::from("more words")), "more words");
        assert_eq!(panic_text(&5), "no message");
    }
}
