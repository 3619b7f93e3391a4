//! PNM: the pictures of Netpbm: bits (P1, P4), gray (P2, P5) and colour (P3, P6), in digits or in bytes.
//!
//! Source: the Netpbm formats, read as Pillow's `PpmImagePlugin` reads them, with its rounding to 8 bits. One documented difference:
//! gray of more than 8 bits is shown by its upper bits, where Pillow clips it to white.

use super::decode::check_size;
use super::rgb::{repeat_gray, shown_gray};
use super::{ImageFault, ImageLimits, RgbImage};

/// Longest number, as in Pillow.
const MAX_DIGITS: usize = 10;

/// Decodes a file that begins with `P` and its kind.
pub(super) fn decode(bytes: &[u8], limits: &ImageLimits) -> Result<RgbImage, ImageFault> {
    let kind = bytes.get(1).copied().unwrap_or_default();
    let mut reader = Reader { bytes, at: 2 };
    let (width, height) = (reader.number("width")?, reader.number("height")?);
    check_size(width, height, limits)?;
    let is_bits = matches!(kind, b'1' | b'4');
    let largest = if is_bits { 1 } else { reader.number("largest level")? };
    if !(1..=65535).contains(&largest) {
        return Err(damaged(format!("its largest level is {largest}, expected 1 to 65535")));
    }
    let samples = width as usize * height as usize * if matches!(kind, b'3' | b'6') { 3 } else { 1 };
    let is_colour = matches!(kind, b'3' | b'6');
    let raw = match kind {
        b'1' => repeat_gray(reader.digits(samples)?.into_iter().map(|bit| if bit == 0 { 255 } else { 0 })),
        b'4' => repeat_gray(reader.bits(width as usize, height as usize)?.into_iter()),
        _ => {
            let levels = if kind < b'4' {
                reader.numbers(samples, largest)?
            } else {
                reader.bytes_of(samples, largest)?
            };
            if is_colour || largest < 256 {
                let levels = levels.into_iter().map(|level| rescaled(level, largest, 255) as u8);
                if is_colour { levels.collect() } else { repeat_gray(levels) }
            } else {
                let levels: Vec<u16> =
                    levels.into_iter().map(|level| rescaled(level, largest, 65535)).collect();
                repeat_gray(shown_gray(&levels))
            }
        }
    };
    RgbImage::from_raw(width, height, raw).ok_or(TRUNCATED)
}

const TRUNCATED: ImageFault = ImageFault::Truncated { format: "PNM" };

fn damaged(what: String) -> ImageFault {
    ImageFault::Damaged { format: "PNM", what }
}

/// A level of `largest` as one of `new`, halves to even.
fn rescaled(level: u16, largest: u32, new: u16) -> u16 {
    if largest == u32::from(new) {
        return level.min(new);
    }
    let scaled = (f64::from(level) / f64::from(largest) * f64::from(new)).round_ties_even();
    scaled.min(f64::from(new)) as u16
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied();
        self.at += usize::from(byte.is_some());
        byte
    }

    /// The next byte that is in no comment: a comment is a line's rest from `#` on, and its end counts as white space.
    fn next_outside_comments(&mut self) -> Option<u8> {
        let byte = self.next()?;
        if byte != b'#' {
            return Some(byte);
        }
        while !matches!(self.next(), Some(b'\n' | b'\r') | None) {}
        Some(b'\n')
    }

    /// The next word; the one white space behind it is read too.
    fn word(&mut self) -> Result<Vec<u8>, ImageFault> {
        let mut word = Vec::new();
        while let Some(byte) = self.next_outside_comments() {
            match byte {
                b' ' | b'\t'..=b'\r' if word.is_empty() => {}
                b' ' | b'\t'..=b'\r' => break,
                _ if word.len() == MAX_DIGITS => {
                    return Err(damaged("it has a number of too many digits".into()));
                }
                _ => word.push(byte),
            }
        }
        if word.is_empty() { Err(TRUNCATED) } else { Ok(word) }
    }

    fn number(&mut self, name: &str) -> Result<u32, ImageFault> {
        let word = self.word()?;
        let number = std::str::from_utf8(&word).ok().and_then(|word| word.parse().ok());
        number.ok_or_else(|| damaged(format!("its {name} is \"{}\", expected a number", word.escape_ascii())))
    }

    /// Levels in digits. Each takes two bytes of the file at least: a header cannot claim more than there is.
    fn numbers(&mut self, count: usize, largest: u32) -> Result<Vec<u16>, ImageFault> {
        if count > self.rest().len().div_ceil(2) {
            return Err(TRUNCATED);
        }
        let level = |_| match self.number("level")? {
            level if level <= largest => Ok(level as u16),
            level => Err(damaged(format!("it has a level of {level}, more than its largest of {largest}"))),
        };
        (0..count).map(level).collect()
    }

    /// Bits in digits, with or without white space.
    fn digits(&mut self, count: usize) -> Result<Vec<u8>, ImageFault> {
        if count > self.rest().len() {
            return Err(TRUNCATED);
        }
        let mut bits = Vec::with_capacity(count);
        while bits.len() < count {
            match self.next_outside_comments().ok_or(TRUNCATED)? {
                bit @ (b'0' | b'1') => bits.push(bit - b'0'),
                b' ' | b'\t'..=b'\r' => {}
                other => return Err(damaged(format!("it has a bit of \"{}\"", [other].escape_ascii()))),
            }
        }
        Ok(bits)
    }

    /// Rows of bits, each of whole bytes: black is 1.
    fn bits(&mut self, width: usize, height: usize) -> Result<Vec<u8>, ImageFault> {
        let rows = self.taken(width.div_ceil(8).saturating_mul(height))?;
        let level = |row: &[u8], x: usize| if row[x / 8] >> (7 - x % 8) & 1 == 1 { 0 } else { 255 };
        Ok(rows
            .chunks_exact(width.div_ceil(8))
            .flat_map(|row| (0..width).map(move |x| level(row, x)))
            .collect())
    }

    /// Levels in bytes, or in pairs of bytes where one does not hold the largest.
    fn bytes_of(&mut self, count: usize, largest: u32) -> Result<Vec<u16>, ImageFault> {
        if largest < 256 {
            return Ok(self.taken(count)?.iter().map(|&level| u16::from(level)).collect());
        }
        let pairs = self.taken(count.saturating_mul(2))?.chunks_exact(2);
        Ok(pairs.map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect())
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn taken(&mut self, count: usize) -> Result<&[u8], ImageFault> {
        let taken = self.bytes.get(self.at..).and_then(|rest| rest.get(..count)).ok_or(TRUNCATED)?;
        self.at += count;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(file: &[u8]) -> Result<Vec<u8>, String> {
        let image = decode(file, &ImageLimits::default()).map_err(|error| error.to_string())?;
        Ok(image.into_raw())
    }

    /// Gray levels of a picture that is gray.
    fn gray(file: &[u8]) -> Vec<u8> {
        let rgb = pixels(file).unwrap();
        assert!(rgb.chunks_exact(3).all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2]));
        rgb.into_iter().step_by(3).collect()
    }

    #[test]
    fn every_kind_has_pillows_pixels() {
        assert_eq!(gray(b"P1 # a comment\n3 2\n101 0#x\n11"), [0, 255, 0, 255, 0, 0]);
        assert_eq!(gray(b"P4 3 2\n\xA0\x60"), [0, 255, 0, 255, 0, 0]);
        assert_eq!(gray(b"P2\n#c\n3 1 15\n0 7 15\n"), [0, 119, 255]);
        assert_eq!(gray(b"P5\n3 1\n15\n\0\x07\x0F"), [0, 119, 255]);
        assert_eq!(gray(b"P5 2 1 255\n\x05\xFF"), [5, 255]);
        assert_eq!(gray(b"P5 2 1 65535\n\x80\0\xFF\xFF"), [128, 255]);
        assert_eq!(gray(b"P5 2 1 4095\n\x08\0\x0F\xFF"), [128, 255]);
        assert_eq!(pixels(b"P3 1 1 255 1 2 3").unwrap(), [1, 2, 3]);
        assert_eq!(pixels(b"P6 1 1 255\n\x01\x02\x03").unwrap(), [1, 2, 3]);
        assert_eq!(pixels(b"P6 1 1 1023\n\x01\xFF\0\x01\x03\xFF").unwrap(), [127, 0, 255]);
    }

    #[test]
    fn bad_files_are_errors_and_take_no_memory() {
        let huge = pixels(b"P2 9000 9000 255 1 2").unwrap_err();
        assert!(huge.contains("truncated PNM"), "{huge}");
        assert!(pixels(b"P6 2 1 255\n\x01\x02\x03").unwrap_err().contains("truncated"));
        assert!(pixels(b"P2 1 1 9 10").unwrap_err().contains("level of 10"));
        assert!(pixels(b"P5 1 1 70000 10").unwrap_err().contains("70000"));
        assert!(pixels(b"P5 one 1 255 1").unwrap_err().contains("its width is \"one\""));
        assert!(pixels(b"P5 90000 90000 255 1").unwrap_err().contains("8100000000 pixels"));
    }
}
