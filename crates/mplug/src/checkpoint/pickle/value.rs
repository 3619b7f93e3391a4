//! What the machine pushes: small values, and the descriptions of storages and tensors that they refer to.

use crate::checkpoint::tensor::Dtype;

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
pub(super) struct TensorRef {
    pub(super) storage: u32,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

pub(super) fn kind(value: Value<'_>) -> &'static str {
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
