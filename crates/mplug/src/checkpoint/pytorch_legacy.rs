//! PyTorch's older format (`torch.save` before 1.6): four pickles (magic number, protocol, system, object), a fifth with
//! the storage keys, then each storage as a count of values and the raw values.
//!
//! Refuses files written on big-endian machines and storages that do not fit the file.

use std::collections::HashMap;

use super::CheckpointError;
use super::pickle::{Pickle, Value};
use super::source::Source;
use super::tensor::{Storage, TensorView};

/// `0x1950a86a20f9469cfc6c`, little-endian, as the pickle holds it.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const PROTOCOL_VERSION: i64 = 1001;
/// All pickles together must lie in this many bytes at the front.
const MAX_PICKLE_BYTES: u64 = 32 << 20;

/// Whether the first bytes are a pickle of PyTorch's magic number.
pub(crate) fn starts_like(head: &[u8]) -> bool {
    // PROTO n, LONG1 10, the number.
    head.len() >= 14 && head[0] == 0x80 && head[2..4] == [0x8a, 10] && head[4..14] == MAGIC
}

/// Reads names, shapes and positions of a legacy PyTorch file.
pub(crate) fn read(source: &Source) -> Result<Vec<(String, TensorView)>, CheckpointError> {
    let front = source.read_vec(0, source.len().min(MAX_PICKLE_BYTES))?;
    let mut at = 0;
    let mut next = || -> Result<Pickle<'_>, CheckpointError> {
        let pickle = Pickle::read(&front[at..], source)?;
        at += pickle.len();
        Ok(pickle)
    };
    let (magic, protocol, system, object, keys) = (next()?, next()?, next()?, next()?, next()?);
    if !matches!(magic.root(), Value::Long(bytes) if bytes == MAGIC) {
        return Err(source.damaged("its magic number is wrong"));
    }
    if !matches!(protocol.root(), Value::Int(PROTOCOL_VERSION)) {
        return Err(source.damaged("its protocol version is not 1001"));
    }
    if matches!(system.get(system.root(), "little_endian"), Some(Value::Bool(false))) {
        return Err(source.damaged("its byte order is not little-endian, which is not supported"));
    }
    let keys = keys.strings().ok_or_else(|| source.damaged("its list of storages is not a list of keys"))?;
    let storages = locate(source, &object, &keys, at as u64)?;
    object.tensors(source, |storage| {
        let root = storages
            .get(storage.key)
            .ok_or_else(|| source.damaged(format!("storage {} is not in the file", storage.key)))?;
        let Some((offset, numel)) = storage.view else {
            return Ok(*root);
        };
        if offset.checked_add(numel).is_none_or(|end| end > root.numel) {
            return Err(source.damaged(format!("a view of storage {} reaches outside it", storage.key)));
        }
        let begin = root.begin + (offset * root.dtype.size()) as u64;
        Ok(Storage { begin, numel, ..*root })
    })
}

/// The storages in the order of `keys`, the first count at byte `at`.
fn locate<'k>(
    source: &Source,
    object: &Pickle<'_>,
    keys: &[&'k str],
    mut at: u64,
) -> Result<HashMap<&'k str, Storage>, CheckpointError> {
    let declared: HashMap<&str, _> = object.storages().map(|s| (s.key, s)).collect();
    let mut storages = HashMap::new();
    for &key in keys {
        let Some(storage) = declared.get(key) else {
            return Err(source.damaged(format!("it lists storage {key}, which no tensor declares")));
        };
        let mut count = [0_u8; 8];
        source.read_at(at, &mut count)?;
        let numel = u64::from_le_bytes(count);
        if numel != storage.numel as u64 {
            return Err(source
                .damaged(format!("storage {key} has {numel} values, its tensors expect {}", storage.numel)));
        }
        let begin = at + 8;
        let end = numel.checked_mul(storage.dtype.size() as u64).and_then(|len| begin.checked_add(len));
        at = end.filter(|&end| end <= source.len()).ok_or_else(|| {
            source.damaged(format!(
                "storage {key} reaches beyond its end; it was probably cut short, download or copy it again"
            ))
        })?;
        storages.insert(key, Storage { begin, numel: storage.numel, dtype: storage.dtype, crc32: None });
    }
    Ok(storages)
}
