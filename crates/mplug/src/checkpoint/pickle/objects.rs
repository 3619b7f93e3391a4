//! What a pickle's names and calls stand for: the allow-list of what describes a tensor, and the list of harmless
//! leftovers. Nothing here is ever called.

use super::bytes::MAX_NAME_BYTES;
use super::machine::{Machine, Step, Stop, bad};
use super::value::{Global, StorageRef, TensorRef, Value, kind};
use crate::checkpoint::tensor::Dtype;

/// Tensors a pickle may describe; their descriptions take the most memory.
const MAX_TENSORS: usize = 100_000;

impl<'p> Machine<'p> {
    pub(super) fn global(&mut self, module: &str, name: &str) -> Step<Global> {
        if module.len() + name.len() > MAX_NAME_BYTES {
            return bad("a name longer than any Python object has");
        }
        let global = match (module, name) {
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Global::RebuildTensor,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                Global::RebuildParameter
            }
            ("torch", "Size") => Global::Size,
            _ => match storage_dtype(module, name) {
                Some(dtype) => Global::Storage(dtype),
                None if is_inert(module, name) => Global::Inert(self.name(format!("{module}.{name}"))),
                None => return Err(Stop::Forbidden(format!("{module}.{name}"))),
            },
        };
        Ok(global)
    }

    fn name(&mut self, name: String) -> u32 {
        let next = self.out.names.len() as u32;
        *self.interned.entry(name).or_insert_with_key(|name| {
            self.out.names.push(name.clone());
            next
        })
    }

    /// What a call stands for. Nothing is called.
    pub(super) fn call(&mut self, callable: Value<'p>, arguments: Value<'p>) -> Step<Value<'p>> {
        let arguments = match arguments {
            // No constructor known here has more than eight arguments.
            Value::Sequence(index) => {
                self.out.sequences[index as usize].iter().take(8).copied().collect::<Vec<_>>()
            }
            other => return bad(format!("arguments that are {}", kind(other))),
        };
        match callable {
            Value::Global(Global::OrderedDict) => self.ordered_dict(&arguments),
            Value::Global(Global::RebuildTensor) => self.tensor(&arguments),
            Value::Global(Global::RebuildParameter) => match arguments.first() {
                Some(&inner @ (Value::Tensor(_) | Value::Opaque(_))) => Ok(inner),
                _ => bad("a parameter without a tensor"),
            },
            Value::Global(Global::Size) => match arguments.first() {
                Some(&size @ Value::Sequence(_)) => Ok(size),
                _ => bad("a torch.Size without sizes"),
            },
            Value::Global(Global::Inert(class)) | Value::Opaque(class) => Ok(Value::Opaque(class)),
            other => bad(format!("it calls {}", kind(other))),
        }
    }

    /// `OrderedDict()` or, from Python 2, `OrderedDict([[key, value], …])`.
    fn ordered_dict(&mut self, arguments: &[Value<'p>]) -> Step<Value<'p>> {
        let mut entries = Vec::new();
        if let Some(Value::Sequence(list)) = arguments.first() {
            for item in &self.out.sequences[*list as usize] {
                let pair = match item {
                    Value::Sequence(pair) => self.out.sequences[*pair as usize].as_slice(),
                    _ => &[],
                };
                let [key, value] = pair else { return bad("an OrderedDict of something else than pairs") };
                entries.push((*key, *value));
            }
        }
        // The list may be shared, so these entries are new values.
        self.count(2 * entries.len())?;
        self.out.dicts.push(entries);
        Ok(Value::Dict(self.out.dicts.len() as u32 - 1))
    }

    /// `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks, …)`.
    fn tensor(&mut self, arguments: &[Value<'p>]) -> Step<Value<'p>> {
        let &[storage, offset, size, stride, ..] = arguments else {
            return bad("a tensor with fewer than four parts");
        };
        let storage = match storage {
            Value::Storage(storage) => storage,
            Value::Opaque(class) => return Ok(Value::Opaque(class)),
            other => return bad(format!("a tensor whose storage is {}", kind(other))),
        };
        let (Value::Int(offset), Value::Sequence(size), Value::Sequence(stride)) = (offset, size, stride)
        else {
            return bad("a tensor whose offset, size or stride is of the wrong kind");
        };
        let tensor = TensorRef {
            storage,
            offset: usize::try_from(offset).or_else(|_| bad("a tensor with a negative offset"))?,
            shape: self.sizes(size)?,
            strides: self.sizes(stride)?,
        };
        if self.out.tensors.len() == MAX_TENSORS {
            return bad(format!("it describes more than {MAX_TENSORS} tensors"));
        }
        self.out.tensors.push(tensor);
        Ok(Value::Tensor(self.out.tensors.len() as u32 - 1))
    }

    fn sizes(&self, sequence: u32) -> Step<Vec<usize>> {
        let items = &self.out.sequences[sequence as usize];
        if items.len() > 8 {
            return bad(format!("a tensor of {} dimensions", items.len()));
        }
        items
            .iter()
            .map(|item| match item {
                Value::Int(n) => {
                    usize::try_from(*n).or_else(|_| bad(format!("a tensor size or stride of {n}")))
                }
                other => bad(format!("a tensor size or stride that is {}", kind(*other))),
            })
            .collect()
    }

    /// `('storage', type, key, device, numel)`, in legacy files with a sixth part, the view.
    pub(super) fn persistent(&mut self, id: Value<'p>) -> Step<Value<'p>> {
        let Value::Sequence(id) = id else { return bad("an external reference that is no tuple") };
        let parts = &self.out.sequences[id as usize];
        let (Some(Value::Str("storage")), Some(&class), Some(Value::Str(key)), Some(&Value::Int(numel))) =
            (parts.first(), parts.get(1), parts.get(2), parts.get(4))
        else {
            return bad("an external reference that is no storage");
        };
        let dtype = match class {
            Value::Global(Global::Storage(dtype)) => dtype,
            Value::Global(Global::Inert(class)) => return Ok(Value::Opaque(class)),
            other => return bad(format!("a storage whose type is {}", kind(other))),
        };
        let Ok(numel) = usize::try_from(numel) else { return bad("a storage of negative size") };
        let view = match parts.get(5) {
            None | Some(Value::None) => None,
            Some(Value::Sequence(view)) => match self.out.sequences[*view as usize].as_slice() {
                [Value::Str(_), Value::Int(offset), Value::Int(len)] => {
                    let offset =
                        usize::try_from(*offset).or_else(|_| bad("a storage view with a negative offset"))?;
                    Some((offset, usize::try_from(*len).or_else(|_| bad("a storage view of negative size"))?))
                }
                _ => return bad("a storage view that is not (key, offset, size)"),
            },
            Some(other) => return bad(format!("a storage view that is {}", kind(*other))),
        };
        if self.out.storages.len() == MAX_TENSORS {
            return bad(format!("it refers to more than {MAX_TENSORS} storages"));
        }
        self.out.storages.push(StorageRef { key, numel, dtype, view });
        Ok(Value::Storage(self.out.storages.len() as u32 - 1))
    }
}

fn storage_dtype(module: &str, name: &str) -> Option<Dtype> {
    if !matches!(module, "torch" | "torch.cuda") {
        return None;
    }
    Some(match name {
        "DoubleStorage" => Dtype::F64,
        "FloatStorage" => Dtype::F32,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::Bf16,
        "LongStorage" => Dtype::I64,
        "IntStorage" => Dtype::I32,
        "ShortStorage" => Dtype::I16,
        "CharStorage" => Dtype::I8,
        "ByteStorage" => Dtype::U8,
        "BoolStorage" => Dtype::Bool,
        _ => return None,
    })
}

/// Names that training checkpoints carry beside the weights. They become values without content, so listing a name here
/// only decides whether such a file opens.
fn is_inert(module: &str, name: &str) -> bool {
    match module {
        "torch" => {
            matches!(
                name,
                "device"
                    | "dtype"
                    | "Tensor"
                    | "Generator"
                    | "layout"
                    | "strided"
                    | "bool"
                    | "half"
                    | "float"
                    | "double"
            ) || ["float", "bfloat", "int", "uint", "complex", "qint", "quint"]
                .iter()
                .any(|p| name.starts_with(p))
                || name.ends_with("Storage")
                || name.ends_with("_format")
        }
        "torch._utils" => name.starts_with("_rebuild_"),
        "torch.storage" => {
            matches!(name, "TypedStorage" | "UntypedStorage" | "_TypedStorage" | "_UntypedStorage")
        }
        "torch.nn.parameter" => matches!(name, "Parameter" | "Buffer"),
        "torch._tensor" => name == "_rebuild_from_type_v2",
        "collections" => matches!(name, "defaultdict" | "Counter" | "deque"),
        "builtins" | "__builtin__" => matches!(
            name,
            "set"
                | "frozenset"
                | "dict"
                | "list"
                | "tuple"
                | "int"
                | "float"
                | "str"
                | "bytes"
                | "bytearray"
                | "complex"
                | "slice"
                | "range"
                | "bool"
                | "object"
                | "long"
                | "unicode"
        ),
        "_codecs" => name == "encode",
        "copyreg" | "copy_reg" => name == "_reconstructor",
        "argparse" => name == "Namespace",
        "types" => name == "SimpleNamespace",
        "datetime" => matches!(name, "datetime" | "date" | "time" | "timedelta"),
        "pathlib" | "pathlib._local" => name.ends_with("Path"),
        "numpy" => {
            matches!(name, "dtype" | "ndarray")
                || ["int", "uint", "float", "bool"].iter().any(|p| name.starts_with(p))
        }
        "numpy.core.multiarray" | "numpy._core.multiarray" => matches!(name, "scalar" | "_reconstruct"),
        "easydict" => name == "EasyDict",
        "addict.addict" => name == "Dict",
        "yacs.config" => name == "CfgNode",
        _ => {
            module.starts_with("omegaconf.")
                || module.starts_with("torch.optim.")
                || module.starts_with("apex.amp.")
        }
    }
}
