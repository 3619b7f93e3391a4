//! A file that any thread reads by position, without moving the others.
//!
//! It is opened when it is read, not when it is listed: data sets have more archives than a process may have open files. The few that
//! were read last stay open. What was listed is held to the file's length and time whenever it is opened or read: a file that changed
//! would give other pictures under the old names.

use std::collections::VecDeque;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use mplug::io_error_is_passing;
use mplug::preprocess::image::ImageFault;

/// Files that stay open, in the whole process. Those being read at this moment come on top, one for each thread.
const MOST_OPEN: usize = 16;

/// The open files, by their numbers; the one that was read last stands last.
static OPEN: Mutex<VecDeque<(u64, Arc<File>)>> = Mutex::new(VecDeque::new());
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

/// A file by its path, with what it was when it was listed.
#[derive(Debug)]
pub(super) struct SharedFile {
    pub(super) path: PathBuf,
    pub(super) len: u64,
    modified: Option<SystemTime>,
    number: u64,
}

impl SharedFile {
    /// Takes a regular file's length and time; a pipe would be waited for.
    pub(super) fn open(path: &Path) -> io::Result<Arc<Self>> {
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a regular file"));
        }
        let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
        let (len, modified) = stamp(&metadata);
        Ok(Arc::new(Self { path: path.to_path_buf(), len, modified, number }))
    }

    /// What `read` gets out of the file, unless the file is another by then.
    pub(super) fn read_unchanged(
        &self,
        read: impl FnOnce() -> Result<Vec<u8>, ImageFault>,
    ) -> Result<Vec<u8>, ImageFault> {
        let found = read();
        if self.is_changed() { Err(ImageFault::Changed) } else { found }
    }

    /// Whether the file is there and is not what was listed. One that is gone is an error of reading it.
    fn is_changed(&self) -> bool {
        let open =
            open_files().iter().find(|(number, _)| *number == self.number).map(|(_, file)| Arc::clone(file));
        let metadata = open.map_or_else(|| fs::metadata(&self.path), |file| file.metadata());
        metadata.is_ok_and(|metadata| !self.fits(&metadata))
    }

    fn fits(&self, metadata: &Metadata) -> bool {
        metadata.is_file() && stamp(metadata) == (self.len, self.modified)
    }

    /// The file, opened if it is not.
    fn handle(&self) -> io::Result<Arc<File>> {
        if let Some(file) = self.find_open(&mut open_files()) {
            return Ok(file);
        }
        let opened = self.open_listed().or_else(|error| {
            // The files that are kept open may be those that are too many.
            if !io_error_is_passing(&error) {
                return Err(error);
            }
            open_files().clear();
            self.open_listed()
        })?;
        let mut open = open_files();
        // Another thread may have been faster.
        let file = self.find_open(&mut open).unwrap_or_else(|| {
            let file = Arc::new(opened);
            open.push_back((self.number, Arc::clone(&file)));
            file
        });
        while open.len() > MOST_OPEN {
            open.pop_front();
        }
        Ok(file)
    }

    /// The file among the open ones, where it becomes the last.
    fn find_open(&self, open: &mut VecDeque<(u64, Arc<File>)>) -> Option<Arc<File>> {
        let index = open.iter().position(|(number, _)| *number == self.number)?;
        let entry = open.remove(index)?;
        let file = Arc::clone(&entry.1);
        open.push_back(entry);
        Some(file)
    }

    /// Opens the file, if it is the one that was listed.
    fn open_listed(&self) -> io::Result<File> {
        let changed = || io::Error::other("changed since it was listed");
        // Looked at before it is opened: a pipe in its place would be waited for.
        if !self.fits(&fs::metadata(&self.path)?) {
            return Err(changed());
        }
        let file = File::open(&self.path)?;
        if self.fits(&file.metadata()?) { Ok(file) } else { Err(changed()) }
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let file = self.handle()?;
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::read_at(&*file, buffer, position);
        #[cfg(windows)]
        return std::os::windows::fs::FileExt::seek_read(&*file, buffer, position);
    }
}

impl Drop for SharedFile {
    fn drop(&mut self) {
        open_files().retain(|(number, _)| *number != self.number);
    }
}

fn open_files() -> MutexGuard<'static, VecDeque<(u64, Arc<File>)>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What distinguishes a file from a later one of its name.
fn stamp(metadata: &Metadata) -> (u64, Option<SystemTime>) {
    (metadata.len(), metadata.modified().ok())
}

/// A position in a shared file, from which one reader reads.
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
