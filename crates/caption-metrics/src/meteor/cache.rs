//! The compiled paraphrase table as a file, so that the text is compiled once.
//!
//! Little-endian: a header of 64 bytes (magic, version, the source's identity, four counts, checksum), the four arrays
//! of `u32`, the vocabulary as lines in the order of their numbers. A file that is stale, truncated or damaged is no
//! error but `None`: the caller compiles anew. It knows nothing of the table's meaning.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crc32fast::Hasher;

use super::paraphrases::ParaphraseTable;

const MAGIC: [u8; 8] = *b"MPLUGMPT";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;

/// What distinguishes one source file from another without reading it: its size, and the last eight bytes of a gzip file, which
/// are checksum and length of the text inside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SourceIdentity {
    size: u64,
    trailer: [u8; 8],
}

impl SourceIdentity {
    /// Of the gzip file at `path`.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        if size < 8 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{size} bytes are no gzip file"),
            ));
        }
        let mut trailer = [0; 8];
        file.seek(SeekFrom::End(-8))?;
        file.read_exact(&mut trailer)?;
        Ok(Self { size, trailer })
    }
}

/// Sizes of the parts behind the header.
#[derive(Clone, Copy)]
struct Counts {
    nodes: usize,
    targets: usize,
    words: usize,
    vocabulary_bytes: usize,
}

impl Counts {
    fn of(table: &ParaphraseTable, vocabulary: &str) -> Self {
        Self {
            nodes: table.words.len(),
            targets: table.targets.len(),
            words: table.vocabulary.len(),
            vocabulary_bytes: vocabulary.len(),
        }
    }

    /// The whole file's length; cannot overflow, the counts came from `u32`.
    fn file_bytes(self) -> u64 {
        let numbers = 3 * self.nodes as u64 + 2 + self.targets as u64;
        HEADER_BYTES as u64 + 4 * numbers + self.vocabulary_bytes as u64
    }
}

/// Writes to a temporary file beside `path`, then renames: a reader sees the whole file or none.
pub(crate) fn write(path: &Path, identity: SourceIdentity, table: &ParaphraseTable) -> io::Result<()> {
    let vocabulary = vocabulary_lines(table);
    let header = header(identity, Counts::of(table, &vocabulary));
    let arrays = [&table.words, &table.first_child, &table.first_target, &table.targets];
    let mut hasher = Hasher::new();
    hasher.update(&header[..60]);
    for array in arrays {
        hasher.update(&little_endian(array));
    }
    hasher.update(vocabulary.as_bytes());

    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&header[..60])?;
    file.write_all(&hasher.finalize().to_le_bytes())?;
    for array in arrays {
        file.write_all(&little_endian(array))?;
    }
    file.write_all(vocabulary.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// The table at `path` if it is whole, undamaged and made from the source of this identity.
pub(crate) fn read(path: &Path, identity: SourceIdentity) -> Option<ParaphraseTable> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let mut header_bytes = [0; HEADER_BYTES];
    file.read_exact(&mut header_bytes).ok()?;
    let counts = counts(&header_bytes);
    // Magic, version and identity are compared by writing the header that should be there. What is allocated next is
    // bounded by the file's own length.
    if header(identity, counts)[..60] != header_bytes[..60] || counts.file_bytes() != length {
        return None;
    }
    let mut hasher = Hasher::new();
    hasher.update(&header_bytes[..60]);
    let words = read_array(&mut file, counts.nodes, &mut hasher)?;
    let first_child = read_array(&mut file, counts.nodes + 1, &mut hasher)?;
    let first_target = read_array(&mut file, counts.nodes + 1, &mut hasher)?;
    let targets = read_array(&mut file, counts.targets, &mut hasher)?;
    let mut vocabulary = vec![0; counts.vocabulary_bytes];
    file.read_exact(&mut vocabulary).ok()?;
    hasher.update(&vocabulary);
    if hasher.finalize().to_le_bytes() != header_bytes[60..] {
        return None;
    }
    let vocabulary = std::str::from_utf8(&vocabulary).ok()?;
    let vocabulary =
        vocabulary.split_terminator('\n').zip(0..).map(|(word, number)| (word.into(), number)).collect();
    let table = ParaphraseTable { vocabulary, words, first_child, first_target, targets };
    (table.vocabulary.len() == counts.words && table.is_sound()).then_some(table)
}

/// The header with a checksum of zero.
fn header(identity: SourceIdentity, counts: Counts) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..20].copy_from_slice(&identity.size.to_le_bytes());
    header[20..28].copy_from_slice(&identity.trailer);
    let numbers = [counts.nodes, counts.targets, counts.words, counts.vocabulary_bytes];
    for (slot, number) in header[28..44].chunks_exact_mut(4).zip(numbers) {
        slot.copy_from_slice(&(number as u32).to_le_bytes());
    }
    header
}

fn counts(header: &[u8; HEADER_BYTES]) -> Counts {
    let number =
        |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize;
    Counts { nodes: number(28), targets: number(32), words: number(36), vocabulary_bytes: number(40) }
}

/// The words by number, one a line; words hold no line breaks, they were read from lines.
fn vocabulary_lines(table: &ParaphraseTable) -> String {
    let mut words: Vec<(&u32, &str)> =
        table.vocabulary.iter().map(|(word, number)| (number, &**word)).collect();
    words.sort_unstable();
    words.iter().fold(String::new(), |text, (_, word)| text + word + "\n")
}

fn read_array(file: &mut File, count: usize, hasher: &mut Hasher) -> Option<Vec<u32>> {
    let mut array = vec![0_u32; count];
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut array);
    file.read_exact(bytes).ok()?;
    hasher.update(bytes);
    for number in &mut array {
        *number = u32::from_le(*number); // nothing to do on the usual machines
    }
    Some(array)
}

fn little_endian(array: &[u32]) -> Vec<u8> {
    array.iter().flat_map(|number| number.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meteor::paraphrases::tests::tiny;

    const IDENTITY: SourceIdentity = SourceIdentity { size: 1000, trailer: *b"trailer." };

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/folder/table.bin");
        write(&path, IDENTITY, &tiny()).unwrap();
        assert_eq!(read(&path, IDENTITY), Some(tiny()));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn stale_files_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.bin");
        assert_eq!(read(&path, IDENTITY), None);
        write(&path, IDENTITY, &tiny()).unwrap();
        assert_eq!(read(&path, SourceIdentity { size: 1001, ..IDENTITY }), None);
        assert_eq!(read(&path, SourceIdentity { trailer: *b"Trailer.", ..IDENTITY }), None);
    }

    #[test]
    fn any_damage_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.bin");
        write(&path, IDENTITY, &tiny()).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for byte in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[byte] ^= 0x41;
            std::fs::write(&path, &damaged).unwrap();
            assert_eq!(read(&path, IDENTITY), None, "byte {byte}");
            std::fs::write(&path, &whole[..byte]).unwrap();
            assert_eq!(read(&path, IDENTITY), None, "{byte} bytes");
        }
    }

    #[test]
    fn the_identity_is_size_and_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("source");
        std::fs::write(&path, b"short").unwrap();
        assert!(SourceIdentity::read(&path).is_err());
        std::fs::write(&path, b"0123456789").unwrap();
        let identity = SourceIdentity::read(&path).unwrap();
        assert_eq!(identity, SourceIdentity { size: 10, trailer: *b"23456789" });
    }
}
