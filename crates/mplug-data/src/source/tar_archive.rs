//! Pictures in a tar archive, found in one pass over its headers that skips what is between them. The format is the
//! crate `tar`'s affair.
//!
//! A link is the file of the archive that it leads to: GNU tar writes the second of two hard-linked files so. Refuses to know sparse
//! files and links out of the archive: they are passed over and counted.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use mplug::io_error_is_passing;
use mplug::preprocess::image::ImageFault;
use tar::EntryType;

use super::shared_file::{FileCursor, SharedFile};
use super::{Counted, Member, Members, PictureSource, invalid, read_bounded};
use crate::looks::{HEAD_BYTES, Why, head_of};
use crate::member_names::decode;

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

    /// Its first bytes.
    pub(super) fn head(&self) -> io::Result<Vec<u8>> {
        head_of(FileCursor::at(&self.file, self.offset).take(self.len.min(HEAD_BYTES as u64)))
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

/// What a header says of a member.
enum Entry {
    /// Its bytes stand at that offset, in that number.
    File(u64, u64),
    /// Those of the member of that name.
    Link(Vec<u8>),
    /// It is no file.
    Other,
}

/// Most links that lead to one another.
const MOST_HOPS: usize = 8;

/// The members of an archive that are files.
pub(super) fn members(path: &Path) -> io::Result<Members> {
    let file = SharedFile::open(path)?;
    let (names, entries) = entries(&file)?;
    // Where links lead; most archives have none.
    let has_links = entries.iter().any(|entry| matches!(entry, Entry::Link(_)));
    let numbered = names.iter().enumerate().filter(|_| has_links);
    let files: HashMap<Vec<u8>, usize> = numbered.map(|(number, name)| (normal(name), number)).collect();
    let found = |mut number: usize| {
        for _ in 0..MOST_HOPS {
            match &entries[number] {
                Entry::File(offset, len) => return Some((*offset, *len)),
                Entry::Link(target) => number = *files.get(target)?,
                Entry::Other => return None,
            }
        }
        None
    };
    let mut members = Members::default();
    for (number, name) in decode(names, |_| None).into_iter().enumerate() {
        if let Some((offset, len)) = found(number) {
            let member = TarMember { file: Arc::clone(&file), name: name.text.as_str().into(), offset, len };
            members.list.push(Member { name, source: PictureSource::TarMember(member) });
        } else {
            members.passed_over.add(Path::new(&name.text), Why::NoFile);
        }
    }
    Ok(members)
}

/// The names of an archive's members and what they are, but for folders.
fn entries(file: &Arc<SharedFile>) -> io::Result<(Vec<Vec<u8>>, Vec<Entry>)> {
    let budget = Rc::new(Cell::new(MAX_HEADER_BYTES));
    let cursor = FileCursor::at(file, 0);
    let mut archive = tar::Archive::new(HeaderReader { cursor, budget: Rc::clone(&budget) });
    let mut counted = Counted::default();
    let (mut names, mut entries): (Vec<Vec<u8>>, Vec<Entry>) = (Vec::new(), Vec::new());
    for entry in archive.entries_with_seek()? {
        let entry = entry.map_err(|error| in_words(error, names.last()))?;
        budget.set(MAX_HEADER_BYTES);
        let name = entry.path_bytes().into_owned();
        let kind = entry.header().entry_type();
        let found = match kind {
            EntryType::Regular | EntryType::Continuous => {
                let (offset, len) = (entry.raw_file_position(), entry.size());
                if offset.checked_add(len).is_none_or(|end| end > file.len) {
                    let name = String::from_utf8_lossy(&name);
                    return Err(invalid(format!("is cut short: {name} does not end within the file")));
                }
                Entry::File(offset, len)
            }
            EntryType::Link | EntryType::Symlink => match entry.link_name_bytes() {
                Some(target) if kind == EntryType::Link => Entry::Link(normal(&target)),
                Some(target) if !target.starts_with(b"/") => {
                    let folder = name.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
                    Entry::Link(normal(&[&name[..folder], &target].concat()))
                }
                _ => Entry::Other,
            },
            EntryType::Directory | EntryType::XGlobalHeader => continue,
            _ => Entry::Other,
        };
        counted.add(&name)?;
        names.push(name);
        entries.push(found);
    }
    Ok((names, entries))
}

/// A name without `.` and `..` and double slashes.
fn normal(name: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}

/// What is wrong with a header, without the bytes that stand in it: the crate shows them, and a terminal might obey them.
fn in_words(error: io::Error, last: Option<&Vec<u8>>) -> io::Error {
    let text = error.to_string();
    let is_of_header =
        ["numeric field", "checksum mismatch", " when getting "].iter().any(|part| text.contains(part));
    if io_error_is_passing(&error) || !is_of_header {
        return error;
    }
    invalid(match last {
        None => "is no tar archive: expected a header, found other bytes".to_owned(),
        Some(last) => {
            let last = String::from_utf8_lossy(last);
            format!("is damaged: expected a header behind {last}, found other bytes")
        }
    })
}
