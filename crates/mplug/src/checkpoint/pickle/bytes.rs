//! How an instruction's operands are read from the pickle's bytes.

use super::Value;
use super::machine::{Machine, Step, Stop, bad};

/// A name longer than this is not a Python object's.
pub(super) const MAX_NAME_BYTES: usize = 512;

impl<'p> Machine<'p> {
    pub(super) fn take(&mut self, len: usize) -> Step<&'p [u8]> {
        let Some(end) = self.at.checked_add(len).filter(|&end| end <= self.bytes.len()) else {
            return bad(format!("it ends within an instruction that needs {len} more bytes"));
        };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| Stop::Bad("cut short".into()))
    }

    pub(super) fn length4(&mut self) -> Step<usize> {
        // Python reads LONG4 lengths as signed; a negative one is as invalid as one beyond the end.
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    pub(super) fn length8(&mut self) -> Step<usize> {
        let len = u64::from_le_bytes(self.array()?);
        usize::try_from(len).or_else(|_| bad(format!("a length of {len} bytes")))
    }

    pub(super) fn text(&mut self, len: usize) -> Step<Value<'p>> {
        let bytes = self.take(len)?;
        // Unpaired surrogates are legal in Python's pickles and never occur in names.
        Ok(std::str::from_utf8(bytes).map_or(Value::Bytes, Value::Str))
    }

    pub(super) fn skip_bytes(&mut self, len: usize) -> Step<Value<'p>> {
        self.take(len)?;
        Ok(Value::Bytes)
    }

    pub(super) fn line(&mut self) -> Step<&'p str> {
        let rest = &self.bytes[self.at..];
        let window = &rest[..rest.len().min(MAX_NAME_BYTES)];
        let Some(len) = window.iter().position(|&b| b == b'\n') else {
            return bad("a name without end");
        };
        self.at += len + 1;
        std::str::from_utf8(&rest[..len]).or_else(|_| bad("a name that is not UTF-8"))
    }
}

/// A little-endian two's complement integer.
pub(super) fn long(bytes: &[u8]) -> Value<'_> {
    if bytes.len() > 8 {
        return Value::Long(bytes);
    }
    let fill = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
    let mut wide = [fill; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(wide))
}
