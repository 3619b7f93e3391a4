//! Pictures in a zip archive, found by its directory and inflated one by one. The format is the crate `zip`'s affair.

use std::path::Path;
use std::sync::Arc;
use std::{fmt, io};

use mplug::preprocess::image::ImageFault;
use zip::ZipArchive;

use super::shared_file::{FileCursor, SharedFile};
use super::{Counted, Member, Members, PictureSource, read_bounded};
use crate::looks::head_of;
use crate::member_names::{MemberName, decode};

/// A member of a zip archive.
#[derive(Debug, Clone)]
pub struct ZipMember {
    archive: Arc<Archive>,
    name: Arc<str>,
    number: usize,
}

#[derive(Debug)]
struct Archive {
    file: Arc<SharedFile>,
    /// Cloned for every read: its directory is shared, only the position is a reader's own.
    zip: ZipArchive<FileCursor>,
}

impl ZipMember {
    pub(super) fn file(&self) -> &SharedFile {
        &self.archive.file
    }

    pub(super) fn read(&self, limit: u64) -> Result<Vec<u8>, ImageFault> {
        let mut zip = self.archive.zip.clone();
        let member = zip.by_index(self.number).map_err(|e| ImageFault::Read(e.into()))?;
        let claimed_len = member.size();
        read_bounded(member, claimed_len, limit)
    }

    /// Its first bytes.
    pub(super) fn head(&self) -> io::Result<Vec<u8>> {
        head_of(self.archive.zip.clone().by_index(self.number)?)
    }
}

impl fmt::Display for ZipMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.archive.file.path.display(), self.name)
    }
}

/// The members of an archive that are files.
pub(super) fn members(path: &Path) -> io::Result<Members> {
    let file = SharedFile::open(path)?;
    let zip = ZipArchive::new(FileCursor::at(&file, 0))?;
    let archive = Arc::new(Archive { file, zip });
    let mut counted = Counted::default();
    let (mut numbers, mut names) = (Vec::new(), Vec::new());
    for (number, name) in archive.zip.file_names_raw().enumerate() {
        if !name.is_empty() && !name.ends_with(b"/") && !name.ends_with(b"\\") {
            counted.add(name)?;
            numbers.push(number);
            names.push(name.to_vec());
        }
    }
    // The crate takes names that are not UTF-8 for the code page 437 of the format's first description.
    let by_its_format = |index: usize| Some(archive.zip.name_for_index(numbers[index])?.ok()?.into_owned());
    let names = decode(names, by_its_format);
    let member = |(name, &number): (MemberName, &usize)| {
        let member = ZipMember { archive: Arc::clone(&archive), name: name.text.as_str().into(), number };
        Member { name, source: PictureSource::ZipMember(member) }
    };
    let list = names.into_iter().zip(&numbers).map(member).collect();
    Ok(Members { list, ..Members::default() })
}
