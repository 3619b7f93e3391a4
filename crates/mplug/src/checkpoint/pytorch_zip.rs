//! PyTorch's zip format (`torch.save` since 1.6): `NAME/data.pkl` beside one stored entry `NAME/data/KEY` per storage.
//!
//! Only what PyTorch writes is understood: stored entries (never compressed), ZIP64 or not. Everything that an honest
//! archive does not do (compressed or encrypted entries, overlaps, duplicate or climbing names, sizes that disagree) is
//! refused, so no size in the file can make us read or allocate more than the file holds.

use std::collections::HashMap;

use super::CheckpointError;
use super::pickle::Pickle;
use super::source::Source;
use super::tensor::{Storage, TensorView};

/// Largest `data.pkl`; that of a model of 2 400 tensors has about 300 KB.
const MAX_PICKLE_BYTES: u64 = 32 << 20;
/// Largest central directory; 100 bytes per entry are usual.
const MAX_DIRECTORY_BYTES: u64 = 32 << 20;

const LOCAL_HEADER: u32 = 0x0403_4b50;
const CENTRAL_HEADER: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const END_64_LOCATOR: u32 = 0x0706_4b50;

/// One stored file of the archive.
struct Entry {
    name: String,
    header_begin: u64,
    data_begin: u64,
    len: u64,
    crc32: u32,
    is_compressed: bool,
}

/// Reads names, shapes and positions of a PyTorch zip file.
pub(crate) fn read(source: &Source) -> Result<Vec<(String, TensorView)>, CheckpointError> {
    let entries = read_directory(source)?;
    let root = archive_root(source, &entries)?;
    let by_name: HashMap<&str, &Entry> = entries.iter().map(|e| (e.name.as_str(), e)).collect();
    if let Some(order) = by_name.get(format!("{root}/byteorder").as_str()) {
        let order = source.read_vec(order.data_begin, order.len.min(16))?;
        if order != b"little" {
            return Err(source.damaged("its byte order is not little-endian, which is not supported"));
        }
    }
    let data = by_name[format!("{root}/data.pkl").as_str()];
    if data.len > MAX_PICKLE_BYTES {
        return Err(
            source.damaged(format!("data.pkl has {} bytes, the limit is {MAX_PICKLE_BYTES}", data.len))
        );
    }
    check_stored(source, data)?;
    let bytes = source.read_vec(data.data_begin, data.len)?;
    if crc32fast::hash(&bytes) != data.crc32 {
        return Err(source.damaged("the checksum of data.pkl is wrong; download or copy it again"));
    }
    let pickle = Pickle::read(&bytes, source)?;
    pickle.tensors(source, |storage| {
        let entry = by_name
            .get(format!("{root}/data/{}", storage.key).as_str())
            .ok_or_else(|| source.damaged(format!("storage {} is not in the archive", storage.key)))?;
        check_stored(source, entry)?;
        let expected = (storage.numel as u64).checked_mul(storage.dtype.size() as u64);
        if expected != Some(entry.len) {
            return Err(source.damaged(format!(
                "{} has {} bytes, expected {} values of {}",
                entry.name, entry.len, storage.numel, storage.dtype
            )));
        }
        Ok(Storage {
            begin: entry.data_begin,
            numel: storage.numel,
            dtype: storage.dtype,
            crc32: Some(entry.crc32),
        })
    })
}

fn check_stored(source: &Source, entry: &Entry) -> Result<(), CheckpointError> {
    if entry.is_compressed {
        return Err(source.damaged(format!(
            "{} is compressed, which torch.save never does; unpack the archive and pack it without compression",
            entry.name
        )));
    }
    Ok(())
}

/// The folder inside the archive: what precedes `/data.pkl`.
fn archive_root(source: &Source, entries: &[Entry]) -> Result<String, CheckpointError> {
    let mut roots = entries.iter().filter_map(|e| e.name.strip_suffix("/data.pkl"));
    match (roots.next(), roots.next()) {
        (Some(root), None) => Ok(root.to_owned()),
        (None, _) => Err(source.damaged("the zip archive has no data.pkl, so torch.save did not write it")),
        (Some(_), Some(_)) => Err(source.damaged("the zip archive has more than one data.pkl")),
    }
}

/// Reads the central directory and checks it against the local headers.
fn read_directory(source: &Source) -> Result<Vec<Entry>, CheckpointError> {
    let end = find_end(source)?;
    if end.len > MAX_DIRECTORY_BYTES || end.begin.checked_add(end.len).is_none_or(|e| e > end.at) {
        return Err(source.damaged("the zip directory does not lie inside the file"));
    }
    let bytes = source.read_vec(end.begin, end.len)?;
    let mut fields = Fields { bytes: &bytes, source };
    let mut entries = Vec::new();
    while !fields.bytes.is_empty() {
        entries.push(read_central_header(&mut fields)?);
    }
    if entries.len() as u64 != end.count {
        return Err(source.damaged(format!(
            "the zip directory has {} entries, claims {}",
            entries.len(),
            end.count
        )));
    }
    for entry in &mut entries {
        check_local_header(source, entry)?;
    }
    check_layout(source, &entries, end.begin)?;
    Ok(entries)
}

/// Where the central directory lies.
struct End {
    begin: u64,
    len: u64,
    count: u64,
    /// Position of the record that says so.
    at: u64,
}

fn find_end(source: &Source) -> Result<End, CheckpointError> {
    let tail_len = source.len().min(22 + 0xffff);
    let tail_begin = source.len() - tail_len;
    let tail = source.read_vec(tail_begin, tail_len)?;
    let position = (0..tail.len().saturating_sub(21)).rev().find(|&i| {
        tail[i..].starts_with(&END.to_le_bytes())
            && usize::from(u16::from_le_bytes([tail[i + 20], tail[i + 21]])) == tail.len() - i - 22
    });
    let Some(position) = position else {
        return Err(source.damaged(
            "it has no zip directory at its end; it was probably cut short, download or copy it again",
        ));
    };
    let at = tail_begin + position as u64;
    let mut fields = Fields { bytes: &tail[position + 8..], source };
    let (_here, count) = (fields.u16()?, fields.u16()?);
    let (len, begin) = (fields.u32()?, fields.u32()?);
    let end = End { begin: begin.into(), len: len.into(), count: count.into(), at };
    if count == u16::MAX || len == u32::MAX || begin == u32::MAX {
        return find_end_64(source, at);
    }
    Ok(end)
}

fn find_end_64(source: &Source, end_at: u64) -> Result<End, CheckpointError> {
    let Some(locator_at) = end_at.checked_sub(20) else {
        return Err(source.damaged("its ZIP64 locator is missing"));
    };
    let locator = source.read_vec(locator_at, 20)?;
    let mut fields = Fields { bytes: &locator, source };
    if fields.u32()? != END_64_LOCATOR {
        return Err(source.damaged("its ZIP64 locator is missing"));
    }
    fields.skip(4)?;
    let at = fields.u64()?;
    if at.checked_add(56).is_none_or(|end| end > locator_at) {
        return Err(source.damaged("its ZIP64 directory record lies outside the file"));
    }
    let record = source.read_vec(at, 56)?;
    let mut fields = Fields { bytes: &record, source };
    if fields.u32()? != END_64 {
        return Err(source.damaged("its ZIP64 directory record is missing"));
    }
    fields.skip(28)?;
    let (count, len, begin) = (fields.u64()?, fields.u64()?, fields.u64()?);
    Ok(End { begin, len, count, at })
}

fn read_central_header(fields: &mut Fields<'_>) -> Result<Entry, CheckpointError> {
    let source = fields.source;
    if fields.u32()? != CENTRAL_HEADER {
        return Err(source.damaged("an entry of its zip directory has no signature"));
    }
    fields.skip(4)?;
    let (flags, method) = (fields.u16()?, fields.u16()?);
    fields.skip(4)?;
    let crc32 = fields.u32()?;
    let (packed, len) = (fields.u32()?, fields.u32()?);
    let (name_len, extra_len, comment_len) = (fields.u16()?, fields.u16()?, fields.u16()?);
    fields.skip(8)?;
    let header_begin = fields.u32()?;
    let name = String::from_utf8(fields.take(name_len.into())?.to_vec())
        .map_err(|_| source.damaged("a name in its zip directory is not UTF-8"))?;
    let extra = fields.take(extra_len.into())?;
    fields.skip(comment_len.into())?;
    let mut wide = [u64::from(len), packed.into(), header_begin.into()];
    widen(&mut wide, extra, source)?;
    let [len, packed, header_begin] = wide;
    let climbs = name.starts_with('/') || name.contains('\\') || name.split('/').any(|part| part == "..");
    if climbs {
        return Err(source.damaged(format!("the zip entry name {name:?} leaves the archive")));
    }
    if flags & 1 != 0 {
        return Err(source.damaged(format!("the zip entry {name} is encrypted")));
    }
    if method == 0 && packed != len {
        return Err(source.damaged(format!("the zip entry {name} is stored, but its two sizes differ")));
    }
    Ok(Entry { name, header_begin, data_begin: 0, len, crc32, is_compressed: method != 0 })
}

/// Replaces the values that do not fit 32 bits by those of the ZIP64 extra field.
fn widen(wide: &mut [u64; 3], extra: &[u8], source: &Source) -> Result<(), CheckpointError> {
    let mut fields = Fields { bytes: extra, source };
    while fields.bytes.len() >= 4 {
        let (id, len) = (fields.u16()?, fields.u16()?);
        let body = fields.take(len.into())?;
        if id == 1 {
            let mut body = Fields { bytes: body, source };
            for value in wide.iter_mut().filter(|v| **v == u64::from(u32::MAX)) {
                *value = body.u64()?;
            }
        }
    }
    Ok(())
}

/// Finds the data behind the local header, which must carry the same name.
fn check_local_header(source: &Source, entry: &mut Entry) -> Result<(), CheckpointError> {
    let header = source.read_vec(entry.header_begin, 30 + entry.name.len() as u64)?;
    let mut fields = Fields { bytes: &header, source };
    let signature = fields.u32()?;
    fields.skip(22)?;
    let (name_len, extra_len) = (fields.u16()?, fields.u16()?);
    if signature != LOCAL_HEADER
        || usize::from(name_len) != entry.name.len()
        || fields.bytes != entry.name.as_bytes()
    {
        return Err(source
            .damaged(format!("the local header of zip entry {} differs from the directory", entry.name)));
    }
    entry.data_begin = entry.header_begin + 30 + u64::from(name_len) + u64::from(extra_len);
    Ok(())
}

/// No two entries share bytes or a name, and all lie before the directory.
fn check_layout(source: &Source, entries: &[Entry], directory_begin: u64) -> Result<(), CheckpointError> {
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by_key(|e| e.header_begin);
    let mut free_from = 0;
    for entry in sorted.iter().filter(|e| !e.is_compressed) {
        let end = entry.data_begin.checked_add(entry.len).filter(|&end| end <= directory_begin);
        let Some(end) = end.filter(|_| entry.header_begin >= free_from) else {
            return Err(
                source.damaged(format!("the zip entry {} overlaps another or the directory", entry.name))
            );
        };
        free_from = end;
    }
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(source.damaged(format!("the zip entry {} occurs twice", pair[0].name)));
    }
    Ok(())
}

/// Little-endian fields off the front of a slice.
struct Fields<'a> {
    bytes: &'a [u8],
    source: &'a Source,
}

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], CheckpointError> {
        let (front, rest) = self
            .bytes
            .split_at_checked(len)
            .ok_or_else(|| self.source.damaged("a record of its zip directory is cut short"))?;
        self.bytes = rest;
        Ok(front)
    }

    fn skip(&mut self, len: usize) -> Result<(), CheckpointError> {
        self.take(len).map(|_| ())
    }

    fn u16(&mut self) -> Result<u16, CheckpointError> {
        self.take(2).map(|b| u16::from_le_bytes([b[0], b[1]]))
    }

    fn u32(&mut self) -> Result<u32, CheckpointError> {
        self.take(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }

    fn u64(&mut self) -> Result<u64, CheckpointError> {
        self.take(8).map(|b| u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
    }
}
