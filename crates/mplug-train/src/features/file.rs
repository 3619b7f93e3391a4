//! A picture's file: eight letters, the numbers as f32, little-endian, and the checksum (CRC-32C) of all that is before it.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::TrainError;

/// What a file begins with.
const MAGIC: &[u8; 8] = b"mplugfe1";
/// The file by which programs that make backups know a folder to leave out (<https://bford.info/cachedir/>).
const TAG: &str = "CACHEDIR.TAG";
const TAG_TEXT: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# What mplug's visual encoder made of pictures. The folder may be \
                        removed: it is made again.\n";

/// The size of a file of `len` numbers.
pub(super) fn bytes(len: usize) -> u64 {
    (MAGIC.len() + 4 * len + 4) as u64
}

/// The numbers in a file, if it is whole and has `len` of them.
pub(super) fn read(path: &Path, len: usize) -> Option<Vec<f32>> {
    let found = path.symlink_metadata().ok()?;
    if !found.is_file() || found.len() != bytes(len) {
        return None;
    }
    let file = std::fs::read(path).ok()?;
    let (body, sum) = file.split_last_chunk::<4>()?;
    let values = body.strip_prefix(MAGIC)?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*sum) {
        return None;
    }
    let value = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    Some(values.chunks_exact(4).map(value).collect())
}

/// Writes a file, in the place of one of ours that is not whole. What is there and is none of ours stays.
pub(super) fn write(path: &Path, values: &[f32]) -> Result<(), TrainError> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    if !may_write(path) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(TrainError::file(folder))?;
    let mut body = MAGIC.to_vec();
    body.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    body.extend(crc32c::crc32c(&body).to_le_bytes());
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let new = folder.join(format!(".mplug-{}-{number}.tmp", std::process::id()));
    let written = File::create_new(&new)
        .and_then(|mut file| file.write_all(&body))
        .and_then(|()| std::fs::rename(&new, path));
    if written.is_err() {
        // What stays is known by its name, and is no picture's.
        let _gone = std::fs::remove_file(&new);
    }
    written.map_err(TrainError::file(path))
}

/// Whether nothing is at `path`, or a file of ours.
fn may_write(path: &Path) -> bool {
    match path.symlink_metadata() {
        Err(error) => error.kind() == ErrorKind::NotFound,
        Ok(found) if found.is_file() => {
            std::fs::read(path).is_ok_and(|file| file.starts_with(&MAGIC[..file.len().min(MAGIC.len())]))
        }
        Ok(_) => false,
    }
}

/// Marks the folder as one that backups leave out.
pub(super) fn tag(root: &Path) -> Result<(), TrainError> {
    let path = root.join(TAG);
    match File::create_new(&path).and_then(|mut file| file.write_all(TAG_TEXT.as_bytes())) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(TrainError::file(path)),
    }
}

/// The size of all files in the folders of `folder`.
#[cfg(any(target_os = "linux", target_os = "macos"))]
pub(super) fn bytes_below(folder: &Path) -> u64 {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| entry.metadata().map_or(0, |found| found.len());
    entries(folder).flat_map(|below| entries(&below.path()).map(size).collect::<Vec<_>>()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("ab").join("abc");
        assert_eq!(read(&path, 3), None);
        write(&path, &[1.0, -2.5, 0.0]).expect("written");
        assert_eq!(read(&path, 3), Some(vec![1.0, -2.5, 0.0]));
        assert_eq!(read(&path, 2), None);
        let whole = std::fs::read(&path).expect("a file");
        // Cut short, or with a bit turned, it is no picture's any more, and is written anew.
        let mut turned = whole.clone();
        turned[10] ^= 1;
        for broken in [&whole[..20], &whole[..3], &turned] {
            std::fs::write(&path, broken).expect("broken");
            assert_eq!(read(&path, 3), None);
            write(&path, &[1.0, -2.5, 0.0]).expect("written");
            assert_eq!(std::fs::read(&path).expect("a file"), whole);
        }
        std::fs::write(&path, b"precious").expect("somebody's");
        write(&path, &[1.0, -2.5, 0.0]).expect("left alone");
        assert_eq!(std::fs::read(&path).expect("a file"), b"precious");
        let names = std::fs::read_dir(folder.path().join("ab")).expect("a folder").count();
        assert_eq!(names, 1);
        assert_eq!(bytes_below(folder.path()), 8);
    }
}
