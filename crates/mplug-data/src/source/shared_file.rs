//! A file that any thread reads by position, without moving the others.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An open file, its path and its length when it was opened.
#[derive(Debug)]
pub(super) struct SharedFile {
    file: File,
    pub(super) path: PathBuf,
    pub(super) len: u64,
}

impl SharedFile {
    pub(super) fn open(path: &Path) -> io::Result<Arc<Self>> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Arc::new(Self { file, path: path.to_path_buf(), len }))
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::read_at(&self.file, buffer, position);
        #[cfg(windows)]
        return std::os::windows::fs::FileExt::seek_read(&self.file, buffer, position);
    }
}

/// A place in a shared file, from which one reader reads.
#[derive(Debug, Clone)]
pub(super) struct FileCursor {
    pub(super) file: Arc<SharedFile>,
    position: u64,
}

impl FileCursor {
    pub(super) fn at(file: &Arc<SharedFile>, position: u64) -> Self {
        Self { file: Arc::clone(file), position }
    }
}

impl Read for FileCursor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for FileCursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
            SeekFrom::End(offset) => self.file.len.checked_add_signed(offset),
        };
        self.position = position.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}
