//! TIFF: lines as facsimile machines send them: runs of white and black by the codes of ITU-T T.4, one line at a time (compressions
//! 2 and 3). Group 4 is the crate `tiff`'s.
//!
//! Source: TIFF 6.0, section 11. The tables of codes are those of the crate `fax`.

use std::convert::Infallible;

use ::fax::maps::{black, white};
use ::fax::{BitReader, ByteReader};

use super::super::ImageFault;
use super::super::ifd::Directory;
use super::levels::{expanded, parts};
use super::{FILL_ORDER, Header, damaged, unsupported};

const T4_OPTIONS: u16 = 292;
const ROWS_PER_STRIP: u16 = 278;
/// Compression whose lines begin with a byte of their own, without a mark between them.
const WITHOUT_MARKS: u64 = 2;

/// The levels, a byte each: 1 is black ink.
pub(super) fn decode(
    bytes: &[u8],
    directory: &Directory<'_>,
    header: &Header,
) -> Result<Vec<u8>, ImageFault> {
    if header.compression != WITHOUT_MARKS && directory.number(T4_OPTIONS).unwrap_or(0) & 1 == 1 {
        return Err(unsupported("it is Group 3 facsimile in two dimensions"));
    }
    if header.bits != 1 || header.samples != 1 || directory.has(super::TILE_OFFSETS) {
        return Err(unsupported("it is facsimile of more than one bit a pixel, or in tiles"));
    }
    let is_reversed = directory.number(FILL_ORDER) == Some(2);
    let height = header.height as usize;
    let rows = directory.number(ROWS_PER_STRIP).map_or(height, |rows| rows.clamp(1, height as u64) as usize);
    let mut packed = vec![0; header.row_bytes() * height];
    let mut strips = parts(directory);
    for strip in packed.chunks_mut(rows * header.row_bytes()) {
        let (offset, length) = strips.next().ok_or_else(|| damaged("it lists fewer strips than it has"))?;
        let end = offset.saturating_add(length).min(bytes.len() as u64);
        let coded = bytes.get(offset as usize..end as usize).ok_or(TRUNCATED)?;
        decode_strip(coded, is_reversed, header, strip)?;
    }
    Ok(expanded(&packed, header))
}

const TRUNCATED: ImageFault = ImageFault::Truncated { format: "TIFF" };

fn decode_strip(
    coded: &[u8],
    is_reversed: bool,
    header: &Header,
    strip: &mut [u8],
) -> Result<(), ImageFault> {
    // The zeros behind the end make no code, and let the last code be looked up.
    let bytes = coded.iter().map(|byte| if is_reversed { byte.reverse_bits() } else { *byte }).chain([0; 4]);
    let Ok(mut reader) = ByteReader::new(bytes.map(Ok::<u8, Infallible>));
    for row in strip.chunks_exact_mut(header.row_bytes()) {
        if header.compression != WITHOUT_MARKS {
            skip_marks(&mut reader);
        }
        decode_row(&mut reader, header.width as usize, row)?;
        if header.compression == WITHOUT_MARKS {
            let Ok(()) = reader.consume(reader.bits_to_byte_boundary());
        }
    }
    Ok(())
}

/// Skips zeros and the 1 that ends them: no run's code begins with nine zeros.
fn skip_marks(reader: &mut impl BitReader<Error = Infallible>) {
    while reader.peek(9) == Some(0) {
        while reader.peek(1) == Some(0) {
            let Ok(()) = reader.consume(1);
        }
        let Ok(()) = reader.consume(u8::from(reader.peek(1).is_some()));
    }
}

/// Sets the bits of black runs; runs of both colours take turns, white first, until they fill the row.
fn decode_row(
    reader: &mut impl BitReader<Error = Infallible>,
    width: usize,
    row: &mut [u8],
) -> Result<(), ImageFault> {
    let (mut at, mut is_black) = (0, false);
    while at < width {
        let length = run(reader, is_black, width)?;
        if length > width - at {
            return Err(damaged("a line of it is longer than its width"));
        }
        if is_black {
            (at..at + length).for_each(|x| row[x / 8] |= 0x80 >> (x % 8));
        }
        at += length;
        is_black = !is_black;
    }
    Ok(())
}

/// The length of a run: codes of multiples of 64, and one below.
fn run(
    reader: &mut impl BitReader<Error = Infallible>,
    is_black: bool,
    width: usize,
) -> Result<usize, ImageFault> {
    let mut length = 0;
    loop {
        let code = if is_black { black::decode(reader) } else { white::decode(reader) };
        let code =
            usize::from(code.ok_or_else(|| damaged("it has a code that does not exist, or ends early"))?);
        length += code;
        if code < 64 || length > width {
            return Ok(length);
        }
    }
}
