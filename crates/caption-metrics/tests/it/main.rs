//! The crate from outside: the reference evaluator's own scores and strings (fixtures/metrics, whose makers and versions
//! are in their heads).

mod meteor;
mod ptb;
mod scores;
mod segmentation;

use serde_json::Value;

/// A fixture by name.
pub(crate) fn fixture(name: &str) -> Value {
    let path = format!("{}/../../fixtures/metrics/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap()
}

/// The strings of a JSON array.
pub(crate) fn strings(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}
