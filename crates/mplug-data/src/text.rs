//! Files as text, under limits: whole JSON documents, and lines.
//!
//! Refuses to know what the text means.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{DataError, Place};

/// The longest line that is read: 1 MiB.
pub(crate) const MAX_LINE_BYTES: usize = 1 << 20;

/// Opens a regular file; a pipe would be waited for, a folder says nothing useful.
pub(crate) fn open_file(path: &Path) -> Result<(File, u64), DataError> {
    let io = |source| DataError::io(path, source);
    let metadata = fs::metadata(path).map_err(io)?;
    if !metadata.is_file() {
        return Err(io(io::Error::new(io::ErrorKind::InvalidInput, "is not a regular file")));
    }
    Ok((File::open(path).map_err(io)?, metadata.len()))
}

/// The text of a whole file of at most `limit` bytes, without its byte order mark.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String, DataError> {
    let (file, len) = open_file(path)?;
    let too_large = |found| DataError::TooLarge { path: path.to_path_buf(), found, limit };
    if len > limit {
        return Err(too_large(len));
    }
    let mut bytes = Vec::with_capacity(len as usize);
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| DataError::io(path, e))?;
    if bytes.len() as u64 > limit {
        return Err(too_large(bytes.len() as u64)); // grew meanwhile
    }
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.split(|byte| *byte == b'\n').count();
        DataError::annotation(path, Place::Line(line), NOT_UTF8)
    })
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
const NOT_UTF8: &str = "expected UTF-8, found other bytes";

/// A JSON document as `T`.
pub(crate) fn parse_json<'a, T: Deserialize<'a>>(path: &Path, text: &'a str) -> Result<T, DataError> {
    serde_json::from_str(text).map_err(|error| json_error(path, 1, &error))
}

/// A JSON error of text that starts in `first_line`.
pub(crate) fn json_error(path: &Path, first_line: usize, error: &serde_json::Error) -> DataError {
    let (line, column) = (error.line().max(1), error.column());
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    DataError::Json { path: path.to_path_buf(), line: first_line + line - 1, column, what: what.into() }
}

/// The lines of a file, one at a time, none longer than [`MAX_LINE_BYTES`].
pub(crate) struct Lines {
    reader: BufReader<File>,
    path: PathBuf,
    number: usize,
    read: u64,
    limit: u64,
}

impl Lines {
    /// Opens a file of at most `limit` bytes.
    pub(crate) fn open(path: &Path, limit: u64) -> Result<Self, DataError> {
        let (file, len) = open_file(path)?;
        if len > limit {
            return Err(DataError::TooLarge { path: path.to_path_buf(), found: len, limit });
        }
        let reader = BufReader::with_capacity(1 << 16, file);
        Ok(Self { reader, path: path.to_path_buf(), number: 0, read: 0, limit })
    }

    /// The next line that is not blank, with its number, without its end.
    pub(crate) fn next(&mut self) -> Result<Option<(usize, String)>, DataError> {
        loop {
            match self.next_even_blank()? {
                Some((_, text)) if text.trim().is_empty() => {}
                line => return Ok(line),
            }
        }
    }

    /// The next line, blank or not, with its number, without its end.
    pub(crate) fn next_even_blank(&mut self) -> Result<Option<(usize, String)>, DataError> {
        let Some(bytes) = self.next_bytes()? else { return Ok(None) };
        if bytes.len() > MAX_LINE_BYTES {
            let what = format!("a line is longer than {MAX_LINE_BYTES} bytes: not a file of annotations");
            return Err(DataError::annotation(&self.path, self.place(), what));
        }
        let text = String::from_utf8(bytes);
        let mut text = text.map_err(|_| DataError::annotation(&self.path, self.place(), NOT_UTF8))?;
        text.truncate(text.trim_end_matches(['\n', '\r']).len());
        Ok(Some((self.number, text)))
    }

    fn place(&self) -> Place {
        Place::Line(self.number)
    }

    /// At most one byte more than a line may have.
    fn next_bytes(&mut self) -> Result<Option<Vec<u8>>, DataError> {
        let mut bytes = Vec::new();
        let mut bounded = Read::take(&mut self.reader, MAX_LINE_BYTES as u64 + 1);
        bounded.read_until(b'\n', &mut bytes).map_err(|e| DataError::io(&self.path, e))?;
        if bytes.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        self.read += bytes.len() as u64;
        if self.read > self.limit {
            let (path, found, limit) = (self.path.clone(), self.read, self.limit);
            return Err(DataError::TooLarge { path, found, limit }); // grew meanwhile
        }
        if self.number == 1 && bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(Some(bytes))
    }
}
