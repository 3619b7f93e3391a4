//! Pictures in a zip archive, found by its directory and inflated one by one. The format is the crate `zip`'s affair.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::{fmt, io};

use mplug::preprocess::image::ImageFault;
use zip::ZipArchive;

use super::shared_file::{FileCursor, SharedFile};
use super::{Members, PictureSource, read_bounded};

/// A member of a zip archive.
#[derive(Debug, Clone)]
pub struct ZipMember {
    archive: Arc<Archive>,
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
}

impl fmt::Display for ZipMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = name_of(&self.archive.zip, self.number);
        let name = name.as_deref().unwrap_or("(a member without a name)");
        write!(f, "{}: {name}", self.archive.file.path.display())
    }
}

/// The name of a member, if it has one that can be read.
fn name_of(zip: &ZipArchive<FileCursor>, number: usize) -> Option<Cow<'_, str>> {
    zip.name_for_index(number)?.ok()
}

/// The members of an archive that are files.
pub(super) fn members(path: &Path) -> io::Result<Vec<(String, PictureSource)>> {
    let file = SharedFile::open(path)?;
    let zip = ZipArchive::new(FileCursor::at(&file, 0))?;
    let archive = Arc::new(Archive { file, zip });
    let mut members = Members::default();
    for number in 0..archive.zip.len() {
        let name = name_of(&archive.zip, number).unwrap_or_default();
        if !name.is_empty() && !name.ends_with(['/', '\\']) {
            let member = ZipMember { archive: Arc::clone(&archive), number };
            members.push(name.to_string(), PictureSource::ZipMember(member))?;
        }
    }
    Ok(members.found)
}
