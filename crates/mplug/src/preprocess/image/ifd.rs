//! The directory of a TIFF file, which EXIF blocks are too: its entries, and the numbers in them.
//!
//! Source: TIFF 6.0, section 2, and BigTIFF, read as Pillow reads them: of two entries of a tag the first counts, an entry of an
//! unknown type or of more bytes than the file is passed over, and one that lies beyond the end of the file ends the directory.
//!
//! Refuses to know what the tags mean.

use std::collections::BTreeMap;
use std::ops::Range;

/// Types of entries.
pub(super) const BYTE: u16 = 1;
const SHORT: u16 = 3;
const LONG: u16 = 4;
const RATIONAL: u16 = 5;
const SIGNED_BYTE: u16 = 6;
pub(super) const UNDEFINED: u16 = 7;
const SIGNED_SHORT: u16 = 8;
const SIGNED_LONG: u16 = 9;
const SIGNED_RATIONAL: u16 = 10;
const FLOAT: u16 = 11;
const DOUBLE: u16 = 12;
const IFD: u16 = 13;
const LONG8: u16 = 16;

/// The first directory of a file, which is borrowed: nothing of it is copied.
pub(super) struct Directory<'a> {
    bytes: &'a [u8],
    is_little_endian: bool,
    entries: BTreeMap<u16, Entry>,
}

/// One entry: the type of its numbers, and where their bytes are.
struct Entry {
    kind: u16,
    values: Range<usize>,
}

/// Bytes of a number of that type, if it is known.
fn size_of_kind(kind: u16) -> Option<u64> {
    match kind {
        BYTE | 2 | SIGNED_BYTE | UNDEFINED => Some(1),
        SHORT | SIGNED_SHORT => Some(2),
        LONG | SIGNED_LONG | FLOAT | IFD => Some(4),
        RATIONAL | SIGNED_RATIONAL | DOUBLE | LONG8 => Some(8),
        _ => None,
    }
}

impl<'a> Directory<'a> {
    /// Reads the directory that the header points to; `None` without such a header.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (is_little_endian, is_big_tiff) = match bytes.get(..4)? {
            [b'I', b'I', 42, 0] | [b'I', b'I', 0, 42] => (true, false),
            [b'M', b'M', 0, 42] | [b'M', b'M', 42, 0] => (false, false),
            [b'I', b'I', 43, 0] => (true, true),
            [b'M', b'M', 0, 43] => (false, true),
            _ => return None,
        };
        let mut directory = Self { bytes, is_little_endian, entries: BTreeMap::new() };
        let first = if is_big_tiff { directory.unsigned(8..16)? } else { directory.unsigned(4..8)? };
        directory.read_entries(usize::try_from(first).ok()?, is_big_tiff);
        Some(directory)
    }

    /// What can be read of the entries from `at` on.
    fn read_entries(&mut self, at: usize, is_big_tiff: bool) {
        // Bytes of the number of entries, of an entry, and of the number of values and the values in it
        let (count_len, entry_len, field_len) = if is_big_tiff { (8, 20, 8) } else { (2, 12, 4) };
        let Some(start) = at.checked_add(count_len) else { return };
        let Some(count) = self.unsigned(at..start) else { return };
        let entries = self.bytes.get(start..).unwrap_or_default().len() / entry_len;
        let mut total = 0u64;
        for index in 0..entries.min(usize::try_from(count).unwrap_or(usize::MAX)) {
            let entry = start + index * entry_len;
            let field = entry + 4 + field_len;
            let Some(tag) = self.unsigned(entry..entry + 2) else { return };
            let Some(kind) = self.unsigned(entry + 2..entry + 4) else { return };
            let Some(values) = self.unsigned(entry + 4..field) else { return };
            let (tag, kind) = (tag as u16, kind as u16);
            let Some(unit) = size_of_kind(kind) else { continue };
            if self.entries.contains_key(&tag) {
                continue;
            }
            let size = values.saturating_mul(unit);
            let mut place = field;
            if size > field_len as u64 {
                total = total.saturating_add(size);
                if total > self.bytes.len() as u64 {
                    continue;
                }
                let offset = self.unsigned(field..field + field_len).unwrap_or(u64::MAX);
                if offset.saturating_add(size) > self.bytes.len() as u64 {
                    return;
                }
                place = offset as usize; // within the file
            }
            if size > 0 {
                self.entries.insert(tag, Entry { kind, values: place..place + size as usize });
            }
        }
    }

    /// The unsigned number of those 1 to 8 bytes of the file.
    fn unsigned(&self, range: Range<usize>) -> Option<u64> {
        Some(number(self.bytes.get(range)?, self.is_little_endian))
    }

    pub(super) fn has(&self, tag: u16) -> bool {
        self.entries.contains_key(&tag)
    }

    /// The bytes of an entry, and its type.
    pub(super) fn raw(&self, tag: u16) -> Option<(u16, &'a [u8])> {
        let entry = self.entries.get(&tag)?;
        Some((entry.kind, self.bytes.get(entry.values.clone())?))
    }

    /// The numbers of an entry of whole numbers without a sign; none of another.
    pub(super) fn numbers(&self, tag: u16) -> impl Iterator<Item = u64> + '_ {
        let (kind, bytes) = self.raw(tag).unwrap_or((BYTE, &[]));
        let is_unsigned = matches!(kind, BYTE | SHORT | LONG | IFD | LONG8);
        let unit = size_of_kind(kind).unwrap_or(1) as usize;
        let bytes = if is_unsigned { bytes } else { &[] };
        bytes.chunks_exact(unit).map(|value| number(value, self.is_little_endian))
    }

    /// The first number of an entry of whole numbers without a sign.
    pub(super) fn number(&self, tag: u16) -> Option<u64> {
        self.numbers(tag).next()
    }

    /// The first number of an entry, of whatever type of numbers. Bytes are none, nor is a fraction without a denominator.
    pub(super) fn real(&self, tag: u16) -> Option<f64> {
        let (kind, bytes) = self.raw(tag)?;
        let bytes = &bytes[..size_of_kind(kind)? as usize];
        let whole = |bytes: &[u8]| number(bytes, self.is_little_endian);
        let signed = |bytes: &[u8]| whole(bytes) as u32 as i32 as f64;
        match kind {
            SHORT | LONG | IFD | LONG8 => Some(whole(bytes) as f64),
            SIGNED_BYTE => Some(whole(bytes) as u8 as i8 as f64),
            SIGNED_SHORT => Some(whole(bytes) as u16 as i16 as f64),
            SIGNED_LONG => Some(signed(bytes)),
            FLOAT => Some(f32::from_bits(whole(bytes) as u32) as f64),
            DOUBLE => Some(f64::from_bits(whole(bytes))),
            RATIONAL => Some(whole(&bytes[..4]) as f64 / whole(&bytes[4..]) as f64),
            SIGNED_RATIONAL => Some(signed(&bytes[..4]) / signed(&bytes[4..])),
            _ => None,
        }
    }

    /// Where the bytes of an entry are in the file, and whether its numbers begin with their lowest byte.
    pub(super) fn place(&self, tag: u16) -> Option<(Range<usize>, bool)> {
        Some((self.entries.get(&tag)?.values.clone(), self.is_little_endian))
    }
}

fn number(bytes: &[u8], is_little_endian: bool) -> u64 {
    let join = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
    if is_little_endian { bytes.iter().rev().fold(0, join) } else { bytes.iter().fold(0, join) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of entries of at most four bytes: tag, type, number of values, and the field as it lies in the file.
    fn file(entries: &[(u16, u16, u32, [u8; 4])]) -> Vec<u8> {
        let mut bytes = b"II*\0\x08\0\0\0".to_vec();
        bytes.extend((entries.len() as u16).to_le_bytes());
        for (tag, kind, count, field) in entries {
            bytes.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
            bytes.extend([count.to_le_bytes(), *field].concat());
        }
        bytes
    }

    #[test]
    fn an_entry_beyond_the_end_of_the_file_ends_the_directory() {
        let lost = file(&[(271, 2, 20, [30, 0, 0, 0]), (274, SHORT, 1, [6, 0, 0, 0])]);
        assert!(!Directory::read(&lost).unwrap().has(274));
        // One of more bytes than the file is passed over, and so is one of an unknown type.
        for entry in [(271, 2, 200, [30, 0, 0, 0]), (271, 99, 20, [30, 0, 0, 0])] {
            let kept = file(&[entry, (274, SHORT, 1, [6, 0, 0, 0])]);
            assert_eq!(Directory::read(&kept).unwrap().number(274), Some(6));
        }
    }

    #[test]
    fn of_two_entries_the_first_counts_and_a_lying_count_is_harmless() {
        let mut twice = file(&[(274, SHORT, 1, [6, 0, 0, 0]), (274, SHORT, 1, [1, 0, 0, 0])]);
        assert_eq!(Directory::read(&twice).unwrap().number(274), Some(6));
        twice[8] = 0xFF;
        assert_eq!(Directory::read(&twice).unwrap().entries.len(), 1);
        let big = [b"II\x2b\0\x08\0\0\0\x10\0\0\0\0\0\0\0".as_slice(), &[0xFF; 30]].concat();
        assert!(Directory::read(&big).unwrap().entries.is_empty());
    }
}
