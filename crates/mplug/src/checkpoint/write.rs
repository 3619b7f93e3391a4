//! Writing weight files: safetensors, and PyTorch's zip format as `torch.load` reads it. Tensors are read and written one
//! at a time, so a model larger than memory can be converted; a file appears whole under its name or not at all.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::{CheckpointError, Dtype, Values};

/// The format of a weight file to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileFormat {
    /// `model.safetensors`.
    #[default]
    Safetensors,
    /// `pytorch_model.bin`, PyTorch's zip format.
    Pytorch,
}

/// One tensor to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorEntry {
    /// Name in the file.
    pub name: String,
    /// Shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// How it is stored whatever the chosen type: whole numbers as i64, the parts of an int8 weight as what they are.
    pub fixed_dtype: Option<Dtype>,
    /// The index of an earlier entry that is the same tensor (tied weights). PyTorch's format stores it once under both
    /// names; safetensors allows one name only, and reading gives the other one back.
    pub same_as: Option<usize>,
}

/// Where tensors to write come from.
pub trait TensorReader {
    /// All tensors, in the order of the file.
    fn entries(&self) -> Vec<TensorEntry>;
    /// The values of entry `index`.
    fn read(&self, index: usize) -> Result<Values, CheckpointError>;
}

/// Tensors that are in memory: name, shape, values.
impl TensorReader for [(String, Vec<usize>, Vec<f32>)] {
    fn entries(&self) -> Vec<TensorEntry> {
        self.iter()
            .map(|(name, shape, _)| TensorEntry {
                name: name.clone(),
                shape: shape.clone(),
                fixed_dtype: None,
                same_as: None,
            })
            .collect()
    }

    fn read(&self, index: usize) -> Result<Values, CheckpointError> {
        Ok(Values::F32(self[index].2.clone()))
    }
}

/// Writes a safetensors file. `dtype` is f32, f16 or bf16 and applies to floating-point tensors.
pub fn write_safetensors(
    path: &Path,
    tensors: &(impl TensorReader + ?Sized),
    dtype: Dtype,
) -> Result<(), CheckpointError> {
    atomically(path, |file| safetensors_to(file, tensors, dtype, path))
}

/// Writes PyTorch's zip format, a plain state dict. `dtype` is f32, f16 or bf16 and applies to floating-point tensors.
pub fn write_pytorch(
    path: &Path,
    tensors: &(impl TensorReader + ?Sized),
    dtype: Dtype,
) -> Result<(), CheckpointError> {
    atomically(path, |file| pytorch_to(file, tensors, dtype, path))
}

/// A safetensors file in memory.
pub fn safetensors_bytes(
    tensors: &(impl TensorReader + ?Sized),
    dtype: Dtype,
) -> Result<Vec<u8>, CheckpointError> {
    let mut out = Vec::new();
    safetensors_to(&mut out, tensors, dtype, Path::new("the weights in memory"))?;
    Ok(out)
}

/// Writes under a temporary name in the same folder, then renames.
pub(crate) fn atomically(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> Result<(), CheckpointError>,
) -> Result<(), CheckpointError> {
    let io = |source| CheckpointError::Io { action: "write", path: path.to_path_buf(), source };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary =
        tempfile::Builder::new().prefix(".mplug-").suffix(".tmp").tempfile_in(folder).map_err(io)?;
    let mut writer = BufWriter::with_capacity(1 << 20, temporary.as_file());
    write(&mut writer)?;
    writer.flush().map_err(io)?;
    drop(writer);
    temporary.as_file().sync_all().map_err(io)?;
    make_readable(temporary.as_file()).map_err(io)?;
    temporary.persist(path).map_err(|e| io(e.error))?;
    Ok(())
}

/// Temporary files are private to their owner; a model file has ordinary permissions.
#[cfg(unix)]
fn make_readable(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_: &File) -> std::io::Result<()> {
    Ok(())
}

fn stored_dtype(entry: &TensorEntry, dtype: Dtype) -> Result<Dtype, CheckpointError> {
    if let Some(fixed) = entry.fixed_dtype {
        return Ok(fixed);
    }
    match dtype {
        Dtype::F32 | Dtype::F16 | Dtype::Bf16 => Ok(dtype),
        other => Err(CheckpointError::CannotWrite {
            what: format!("tensor `{}`", entry.name),
            reason: format!("weights are written as f32, f16 or bf16, not {other}"),
        }),
    }
}

fn byte_len(entry: &TensorEntry, dtype: Dtype) -> u64 {
    entry.shape.iter().product::<usize>() as u64 * dtype.size() as u64
}

/// The stored bytes of entry `index`.
fn stored_bytes(
    tensors: &(impl TensorReader + ?Sized),
    entry: &TensorEntry,
    index: usize,
    dtype: Dtype,
) -> Result<Vec<u8>, CheckpointError> {
    let values = tensors.read(index)?;
    let (len, expected) = match &values {
        Values::F32(v) => (v.len(), entry.shape.iter().product::<usize>()),
        Values::I64(v) => (v.len(), entry.shape.iter().product::<usize>()),
        Values::I8(v) => (v.len(), entry.shape.iter().product::<usize>()),
    };
    let refuse =
        |reason: String| CheckpointError::CannotWrite { what: format!("tensor `{}`", entry.name), reason };
    if len != expected {
        return Err(refuse(format!("it has {len} values, its shape {:?} needs {expected}", entry.shape)));
    }
    match (values, dtype) {
        (Values::F32(v), Dtype::F32) => Ok(bytemuck::cast_slice(&v).to_vec()),
        (Values::F32(v), Dtype::F16) => {
            let mut out = vec![f16::ZERO; v.len()];
            out.convert_from_f32_slice(&v);
            if let Some(i) = (0..v.len()).find(|&i| v[i].is_finite() && !out[i].is_finite()) {
                return Err(refuse(format!("its value {} does not fit f16: choose bf16 or f32", v[i])));
            }
            Ok(bytemuck::cast_slice(&out).to_vec())
        }
        (Values::F32(v), Dtype::Bf16) => {
            let mut out = vec![bf16::ZERO; v.len()];
            out.convert_from_f32_slice(&v);
            Ok(bytemuck::cast_slice(&out).to_vec())
        }
        (Values::I64(v), Dtype::I64) => Ok(bytemuck::cast_slice(&v).to_vec()),
        (Values::I8(v), Dtype::I8) => Ok(bytemuck::cast_slice(&v).to_vec()),
        (values, dtype) => Err(refuse(format!(
            "its values are {}, expected {dtype}",
            match values {
                Values::F32(_) => "f32",
                Values::I64(_) => "i64",
                Values::I8(_) => "i8",
            }
        ))),
    }
}

fn safetensors_to(
    out: &mut impl Write,
    tensors: &(impl TensorReader + ?Sized),
    dtype: Dtype,
    path: &Path,
) -> Result<(), CheckpointError> {
    let io = |source| CheckpointError::Io { action: "write", path: path.to_path_buf(), source };
    let entries = tensors.entries();
    let mut header = serde_json::Map::new();
    let mut at = 0_u64;
    for entry in entries.iter().filter(|e| e.same_as.is_none()) {
        let dtype = stored_dtype(entry, dtype)?;
        let end = at + byte_len(entry, dtype);
        let value = serde_json::json!({
            "dtype": dtype.to_string().to_uppercase(), "shape": entry.shape, "data_offsets": [at, end],
        });
        if header.insert(entry.name.clone(), value).is_some() {
            return Err(CheckpointError::CannotWrite {
                what: format!("tensor `{}`", entry.name),
                reason: "the name occurs twice".into(),
            });
        }
        at = end;
    }
    let mut text = serde_json::Value::Object(header).to_string();
    while !text.len().is_multiple_of(8) {
        text.push(' ');
    }
    out.write_all(&(text.len() as u64).to_le_bytes()).map_err(io)?;
    out.write_all(text.as_bytes()).map_err(io)?;
    for (index, entry) in entries.iter().enumerate().filter(|(_, e)| e.same_as.is_none()) {
        let bytes = stored_bytes(tensors, entry, index, stored_dtype(entry, dtype)?)?;
        out.write_all(&bytes).map_err(io)?;
    }
    Ok(())
}

fn pytorch_to(
    out: &mut impl Write,
    tensors: &(impl TensorReader + ?Sized),
    dtype: Dtype,
    path: &Path,
) -> Result<(), CheckpointError> {
    let io = |source| CheckpointError::Io { action: "write", path: path.to_path_buf(), source };
    let entries = tensors.entries();
    let mut zip = ZipWriter { out, at: 0, directory: Vec::new(), count: 0 };
    zip.file("archive/data.pkl", &state_dict_pickle(&entries, dtype)?).map_err(io)?;
    zip.file("archive/byteorder", b"little").map_err(io)?;
    for (index, entry) in entries.iter().enumerate().filter(|(_, e)| e.same_as.is_none()) {
        let bytes = stored_bytes(tensors, entry, index, stored_dtype(entry, dtype)?)?;
        zip.file(&format!("archive/data/{index}"), &bytes).map_err(io)?;
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

/// A zip archive of stored files. Every offset is written in the ZIP64 way, so that the one path is always exercised.
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
        let len = u32::try_from(data.len()).map_err(|_| std::io::Error::other("a tensor above 4 GiB"))?;
        let header_at = self.at;
        // Version 4.5, no flags, stored, 1980-01-01 00:00, checksum, both sizes, length of the name.
        let mut common = Vec::new();
        common.extend(45_u16.to_le_bytes());
        common.extend([0; 6]);
        common.extend(0x0021_u16.to_le_bytes());
        common.extend(crc32fast::hash(data).to_le_bytes());
        common.extend(len.to_le_bytes());
        common.extend(len.to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        // An extra field of zeros ("FB", as PyTorch names it) pads the header to the alignment.
        let unpadded = header_at + 30 + name.len() as u64 + 4;
        let padding = (unpadded.next_multiple_of(ALIGNMENT) - unpadded) as u16;
        let mut header = 0x0403_4b50_u32.to_le_bytes().to_vec();
        header.extend(&common);
        header.extend((4 + padding).to_le_bytes());
        header.extend(name.bytes());
        header.extend(b"FB");
        header.extend(padding.to_le_bytes());
        header.resize(header.len() + usize::from(padding), 0);
        self.put(&header)?;
        self.put(data)?;

        self.directory.extend(0x0201_4b50_u32.to_le_bytes());
        self.directory.extend(45_u16.to_le_bytes());
        self.directory.extend(&common);
        self.directory.extend(12_u16.to_le_bytes());
        self.directory.extend([0; 10]);
        self.directory.extend(u32::MAX.to_le_bytes());
        self.directory.extend(name.bytes());
        self.directory.extend([1, 0, 8, 0]);
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
