//! Where the bytes of a weight file come from: a file read by position, or memory.
//!
//! Reading by position instead of mapping keeps the file's pages out of this process's resident memory, needs no `unsafe`,
//! and turns a file that shrinks while it is read into an error.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::{CheckpointError, NotFinite};

enum Bytes {
    File(File, PathBuf),
    Static(&'static [u8]),
    Owned(Vec<u8>),
}

/// Bytes of known length with a name for messages.
pub(crate) struct Source {
    bytes: Bytes,
    len: u64,
    label: String,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("label", &self.label).field("len", &self.len).finish_non_exhaustive()
    }
}

impl Source {
    pub(crate) fn open(path: &Path) -> Result<Self, CheckpointError> {
        let io = |action| move |source| CheckpointError::Io { action, path: path.to_path_buf(), source };
        let file = File::open(path).map_err(io("open"))?;
        let metadata = file.metadata().map_err(io("read"))?;
        if !metadata.is_file() {
            return Err(CheckpointError::UnknownFormat { file: path.display().to_string() });
        }
        let label = path.display().to_string();
        Ok(Self { bytes: Bytes::File(file, path.to_path_buf()), len: metadata.len(), label })
    }

    pub(crate) fn from_static(bytes: &'static [u8]) -> Self {
        Self { bytes: Bytes::Static(bytes), len: bytes.len() as u64, label: "the built-in weights".into() }
    }

    pub(crate) fn from_vec(bytes: Vec<u8>) -> Self {
        Self { len: bytes.len() as u64, bytes: Bytes::Owned(bytes), label: "the weights in memory".into() }
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    pub(crate) fn path(&self) -> Option<&Path> {
        match &self.bytes {
            Bytes::File(_, path) => Some(path),
            Bytes::Static(_) | Bytes::Owned(_) => None,
        }
    }

    /// An error that says this file is damaged.
    pub(crate) fn damaged(&self, reason: impl Into<String>) -> CheckpointError {
        CheckpointError::Damaged { file: self.label.clone(), reason: reason.into() }
    }

    /// An error that says that a tensor of this file has values that are not finite.
    pub(crate) fn not_finite(&self, name: &str, values: NotFinite) -> CheckpointError {
        CheckpointError::NotFinite { file: self.label.clone(), name: name.to_owned(), values }
    }

    fn cut_short(&self, at: u64, len: u64) -> CheckpointError {
        self.damaged(format!(
            "it ends at byte {}, but {len} bytes are expected from byte {at}; it was probably cut short, \
             download or copy it again",
            self.len
        ))
    }

    /// Fills `out` from position `at`.
    pub(crate) fn read_at(&self, at: u64, out: &mut [u8]) -> Result<(), CheckpointError> {
        let end = at.checked_add(out.len() as u64).filter(|&end| end <= self.len);
        let Some(end) = end else {
            return Err(self.cut_short(at, out.len() as u64));
        };
        let memory: &[u8] = match &self.bytes {
            Bytes::File(file, path) => {
                return read_exact_at(file, at, out).map_err(|source| CheckpointError::Io {
                    action: "read",
                    path: path.clone(),
                    source,
                });
            }
            Bytes::Static(bytes) => bytes,
            Bytes::Owned(bytes) => bytes,
        };
        out.copy_from_slice(&memory[at as usize..end as usize]);
        Ok(())
    }

    /// Reads `len` bytes from position `at`. Allocates no more than the file holds.
    pub(crate) fn read_vec(&self, at: u64, len: u64) -> Result<Vec<u8>, CheckpointError> {
        // Checked before allocating: a length that lies must not reserve memory.
        if at.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(self.cut_short(at, len));
        }
        let mut out = vec![0; len as usize];
        self.read_at(at, &mut out)?;
        Ok(out)
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, at: u64, out: &mut [u8]) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, at)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut at: u64, mut out: &mut [u8]) -> std::io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !out.is_empty() {
        match file.seek_read(out, at) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                out = &mut out[n..];
                at += n as u64;
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
