//! Pictures in a table, one a line: an id, a tab, the picture in base64.
//!
//! Source: MUGE's `IC_train.tsv` and its sisters. Both alphabets of base64 are read, padded or not. One pass finds where
//! each picture stands; none of it is kept.
//!
//! Refuses tables of other columns.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use mplug::preprocess::image::ImageFault;

use super::shared_file::{FileCursor, SharedFile};
use super::{Counted, Member, Members, PictureSource, check_len, invalid, read_bounded};

/// The longest id.
const MAX_ID_BYTES: u64 = 4096;

/// A field of a table of base64.
#[derive(Debug, Clone)]
pub struct Base64Field {
    file: Arc<SharedFile>,
    id: Arc<str>,
    offset: u64,
    len: u64,
}

impl Base64Field {
    pub(super) fn file(&self) -> &SharedFile {
        &self.file
    }

    pub(super) fn read(&self, limit: u64) -> Result<Vec<u8>, ImageFault> {
        check_len(self.len / 4 * 3, limit.saturating_add(2))?; // up to two bytes are padding
        let mut text =
            read_bounded(FileCursor::at(&self.file, self.offset).take(self.len), self.len, u64::MAX)?;
        for byte in &mut text {
            match byte {
                b'-' => *byte = b'+',
                b'_' => *byte = b'/',
                _ => {}
            }
        }
        let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let bytes = GeneralPurpose::new(&STANDARD, config)
            .decode(text.trim_ascii())
            .map_err(|error| ImageFault::Read(invalid(format!("base64: {error}"))))?;
        check_len(bytes.len() as u64, limit)?;
        Ok(bytes)
    }
}

impl fmt::Display for Base64Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.path.display(), self.id)
    }
}

/// The pictures of a table.
pub(super) fn fields(path: &Path) -> io::Result<Members> {
    let file = SharedFile::open(path)?;
    let mut reader = BufReader::with_capacity(1 << 18, FileCursor::at(&file, 0));
    let (mut members, mut counted) = (Members::default(), Counted::default());
    let mut position = 0;
    for line in 1.. {
        let mut start = Vec::new();
        Read::take(&mut reader, MAX_ID_BYTES).read_until(b'\t', &mut start)?;
        if start.trim_ascii().is_empty() && (start.len() as u64) < MAX_ID_BYTES {
            break; // the end, with blank lines or without
        }
        let id = id(&start).ok_or_else(|| {
            invalid(format!("line {line}: expected an id and a tab, found {:?}", shown(&start)))
        })?;
        counted.add(id.as_bytes())?;
        let offset = position + start.len() as u64;
        let (len, has_end) = skip_line(&mut reader)?;
        let field = Base64Field { file: Arc::clone(&file), id: id.into(), offset, len };
        let (name, source) = (id.to_string().into(), PictureSource::Base64Field(field));
        members.list.push(Member { name, source });
        position = offset + len + u64::from(has_end);
    }
    Ok(members)
}

/// The id of a line's beginning, up to its tab.
fn id(start: &[u8]) -> Option<&str> {
    let id = std::str::from_utf8(start.strip_suffix(b"\t")?).ok()?.trim_start_matches('\u{feff}').trim();
    (!id.is_empty() && !id.contains('\n')).then_some(id)
}

fn shown(start: &[u8]) -> String {
    String::from_utf8_lossy(&start[..start.len().min(40)]).into_owned()
}

/// Passes over the rest of a line; its length without its end, and whether it has one.
fn skip_line(reader: &mut impl BufRead) -> io::Result<(u64, bool)> {
    let mut len = 0;
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok((len, false));
        }
        let (count, is_end) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(count) => (count, true),
            None => (buffer.len(), false),
        };
        reader.consume(count + usize::from(is_end));
        len += count as u64;
        if is_end {
            return Ok((len, true));
        }
    }
}
