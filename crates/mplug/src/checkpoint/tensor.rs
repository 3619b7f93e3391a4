//! One stored tensor: where its values lie, and how they become f32.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use mplug_kernels::finite::are_finite;
use rayon::prelude::*;

use super::CheckpointError;
use super::source::Source;

#[cfg(target_endian = "big")]
compile_error!("weight files are little-endian and are read without swapping bytes");

/// How values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Dtype {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
}

impl Dtype {
    /// Bytes of one value.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Whether values are whole numbers (or truth values), which keep their exact value as i64.
    pub fn is_integer(self) -> bool {
        matches!(self, Self::I64 | Self::I32 | Self::I16 | Self::I8 | Self::U8 | Self::Bool)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::I16 => "i16",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::Bool => "bool",
        })
    }
}

/// Values of a tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Floating point of any stored width.
    F32(Vec<f32>),
    /// Whole numbers of any stored width.
    I64(Vec<i64>),
    /// The bytes of an int8 weight.
    I8(Vec<i8>),
}

/// Values of a tensor that are no finite f32 numbers: NaN, infinity, or too large for f32.
#[derive(Clone, Debug, PartialEq)]
pub struct NotFinite {
    /// How many.
    pub count: usize,
    /// Of how many.
    pub numel: usize,
    /// The index of the first of them, a number for each dimension.
    pub first: Vec<usize>,
    /// Its value as it is stored.
    pub value: f64,
}

impl NotFinite {
    /// Those among `values`, row-major; `None` if all are finite.
    pub(crate) fn among(values: &[f32], shape: &[usize]) -> Option<Self> {
        let at = values.iter().position(|value| !value.is_finite())?;
        let (mut first, mut rest) = (vec![0; shape.len()], at);
        for (index, len) in first.iter_mut().zip(shape).rev() {
            (*index, rest) = (rest % len, rest / len);
        }
        let count = values[at..].iter().filter(|value| !value.is_finite()).count();
        Some(Self { count, numel: values.len(), first, value: f64::from(values[at]) })
    }
}

impl fmt::Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, numel, first, value } = self;
        write!(f, "{count} of {numel}, the first at {first:?} ({value:e})")
    }
}

/// A run of values of one type in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Storage {
    /// Byte position in the file.
    pub begin: u64,
    /// Number of values.
    pub numel: usize,
    /// Type of each value.
    pub dtype: Dtype,
    /// Checksum of all its bytes, where the format has one.
    pub crc32: Option<u32>,
}

/// A tensor as a view of a storage. Checked: every element lies inside the storage.
#[derive(Clone, Debug)]
pub(crate) struct TensorView {
    /// Which of a checkpoint's files it is in; 0 where there is one.
    pub file: usize,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    strides: Vec<usize>,
    /// First value, counted in values from the storage's begin.
    offset: usize,
    storage: Storage,
}

/// Values converted at a time when the stored type is not f32.
const CHUNK: usize = 1 << 18;

impl TensorView {
    /// A view, or why it would reach outside the storage. The caller has checked that the storage lies in the file.
    pub(crate) fn new(
        storage: Storage,
        offset: usize,
        shape: Vec<usize>,
        strides: Option<Vec<usize>>,
    ) -> Result<Self, String> {
        let numel = shape
            .iter()
            .try_fold(1_usize, |n, &d| n.checked_mul(d))
            .ok_or_else(|| format!("shape {shape:?} overflows"))?;
        let strides = strides.unwrap_or_else(|| contiguous_strides(&shape));
        if strides.len() != shape.len() {
            return Err(format!("{} strides for {} dimensions", strides.len(), shape.len()));
        }
        if numel > 0 {
            let last = shape.iter().zip(&strides).try_fold(offset, |at, (&d, &s)| {
                (d - 1).checked_mul(s).and_then(|step| at.checked_add(step))
            });
            if last.is_none_or(|last| last >= storage.numel) {
                return Err(format!(
                    "shape {shape:?} with strides {strides:?} and offset {offset} reaches outside its storage of {} values",
                    storage.numel
                ));
            }
            if numel > storage.numel {
                return Err(format!(
                    "shape {shape:?} repeats the {} values of its storage: save a contiguous copy",
                    storage.numel
                ));
            }
        }
        Ok(Self { file: 0, dtype: storage.dtype, shape, strides, offset, storage })
    }

    /// The view as one of the checkpoint's file of that number.
    pub(crate) fn in_file(self, file: usize) -> Self {
        Self { file, ..self }
    }

    pub(crate) fn numel(&self) -> usize {
        self.shape.iter().product()
    }

    /// Equal for tensors that are the same values in the same order.
    pub(crate) fn identity(&self) -> (usize, u64, usize, Vec<usize>, Vec<usize>) {
        (self.file, self.storage.begin, self.offset, self.shape.clone(), self.strides.clone())
    }

    /// The values as f32, all of them finite.
    pub(crate) fn read_f32(&self, source: &Source, name: &str) -> Result<Vec<f32>, CheckpointError> {
        let (values, not_finite) = self.read_any_f32(source, name)?;
        match not_finite {
            None => Ok(values),
            Some(found) => Err(source.not_finite(name, found)),
        }
    }

    /// The values as f32, and which of them are not finite.
    pub(crate) fn read_any_f32(
        &self,
        source: &Source,
        name: &str,
    ) -> Result<(Vec<f32>, Option<NotFinite>), CheckpointError> {
        let mut out = vec![0.0_f32; self.numel()];
        if out.is_empty() {
            return Ok((out, None));
        }
        // Looked at in passing, while the values are in the cache.
        let finite = AtomicBool::new(true);
        let look = |values: &[f32]| {
            if !are_finite(values) {
                finite.store(false, Ordering::Relaxed);
            }
        };
        if !self.is_contiguous() {
            self.gather(source, name, |bytes, at| out[at] = to_f32(self.dtype, bytes))?;
            look(&out);
        } else if self.dtype == Dtype::F32 {
            let bytes = bytemuck::cast_slice_mut(&mut out);
            let crc =
                read_pieces(source, self.first_byte(), bytes, |bytes| look(bytemuck::cast_slice(bytes)))?;
            if self.is_whole_storage() {
                self.check_crc(source, name, crc)?;
            }
        } else {
            self.for_each_chunk(source, name, |bytes, at| {
                let chunk = &mut out[at..at + bytes.len() / self.dtype.size()];
                convert_to_f32(self.dtype, bytes, chunk);
                look(chunk);
            })?;
        }
        let not_finite = if finite.into_inner() { None } else { NotFinite::among(&out, &self.shape) };
        Ok((out, not_finite.map(|found| self.with_stored_value(source, found)).transpose()?))
    }

    /// f64 holds numbers that f32 does not: messages have the stored one.
    fn with_stored_value(&self, source: &Source, found: NotFinite) -> Result<NotFinite, CheckpointError> {
        if self.dtype != Dtype::F64 {
            return Ok(found);
        }
        let at: usize = found.first.iter().zip(&self.strides).map(|(index, stride)| index * stride).sum();
        let mut bytes = [0; 8];
        source.read_at(self.first_byte() + 8 * at as u64, &mut bytes)?;
        Ok(NotFinite { value: f64::from_le_bytes(bytes), ..found })
    }

    /// Whole numbers as they are, others as f32 with those of them that are not finite.
    pub(crate) fn read_values(
        &self,
        source: &Source,
        name: &str,
    ) -> Result<(Values, Option<NotFinite>), CheckpointError> {
        if !self.dtype.is_integer() {
            let (values, not_finite) = self.read_any_f32(source, name)?;
            return Ok((Values::F32(values), not_finite));
        }
        let mut out = vec![0_i64; self.numel()];
        if out.is_empty() {
        } else if self.is_contiguous() {
            self.for_each_chunk(source, name, |bytes, at| {
                for (o, b) in out[at..].iter_mut().zip(bytes.chunks_exact(self.dtype.size())) {
                    *o = to_i64(self.dtype, b);
                }
            })?;
        } else {
            self.gather(source, name, |bytes, at| out[at] = to_i64(self.dtype, bytes))?;
        }
        Ok((Values::I64(out), None))
    }

    /// The values of a contiguous tensor of bytes.
    pub(crate) fn read_i8(&self, source: &Source, name: &str) -> Result<Vec<i8>, CheckpointError> {
        if self.dtype != Dtype::I8 || !self.is_contiguous() {
            return Err(source.damaged(format!("tensor `{name}` is not a contiguous array of i8")));
        }
        let mut out = vec![0_i8; self.numel()];
        let crc = read_pieces(source, self.first_byte(), bytemuck::cast_slice_mut(&mut out), |_| ())?;
        if self.is_whole_storage() {
            self.check_crc(source, name, crc)?;
        }
        Ok(out)
    }

    fn first_byte(&self) -> u64 {
        self.storage.begin + (self.offset * self.dtype.size()) as u64
    }

    fn is_contiguous(&self) -> bool {
        // The stride of a dimension of one element is never used.
        let plain = contiguous_strides(&self.shape);
        self.shape.iter().zip(&self.strides).zip(&plain).all(|((&d, s), p)| d == 1 || s == p)
    }

    fn is_whole_storage(&self) -> bool {
        self.offset == 0 && self.numel() == self.storage.numel
    }

    fn check_crc(&self, source: &Source, name: &str, found: u32) -> Result<(), CheckpointError> {
        match self.storage.crc32 {
            Some(expected) if expected != found => Err(source.damaged(format!(
                "the checksum of tensor `{name}` is {found:08x}, the archive says {expected:08x}; download or copy it again"
            ))),
            _ => Ok(()),
        }
    }

    /// Calls `each` with the bytes of consecutive values and the index of the first of them.
    fn for_each_chunk(
        &self,
        source: &Source,
        name: &str,
        mut each: impl FnMut(&[u8], usize),
    ) -> Result<(), CheckpointError> {
        let (numel, size) = (self.numel(), self.dtype.size());
        // u64s, so that the bytes are aligned for every stored type.
        let mut buffer = vec![0_u64; (numel.min(CHUNK) * size).div_ceil(8)];
        let buffer: &mut [u8] = bytemuck::cast_slice_mut(&mut buffer);
        let mut crc = crc32fast::Hasher::new();
        for at in (0..numel).step_by(CHUNK) {
            let bytes = &mut buffer[..(numel - at).min(CHUNK) * size];
            source.read_at(self.first_byte() + (at * size) as u64, bytes)?;
            crc.update(bytes);
            each(bytes, at);
        }
        if self.is_whole_storage() {
            self.check_crc(source, name, crc.finalize())?;
        }
        Ok(())
    }

    /// Calls `each` with the bytes of every value and its row-major index, for views that are not contiguous.
    fn gather(
        &self,
        source: &Source,
        name: &str,
        mut each: impl FnMut(&[u8], usize),
    ) -> Result<(), CheckpointError> {
        let size = self.dtype.size();
        let last: usize = self.shape.iter().zip(&self.strides).map(|(&d, &s)| (d - 1) * s).sum();
        let span = source.read_vec(self.first_byte(), ((last + 1) * size) as u64)?;
        if self.offset == 0 && last + 1 == self.storage.numel {
            self.check_crc(source, name, crc32fast::hash(&span))?;
        }
        let mut index = vec![0_usize; self.shape.len()];
        for at in 0..self.numel() {
            let from: usize = index.iter().zip(&self.strides).map(|(i, s)| i * s).sum();
            each(&span[from * size..(from + 1) * size], at);
            // Counts up like an odometer, last dimension fastest.
            for d in (0..index.len()).rev() {
                index[d] += 1;
                if index[d] < self.shape[d] {
                    break;
                }
                index[d] = 0;
            }
        }
        Ok(())
    }
}

/// Fills `out` from position `at` in pieces, on all threads, and gives the checksum of it all. `look` gets every piece, of a
/// length that is a multiple of 8 but for the last.
fn read_pieces(
    source: &Source,
    at: u64,
    out: &mut [u8],
    look: impl Fn(&[u8]) + Sync,
) -> Result<u32, CheckpointError> {
    /// Work for one thread.
    const PIECE: usize = 4 << 20;
    /// Read and summed while it is in the cache.
    const CACHED: usize = 256 << 10;
    let sums: Vec<crc32fast::Hasher> = out
        .par_chunks_mut(PIECE)
        .enumerate()
        .map(|(piece, bytes)| {
            let mut crc = crc32fast::Hasher::new();
            let mut from = at + (piece * PIECE) as u64;
            for bytes in bytes.chunks_mut(CACHED) {
                source.read_at(from, bytes)?;
                crc.update(bytes);
                look(bytes);
                from += bytes.len() as u64;
            }
            Ok(crc)
        })
        .collect::<Result<_, CheckpointError>>()?;
    let mut crc = crc32fast::Hasher::new();
    for sum in &sums {
        crc.combine(sum);
    }
    Ok(crc.finalize())
}

fn contiguous_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1_usize; shape.len()];
    for d in (1..shape.len()).rev() {
        strides[d - 1] = strides[d].saturating_mul(shape[d]);
    }
    strides
}

fn convert_to_f32(dtype: Dtype, bytes: &[u8], out: &mut [f32]) {
    match dtype {
        Dtype::F16 => bytemuck::cast_slice::<u8, f16>(bytes).convert_to_f32_slice(out),
        Dtype::Bf16 => bytemuck::cast_slice::<u8, bf16>(bytes).convert_to_f32_slice(out),
        _ => {
            for (o, b) in out.iter_mut().zip(bytes.chunks_exact(dtype.size())) {
                *o = to_f32(dtype, b);
            }
        }
    }
}

fn to_f32(dtype: Dtype, b: &[u8]) -> f32 {
    match dtype {
        Dtype::F64 => f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32,
        Dtype::F32 => f32::from_le_bytes([b[0], b[1], b[2], b[3]]),
        Dtype::F16 => f16::from_le_bytes([b[0], b[1]]).to_f32(),
        Dtype::Bf16 => bf16::from_le_bytes([b[0], b[1]]).to_f32(),
        _ => to_i64(dtype, b) as f32,
    }
}

fn to_i64(dtype: Dtype, b: &[u8]) -> i64 {
    match dtype {
        Dtype::I64 => i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]),
        Dtype::I32 => i64::from(i32::from_le_bytes([b[0], b[1], b[2], b[3]])),
        Dtype::I16 => i64::from(i16::from_le_bytes([b[0], b[1]])),
        Dtype::I8 => i64::from(b[0] as i8),
        Dtype::U8 => i64::from(b[0]),
        Dtype::Bool => i64::from(b[0] != 0),
        Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::Bf16 => to_f32(dtype, b) as i64,
    }
}
