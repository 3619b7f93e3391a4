//! Reads the pickles inside PyTorch files without executing anything.
//!
//! A pickle is a program for a stack machine whose REDUCE instruction calls any Python function. This machine has the
//! instructions that `torch.save` emits and calls nothing: a name on the short list of `Global` that describes a tensor
//! becomes a description; any other (an optimizer's, a recipe's, a trainer's or a whole module's, beside the weights of a training
//! checkpoint) becomes an opaque value without content, which is refused where a tensor or the state dict should be. A name
//! that could do harm if it was called ends the reading with an error that names it, wherever it is. Nothing recurses, and the number of values is bounded, so nesting and repetition cannot exhaust memory.
//!
//! What tensors mean, and where their values lie, is for the callers to know.

mod bytes;
mod machine;
mod objects;
mod stack;
mod tensors;
mod value;

use std::collections::HashMap;

use self::machine::{Machine, Stop};
use self::value::TensorRef;
pub(crate) use self::value::{StorageRef, Value};
use super::CheckpointError;
use super::source::Source;

/// The result of running one pickle.
#[derive(Debug)]
pub(crate) struct Pickle<'p> {
    root: Value<'p>,
    sequences: Vec<Vec<Value<'p>>>,
    dicts: Vec<Vec<(Value<'p>, Value<'p>)>>,
    storages: Vec<StorageRef<'p>>,
    tensors: Vec<TensorRef>,
    names: Vec<String>,
    len: usize,
}

impl<'p> Pickle<'p> {
    /// Runs the pickle at the front of `bytes`.
    pub(crate) fn read(bytes: &'p [u8], source: &Source) -> Result<Self, CheckpointError> {
        let mut machine = Machine {
            bytes,
            at: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            pushed: 0,
            interned: HashMap::new(),
            out: Pickle {
                root: Value::None,
                sequences: Vec::new(),
                dicts: Vec::new(),
                storages: Vec::new(),
                tensors: Vec::new(),
                names: Vec::new(),
                len: 0,
            },
        };
        match machine.run() {
            Ok(()) => Ok(machine.out),
            Err(Stop::Forbidden(global)) => {
                Err(CheckpointError::ForbiddenGlobal { file: source.label().to_owned(), global })
            }
            Err(Stop::Bad(reason)) => {
                Err(source.damaged(format!("its pickle is not readable at byte {}: {reason}", machine.at)))
            }
        }
    }

    /// Bytes that the pickle took.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The object that was pickled.
    pub(crate) fn root(&self) -> Value<'p> {
        self.root
    }

    /// The entry `key` of a dict.
    pub(crate) fn get(&self, dict: Value<'p>, key: &str) -> Option<Value<'p>> {
        let Value::Dict(dict) = dict else { return None };
        // The last of equal keys is the one that Python keeps.
        self.dicts[dict as usize]
            .iter()
            .rev()
            .find_map(|(k, v)| matches!(k, Value::Str(k) if *k == key).then_some(*v))
    }

    /// The root as a list of strings.
    pub(crate) fn strings(&self) -> Option<Vec<&'p str>> {
        let Value::Sequence(items) = self.root else { return None };
        self.sequences[items as usize]
            .iter()
            .map(|v| if let Value::Str(s) = v { Some(*s) } else { None })
            .collect()
    }

    /// All storages that the pickle declares.
    pub(crate) fn storages(&self) -> impl Iterator<Item = StorageRef<'p>> {
        self.storages.iter().copied()
    }
}
