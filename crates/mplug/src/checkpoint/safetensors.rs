//! The safetensors format: a length, a JSON header of names, types, shapes and byte ranges, then the values.
//!
//! Read here rather than with the crate of that name because that one wants the whole file in memory. Refuses headers
//! above 32 MiB, duplicate names, ranges that overlap, leave holes or miss the end, and types that mPLUG has no use for.

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};

use super::CheckpointError;
use super::source::Source;
use super::tensor::{Dtype, Storage, TensorView};

/// Largest header accepted; 1 500 tensors need about 200 KB.
const MAX_HEADER_BYTES: u64 = 32 << 20;

/// Whether the first bytes can be a safetensors file: a plausible header length and an opening brace.
pub(crate) fn starts_like(head: &[u8], file_len: u64) -> bool {
    match head.split_first_chunk::<8>() {
        Some((len, [b'{', ..])) => u64::from_le_bytes(*len) < file_len.max(MAX_HEADER_BYTES + 1),
        _ => false,
    }
}

/// Reads the header of a safetensors file.
pub(crate) fn read(source: &Source) -> Result<Vec<(String, TensorView)>, CheckpointError> {
    let mut len = [0_u8; 8];
    source.read_at(0, &mut len)?;
    let header_len = u64::from_le_bytes(len);
    if header_len > MAX_HEADER_BYTES {
        return Err(
            source.damaged(format!("its header claims {header_len} bytes, the limit is {MAX_HEADER_BYTES}"))
        );
    }
    let header = source.read_vec(8, header_len)?;
    let Header(entries) = serde_json::from_slice(&header)
        .map_err(|e| source.damaged(format!("its header is not valid: {e}")))?;
    let data_begin = 8 + header_len;
    check_ranges(&entries, source.len() - data_begin).map_err(|reason| source.damaged(reason))?;
    entries
        .into_iter()
        .map(|(name, entry)| {
            let view = entry.to_view(data_begin);
            view.map(|view| (name.clone(), view)).map_err(|e| source.damaged(format!("tensor `{name}`: {e}")))
        })
        .collect()
}

/// The ranges must cover the data without hole or overlap, as the format demands.
fn check_ranges(entries: &[(String, Entry)], data_len: u64) -> Result<(), String> {
    let mut sorted: Vec<(u64, u64, &str)> =
        entries.iter().map(|(name, e)| (e.data_offsets.0, e.data_offsets.1, name.as_str())).collect();
    sorted.sort_unstable();
    let mut at = 0;
    for (begin, end, name) in sorted {
        if begin != at || end < begin {
            return Err(format!(
                "tensor `{name}` has bytes {begin} to {end}, expected them to begin at {at}"
            ));
        }
        at = end;
    }
    if at != data_len {
        return Err(format!(
            "its tensors take {at} bytes, but {data_len} follow the header; it was probably cut short, download or copy it again"
        ));
    }
    Ok(())
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

impl Entry {
    fn to_view(&self, data_begin: u64) -> Result<TensorView, String> {
        let dtype = match self.dtype.as_str() {
            "F64" => Dtype::F64,
            "F32" => Dtype::F32,
            "F16" => Dtype::F16,
            "BF16" => Dtype::Bf16,
            "I64" => Dtype::I64,
            "I32" => Dtype::I32,
            "I16" => Dtype::I16,
            "I8" => Dtype::I8,
            "U8" => Dtype::U8,
            "BOOL" => Dtype::Bool,
            other => return Err(format!("type {other} is not supported")),
        };
        let (begin, end) = self.data_offsets;
        let bytes = self.shape.iter().try_fold(dtype.size(), |n, &d| n.checked_mul(d));
        if bytes.is_none_or(|bytes| bytes as u64 != end - begin) {
            return Err(format!("shape {:?} of {dtype} does not take {} bytes", self.shape, end - begin));
        }
        let numel = (end - begin) as usize / dtype.size();
        let storage = Storage { begin: data_begin + begin, numel, dtype, crc32: None };
        TensorView::new(storage, 0, self.shape.clone(), None)
    }
}

/// The header's entries in file order; a name given twice is an error, which a plain map would hide.
struct Header(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let (mut entries, mut seen) = (Vec::new(), std::collections::HashSet::new());
                while let Some(name) = map.next_key::<String>()? {
                    if !seen.insert(name.clone()) {
                        return Err(serde::de::Error::custom(format!("the name `{name}` occurs twice")));
                    }
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        entries.push((name, map.next_value()?));
                    }
                }
                Ok(Header(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
