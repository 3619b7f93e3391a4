//! Builds weight files byte by byte, so that tests can make them wrong in one place.

/// A pickle under construction (protocol 2).
#[derive(Clone)]
pub(crate) struct PickleBytes(pub Vec<u8>);

impl PickleBytes {
    pub(crate) fn new() -> Self {
        Self(vec![0x80, 2])
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    pub(crate) fn text(self, text: &str) -> Self {
        let len = (text.len() as u32).to_le_bytes();
        self.raw(b"X").raw(&len).raw(text.as_bytes())
    }

    pub(crate) fn int(self, n: i32) -> Self {
        self.raw(b"J").raw(&n.to_le_bytes())
    }

    pub(crate) fn global(self, module: &str, name: &str) -> Self {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }

    /// A tensor: a storage by key, offset, shape and strides.
    pub(crate) fn tensor(self, t: &TensorBytes<'_>) -> Self {
        let mut p = self.global("torch._utils", "_rebuild_tensor_v2").raw(b"((");
        p = p.text("storage").global("torch", t.storage).text(t.key).text("cpu").int(t.numel);
        if t.is_legacy {
            p = p.raw(b"N");
        }
        p = p.raw(b"tQ").int(t.offset).raw(b"(");
        p = t.shape.iter().fold(p, |p, &d| p.int(d)).raw(b"t(");
        p = t.strides.iter().fold(p, |p, &d| p.int(d)).raw(b"t");
        p.raw(b"\x89").global("collections", "OrderedDict").raw(b")RtR")
    }

    pub(crate) fn end(self) -> Vec<u8> {
        self.raw(b".").0
    }
}

/// How a tensor is described in a pickle.
#[derive(Clone, Copy)]
pub(crate) struct TensorBytes<'a> {
    pub storage: &'a str,
    pub key: &'a str,
    pub numel: i32,
    pub offset: i32,
    pub shape: &'a [i32],
    pub strides: &'a [i32],
    pub is_legacy: bool,
}

pub(crate) const SIX: TensorBytes<'static> = TensorBytes {
    storage: "FloatStorage",
    key: "0",
    numel: 6,
    offset: 0,
    shape: &[2, 3],
    strides: &[3, 1],
    is_legacy: false,
};

/// `{"weight": <2 × 3 tensor over storage 0 of six values>}`
pub(crate) fn one_tensor(t: &TensorBytes<'_>) -> Vec<u8> {
    PickleBytes::new().raw(b"}").text("weight").tensor(t).raw(b"s").end()
}

/// Six f32 values 0 to 5.
pub(crate) fn six_values() -> Vec<u8> {
    (0..6_u8).flat_map(|i| f32::from(i).to_le_bytes()).collect()
}

/// One entry of a zip archive; fields that lie can be set apart from the data.
#[derive(Clone)]
pub(crate) struct ZipEntry {
    pub name: String,
    pub data: Vec<u8>,
    pub method: u16,
    pub flags: u16,
    pub crc32: u32,
    pub declared_len: u32,
}

impl ZipEntry {
    pub(crate) fn new(name: &str, data: &[u8]) -> Self {
        Self {
            name: name.to_owned(),
            data: data.to_vec(),
            method: 0,
            flags: 0,
            crc32: crc32fast::hash(data),
            declared_len: data.len() as u32,
        }
    }
}

/// The bytes of a zip archive with 32-bit fields.
pub(crate) fn zip(entries: &[ZipEntry]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for e in entries {
        let at = out.len() as u32;
        let mut common = Vec::new();
        common.extend(20_u16.to_le_bytes());
        common.extend(e.flags.to_le_bytes());
        common.extend(e.method.to_le_bytes());
        common.extend([0; 4]);
        common.extend(e.crc32.to_le_bytes());
        common.extend(e.declared_len.to_le_bytes());
        common.extend(e.declared_len.to_le_bytes());
        common.extend((e.name.len() as u16).to_le_bytes());
        common.extend([0; 2]);
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(e.name.bytes());
        out.extend(&e.data);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(e.name.bytes());
    }
    let at = out.len() as u32;
    out.extend(&directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend((entries.len() as u16).to_le_bytes());
    out.extend((entries.len() as u16).to_le_bytes());
    out.extend((directory.len() as u32).to_le_bytes());
    out.extend(at.to_le_bytes());
    out.extend([0; 2]);
    out
}

/// A PyTorch zip file of a pickle and the storage `0`.
pub(crate) fn torch_zip(pickle: &[u8], storage: &[u8]) -> Vec<u8> {
    zip(&torch_entries(pickle, storage))
}

pub(crate) fn torch_entries(pickle: &[u8], storage: &[u8]) -> Vec<ZipEntry> {
    vec![
        ZipEntry::new("archive/data.pkl", pickle),
        ZipEntry::new("archive/data/0", storage),
        ZipEntry::new("archive/version", b"3\n"),
    ]
}

/// A legacy PyTorch file: pickles of the magic number, the protocol, the system, the object and the keys; then storages.
pub(crate) fn legacy(object: &[u8], storages: &[(&str, usize, &[u8])]) -> Vec<u8> {
    let mut out = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.".to_vec();
    let system = PickleBytes::new().raw(b"}(").text("protocol_version").int(1001);
    out.extend(system.text("little_endian").raw(b"\x88u").end());
    out.extend(object);
    let keys = storages.iter().fold(PickleBytes::new().raw(b"]("), |p, (key, ..)| p.text(key));
    out.extend(keys.raw(b"e").end());
    for (_, numel, data) in storages {
        out.extend((*numel as u64).to_le_bytes());
        out.extend(*data);
    }
    out
}

/// A safetensors file with this header.
pub(crate) fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.bytes());
    out.extend(data);
    out
}
