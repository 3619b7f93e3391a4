//! TIFF whose strips or tiles are JPEG files: each is decoded as such a file is elsewhere, and put into its place.
//!
//! Source: libtiff as Pillow drives it. The TIFF says whether colours are coded, not the JPEG files in it; tables that they
//! share stand apart from them. The crate `tiff`, which reads all other kinds, has another JPEG decoder inside, which is
//! never called.

use std::io::Cursor;

use ::tiff::decoder::{ChunkType, Decoder};
use ::tiff::tags::Tag;

use super::super::decode::check_size;
use super::super::jpeg::{self, Colours};
use super::super::{ImageFault, ImageLimits, RgbImage};
use super::{damaged, unsupported};

/// Values of the tag of colours.
const BLACK_IS_ZERO: u16 = 1;
const RGB: u16 = 2;
const YCBCR: u16 = 6;

type Tiff<'a> = Decoder<Cursor<&'a [u8]>>;

/// The picture of a file whose parts are JPEG.
pub(super) fn decode(bytes: &[u8], limits: &ImageLimits) -> Result<RgbImage, ImageFault> {
    let mut tiff = Tiff::new(Cursor::new(bytes)).map_err(fault)?;
    assemble(&mut tiff, bytes, limits)
}

fn fault(error: ::tiff::TiffError) -> ImageFault {
    ImageFault::Decode(error.into())
}

fn number(tiff: &mut Tiff<'_>, tag: Tag, default: u16) -> Result<u16, ImageFault> {
    Ok(tiff.find_tag_unsigned(tag).map_err(fault)?.unwrap_or(default))
}

fn assemble(tiff: &mut Tiff<'_>, bytes: &[u8], limits: &ImageLimits) -> Result<RgbImage, ImageFault> {
    let (width, height) = tiff.dimensions().map_err(fault)?;
    check_size(width, height, limits)?;
    let colours = colours(tiff)?;
    let tables = match tiff.find_tag(Tag::JPEGTables).map_err(fault)? {
        Some(_) => tiff.get_tag_u8_vec(Tag::JPEGTables).map_err(fault)?,
        None => Vec::new(),
    };
    let (offsets, lengths) = match tiff.get_chunk_type() {
        ChunkType::Strip => (Tag::StripOffsets, Tag::StripByteCounts),
        ChunkType::Tile => (Tag::TileOffsets, Tag::TileByteCounts),
    };
    let offsets = tiff.get_tag_u64_vec(offsets).map_err(fault)?;
    let lengths = tiff.get_tag_u64_vec(lengths).map_err(fault)?;
    let (across, down) = tiff.chunk_dimensions();
    let columns = width.div_ceil(across.max(1));
    let expected = u64::from(columns) * u64::from(height.div_ceil(down.max(1)));
    if offsets.len() as u64 != expected || lengths.len() as u64 != expected {
        return Err(damaged(format!("it lists {} JPEG parts, expected {expected}", offsets.len())));
    }
    // Parts may be the same bytes of the file, and each is read with all of the tables.
    let coded = lengths
        .iter()
        .fold(expected.saturating_mul(tables.len() as u64), |sum, &len| sum.saturating_add(len));
    if coded > limits.max_file_bytes {
        return Err(ImageFault::TooManyBytes { found: coded, limit: limits.max_file_bytes });
    }
    let mut image = RgbImage::new(width, height);
    for (index, (&offset, &length)) in (0u32..).zip(offsets.iter().zip(&lengths)) {
        let end = offset.saturating_add(length).min(usize::MAX as u64) as usize;
        let coded = bytes.get(offset.min(end as u64) as usize..end);
        let coded = coded.ok_or(ImageFault::Truncated { format: "TIFF" })?;
        let part = jpeg::decode(&with_tables(&tables, coded), colours, limits)?.0;
        let (shown, rows) = tiff.chunk_data_dimensions(index);
        if part.width() != across || (part.height() != down && part.height() != rows) {
            return Err(damaged(format!(
                "a JPEG part is {}x{}, expected {across}x{down}",
                part.width(),
                part.height()
            )));
        }
        copy(&part, &mut image, (index % columns * across, index / columns * down), (shown, rows));
    }
    Ok(image)
}

/// What the samples of the JPEG parts are.
fn colours(tiff: &mut Tiff<'_>) -> Result<Colours, ImageFault> {
    let planes = number(tiff, Tag::PlanarConfiguration, 1)?;
    if planes != 1 {
        return Err(unsupported("its JPEG parts hold one colour each"));
    }
    let samples = number(tiff, Tag::SamplesPerPixel, 1)?;
    match (number(tiff, Tag::PhotometricInterpretation, BLACK_IS_ZERO)?, samples) {
        (BLACK_IS_ZERO, 1) => Ok(Colours::OfFile),
        (RGB, 3) => Ok(Colours::Rgb),
        (YCBCR, 3) => Ok(Colours::YCbCr),
        (kind, samples) => Err(unsupported(format!(
            "its JPEG parts have {samples} samples a pixel of colour kind {kind}, expected gray, RGB or YCbCr"
        ))),
    }
}

/// A whole JPEG file: the shared tables without their end, the part without its start.
fn with_tables(tables: &[u8], part: &[u8]) -> Vec<u8> {
    match (tables.strip_suffix(&[0xFF, 0xD9]), part.strip_prefix(&[0xFF, 0xD8])) {
        (Some(tables), Some(part)) => [tables, part].concat(),
        _ => part.to_vec(),
    }
}

/// Copies the upper left `size` of a part to where it belongs.
fn copy(part: &RgbImage, image: &mut RgbImage, (left, top): (u32, u32), (width, height): (u32, u32)) {
    for y in 0..height {
        for x in 0..width {
            image.put_pixel(left + x, top + y, *part.get_pixel(x, y));
        }
    }
}
