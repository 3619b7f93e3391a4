//! The strict cursor with which a model takes its tensors from a checkpoint: every one must be there with its shape, and
//! at the end nothing unknown may be left.

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};

use mplug_kernels::gemm::{PackedMatrix, Precision, QuantizedWeight};

use super::{Checkpoint, CheckpointError, Mismatch, resize_position_embedding};
use crate::smoothing::{ObservedInput, Observer};

/// A prefix in a checkpoint, such as `text_decoder.bert`, sharing one record of what was read. Clones and
/// descendants may be used from several threads. It carries the precision at which layers are to pack their weights, so
/// that no model file has to know it.
#[derive(Clone)]
pub struct Weights<'a> {
    checkpoint: &'a Checkpoint,
    prefix: String,
    precision: Precision,
    observer: Option<&'a Observer>,
    read: Arc<Mutex<HashSet<String>>>,
}

/// A weight as a file has it.
pub enum StoredWeight {
    /// Floating-point values, `(out_features, in_features)`.
    Float(Vec<f32>),
    /// int8.
    Quantized(QuantizedWeight),
}

impl StoredWeight {
    /// Several weights of the same input as one, their outputs one after the other. int8 stays int8 where all are divided
    /// by the same smoothing.
    pub fn join(parts: Vec<Self>, in_features: usize) -> Self {
        let mut joined = QuantizedWeight { values: Vec::new(), scales: Vec::new(), smoothing: None };
        for (i, part) in parts.iter().enumerate() {
            let Self::Quantized(part) = part else { return Self::join_floats(parts, in_features) };
            if i == 0 {
                joined.smoothing.clone_from(&part.smoothing);
            } else if joined.smoothing != part.smoothing {
                return Self::join_floats(parts, in_features);
            }
            joined.values.extend_from_slice(&part.values);
            joined.scales.extend_from_slice(&part.scales);
        }
        Self::Quantized(joined)
    }

    fn join_floats(parts: Vec<Self>, in_features: usize) -> Self {
        let mut joined = Vec::new();
        for part in parts {
            joined.extend_from_slice(&match part {
                Self::Float(values) => values,
                Self::Quantized(weight) => weight.dequantize(in_features),
            });
        }
        Self::Float(joined)
    }

    /// Packs it for this machine. int8 is only ever stored where int8 is requested.
    pub fn pack(&self, in_features: usize, precision: Precision) -> PackedMatrix {
        match self {
            Self::Float(values) => {
                PackedMatrix::from_weight(values, values.len() / in_features, in_features, precision)
            }
            Self::Quantized(weight) => PackedMatrix::from_quantized(weight, in_features),
        }
    }
}

impl<'a> Weights<'a> {
    /// The root of a checkpoint, with nothing read yet, for a model at f32.
    pub fn new(checkpoint: &'a Checkpoint) -> Self {
        Self {
            checkpoint,
            prefix: String::new(),
            precision: Precision::F32,
            observer: None,
            read: Arc::default(),
        }
    }

    /// Weights for a model at another precision.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// Weights for a model whose layers report their inputs to `observer`.
    #[must_use]
    pub fn with_observer(self, observer: Option<&'a Observer>) -> Self {
        Self { observer, ..self }
    }

    /// The precision at which layers pack their weights.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Where a layer with the weights `names` records what its inputs are like, if they are observed.
    pub(crate) fn observe(&self, names: &[&str], in_features: usize) -> Option<Arc<ObservedInput>> {
        let full_names = || names.iter().map(|name| self.full_name(name)).collect();
        self.observer.map(|observer| observer.add(full_names(), in_features))
    }

    /// The prefix `part` below this one.
    #[must_use]
    pub fn at(&self, part: impl Display) -> Weights<'a> {
        Weights { prefix: self.full_name(part), ..self.clone() }
    }

    /// Whether a tensor is there. Does not count as reading it.
    pub fn has(&self, name: &str) -> bool {
        self.checkpoint.has(&self.full_name(name))
    }

    /// The shape of a tensor, if it is there.
    pub fn shape(&self, name: &str) -> Option<&'a [usize]> {
        self.checkpoint.shape(&self.full_name(name))
    }

    /// The values of a tensor of exactly this shape, row-major.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, CheckpointError> {
        let name = self.full_name(name);
        let found = self.checkpoint.shape(&name).ok_or_else(|| self.missing(&name))?;
        if found != shape {
            return Err(self.wrong_shape(name, shape, found));
        }
        let values = self.checkpoint.read_f32(&name)?;
        self.record(name);
        Ok(values)
    }

    /// A weight of exactly this shape, `[out_features, in_features]`: as int8 where it is stored so and the model is to
    /// be int8, else as floating-point values.
    pub fn stored_weight(&self, name: &str, shape: [usize; 2]) -> Result<StoredWeight, CheckpointError> {
        let full_name = self.full_name(name);
        let fits = self.precision == Precision::Int8 && self.checkpoint.shape(&full_name) == Some(&shape[..]);
        if fits && let Some(weight) = self.checkpoint.read_quantized(&full_name)? {
            self.record(full_name);
            return Ok(StoredWeight::Quantized(weight));
        }
        self.tensor(name, &shape).map(StoredWeight::Float)
    }

    /// The visual position table for `grid × grid` patches and a class token, `(1 + grid²) · width` values; resized where
    /// the file's grid is another.
    pub fn position_embedding(
        &self,
        name: &str,
        grid: usize,
        width: usize,
    ) -> Result<Vec<f32>, CheckpointError> {
        let full_name = self.full_name(name);
        let expected = [1 + grid * grid, width];
        let found = self.checkpoint.shape(&full_name).ok_or_else(|| self.missing(&full_name))?;
        let from = match found {
            [rows, columns] if *columns == width => square_grid(*rows),
            _ => None,
        };
        let Some(from) = from else { return Err(self.wrong_shape(full_name, &expected, found)) };
        let table = self.checkpoint.read_f32(&full_name)?;
        self.record(full_name);
        Ok(if from == grid { table } else { resize_position_embedding(&table, from, grid, width) })
    }

    /// Checks that nothing unknown is left: every tensor was read or is `ignored`. To be called on the root.
    pub fn finish(&self, ignored: impl Fn(&str) -> bool) -> Result<(), CheckpointError> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        // The second name of tied weights counts as read with the first.
        let values: HashSet<_> = read.iter().filter_map(|name| self.checkpoint.identity(name)).collect();
        let is_read = |name: &str| {
            read.contains(name)
                || self.checkpoint.identity(name).is_some_and(|identity| values.contains(&identity))
        };
        let unexpected: Vec<String> = self
            .checkpoint
            .names()
            .filter(|name| !is_read(name) && !ignored(name))
            .map(str::to_owned)
            .collect();
        if unexpected.is_empty() {
            return Ok(());
        }
        Err(CheckpointError::Mismatch {
            file: self.checkpoint.label().to_owned(),
            mismatch: Mismatch { unexpected, ..Mismatch::default() },
        })
    }

    fn full_name(&self, part: impl Display) -> String {
        if self.prefix.is_empty() { part.to_string() } else { format!("{}.{part}", self.prefix) }
    }

    fn record(&self, name: String) {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
    }

    fn missing(&self, name: &str) -> CheckpointError {
        CheckpointError::MissingTensor { file: self.checkpoint.label().to_owned(), name: name.to_owned() }
    }

    fn wrong_shape(&self, name: String, expected: &[usize], found: &[usize]) -> CheckpointError {
        let file = self.checkpoint.label().to_owned();
        CheckpointError::WrongShape { file, name, expected: expected.to_vec(), found: found.to_vec() }
    }
}

/// The side of the grid of a position table with a class token, or `None` when the rows make no square.
pub(crate) fn square_grid(rows: usize) -> Option<usize> {
    let patches = rows.checked_sub(1).filter(|&n| n > 0)?;
    let side = patches.isqrt();
    (side * side == patches).then_some(side)
}
