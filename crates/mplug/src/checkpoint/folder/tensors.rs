//! The tensors of an opened model as those to write: tied ones once, position tables resized where the original wants it.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use super::{Keep, ModelFolder};
use crate::checkpoint::expected::needed_tensors;
use crate::checkpoint::key_names::TIED;
use crate::checkpoint::weights::square_grid;
use crate::checkpoint::write::{TensorEntry, TensorReader};
use crate::checkpoint::{Checkpoint, CheckpointError, Dtype, NotFinite, Values, resize_position_embedding};
use crate::config::ModelConfig;

/// The tensors of an opened model, each tied one once.
pub(super) struct CheckpointTensors<'a> {
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) entries: Vec<TensorEntry>,
    /// Names of those that the model's task reads.
    needed: HashSet<String>,
    /// Others that were read and hold values that are not finite.
    pub(super) not_finite: Mutex<Vec<(String, NotFinite)>>,
}

impl<'a> CheckpointTensors<'a> {
    pub(super) fn new(source: &'a ModelFolder, keep: Keep) -> Self {
        let checkpoint = &source.checkpoint;
        let needed: HashSet<String> =
            needed_tensors(&source.config).into_iter().map(|(name, _)| name).collect();
        let (mut entries, mut first) = (Vec::new(), HashMap::new());
        for name in checkpoint.names().filter(|name| keep == Keep::All || needed.contains(*name)) {
            let index = entries.len();
            let same_as = checkpoint.identity(name).and_then(|id| match first.entry(id) {
                std::collections::hash_map::Entry::Occupied(earlier) => Some(*earlier.get()),
                std::collections::hash_map::Entry::Vacant(free) => {
                    free.insert(index);
                    None
                }
            });
            entries.push(TensorEntry {
                name: name.to_owned(),
                shape: checkpoint.shape(name).unwrap_or_default().to_vec(),
                fixed_dtype: checkpoint.is_integer(name).then_some(Dtype::I64),
                same_as: same_as.filter(|_| is_restored(name)),
            });
        }
        Self { checkpoint, entries, needed, not_finite: Mutex::default() }
    }

    /// The values of a tensor as they are stored; those of one that the task reads are finite.
    fn values(&self, name: &str) -> Result<Values, CheckpointError> {
        if self.needed.contains(name) {
            return self.checkpoint.read_values(name);
        }
        let (values, not_finite) = self.checkpoint.read_any_values(name)?;
        if let Some(found) = not_finite {
            let mut all = self.not_finite.lock().unwrap_or_else(PoisonError::into_inner);
            all.push((name.to_owned(), found));
        }
        Ok(values)
    }

    /// Resizes visual position tables to the configuration's picture size, those of momentum models included.
    pub(super) fn with_position_tables_of(mut self, config: &ModelConfig) -> Self {
        let grid = config.vision.image_size / config.vision.patch_size;
        let tables = self.entries.iter_mut().filter(|e| e.name.ends_with(".visual.positional_embedding"));
        let is_table = |e: &TensorEntry| e.fixed_dtype.is_none() && e.shape.len() == 2;
        for entry in tables.filter(|e| is_table(e) && square_grid(e.shape[0]).is_some()) {
            entry.shape[0] = 1 + grid * grid;
        }
        self
    }
}

/// Whether reading a file without this name gives it back: the second names of tied output weights.
fn is_restored(name: &str) -> bool {
    TIED.iter().any(|(later, _)| *later == name)
}

impl TensorReader for CheckpointTensors<'_> {
    fn entries(&self) -> Vec<TensorEntry> {
        self.entries.clone()
    }

    fn read(&self, index: usize) -> Result<Values, CheckpointError> {
        let TensorEntry { name, shape, .. } = &self.entries[index];
        let stored = self.checkpoint.shape(name).unwrap_or_default();
        if stored == shape {
            return self.values(name);
        }
        // Position tables alone are requested in another shape, and only where both are square.
        let grid =
            |shape: &[usize]| square_grid(shape[0]).expect("a table for another picture size is square");
        Ok(match self.values(name)? {
            Values::F32(table) => {
                Values::F32(resize_position_embedding(&table, grid(stored), grid(shape), shape[1]))
            }
            whole_numbers => whole_numbers,
        })
    }
}
