//! The state dict of the original for tensors of ours: what its modules hold under further names, and its trainer's prefix.
//!
//! The original loads with `strict=False`, so what no model of ours holds may be absent and is: CLIP's text tower and
//! `visual_encoder.visual.proj`, momentum models, the queues of retrieval, and at [`Keep::Task`](super::Keep) whatever the
//! task never runs (for captioning: text encoder and fusion encoder). Those modules keep their random start there. This file
//! knows no file format and no values but those of `position_ids`.

use std::collections::HashMap;

use super::key_names::TIED;
use super::write::{TensorEntry, TensorReader};
use super::{CheckpointError, Dtype, Values};

/// Tensors of a model as the original's state dict has them, for [`write_pytorch`](super::write_pytorch).
///
/// To the tensors given come, where they are not among them, the other name of each tied output weight (one tensor under two
/// names) and the `position_ids` buffers, `[1, max_position_embeddings]`, of embeddings.
#[derive(Debug)]
pub struct StateDict<'a, T: ?Sized> {
    given: &'a T,
    /// Those of `given`, then the additional ones.
    entries: Vec<TensorEntry>,
    num_given: usize,
}

impl<'a, T: TensorReader + ?Sized> StateDict<'a, T> {
    /// The state dict of these tensors under their plain names.
    pub fn new(given: &'a T) -> Self {
        let mut entries = given.entries();
        let num_given = entries.len();
        let index: HashMap<String, usize> =
            entries.iter().enumerate().map(|(index, entry)| (entry.name.clone(), index)).collect();
        for (later, earlier) in TIED {
            let (name, known) = match (index.get(later), index.get(earlier)) {
                (None, Some(known)) => (later, *known),
                (Some(known), None) => (earlier, *known),
                _ => continue,
            };
            let same_as = Some(entries[known].same_as.unwrap_or(known));
            entries.push(TensorEntry { name: name.to_owned(), same_as, ..entries[known].clone() });
        }
        for known in 0..num_given {
            let Some(prefix) = entries[known].name.strip_suffix("embeddings.position_embeddings.weight")
            else {
                continue;
            };
            let name = format!("{prefix}embeddings.position_ids");
            if !index.contains_key(&name) {
                // An empty table may claim any number of rows.
                let is_empty = entries[known].shape.contains(&0);
                let rows = entries[known].shape.first().copied().filter(|_| !is_empty).unwrap_or(0);
                let shape = vec![1, rows];
                entries.push(TensorEntry { name, shape, fixed_dtype: Some(Dtype::I64), same_as: None });
            }
        }
        Self { given, entries, num_given }
    }

    /// Puts every name below `module`: `NAME` becomes `module.NAME`.
    #[must_use]
    pub fn below(mut self, module: &str) -> Self {
        for entry in &mut self.entries {
            entry.name = format!("{module}.{}", entry.name);
        }
        self
    }
}

impl<T: TensorReader + ?Sized> TensorReader for StateDict<'_, T> {
    fn entries(&self) -> Vec<TensorEntry> {
        self.entries.clone()
    }

    fn read(&self, index: usize) -> Result<Values, CheckpointError> {
        let entry = &self.entries[index];
        match entry.same_as {
            _ if index < self.num_given => self.given.read(index),
            Some(given) => self.given.read(given),
            None => Ok(Values::I64((0..entry.shape.iter().product::<usize>() as i64).collect())),
        }
    }
}
