//! What comes by standard input: a list of names, in UTF-8 or UTF-16, or one picture. What it is, its first bytes say.

use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;

use mplug_data::looks::is_picture_head;

use crate::error::BulkError;

/// Longest list of inputs: ten million long names, and no end to a stream that has none. A picture may not be longer either.
const MAX_LIST_BYTES: u64 = 1 << 30;

/// What came by standard input.
#[derive(Debug)]
pub(crate) enum Given {
    Names(Vec<PathBuf>),
    /// The bytes of a picture file.
    Picture(Vec<u8>),
}

/// Reads a list of names or a picture. Names are separated by NUL bytes where there are any (`find -print0`), by line ends otherwise;
/// empty ones do not count.
///
/// # Errors
/// When it cannot be read, is too long, has no names, or is neither.
pub(crate) fn read_list(source: impl Read) -> Result<Given, BulkError> {
    let mut bytes = Vec::new();
    source.take(MAX_LIST_BYTES + 1).read_to_end(&mut bytes).map_err(BulkError::List)?;
    if bytes.len() as u64 > MAX_LIST_BYTES {
        return Err(content("at most 1 GiB", "more: split it"));
    }
    if is_picture_head(&bytes) {
        return Ok(Given::Picture(bytes));
    }
    let bytes = decode(bytes)?;
    let separator = if bytes.contains(&0) { 0 } else { b'\n' };
    let names = bytes.split(|byte| *byte == separator);
    let trimmed =
        names.map(|name| if separator == 0 { name } else { name.strip_suffix(b"\r").unwrap_or(name) });
    let names: Vec<PathBuf> =
        trimmed.filter(|name| !name.is_empty()).map(to_path).collect::<Result<_, _>>()?;
    if names.is_empty() {
        return Err(content("one path a line", "no names"));
    }
    Ok(Given::Names(names))
}

fn content(expected: &'static str, found: impl Into<String>) -> BulkError {
    BulkError::ListContent { expected, found: found.into() }
}

/// A list without its byte order mark, in UTF-8 where the mark says that it is UTF-16 (what PowerShell's `>` writes). Anything else
/// stays as it is: names may be any bytes.
fn decode(bytes: Vec<u8>) -> Result<Vec<u8>, BulkError> {
    let units = |bytes: &[u8], unit: fn([u8; 2]) -> u16| -> Result<Vec<u8>, BulkError> {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let text: Result<String, _> = char::decode_utf16(pairs.iter().map(|pair| unit(*pair))).collect();
        match text {
            Ok(text) if rest.is_empty() => Ok(text.into_bytes()),
            _ => Err(content("UTF-8, or whole UTF-16", "UTF-16 that is damaged")),
        }
    };
    match bytes.as_slice() {
        [0xef, 0xbb, 0xbf, rest @ ..] => Ok(rest.to_vec()),
        [0xff, 0xfe, rest @ ..] => units(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => units(rest, u16::from_be_bytes),
        _ if looks_like_utf16(&bytes) => {
            Err(content("UTF-8, or UTF-16 with a byte order mark", "what looks like UTF-16 without one"))
        }
        _ if is_binary(&bytes) => Err(content("names, one a line, or a picture", "bytes that are neither")),
        _ => Ok(bytes),
    }
}

/// Whether names that are separated by NUL bytes are letters: the text of a list in UTF-16, in which each `/` would be a folder.
fn looks_like_utf16(bytes: &[u8]) -> bool {
    let names = || bytes.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let letters = names().filter(|name| name.len() == 1);
    let has_sign = || names().any(|name| matches!(name, b"/" | b"\\" | b"." | b"\n"));
    bytes.contains(&0) && 5 * letters.count() >= 4 * names().count() && has_sign()
}

/// Bytes of a list that are looked at to see that it is none.
const LOOKED_AT: usize = 4096;

/// Whether these are no names: other bytes than UTF-8, with control characters that no name has.
fn is_binary(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(LOOKED_AT)];
    // A character may be cut where the head ends.
    let is_text = |error: std::str::Utf8Error| error.error_len().is_none();
    let is_control = |byte: &u8| *byte < 0x20 && !matches!(*byte, 0 | b'\t' | b'\n' | b'\r');
    !std::str::from_utf8(head).map_or_else(is_text, |_| true) && head.iter().any(is_control)
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere names can be invalid")]
pub(crate) fn to_path(name: &[u8]) -> Result<PathBuf, BulkError> {
    use std::os::unix::ffi::OsStringExt;
    Ok(OsString::from_vec(name.to_vec()).into())
}

#[cfg(not(unix))]
pub(crate) fn to_path(name: &[u8]) -> Result<PathBuf, BulkError> {
    match std::str::from_utf8(name) {
        Ok(name) => Ok(OsString::from(name).into()),
        Err(_) => Err(content("names that are UTF-8", String::from_utf8_lossy(name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(bytes: &[u8]) -> Vec<PathBuf> {
        match read_list(bytes) {
            Ok(Given::Names(names)) => names,
            other => panic!("{other:?}"),
        }
    }

    fn problem(bytes: &[u8]) -> String {
        read_list(bytes).unwrap_err().to_string()
    }

    fn utf16(text: &str, bytes_of: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes_of).collect()
    }

    #[test]
    fn lists_are_lines_or_nul_separated() {
        let lines = names("a.jpg\r\n\n两只猫.png\nc d.gif".as_bytes());
        assert_eq!(lines, ["a.jpg", "两只猫.png", "c d.gif"].map(PathBuf::from));
        assert_eq!(names("a\nb.jpg\0c.png\0".as_bytes()), ["a\nb.jpg", "c.png"].map(PathBuf::from));
        assert_eq!(names(b"a\0b\0c\0d\0e\0"), ["a", "b", "c", "d", "e"].map(PathBuf::from));
    }

    #[test]
    fn an_empty_list_is_an_error() {
        assert!(problem(b"\n\n").contains("no names"));
        assert!(problem(b"\xef\xbb\xbf").contains("no names"));
    }

    /// Case 09.
    #[test]
    fn lists_are_decoded_by_their_mark() {
        let text = "\u{feff}/photos/a.jpg\r\n两只猫 🙂.png\r\n";
        let expected = ["/photos/a.jpg", "两只猫 🙂.png"].map(PathBuf::from);
        assert_eq!(names(text.as_bytes()), expected);
        for bytes_of in [u16::to_le_bytes, u16::to_be_bytes] {
            assert_eq!(names(&utf16(text, bytes_of)), expected);
            let unmarked = utf16(&text[3..], bytes_of);
            assert!(problem(&unmarked).contains("looks like UTF-16 without one"));
        }
        assert!(problem(b"\xff\xfea").contains("damaged"));
        assert!(problem(b"\xff\xfe\x00\xd8a\x00").contains("damaged"));
    }

    #[test]
    fn pictures_are_recognised_and_other_bytes_refused() {
        let picture = b"\x89PNG\r\n\x1a\nrest\0of it";
        assert!(matches!(read_list(&picture[..]).unwrap(), Given::Picture(bytes) if bytes == picture));
        assert!(problem(b"\x7fELF\x02\x01\x01\0\0\xff\n").contains("bytes that are neither"));
        assert_eq!(names(b"\xff\xfd.jpg").len(), 1, "a name may be any bytes");
    }
}
