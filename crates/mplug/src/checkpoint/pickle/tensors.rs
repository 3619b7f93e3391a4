//! What a pickle's values make of a state dict: its tensors by name, each with where its values lie.

use super::value::kind;
use super::{Pickle, StorageRef, Value};
use crate::checkpoint::CheckpointError;
use crate::checkpoint::source::Source;
use crate::checkpoint::tensor::{Storage, TensorView};

impl<'p> Pickle<'p> {
    /// The tensors of the state dict: the root, or what it holds under `model` and then `module`.
    pub(crate) fn tensors(
        &self,
        source: &Source,
        mut locate: impl FnMut(StorageRef<'p>) -> Result<Storage, CheckpointError>,
    ) -> Result<Vec<(String, TensorView)>, CheckpointError> {
        let entries = self.state_dict(source)?;
        let mut tensors = Vec::new();
        for &(key, value) in entries {
            let Value::Str(name) = key else {
                return Err(source.damaged("its state dict has a key that is not a string"));
            };
            let tensor = match value {
                Value::Tensor(tensor) => &self.tensors[tensor as usize],
                Value::Opaque(class) => return Err(self.forbidden(source, class)),
                _ => continue,
            };
            let storage = locate(self.storages[tensor.storage as usize])?;
            let view =
                TensorView::new(storage, tensor.offset, tensor.shape.clone(), Some(tensor.strides.clone()))
                    .map_err(|reason| source.damaged(format!("tensor `{name}`: {reason}")))?;
            tensors.push((name.to_owned(), view));
        }
        if tensors.is_empty() {
            let keys: Vec<&str> = entries
                .iter()
                .filter_map(|(k, _)| if let Value::Str(k) = k { Some(*k) } else { None })
                .take(10)
                .collect();
            return Err(source.damaged(format!(
                "it holds no tensors at its top level, under `model` or under `module`; its entries are {keys:?}"
            )));
        }
        Ok(tensors)
    }

    fn state_dict(&self, source: &Source) -> Result<&[(Value<'p>, Value<'p>)], CheckpointError> {
        let mut at = self.root;
        for wrap in ["model", "module"] {
            match self.get(at, wrap) {
                Some(inner @ Value::Dict(_)) => at = inner,
                Some(Value::Opaque(class)) => return Err(self.forbidden(source, class)),
                _ => {}
            }
        }
        match at {
            Value::Dict(dict) => Ok(&self.dicts[dict as usize]),
            Value::Opaque(class) => Err(self.forbidden(source, class)),
            other => {
                Err(source.damaged(format!("its top level is {}, expected a dict of tensors", kind(other))))
            }
        }
    }

    fn forbidden(&self, source: &Source, class: u32) -> CheckpointError {
        CheckpointError::ForbiddenGlobal {
            file: source.label().to_owned(),
            global: self.names[class as usize].clone(),
        }
    }
}
