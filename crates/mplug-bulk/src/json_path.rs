//! The name of an input as records carry it: as text, and its exact bytes where the text is not exact.

use std::path::Path;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::hex::hex;
use crate::inputs::Input;

/// A path as records carry it, to be flattened into one: `path` with U+FFFD for what is not UTF-8, and, only then, `path_bytes`,
/// the exact bytes in hexadecimal.
#[derive(Clone, Debug)]
pub struct JsonPath {
    text: String,
    bytes: Option<Vec<u8>>,
}

impl JsonPath {
    /// The path as text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its exact bytes, where the text is not exact.
    pub fn bytes(&self) -> Option<&[u8]> {
        self.bytes.as_deref()
    }
}

impl From<&Input> for JsonPath {
    fn from(input: &Input) -> Self {
        let path = JsonPath::from(input.path.as_path());
        let bytes = input.exact.clone().or(path.bytes);
        Self { bytes, ..path }
    }
}

impl From<&Path> for JsonPath {
    fn from(path: &Path) -> Self {
        let bytes = path.to_str().is_none().then(|| path.as_os_str().as_encoded_bytes().to_vec());
        Self { text: path.to_string_lossy().into_owned(), bytes }
    }
}

impl Serialize for JsonPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("path", &self.text)?;
        if let Some(bytes) = &self.bytes {
            map.serialize_entry("path_bytes", &hex(bytes))?;
        }
        map.end()
    }
}
