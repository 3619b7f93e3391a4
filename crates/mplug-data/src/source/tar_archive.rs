//! Pictures in a tar archive, found in one pass over its headers that skips what is between them. The format is the
//! crate `tar`'s affair.
//!
//! Refuses to know links and sparse files: they are passed over, as folders are.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use mplug::preprocess::image::ImageFault;
use tar::EntryType;

use super::shared_file::{FileCursor, SharedFile};
use super::{Members, PictureSource, invalid, read_bounded};

/// What the headers of one member may take, long names among them: 1 MiB.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// A member of a tar archive.
#[derive(Debug, Clone)]
pub struct TarMember {
    file: Arc<SharedFile>,
    name: Arc<str>,
    offset: u64,
    len: u64,
}

impl TarMember {
    pub(super) fn file(&self) -> &SharedFile {
        &self.file
    }

    pub(super) fn read(&self, limit: u64) -> Result<Vec<u8>, ImageFault> {
        let bytes = read_bounded(FileCursor::at(&self.file, self.offset).take(self.len), self.len, limit)?;
        if (bytes.len() as u64) < self.len {
            return Err(ImageFault::Read(io::ErrorKind::UnexpectedEof.into())); // shrank since it was opened
        }
        Ok(bytes)
    }
}

impl fmt::Display for TarMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.path.display(), self.name)
    }
}

/// Reads no more than a budget, which is filled up for every member: a header that claims a name of gigabytes is not
/// read to its end.
struct HeaderReader {
    cursor: FileCursor,
    budget: Rc<Cell<u64>>,
}

impl Read for HeaderReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.cursor.read(buffer)?;
        let left = self.budget.get().checked_sub(count as u64);
        let left = left.ok_or_else(|| {
            invalid(format!("the headers of one member take more than {MAX_HEADER_BYTES} bytes"))
        })?;
        self.budget.set(left);
        Ok(count)
    }
}

impl Seek for HeaderReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.cursor.seek(to)
    }
}

/// The members of an archive that are files.
pub(super) fn members(path: &Path) -> io::Result<Vec<(String, PictureSource)>> {
    let file = SharedFile::open(path)?;
    let budget = Rc::new(Cell::new(MAX_HEADER_BYTES));
    let cursor = FileCursor::at(&file, 0);
    let mut archive = tar::Archive::new(HeaderReader { cursor, budget: Rc::clone(&budget) });
    let mut members = Members::default();
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        budget.set(MAX_HEADER_BYTES);
        if !matches!(entry.header().entry_type(), EntryType::Regular | EntryType::Continuous) {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let (offset, len) = (entry.raw_file_position(), entry.size());
        if offset.checked_add(len).is_none_or(|end| end > file.len) {
            return Err(invalid(format!("is cut short: {name} does not end within the file")));
        }
        let member = TarMember { file: Arc::clone(&file), name: name.as_str().into(), offset, len };
        members.push(name, PictureSource::TarMember(member))?;
    }
    Ok(members.found)
}
