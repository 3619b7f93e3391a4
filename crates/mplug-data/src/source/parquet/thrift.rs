//! Thrift's compact protocol, as far as a file's own claims must be looked at before memory is taken for them.
//!
//! Source: <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>. Every length is held to the bytes that are
//! there, every nesting to a depth.
//!
//! Refuses to know Parquet.

use std::io;

use super::super::invalid;

/// How deep structs, lists and maps may lie in each other.
const MAX_DEPTH: usize = 64;

/// What stands at a position, as the protocol numbers it.
pub(super) mod kind {
    pub(in super::super) const I32: u8 = 5;
    pub(in super::super) const BINARY: u8 = 8;
    pub(in super::super) const LIST: u8 = 9;
    pub(in super::super) const STRUCT: u8 = 12;
}

/// A reader of what is left of some bytes.
pub(super) struct Compact<'a> {
    left: &'a [u8],
}

impl<'a> Compact<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    fn byte(&mut self) -> io::Result<u8> {
        self.bytes(1).map(|byte| byte[0])
    }

    fn bytes(&mut self, len: usize) -> io::Result<&'a [u8]> {
        let (bytes, left) =
            self.left.split_at_checked(len).ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        self.left = left;
        Ok(bytes)
    }

    fn varint(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(invalid("a number of more than ten bytes"))
    }

    /// The number of elements or bytes that follow: no more than there are bytes.
    fn count(&mut self) -> io::Result<usize> {
        let count = self.varint()?;
        if count > self.left.len() as u64 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(count as usize)
    }

    pub(super) fn i32(&mut self) -> io::Result<i32> {
        let value = self.varint()?;
        i32::try_from((value >> 1) as i64 ^ -((value & 1) as i64))
            .map_err(|_| invalid("a number beyond 32 bits"))
    }

    pub(super) fn text(&mut self) -> io::Result<&'a str> {
        let len = self.count()?;
        std::str::from_utf8(self.bytes(len)?).map_err(|_| invalid("a name that is not UTF-8"))
    }

    /// The next field of a struct, its number and kind; none at the struct's end. `last` is the number of the field before it.
    pub(super) fn field(&mut self, last: i16) -> io::Result<Option<(i16, u8)>> {
        let head = self.byte()?;
        if head == 0 {
            return Ok(None);
        }
        let number = match head >> 4 {
            0 => i16::try_from(self.i32()?).ok(),
            step => last.checked_add(i16::from(step)),
        };
        let number = number.ok_or_else(|| invalid("a field's number beyond 16 bits"))?;
        Ok(Some((number, head & 15)))
    }

    /// The kind of a list's elements, and how many there are.
    pub(super) fn list(&mut self) -> io::Result<(u8, usize)> {
        let head = self.byte()?;
        let size = match head >> 4 {
            15 => self.count()?,
            size => usize::from(size).min(self.left.len()),
        };
        Ok((head & 15, size))
    }

    /// Passes over something of that kind.
    pub(super) fn skip(&mut self, kind: u8) -> io::Result<()> {
        self.skip_nested(kind, 0)
    }

    fn skip_nested(&mut self, kind: u8, depth: usize) -> io::Result<()> {
        if depth == MAX_DEPTH {
            return Err(invalid(format!("nested deeper than {MAX_DEPTH}")));
        }
        match kind {
            1 | 2 => Ok(()), // a field that is a yes or a no has no bytes
            3 => self.byte().map(drop),
            4..=6 => self.varint().map(drop),
            7 => self.bytes(8).map(drop),
            kind::BINARY => {
                let len = self.count()?;
                self.bytes(len).map(drop)
            }
            kind::LIST | 10 => {
                let (kind, size) = self.list()?;
                (0..size).try_for_each(|_| self.skip_nested(kind, depth + 1))
            }
            11 => {
                let size = self.count()?;
                let kinds = if size == 0 { 0 } else { self.byte()? };
                (0..size).try_for_each(|_| {
                    self.skip_nested(kinds >> 4, depth + 1)?;
                    self.skip_nested(kinds & 15, depth + 1)
                })
            }
            kind::STRUCT => {
                let mut last = 0;
                while let Some((number, kind)) = self.field(last)? {
                    self.skip_nested(kind, depth + 1)?;
                    last = number;
                }
                Ok(())
            }
            13 => self.bytes(16).map(drop),
            other => Err(invalid(format!("an element of the unknown kind {other}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_held_to_the_bytes() {
        // A list of two billion structs, a text of a gigabyte, structs in structs without end.
        assert!(Compact::new(&[0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0]).list().is_err());
        assert!(Compact::new(&[0x80, 0x80, 0x80, 0x80, 0x04, b'a']).text().is_err());
        assert!(Compact::new(&[0x1c; 10_000]).skip(kind::STRUCT).is_err());
        assert!(Compact::new(&[0xff; 20]).i32().is_err());
        let mut reader = Compact::new(&[0x15, 0x03, 0x18, 0x02, b'o', b'k', 0]);
        assert_eq!(reader.field(0).unwrap(), Some((1, kind::I32)));
        assert_eq!(reader.i32().unwrap(), -2);
        assert_eq!(reader.field(1).unwrap(), Some((2, kind::BINARY)));
        assert_eq!((reader.text().unwrap(), reader.field(2).unwrap()), ("ok", None));
    }
}
