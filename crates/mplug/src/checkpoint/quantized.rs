//! int8 weights in a file: three tensors in the place of one.
//!
//! For a weight `NAME`, `(out, in)`: `NAME_int8` holds its bytes, `NAME_scale` (f32, `out`) what a step of each row is worth
//! and `NAME_smoothing` (f32, `in`; may be absent) by what each input is divided before it is quantised, so that
//! `NAME[o][i] ≈ NAME_int8[o][i] · NAME_scale[o] / NAME_smoothing[i]`. Bytes stand in PyTorch's order, not in that of any
//! kernel: packing a whole captioner takes a few hundredths of a second, and the file suits every CPU.

use std::collections::BTreeMap;

use mplug_kernels::gemm::QuantizedWeight;

use super::source::Source;
use super::tensor::TensorView;
use super::{CheckpointError, Dtype};

/// Endings of the three names.
pub(super) const BYTES: &str = "_int8";
pub(super) const SCALE: &str = "_scale";
pub(super) const SMOOTHING: &str = "_smoothing";

/// The three tensors of a weight; shapes and types are checked.
#[derive(Clone, Debug)]
pub(super) struct QuantizedView {
    values: TensorView,
    scales: TensorView,
    smoothing: Option<TensorView>,
}

impl QuantizedView {
    /// Reads the weight called `name` from the checkpoint's files; its scales and factors are finite.
    pub(super) fn read(&self, files: &[Source], name: &str) -> Result<QuantizedWeight, CheckpointError> {
        let source = |view: &TensorView| &files[view.file];
        let (scale, smoothing) = (format!("{name}{SCALE}"), format!("{name}{SMOOTHING}"));
        let weight = QuantizedWeight {
            values: self.values.read_i8(source(&self.values), &format!("{name}{BYTES}"))?,
            scales: self.scales.read_f32(source(&self.scales), &scale)?,
            smoothing: self
                .smoothing
                .as_ref()
                .map(|view| view.read_f32(source(view), &smoothing))
                .transpose()?,
        };
        if !weight.smoothing.iter().flatten().all(|factor| *factor > 0.0) {
            return Err(source(&self.values)
                .damaged(format!("tensor `{smoothing}` holds values that are not above 0")));
        }
        Ok(weight)
    }
}

/// Takes the int8 weights out of the tensors of a checkpoint that messages call `label`, by the names of the weights they stand for. A weight that is not there in
/// another form as well is left with its bytes as a placeholder, so that its name and shape are known.
pub(super) fn take(
    label: &str,
    tensors: &mut BTreeMap<String, TensorView>,
) -> Result<BTreeMap<String, QuantizedView>, CheckpointError> {
    let names: Vec<String> =
        tensors.keys().filter_map(|name| name.strip_suffix(BYTES)).map(str::to_owned).collect();
    let damaged = |reason: String| CheckpointError::Damaged { file: label.to_owned(), reason };
    let mut found = BTreeMap::new();
    for name in names {
        let Some(values) = tensors.remove(&format!("{name}{BYTES}")) else { continue };
        let (dtype, shape) = (values.dtype, values.shape.clone());
        let [out_features, in_features] = shape[..] else {
            return Err(damaged(format!("tensor `{name}{BYTES}` has shape {shape:?}, expected two")));
        };
        if dtype != Dtype::I8 {
            return Err(damaged(format!("tensor `{name}{BYTES}` is {dtype}, expected i8")));
        }
        let mut companion = |ending: &str, len: usize| {
            let full = format!("{name}{ending}");
            let view = tensors.remove(&full);
            match &view {
                Some(view) if view.shape != [len] => {
                    let reason = format!("tensor `{full}` has shape {:?}, expected [{len}]", view.shape);
                    Err(damaged(reason))
                }
                _ => Ok(view),
            }
        };
        let scales = companion(SCALE, out_features)?.ok_or_else(|| CheckpointError::MissingTensor {
            file: label.to_owned(),
            name: format!("{name}{SCALE}"),
        })?;
        let smoothing = companion(SMOOTHING, in_features)?;
        tensors.entry(name.clone()).or_insert_with(|| values.clone());
        found.insert(name, QuantizedView { values, scales, smoothing });
    }
    Ok(found)
}
