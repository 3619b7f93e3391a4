//! What a pickle's names and calls stand for: the short list of what describes a tensor, values without content for every other
//! class, and the list of what could do harm. Nothing here is ever called.

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
                None if is_code(module, name) => return Err(Stop::Forbidden(format!("{module}.{name}"))),
                // An optimizer's, a recipe's, a trainer's: of no use here, and refused where a tensor should be.
                None => Global::Inert(self.name(format!("{module}.{name}"))),
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

    /// `('storage', type, key, device, numel)`, in legacy files with a sixth part, the view; there also `('module', class, file,
    /// source)` for the class of a whole module, whose source is not looked at.
    pub(super) fn persistent(&mut self, id: Value<'p>) -> Step<Value<'p>> {
        let Value::Sequence(id) = id else { return bad("an external reference that is no tuple") };
        let parts = &self.out.sequences[id as usize];
        if let (Some(Value::Str("module")), Some(&class @ Value::Global(Global::Inert(_)))) =
            (parts.first(), parts.get(1))
        {
            return Ok(class);
        }
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

/// Modules whose names no weights and no settings have a use for: they run programs and code, load more code, or reach the network
/// and the disk. Listing one decides only whether its file opens; nothing is ever called.
const CODE: [&str; 47] = [
    "_ctypes",
    "_pickle",
    "_posixsubprocess",
    "_xxsubinterpreters",
    "aiohttp",
    "asyncio",
    "bdb",
    "cPickle",
    "cProfile",
    "cffi",
    "cloudpickle",
    "code",
    "codeop",
    "commands",
    "ctypes",
    "dill",
    "ensurepip",
    "fileinput",
    "ftplib",
    "http",
    "httplib",
    "idlelib",
    "importlib",
    "joblib",
    "lib2to3",
    "marshal",
    "nt",
    "os",
    "pdb",
    "pickle",
    "pip",
    "popen2",
    "posix",
    "profile",
    "pty",
    "pydoc",
    "requests",
    "runpy",
    "shutil",
    "smtplib",
    "socket",
    "subprocess",
    "sys",
    "timeit",
    "urllib",
    "venv",
    "webbrowser",
];

/// Whether a name is of a function or class that weight files have no need of and that could do harm if it was called.
fn is_code(module: &str, name: &str) -> bool {
    match module {
        "builtins" | "__builtin__" => matches!(
            name,
            "__import__"
                | "apply"
                | "breakpoint"
                | "compile"
                | "delattr"
                | "eval"
                | "exec"
                | "execfile"
                | "exit"
                | "file"
                | "globals"
                | "input"
                | "locals"
                | "open"
                | "quit"
                | "raw_input"
                | "reload"
                | "setattr"
                | "vars"
        ),
        "torch" => matches!(name, "load" | "compile"),
        "types" => name != "SimpleNamespace",
        "operator" | "_operator" => !name.ends_with("itemgetter"),
        "numpy" => matches!(name, "load" | "fromfile" | "memmap"),
        _ => {
            let package = module.split('.').next().unwrap_or(module);
            CODE.contains(&package)
                || [
                    "torch.hub",
                    "torch.jit",
                    "torch.package",
                    "torch.utils.cpp_extension",
                    "numpy.testing",
                    "numpy.f2py",
                ]
                .iter()
                .any(|code| {
                    module.strip_prefix(code).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                })
        }
    }
}
