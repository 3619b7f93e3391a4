//! Outlier channels for a model that has none, without a change to what it computes: int8 is tested and measured on such a model.
//!
//! Trained transformers have a few channels that are dozens of times larger than the others (Dettmers et al.,
//! arXiv 2208.07339); weights drawn by formula have none. [`WithOutliers`] multiplies a few channels by [`FACTOR`] where
//! they are made, and divides by it the columns of every weight that reads them:
//!
//! - `ln_1` and `ln_2` of the visual encoder's blocks, read by `attn.in_proj_weight` and `mlp.c_fc.weight` alone;
//! - the value rows of every attention, read through the attention, which is linear in them, by its output projection alone.
//!
//! The norms of the text layers are left as they are, since the residual sum reads them too; so is what an activation reads,
//! which is not linear.

use super::{CheckpointError, TensorEntry, TensorReader, Values};

/// How many times larger an outlier channel becomes.
pub const FACTOR: f32 = 40.0;
/// One outlier for this many channels, and at least [`LEAST`] in a module.
const CHANNELS_PER_OUTLIER: usize = 128;
const LEAST: usize = 2;

/// The tensors of a model, changed as the module says.
pub struct WithOutliers<'a, T> {
    tensors: &'a T,
    entries: Vec<TensorEntry>,
}

impl<'a, T: TensorReader> WithOutliers<'a, T> {
    /// Gives `tensors` outliers.
    pub fn new(tensors: &'a T) -> Self {
        Self { tensors, entries: tensors.entries() }
    }
}

impl<T: TensorReader> TensorReader for WithOutliers<'_, T> {
    fn entries(&self) -> Vec<TensorEntry> {
        self.entries.clone()
    }

    fn read(&self, index: usize) -> Result<Values, CheckpointError> {
        let TensorEntry { name, shape, .. } = &self.entries[index];
        Ok(match self.tensors.read(index)? {
            Values::F32(mut values) => {
                add_outliers(name, shape, &mut values);
                Values::F32(values)
            }
            other => other,
        })
    }
}

/// Changes the values of tensor `name` where it makes or reads channels that become outliers.
fn add_outliers(name: &str, shape: &[usize], values: &mut [f32]) {
    let columns = if shape.len() == 2 { shape[1] } else { 1 };
    let rows = shape.first().copied().unwrap_or(0);
    if let Some((maker, first_row)) = made_by(name, rows) {
        for channel in outlier_channels(maker, rows - first_row) {
            let row = first_row + channel;
            values[row * columns..(row + 1) * columns].iter_mut().for_each(|value| *value *= FACTOR);
        }
    }
    if let Some(maker) = read_from(name) {
        for channel in outlier_channels(&maker, columns) {
            values[channel..].iter_mut().step_by(columns).for_each(|value| *value /= FACTOR);
        }
    }
}

/// The module whose output channels the last rows of tensor `name` make, and the first of those rows.
fn made_by(name: &str, rows: usize) -> Option<(&str, usize)> {
    let (parent, last) = name.rsplit_once('.')?;
    match last {
        "in_proj_weight" | "in_proj_bias" => Some((parent, rows / 3 * 2)), // query, key, value
        "weight" | "bias" if parent.ends_with(".ln_1") || parent.ends_with(".ln_2") => Some((parent, 0)),
        "weight" | "bias" => parent.strip_suffix(".self.value").map(|attention| (attention, 0)),
        _ => None,
    }
}

/// The module whose output channels the columns of tensor `name` read.
fn read_from(name: &str) -> Option<String> {
    const READERS: [(&str, &str); 5] = [
        (".attn.in_proj_weight", ".ln_1"),
        (".mlp.c_fc.weight", ".ln_2"),
        (".attn.out_proj.weight", ".attn"),
        (".attention.output.dense.weight", ".attention"),
        (".crossattention.output.dense.weight", ".crossattention"),
    ];
    READERS.iter().find_map(|(reader, maker)| Some(format!("{}{maker}", name.strip_suffix(reader)?)))
}

/// Which of `width` channels of a module become outliers: others in each module, spread over the width.
fn outlier_channels(module: &str, width: usize) -> impl Iterator<Item = usize> {
    let count = (width / CHANNELS_PER_OUTLIER).max(LEAST).min(width);
    let first = module.bytes().fold(0, |sum: usize, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    (0..count).map(move |i| (first % width + i * width / count) % width)
}
