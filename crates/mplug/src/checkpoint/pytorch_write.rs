//! Writing PyTorch's zip format as `torch.load` reads it (1.6 and later, `weights_only=True` included): `archive/data.pkl`,
//! the pickle of an `OrderedDict`, beside one stored entry `archive/data/KEY` per tensor.
//!
//! The entries are those that every version of PyTorch needs. `.format_version` and `.storage_alignment` are left out on
//! purpose: with them a file promises PyTorch's own layout byte for byte, from which newer versions may compute where
//! storages lie instead of asking the zip directory. Nothing in a file depends on the clock or the machine: equal tensors
//! give equal bytes. This file knows no names of tensors; those that the original expects are in `state_dict`.

use std::io::Write;
use std::path::Path;

use super::write::{StoredValues, TensorEntry, TensorReader, atomically, check_names, stored_dtype};
use super::{CheckpointError, Dtype};

/// Writes PyTorch's zip format: a state dict of exactly these tensors. `dtype` is f32, f16 or bf16 and applies to
/// floating-point tensors. The file appears whole or not at all.
///
/// # Errors
/// When two tensors have one name, when values do not fit their shape or type, and when the file cannot be written.
pub fn write_pytorch(
    path: &Path,
    tensors: &(impl TensorReader + ?Sized),
    dtype: Dtype,
) -> Result<(), CheckpointError> {
    atomically(path, |file| pytorch_to(file, tensors, dtype, path))
}

fn pytorch_to(
    out: &mut impl Write,
    tensors: &(impl TensorReader + ?Sized),
    dtype: Dtype,
    path: &Path,
) -> Result<(), CheckpointError> {
    let io = |source| CheckpointError::Io { action: "write", path: path.to_path_buf(), source };
    let entries = tensors.entries();
    check_names(&entries)?;
    let mut zip = ZipWriter { out, at: 0, directory: Vec::new(), count: 0 };
    zip.file("archive/data.pkl", &state_dict_pickle(&entries, dtype)?).map_err(io)?;
    zip.file("archive/byteorder", b"little").map_err(io)?;
    for (index, entry) in entries.iter().enumerate().filter(|(_, e)| e.same_as.is_none()) {
        let values = StoredValues::read(tensors, entry, index, stored_dtype(entry, dtype)?)?;
        zip.file(&format!("archive/data/{index}"), values.bytes()).map_err(io)?;
    }
    zip.file("archive/version", b"3\n").map_err(io)?;
    zip.finish().map_err(io)
}

/// The pickle of an `OrderedDict` of tensors, protocol 2, as `torch.save` lays it out.
fn state_dict_pickle(entries: &[TensorEntry], dtype: Dtype) -> Result<Vec<u8>, CheckpointError> {
    let mut p = vec![0x80, 2];
    p.extend(b"ccollections\nOrderedDict\n)R(");
    for (index, entry) in entries.iter().enumerate() {
        let dtype = stored_dtype(entry, dtype)?;
        let storage = match dtype {
            Dtype::F16 => "HalfStorage",
            Dtype::Bf16 => "BFloat16Storage",
            Dtype::I64 => "LongStorage",
            Dtype::I8 => "CharStorage",
            _ => "FloatStorage",
        };
        let numel = entry.shape.iter().product::<usize>();
        pickle_text(&mut p, &entry.name);
        p.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        pickle_text(&mut p, "storage");
        p.extend(format!("ctorch\n{storage}\n").bytes());
        pickle_text(&mut p, &entry.same_as.unwrap_or(index).to_string());
        pickle_text(&mut p, "cpu");
        pickle_int(&mut p, numel);
        p.extend(b"tQK\x00(");
        entry.shape.iter().for_each(|&d| pickle_int(&mut p, d));
        p.extend(b"t(");
        for d in 0..entry.shape.len() {
            pickle_int(&mut p, entry.shape[d + 1..].iter().product());
        }
        p.extend(b"t\x89ccollections\nOrderedDict\n)RtR");
    }
    p.extend(b"u.");
    Ok(p)
}

fn pickle_text(p: &mut Vec<u8>, text: &str) {
    p.push(b'X');
    p.extend((text.len() as u32).to_le_bytes());
    p.extend(text.bytes());
}

fn pickle_int(p: &mut Vec<u8>, n: usize) {
    // LONG1 of eight bytes: signed, and no size reaches the sign bit.
    p.extend([0x8a, 8]);
    p.extend((n as u64).to_le_bytes());
}

/// A zip archive of stored files. All sizes and offsets are written in the ZIP64 way, so that the one path is always
/// exercised and nothing changes above 4 GiB. Written here rather than with the `zip` crate, because the checksum of values
/// in memory can stand before them: nothing is patched afterwards, and the bytes do not change with a crate's version.
struct ZipWriter<'w, W: Write> {
    out: &'w mut W,
    at: u64,
    directory: Vec<u8>,
    count: u64,
}

/// Storages begin at multiples of this, as PyTorch's do.
const ALIGNMENT: u64 = 64;

impl<W: Write> ZipWriter<'_, W> {
    fn file(&mut self, name: &str, data: &[u8]) -> std::io::Result<()> {
        let (header_at, len) = (self.at, data.len() as u64);
        // Version 4.5, no flags, stored, 1980-01-01 00:00, checksum, both sizes (in the extra field), length of the name.
        let mut common = Vec::new();
        common.extend(45_u16.to_le_bytes());
        common.extend([0; 6]);
        common.extend(0x0021_u16.to_le_bytes());
        common.extend(crc32fast::hash(data).to_le_bytes());
        common.extend([0xff; 8]);
        common.extend((name.len() as u16).to_le_bytes());
        // A ZIP64 field with both sizes, then a field of zeros ("FB", as PyTorch names it) up to the alignment.
        let unpadded = header_at + 30 + name.len() as u64 + 20 + 4;
        let padding = (unpadded.next_multiple_of(ALIGNMENT) - unpadded) as u16;
        let mut header = 0x0403_4b50_u32.to_le_bytes().to_vec();
        header.extend(&common);
        header.extend((20 + 4 + padding).to_le_bytes());
        header.extend(name.bytes());
        header.extend([1, 0, 16, 0]);
        header.extend(len.to_le_bytes());
        header.extend(len.to_le_bytes());
        header.extend(b"FB");
        header.extend(padding.to_le_bytes());
        header.resize(header.len() + usize::from(padding), 0);
        self.put(&header)?;
        self.put(data)?;

        self.directory.extend(0x0201_4b50_u32.to_le_bytes());
        self.directory.extend(45_u16.to_le_bytes());
        self.directory.extend(&common);
        self.directory.extend(28_u16.to_le_bytes());
        self.directory.extend([0; 10]);
        self.directory.extend(u32::MAX.to_le_bytes());
        self.directory.extend(name.bytes());
        self.directory.extend([1, 0, 24, 0]);
        self.directory.extend(len.to_le_bytes());
        self.directory.extend(len.to_le_bytes());
        self.directory.extend(header_at.to_le_bytes());
        self.count += 1;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.at += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn finish(mut self) -> std::io::Result<()> {
        let directory_at = self.at;
        let directory = std::mem::take(&mut self.directory);
        self.put(&directory)?;
        let end_at = self.at;
        let mut end = 0x0606_4b50_u32.to_le_bytes().to_vec();
        end.extend(44_u64.to_le_bytes());
        end.extend([45, 0, 45, 0]);
        end.extend([0; 8]);
        end.extend(self.count.to_le_bytes());
        end.extend(self.count.to_le_bytes());
        end.extend((directory.len() as u64).to_le_bytes());
        end.extend(directory_at.to_le_bytes());
        end.extend(0x0706_4b50_u32.to_le_bytes());
        end.extend(0_u32.to_le_bytes());
        end.extend(end_at.to_le_bytes());
        end.extend(1_u32.to_le_bytes());
        end.extend(0x0605_4b50_u32.to_le_bytes());
        end.extend([0; 4]);
        end.extend([0xff; 12]);
        end.extend([0; 2]);
        self.put(&end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::StateDict;
    use crate::checkpoint::seeded::seeded_tensors;
    use crate::config::{ModelConfig, Task};

    /// A disk with room for this number of bytes.
    struct Disk(usize);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.0 == 0 {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            let len = bytes.len().min(self.0);
            self.0 -= len;
            Ok(len)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_an_error_wherever_it_comes_and_leaves_nothing() {
        let recipe = seeded_tensors(&ModelConfig::tiny(Task::ImageCaptioning), 1);
        let tensors = StateDict::new(&recipe);
        let mut whole = Vec::new();
        pytorch_to(&mut whole, &tensors, Dtype::Bf16, Path::new("a.bin")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        let rooms = [0, 1, 100, whole.len() / 3, whole.len() / 2, whole.len() - 1];
        for room in rooms {
            let mut disk = Disk(room);
            let result = atomically(&path, |file| {
                file.write_all(&whole[..room]).unwrap();
                pytorch_to(&mut disk, &tensors, Dtype::Bf16, &path)
            });
            let error = result.unwrap_err();
            assert!(matches!(&error, CheckpointError::Io { path: at, .. } if *at == path), "{room}: {error}");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{room}");
        }
        pytorch_to(&mut Disk(whole.len()), &tensors, Dtype::Bf16, &path).unwrap();
    }

    /// Keeps what is small, so that only headers are left of a large file.
    struct Headers(Vec<u8>);

    impl Write for Headers {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if bytes.len() < 1 << 16 {
                self.0.extend(bytes);
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn entries_above_4_gib_have_their_true_size() {
        // Zeros that are never written take no memory.
        let large = vec![0_u8; (4 << 30) + 3];
        let mut headers = Headers(Vec::new());
        let mut zip = ZipWriter { out: &mut headers, at: 0, directory: Vec::new(), count: 0 };
        zip.file("a/data/0", &large).unwrap();
        zip.file("a/data/1", b"after").unwrap();
        let after_at = 64_u64 + (4 << 30) + 3;
        let header_len = 30 + "a/data/1".len() as u64 + 20 + 4;
        assert_eq!(zip.at, (after_at + header_len).next_multiple_of(ALIGNMENT) + 5);
        zip.finish().unwrap();
        let len = large.len() as u64;
        let field =
            [&[1, 0, 24, 0], &len.to_le_bytes()[..], &len.to_le_bytes(), &0_u64.to_le_bytes()].concat();
        assert!(headers.0.windows(field.len()).any(|window| window == field), "sizes in the directory");
        let field = [&[1, 0, 24, 0], &5_u64.to_le_bytes()[..], &5_u64.to_le_bytes(), &after_at.to_le_bytes()]
            .concat();
        assert!(headers.0.windows(field.len()).any(|window| window == field), "an offset above 4 GiB");
        let field = [&[1, 0, 16, 0], &len.to_le_bytes()[..], &len.to_le_bytes()].concat();
        assert!(headers.0.windows(field.len()).any(|window| window == field), "sizes before the data");
    }
}
