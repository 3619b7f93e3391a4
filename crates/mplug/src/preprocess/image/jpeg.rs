//! JPEG: the pixels that Pillow gives, or an error that says why not.
//!
//! Source: libjpeg-turbo as Pillow 13 drives it (exact integer transform, smooth upsampling of colour, smoothing of blocks
//! that a progressive file leaves coarse), through the crate `libjpeg-turbo-rs`, which computes the same in Rust. What that
//! crate reads differently is refused here, before it is called: see [`markers`].
//!
//! Pillow refuses a file that ends early, and decodes damaged data into whatever comes out. Here damaged data is an error.

mod levels;
mod markers;

use ::image::metadata::Orientation;
use libjpeg_turbo_rs::{DecodeLimits, Decoder, JpegError, PixelFormat, read_coefficients};

use self::markers::{Component, Frame, MAX_SCANS, Markers, damaged, unsupported};
use super::decode::check_size;
use super::rgb::of_cmyk;
use super::{ImageFault, ImageLimits, RgbImage, orientation};

/// Bytes that decoding may take for each of [`ImageLimits::max_pixels`]: enough for all baseline files. Only a progressive one
/// of the largest size that does not halve its colours takes more.
const BYTES_A_PIXEL: u64 = 8;
/// Samples that the scans of a file may pass over for each of [`ImageLimits::max_pixels`]. Usual progressive files of three
/// components need about ten.
const PASSES: u64 = 20;

/// Whether the samples of three components are RGB or YCbCr.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    /// As the file's own markers and component names say.
    OfFile,
    /// As they are, whatever the file says.
    Rgb,
    /// To be turned into RGB, whatever the file says.
    YCbCr,
}

impl Colours {
    /// What an Adobe marker says for it.
    fn adobe_transform(self) -> Option<u8> {
        match self {
            Self::OfFile => None,
            Self::Rgb => Some(0),
            Self::YCbCr => Some(1),
        }
    }
}

/// Decodes a file that begins as JPEG files do: its pixels as they lie in it, and how that is.
pub(super) fn decode(
    bytes: &[u8],
    colours: Colours,
    limits: &ImageLimits,
) -> Result<(RgbImage, Orientation), ImageFault> {
    let markers = markers::read(bytes, colours)?;
    let frame = &markers.frame;
    let (width, height) = (u32::from(frame.width), u32::from(frame.height));
    check_size(width, height, limits)?;
    let (found, limit) = (memory(frame), limits.max_pixels.saturating_mul(BYTES_A_PIXEL));
    if found > limit {
        return Err(ImageFault::TooMuchMemory { found, limit });
    }
    let (found, limit) = (markers.scanned_samples, limits.max_pixels.saturating_mul(PASSES));
    if found > limit {
        return Err(ImageFault::TooLongScans { found, limit });
    }
    check_levels(&markers)?;
    let rgb = pixels(&markers.essential, frame, limits)?;
    let image = RgbImage::from_raw(width, height, rgb)
        .ok_or_else(|| damaged("its decoder found another size than its header claims"))?;
    Ok((image, orientation::of_metadata(markers.exif.as_deref(), markers.xmp)))
}

/// The most that the decoder holds at once: coefficients of two bytes, with the planes that a progressive file's become, or
/// planes of the components in whole units, the pixels, and planes of those that must be made finer.
fn memory(frame: &Frame) -> u64 {
    let (across, down) = frame.units();
    let blocks = across * down * frame.components.iter().map(Component::blocks).sum::<u64>();
    let planes = blocks * 64;
    let coefficients = planes * 2 + blocks + if frame.is_progressive { planes } else { 0 };
    let finest = frame.components[0].sampling();
    let coarse = frame.components.iter().filter(|component| component.sampling() != finest).count();
    let bytes_a_pixel = coarse + if frame.components.len() == 4 { 4 } else { 3 };
    let pixels = u64::from(frame.width) * u64::from(frame.height);
    coefficients.max(planes + pixels * bytes_a_pixel as u64)
}

/// Refuses a file whose coefficients no encoder writes. A second pass over the coded data, a quarter of the decoder's time.
fn check_levels(markers: &Markers<'_>) -> Result<(), ImageFault> {
    let files: Vec<&[u8]> = if markers.separate.is_empty() {
        vec![&markers.essential]
    } else {
        markers.separate.iter().map(Vec::as_slice).collect()
    };
    for file in files {
        let read = read_coefficients(file).map_err(fault_of)?;
        for component in &read.components {
            let table = read.quant_tables.get(usize::from(component.quant_table_index));
            if !table.is_some_and(|table| levels::are_plausible(component, table)) {
                return Err(damaged("its coded data gives levels that no picture has"));
            }
        }
    }
    Ok(())
}

fn pixels(bytes: &[u8], frame: &Frame, limits: &ImageLimits) -> Result<Vec<u8>, ImageFault> {
    let is_cmyk = frame.components.len() == 4;
    let decoder_limits = DecodeLimits {
        max_pixels: limits.max_pixels,
        max_scans: MAX_SCANS,
        // Its own estimate is coarser than ours, and never twice as high.
        max_memory: Some(limits.max_pixels.saturating_mul(2 * BYTES_A_PIXEL)),
        ..DecodeLimits::default()
    };
    let mut decoder = Decoder::new_with_limits(bytes, decoder_limits).map_err(fault_of)?;
    decoder.set_block_smoothing(true); // libjpeg's default
    decoder.set_output_format(if is_cmyk { PixelFormat::Cmyk } else { PixelFormat::Rgb });
    let data = decoder.decode_image().map_err(fault_of)?.data;
    Ok(if is_cmyk { rgb_of_inverted_cmyk(data) } else { data })
}

fn fault_of(error: JpegError) -> ImageFault {
    match error {
        JpegError::UnexpectedEof => ImageFault::Truncated { format: "JPEG" },
        JpegError::Unsupported(what) => unsupported(what),
        JpegError::CorruptData(what) => damaged(what),
        other => ImageFault::Decode(other.into()),
    }
}

/// Pillow's `convert("RGB")` of what it takes every JPEG of four components for: CMYK with 255 for no ink, as Adobe
/// writes it. In place: a large picture is not held twice.
fn rgb_of_inverted_cmyk(mut data: Vec<u8>) -> Vec<u8> {
    let pixels = data.len() / 4;
    for pixel in 0..pixels {
        let inks = [0, 1, 2, 3].map(|i| 255 - data[pixel * 4 + i]);
        data[pixel * 3..pixel * 3 + 3].copy_from_slice(&of_cmyk(inks));
    }
    data.truncate(pixels * 3);
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cmyk_is_adobes_with_255_for_no_ink() {
        let cmyk = vec![255, 255, 255, 255, 0, 255, 128, 255, 10, 20, 30, 0, 200, 100, 50, 128];
        // Pillow 13: Image.frombytes("CMYK", (4, 1), inverted).convert("RGB")
        assert_eq!(rgb_of_inverted_cmyk(cmyk), [255, 255, 255, 0, 255, 128, 0, 0, 0, 100, 50, 25]);
    }
}
