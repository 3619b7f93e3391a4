//! Reads the pickles inside PyTorch files without executing anything.
//!
//! A pickle is a program for a stack machine whose REDUCE instruction calls any Python function. This machine has the
//! instructions that `torch.save` emits and calls nothing: a name on the short list of `Global` that describes a tensor
//! becomes a description, a name on the list of harmless leftovers (an optimizer's, numpy's or argparse's values in a
//! training checkpoint) becomes an opaque value without content, and any other name ends the reading with an error that
//! names it. Nothing recurses, and the number of values is bounded, so nesting and repetition cannot exhaust memory.
//!
//! What tensors mean, and where their values lie, is for the callers to know.

mod objects;

use std::collections::HashMap;

use super::CheckpointError;
use super::source::Source;
use super::tensor::{Dtype, Storage, TensorView};

/// Values a pickle may push; a checkpoint of 2 400 tensors with its optimizer state pushes about 150 000.
const MAX_VALUES: usize = 500_000;
/// Values a pickle may remember for reuse.
const MAX_MEMO: usize = 250_000;
/// Tensors a pickle may describe; their descriptions take the most memory.
const MAX_TENSORS: usize = 100_000;

/// A value on the machine's stack. Containers and descriptions are indices, so values are small and never nest.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'p> {
    None,
    Bool(bool),
    Int(i64),
    Float,
    Str(&'p str),
    Bytes,
    /// An integer above 64 bits, little-endian.
    Long(&'p [u8]),
    /// A list, tuple or set.
    Sequence(u32),
    Dict(u32),
    Global(Global),
    Storage(u32),
    Tensor(u32),
    /// A value of a class that is not on the list of tensor parts; the index of its class's name.
    Opaque(u32),
}

/// What a name in the pickle stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Size,
    Storage(Dtype),
    /// Harmless and without use here; the index of its name.
    Inert(u32),
}

/// A storage as the pickle declares it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StorageRef<'p> {
    pub key: &'p str,
    pub numel: usize,
    pub dtype: Dtype,
    /// Legacy files: the part of the storage with this key that is meant (first value, number of values).
    pub view: Option<(usize, usize)>,
}

#[derive(Debug)]
struct TensorRef {
    storage: u32,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

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

fn kind(value: Value<'_>) -> &'static str {
    match value {
        Value::None => "None",
        Value::Bool(_) => "a bool",
        Value::Int(_) | Value::Long(_) => "an integer",
        Value::Float => "a float",
        Value::Str(_) => "a string",
        Value::Bytes => "bytes",
        Value::Sequence(_) => "a list or tuple",
        Value::Dict(_) => "a dict",
        Value::Global(_) => "a class or function",
        Value::Storage(_) => "a storage",
        Value::Tensor(_) => "a tensor",
        Value::Opaque(_) => "an object",
    }
}

/// Why the machine stopped before the end.
enum Stop {
    Forbidden(String),
    Bad(String),
}

type Step<T = ()> = Result<T, Stop>;

fn bad<T>(reason: impl Into<String>) -> Step<T> {
    Err(Stop::Bad(reason.into()))
}

/// A name longer than this is not a Python object's.
const MAX_NAME_BYTES: usize = 512;

struct Machine<'p> {
    bytes: &'p [u8],
    at: usize,
    stack: Vec<Value<'p>>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'p>>,
    pushed: usize,
    interned: HashMap<String, u32>,
    out: Pickle<'p>,
}

impl<'p> Machine<'p> {
    fn run(&mut self) -> Step {
        loop {
            let opcode = self.take(1)?[0];
            if opcode == b'.' {
                self.out.root = self.pop()?;
                self.out.len = self.at;
                return Ok(());
            }
            if !(self.scalar(opcode)? || self.container(opcode)? || self.object(opcode)?) {
                return bad(format!("instruction 0x{opcode:02x} is not among those that torch.save writes"));
            }
        }
    }

    /// Instructions that push a scalar, and those without effect. Whether `opcode` was one.
    fn scalar(&mut self, opcode: u8) -> Step<bool> {
        let value = match opcode {
            0x80 => {
                let version = self.take(1)?[0];
                return if version <= 5 { Ok(true) } else { bad(format!("pickle protocol {version}")) };
            }
            0x95 => {
                self.take(8)?; // FRAME: a hint for streaming readers
                return Ok(true);
            }
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'J' => Value::Int(i32::from_le_bytes(self.array()?).into()),
            b'K' => Value::Int(self.take(1)?[0].into()),
            b'M' => Value::Int(u16::from_le_bytes(self.array()?).into()),
            0x8a => {
                let len = self.take(1)?[0];
                long(self.take(len.into())?)
            }
            0x8b => {
                let len = self.length4()?;
                long(self.take(len)?)
            }
            b'G' => {
                self.take(8)?;
                Value::Float
            }
            0x8c => {
                let len = self.take(1)?[0];
                self.text(len.into())?
            }
            b'X' => {
                let len = self.length4()?;
                self.text(len)?
            }
            0x8d => {
                let len = self.length8()?;
                self.text(len)?
            }
            // Python 2's strings: text where they are UTF-8.
            b'U' => {
                let len = self.take(1)?[0];
                std::str::from_utf8(self.take(len.into())?).map_or(Value::Bytes, Value::Str)
            }
            b'T' => {
                let len = self.length4()?;
                std::str::from_utf8(self.take(len)?).map_or(Value::Bytes, Value::Str)
            }
            b'C' => {
                let len = self.take(1)?[0];
                self.skip_bytes(len.into())?
            }
            b'B' => {
                let len = self.length4()?;
                self.skip_bytes(len)?
            }
            0x8e => {
                let len = self.length8()?;
                self.skip_bytes(len)?
            }
            _ => return Ok(false),
        };
        self.push(value)?;
        Ok(true)
    }

    /// Instructions on containers, the stack and the memo. Whether `opcode` was one.
    fn container(&mut self, opcode: u8) -> Step<bool> {
        match opcode {
            b'(' => {
                if self.marks.len() >= MAX_VALUES {
                    return bad("more marks than any checkpoint has");
                }
                self.marks.push(self.stack.len());
            }
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => {
                let top = self.top()?;
                self.push(top)?;
            }
            b']' | b')' | 0x8f => self.push_sequence(Vec::new())?,
            b'l' | b't' | 0x91 => {
                let items = self.pop_to_mark()?;
                self.push_sequence(items)?;
            }
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let at = self.depth_of(count)?;
                let items = self.stack.split_off(at);
                self.push_sequence(items)?;
            }
            b'}' => self.push_dict(Vec::new())?,
            b'd' => {
                let items = self.pop_to_mark()?;
                let pairs = pairs(&items)?;
                self.push_dict(pairs)?;
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_to_mark()?;
                self.extend(&items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set_items(&items)?;
            }
            b'q' => {
                let index = self.take(1)?[0];
                self.remember(index.into())?;
            }
            b'r' => {
                let index = u32::from_le_bytes(self.array()?);
                self.remember(index)?;
            }
            0x94 => self.remember(self.memo.len() as u32)?,
            b'h' => {
                let index = self.take(1)?[0];
                self.recall(index.into())?;
            }
            b'j' => {
                let index = u32::from_le_bytes(self.array()?);
                self.recall(index)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Instructions on names and the objects made of them. Whether `opcode` was one.
    fn object(&mut self, opcode: u8) -> Step<bool> {
        match opcode {
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                let global = self.global(module, name)?;
                self.push(Value::Global(global))?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Str(module), Value::Str(name)) = (module, name) else {
                    return bad("a name that is not a string");
                };
                let global = self.global(module, name)?;
                self.push(Value::Global(global))?;
            }
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                let value = self.call(callable, arguments)?;
                self.push(value)?;
            }
            0x92 => {
                let (_keywords, arguments, class) = (self.pop()?, self.pop()?, self.pop()?);
                let value = self.call(class, arguments)?;
                self.push(value)?;
            }
            // An object's attributes: a state dict's `_metadata`, a Namespace's fields. None is of use here.
            b'b' => {
                self.pop()?;
                self.top()?;
            }
            b'Q' => {
                let id = self.pop()?;
                let value = self.persistent(id)?;
                self.push(value)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    // --- bytes ---

    fn take(&mut self, len: usize) -> Step<&'p [u8]> {
        let Some(end) = self.at.checked_add(len).filter(|&end| end <= self.bytes.len()) else {
            return bad(format!("it ends within an instruction that needs {len} more bytes"));
        };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| Stop::Bad("cut short".into()))
    }

    fn length4(&mut self) -> Step<usize> {
        // Python reads LONG4 lengths as signed; a negative one is as invalid as one beyond the end.
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    fn length8(&mut self) -> Step<usize> {
        let len = u64::from_le_bytes(self.array()?);
        usize::try_from(len).or_else(|_| bad(format!("a length of {len} bytes")))
    }

    fn text(&mut self, len: usize) -> Step<Value<'p>> {
        let bytes = self.take(len)?;
        // Unpaired surrogates are legal in Python's pickles and never occur in names.
        Ok(std::str::from_utf8(bytes).map_or(Value::Bytes, Value::Str))
    }

    fn skip_bytes(&mut self, len: usize) -> Step<Value<'p>> {
        self.take(len)?;
        Ok(Value::Bytes)
    }

    fn line(&mut self) -> Step<&'p str> {
        let rest = &self.bytes[self.at..];
        let window = &rest[..rest.len().min(MAX_NAME_BYTES)];
        let Some(len) = window.iter().position(|&b| b == b'\n') else {
            return bad("a name without end");
        };
        self.at += len + 1;
        std::str::from_utf8(&rest[..len]).or_else(|_| bad("a name that is not UTF-8"))
    }

    // --- stack and memo ---

    fn push(&mut self, value: Value<'p>) -> Step {
        self.count(1)?;
        self.stack.push(value);
        Ok(())
    }

    fn count(&mut self, values: usize) -> Step {
        self.pushed += values;
        if self.pushed > MAX_VALUES {
            return bad(format!("it builds more than {MAX_VALUES} values, more than any checkpoint has"));
        }
        Ok(())
    }

    /// The stack index of the value `count` below the top, not reaching below the innermost mark.
    fn depth_of(&self, count: usize) -> Step<usize> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count) {
            Some(at) if at >= floor => Ok(at),
            _ => bad("it takes more from the stack than there is"),
        }
    }

    fn top(&self) -> Step<Value<'p>> {
        self.depth_of(1).map(|at| self.stack[at])
    }

    fn pop(&mut self) -> Step<Value<'p>> {
        let at = self.depth_of(1)?;
        Ok(self.stack.swap_remove(at))
    }

    fn pop_to_mark(&mut self) -> Step<Vec<Value<'p>>> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => bad("it needs a mark that was never set"),
        }
    }

    fn push_sequence(&mut self, items: Vec<Value<'p>>) -> Step {
        self.out.sequences.push(items);
        self.push(Value::Sequence(self.out.sequences.len() as u32 - 1))
    }

    fn push_dict(&mut self, pairs: Vec<(Value<'p>, Value<'p>)>) -> Step {
        self.out.dicts.push(pairs);
        self.push(Value::Dict(self.out.dicts.len() as u32 - 1))
    }

    fn extend(&mut self, items: &[Value<'p>]) -> Step {
        match self.top()? {
            Value::Sequence(index) => self.out.sequences[index as usize].extend_from_slice(items),
            Value::Opaque(_) => {}
            other => return bad(format!("it appends to {}", kind(other))),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Value<'p>]) -> Step {
        match self.top()? {
            Value::Dict(index) => self.out.dicts[index as usize].extend(pairs(items)?),
            Value::Opaque(_) => {}
            other => return bad(format!("it sets items of {}", kind(other))),
        }
        Ok(())
    }

    fn remember(&mut self, index: u32) -> Step {
        let value = self.top()?;
        self.memo.insert(index, value);
        if self.memo.len() > MAX_MEMO {
            return bad(format!("it remembers more than {MAX_MEMO} values, more than any checkpoint does"));
        }
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Step {
        match self.memo.get(&index) {
            Some(&value) => self.push(value),
            None => bad(format!("it recalls value {index}, which was never remembered")),
        }
    }
}

fn pairs<'p>(items: &[Value<'p>]) -> Step<Vec<(Value<'p>, Value<'p>)>> {
    if !items.len().is_multiple_of(2) {
        return bad("a dict with a key that has no value");
    }
    Ok(items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
}

/// A little-endian two's complement integer.
fn long(bytes: &[u8]) -> Value<'_> {
    if bytes.len() > 8 {
        return Value::Long(bytes);
    }
    let fill = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
    let mut wide = [fill; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(wide))
}
