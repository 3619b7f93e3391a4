//! Writing weight files: what is written, in which form its values are stored, and the safetensors format (PyTorch's is in
//! `pytorch_write`). Tensors are read and written one at a time, so a model larger than memory can be converted; a file
//! appears whole under its name or not at all. This file knows no names of tensors.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::{CheckpointError, Dtype, Values};
use crate::error::plain_io_error;

/// The format of a weight file to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileFormat {
    /// `model.safetensors`.
    #[default]
    Safetensors,
    /// `pytorch_model.bin`, PyTorch's zip format, with the state dict that the original expects
    /// ([`StateDict`](super::StateDict)).
    Pytorch,
    /// `pytorch_model.bin` with every name under `model.`, as the ModelScope trainer writes it. The original takes that prefix off
    /// again; programs that expect plain names do not.
    PytorchTrainer,
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
    let mut builder = tempfile::Builder::new();
    builder.prefix(".mplug-").suffix(".tmp");
    #[cfg(unix)]
    builder.permissions(ordinary_permissions(0o666));
    let temporary = builder.tempfile_in(folder).map_err(|error| io(plain_io_error(error)))?;
    let mut writer = BufWriter::with_capacity(1 << 20, temporary.as_file());
    write(&mut writer)?;
    writer.flush().map_err(io)?;
    drop(writer);
    temporary.as_file().sync_all().map_err(io)?;
    temporary.persist(path).map_err(|e| io(e.error))?;
    Ok(())
}

/// Writes a text file whole or not at all.
pub fn write_text(path: &Path, text: &str) -> Result<(), CheckpointError> {
    atomically(path, |file| {
        file.write_all(text.as_bytes()).map_err(|source| CheckpointError::Io {
            action: "write",
            path: path.to_path_buf(),
            source,
        })
    })
}

/// Temporary files and folders are private to their owner; what a model is made of has the permissions that the user gives new
/// files: all of `mode` that the umask leaves.
#[cfg(unix)]
pub(crate) fn ordinary_permissions(mode: u32) -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(mode)
}

/// How the values of an entry are stored where `dtype` is chosen for the file.
pub(super) fn stored_dtype(entry: &TensorEntry, dtype: Dtype) -> Result<Dtype, CheckpointError> {
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

/// Refuses a name that occurs twice: readers would keep one of the two tensors and say nothing.
pub(super) fn check_names(entries: &[TensorEntry]) -> Result<(), CheckpointError> {
    let mut seen = HashSet::new();
    match entries.iter().find(|entry| !seen.insert(entry.name.as_str())) {
        None => Ok(()),
        Some(entry) => Err(CheckpointError::CannotWrite {
            what: format!("tensor `{}`", entry.name),
            reason: "the name occurs twice".into(),
        }),
    }
}

fn byte_len(entry: &TensorEntry, dtype: Dtype) -> u64 {
    entry.shape.iter().product::<usize>() as u64 * dtype.size() as u64
}

/// The values of a tensor in the form in which they are stored.
pub(super) enum StoredValues {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
    I64(Vec<i64>),
    I8(Vec<i8>),
}

impl StoredValues {
    /// Reads entry `index` and converts it to `dtype`.
    pub(super) fn read(
        tensors: &(impl TensorReader + ?Sized),
        entry: &TensorEntry,
        index: usize,
        dtype: Dtype,
    ) -> Result<Self, CheckpointError> {
        let values = tensors.read(index)?;
        let refuse = |reason: String| CheckpointError::CannotWrite {
            what: format!("tensor `{}`", entry.name),
            reason,
        };
        let (kind, len) = match &values {
            Values::F32(v) => ("f32", v.len()),
            Values::I64(v) => ("i64", v.len()),
            Values::I8(v) => ("i8", v.len()),
        };
        let expected = entry.shape.iter().product::<usize>();
        if len != expected {
            return Err(refuse(format!("it has {len} values, its shape {:?} needs {expected}", entry.shape)));
        }
        Ok(match (values, dtype) {
            (Values::F32(v), Dtype::F32) => Self::F32(v),
            (Values::F32(v), Dtype::F16) => {
                let mut out = vec![f16::ZERO; v.len()];
                out.convert_from_f32_slice(&v);
                if let Some(i) = (0..v.len()).find(|&i| v[i].is_finite() && !out[i].is_finite()) {
                    return Err(refuse(format!("its value {:?} does not fit f16: choose bf16 or f32", v[i])));
                }
                Self::F16(out)
            }
            (Values::F32(v), Dtype::Bf16) => {
                let mut out = vec![bf16::ZERO; v.len()];
                out.convert_from_f32_slice(&v);
                if let Some(i) = (0..v.len()).find(|&i| v[i].is_finite() && !out[i].is_finite()) {
                    return Err(refuse(format!("its value {:?} does not fit bf16: choose f32", v[i])));
                }
                Self::Bf16(out)
            }
            (Values::I64(v), Dtype::I64) => Self::I64(v),
            (Values::I8(v), Dtype::I8) => Self::I8(v),
            (_, dtype) => return Err(refuse(format!("its values are {kind}, expected {dtype}"))),
        })
    }

    /// The bytes of a file, row-major and little-endian.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::F32(v) => bytemuck::cast_slice(v),
            Self::F16(v) => bytemuck::cast_slice(v),
            Self::Bf16(v) => bytemuck::cast_slice(v),
            Self::I64(v) => bytemuck::cast_slice(v),
            Self::I8(v) => bytemuck::cast_slice(v),
        }
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
    check_names(&entries)?;
    let mut header = serde_json::Map::new();
    let mut at = 0_u64;
    for entry in entries.iter().filter(|e| e.same_as.is_none()) {
        let dtype = stored_dtype(entry, dtype)?;
        let end = at + byte_len(entry, dtype);
        let value = serde_json::json!({
            "dtype": dtype.to_string().to_uppercase(), "shape": entry.shape, "data_offsets": [at, end],
        });
        header.insert(entry.name.clone(), value);
        at = end;
    }
    let mut text = serde_json::Value::Object(header).to_string();
    while !text.len().is_multiple_of(8) {
        text.push(' ');
    }
    out.write_all(&(text.len() as u64).to_le_bytes()).map_err(io)?;
    out.write_all(text.as_bytes()).map_err(io)?;
    for (index, entry) in entries.iter().enumerate().filter(|(_, e)| e.same_as.is_none()) {
        let values = StoredValues::read(tensors, entry, index, stored_dtype(entry, dtype)?)?;
        out.write_all(values.bytes()).map_err(io)?;
    }
    Ok(())
}
