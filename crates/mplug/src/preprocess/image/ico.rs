//! ICO: the largest picture of an icon file.
//!
//! Source: Pillow's `IcoImagePlugin`: the most pixels count, then the fewest bits. A picture is a PNG, or a BMP without its file
//! header and with a mask behind it.

use super::decode::{decode_by_crate, decode_png};
use super::format::Format;
use super::{ImageFault, ImageLimits, RgbImage};

const HEADER_LEN: usize = 6;
const ENTRY_LEN: usize = 16;

/// Decodes a file that begins as icon files do. Icons are never turned.
pub(super) fn decode(bytes: &[u8], limits: &ImageLimits) -> Result<RgbImage, ImageFault> {
    let count =
        bytes.get(4..HEADER_LEN).map_or(0, |count| usize::from(count[0]) | usize::from(count[1]) << 8);
    let entries = bytes.get(HEADER_LEN..).unwrap_or_default().chunks_exact(ENTRY_LEN).take(count);
    let best = entries.min_by_key(|entry| (std::cmp::Reverse(pixels(entry)), depth(entry)));
    let best = best.ok_or_else(|| damaged("it lists no picture"))?;
    let [length, offset] = [8, 12].map(|at| best[at..].first_chunk().map_or(0, |n| u32::from_le_bytes(*n)));
    let coded = bytes.get(offset as usize..).ok_or(ImageFault::Truncated { format: "ICO" })?;
    if coded.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Ok(decode_png(coded, limits)?.0);
    }
    let coded = without_odd_mask(&coded[..coded.len().min(length as usize)]);
    decode_by_crate(&alone(best, coded), Format::Ico, limits)
}

/// A file of that picture alone, whose entry says the size that the picture itself says.
fn alone(entry: &[u8], coded: &[u8]) -> Vec<u8> {
    let size = |at: usize, share: u32| {
        let whole = coded.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |n| u32::from_le_bytes(*n));
        (whole / share).min(256) as u8 // 256 is 0
    };
    let file_header = [0, 0, 1, 0, 1, 0];
    let [length, offset] = [coded.len() as u32, (HEADER_LEN + ENTRY_LEN) as u32].map(u32::to_le_bytes);
    // The BMP counts the rows of its mask too. Planes and bits are the BMP's matter: 0 leaves them to it.
    let head = [size(4, 1), size(8, 2), entry[2], 0, 0, 0, 0, 0];
    [&file_header[..], &head, &length, &offset, coded].concat()
}

/// The picture without what stands in its mask's place, where that is too short for one: Pillow writes rows of masks that are not
/// filled up to four bytes.
fn without_odd_mask(coded: &[u8]) -> &[u8] {
    let number = |at: usize, len: usize| {
        let bytes = coded.get(at..at + len).unwrap_or_default();
        bytes.iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte))
    };
    let (header, width, height) = (number(0, 4), number(4, 4), number(8, 4) / 2);
    let (bits, compression, used) = (number(14, 2), number(16, 4), number(32, 4));
    let colours = if bits > 8 || used > 0 { used } else { 1 << bits };
    let row = |bits: u64| (width * bits).div_ceil(32) * 4;
    let end =
        row(bits).checked_mul(height).map_or(u64::MAX, |rows| rows.saturating_add(header + colours * 4));
    let with_mask = row(1).saturating_mul(height).saturating_add(end);
    let len = coded.len() as u64;
    if compression == 0 && (end..with_mask).contains(&len) { &coded[..end as usize] } else { coded }
}

fn pixels(entry: &[u8]) -> u32 {
    let side = |byte: u8| if byte == 0 { 256 } else { u32::from(byte) };
    side(entry[0]) * side(entry[1])
}

/// Bits a pixel, or what the number of colours takes, or 256.
fn depth(entry: &[u8]) -> u32 {
    let (bits, colours) = (u32::from(entry[6]) | u32::from(entry[7]) << 8, u32::from(entry[2]));
    match (bits, colours) {
        (0, 0 | 1) => 256,
        (0, _) => u32::BITS - (colours - 1).leading_zeros(),
        _ => bits,
    }
}

fn damaged(what: &str) -> ImageFault {
    ImageFault::Damaged { format: "ICO", what: what.to_owned() }
}
