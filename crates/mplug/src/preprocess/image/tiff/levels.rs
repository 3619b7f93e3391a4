//! TIFF: from packed levels to pixels.
//!
//! Source: the rows of Pillow's `TiffImagePlugin.OPEN_INFO`, and its conversions to RGB. The crate `tiff` unpacks: a copy of the file
//! goes to it whose directory calls the levels gray, whatever they mean, because it does not read palettes and would guess at
//! others.

use std::io::Cursor;

use ::tiff::TiffError;
use ::tiff::decoder::{Decoder, DecodingResult, Limits};

use super::super::background::over;
use super::super::decode::is_unexpected_end;
use super::super::ifd::Directory;
use super::super::rgb::{of_cmyk, of_ycbcr, shown_gray, unmultiplied};
use super::super::{ImageFault, ImageLimits, RgbImage};
use super::{
    COLOUR_MAP, Colours, FILL_ORDER, Header, Numbers, PHOTOMETRIC, STRIP_BYTE_COUNTS, STRIP_OFFSETS,
    TILE_BYTE_COUNTS, TILE_OFFSETS, damaged, unsupported,
};

/// What the decoder may take beside the levels.
const SLACK_BYTES: usize = 32 << 20;

/// The levels, a byte each, all of a plane together where planes are apart. Those of 16 and more bits as they are shown.
pub(super) fn unpacked(
    bytes: &[u8],
    directory: &Directory<'_>,
    header: &Header,
    limits: &ImageLimits,
) -> Result<Vec<u8>, ImageFault> {
    check_parts(directory, header)?;
    let file = called_gray(bytes, directory)?;
    let mut decoder = Decoder::new(Cursor::new(file)).map_err(fault)?;
    let mut decoder_limits = Limits::default();
    decoder_limits.decoding_buffer_size =
        usize::try_from(limits.max_pixels.saturating_mul(4)).unwrap_or(usize::MAX);
    decoder_limits.intermediate_buffer_size = decoder_limits.decoding_buffer_size.saturating_add(SLACK_BYTES);
    decoder_limits.ifd_value_size = decoder_limits.intermediate_buffer_size;
    decoder = decoder.with_limits(decoder_limits);
    let mut levels = DecodingResult::U8(Vec::new());
    decoder.read_image_to_buffer(&mut levels).map_err(fault)?;
    Ok(shown(levels, header))
}

/// YCbCr of halved colours takes less than a level for each pixel and colour: only whole ones are read, as Pillow reads them.
fn check_parts(directory: &Directory<'_>, header: &Header) -> Result<(), ImageFault> {
    if header.colours != Colours::YCbCr {
        return Ok(());
    }
    if header.compression != 1 {
        return Err(unsupported("its colours are YCbCr, and compressed"));
    }
    let is_tiled = directory.has(TILE_BYTE_COUNTS);
    let counts = directory.numbers(if is_tiled { TILE_BYTE_COUNTS } else { STRIP_BYTE_COUNTS });
    let found = counts.fold(0u64, u64::saturating_add);
    let whole = header.samples as u64 * u64::from(header.width) * u64::from(header.height);
    if found < whole { Err(unsupported("its colours are YCbCr of less detail")) } else { Ok(()) }
}

/// The file with levels that are called gray, and with bytes whose first bit is the highest.
fn called_gray(bytes: &[u8], directory: &Directory<'_>) -> Result<Vec<u8>, ImageFault> {
    const GRAY: u16 = 1;
    let mut file = bytes.to_vec();
    if directory.number(FILL_ORDER) == Some(2) {
        reverse_bits(&mut file, directory)?;
    }
    if let Some((place, is_little_endian)) = directory.place(PHOTOMETRIC) {
        let value = if is_little_endian { GRAY.to_le_bytes() } else { GRAY.to_be_bytes() };
        let field = file.get_mut(place).filter(|field| field.len() == 2);
        field.ok_or_else(|| damaged("tag 262 is no number of two bytes"))?.copy_from_slice(&value);
    }
    Ok(file)
}

/// Turns the bits round in all bytes of the picture's parts.
fn reverse_bits(file: &mut [u8], directory: &Directory<'_>) -> Result<(), ImageFault> {
    let mut parts: Vec<(u64, u64)> = parts(directory).collect();
    parts.sort_unstable();
    let mut end = 0;
    for (offset, length) in parts {
        if offset < end {
            return Err(damaged("its parts overlap"));
        }
        end = offset.saturating_add(length).min(file.len() as u64);
        for byte in file.get_mut(offset as usize..end as usize).unwrap_or_default() {
            *byte = byte.reverse_bits();
        }
    }
    Ok(())
}

/// Offset and length of every part of the file that holds packed levels.
pub(super) fn parts<'a>(directory: &'a Directory<'_>) -> impl Iterator<Item = (u64, u64)> + 'a {
    let is_tiled = directory.has(TILE_OFFSETS);
    let (offsets, lengths) =
        if is_tiled { (TILE_OFFSETS, TILE_BYTE_COUNTS) } else { (STRIP_OFFSETS, STRIP_BYTE_COUNTS) };
    directory.numbers(offsets).zip(directory.numbers(lengths))
}

fn fault(error: TiffError) -> ImageFault {
    match error {
        TiffError::UnsupportedError(what) => unsupported(what.to_string()),
        error if is_unexpected_end(&error) => ImageFault::Truncated { format: "TIFF" },
        error => ImageFault::Decode(error.into()),
    }
}

/// Levels of 8 bits, as Pillow shows those of more. Float is clipped to 0 to 255 in gray, as signed numbers and those of 32 bits are;
/// float colours reach from 0 to 1.
fn shown(levels: DecodingResult, header: &Header) -> Vec<u8> {
    let is_gray = matches!(header.colours, Colours::WhiteIsZero | Colours::BlackIsZero);
    let clipped = |level: i64| level.clamp(0, 255) as u8;
    match levels {
        DecodingResult::U8(levels) if header.bits < 8 => expanded(&levels, header),
        DecodingResult::U8(levels) => levels,
        DecodingResult::I8(levels) => levels.into_iter().map(|level| level as u8).collect(),
        DecodingResult::U16(mut levels) if is_gray && header.samples == 1 => {
            if header.colours == Colours::WhiteIsZero {
                for level in &mut levels {
                    *level = !*level;
                }
            }
            shown_gray(&levels).collect()
        }
        DecodingResult::U16(levels) => levels.into_iter().map(|level| (level >> 8) as u8).collect(),
        DecodingResult::I16(levels) => levels.into_iter().map(|level| clipped(level.into())).collect(),
        DecodingResult::U32(levels) => {
            levels.into_iter().map(|level| clipped((level as i32).into())).collect()
        }
        DecodingResult::I32(levels) => levels.into_iter().map(|level| clipped(level.into())).collect(),
        DecodingResult::F32(levels) if is_gray => levels.into_iter().map(|level| level as u8).collect(),
        DecodingResult::F32(levels) => {
            levels.into_iter().map(|level| (level.clamp(0.0, 1.0) * 255.0).round() as u8).collect()
        }
        _ => Vec::new(), // no other comes of what the header was checked for
    }
}

/// A byte for each level of 1, 2 or 4 bits; rows begin with a byte of their own.
pub(super) fn expanded(packed: &[u8], header: &Header) -> Vec<u8> {
    let bits = header.bits as usize;
    let (row_levels, mask) = (header.row_levels(), (1u8 << bits) - 1);
    let level = move |row: &[u8], x: usize| row[x * bits / 8] >> (8 - bits - x * bits % 8) & mask;
    let rows = packed.chunks_exact(header.row_bytes());
    rows.flat_map(|row| (0..row_levels).map(move |x| level(row, x))).collect()
}

/// The picture of levels of a byte each.
pub(super) fn picture(
    levels: &[u8],
    directory: &Directory<'_>,
    header: &Header,
    limits: &ImageLimits,
) -> Result<RgbImage, ImageFault> {
    let pixels = header.width as usize * header.height as usize;
    if levels.len() < pixels * header.samples {
        return Err(ImageFault::Truncated { format: "TIFF" });
    }
    let palette = if header.colours == Colours::Palette { palette(directory, header)? } else { Vec::new() };
    // From one pixel to the next, and from one level of a pixel to the next
    let (pixel_step, sample_step) = if header.is_planar { (1, pixels) } else { (header.samples, 1) };
    let inverted = if header.colours == Colours::WhiteIsZero && is_inverted_here(header) { 255 } else { 0 };
    let gray_scale = if header.bits < 8 { 255 / ((1u32 << header.bits) - 1) as u8 } else { 1 };
    let alpha = header.alpha();
    let mut rgb = Vec::with_capacity(pixels * 3);
    for pixel in 0..pixels {
        let level = |sample: usize| levels[pixel * pixel_step + sample * sample_step];
        let mut colour = match header.colours {
            Colours::WhiteIsZero | Colours::BlackIsZero => [(level(0) * gray_scale) ^ inverted; 3],
            Colours::Rgb => [0, 1, 2].map(level),
            Colours::Palette => palette[usize::from(level(0))],
            Colours::Cmyk => of_cmyk([0, 1, 2, 3].map(level)),
            Colours::YCbCr => of_ycbcr([0, 1, 2].map(level)),
        };
        if let Some(alpha) = alpha.map(level) {
            // Pillow keeps the gray of a transparent pixel, and no colour.
            if header.extra == Some(1) && (alpha > 0 || header.colours == Colours::Rgb) {
                colour = colour.map(|level| unmultiplied(level, alpha));
            }
            colour = over(limits.background, colour, alpha);
        }
        rgb.extend_from_slice(&colour);
    }
    RgbImage::from_raw(header.width, header.height, rgb).ok_or(ImageFault::Truncated { format: "TIFF" })
}

/// Unsigned levels of up to 8 bits, and pairs of more. (Gray of 16 bits was inverted before it was shown, signed and float never are,
/// as in Pillow.)
fn is_inverted_here(header: &Header) -> bool {
    header.numbers == Numbers::Unsigned && (header.bits <= 8 || (header.bits == 16 && header.samples > 1))
}

/// The colours of a palette: all reds, all greens, all blues, of 16 bits each.
fn palette(directory: &Directory<'_>, header: &Header) -> Result<Vec<[u8; 3]>, ImageFault> {
    let count = 1usize << header.bits;
    let levels: Vec<u8> =
        directory.numbers(COLOUR_MAP).take(count * 3).map(|level| (level >> 8) as u8).collect();
    if levels.len() < count * 3 {
        return Err(damaged(format!("its palette has {} levels, expected {}", levels.len(), count * 3)));
    }
    Ok((0..count).map(|index| [0, 1, 2].map(|i| levels[i * count + index])).collect())
}
