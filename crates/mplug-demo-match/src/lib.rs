//! The files of mPLUG's small demo model for image-text matching, built into a program: a matcher of pictures and texts, which knows drawn
//! pictures only. Data, no code; the crate `mplug-demo` opens it.

/// `model.safetensors`: weights as int8.
pub const WEIGHTS: &[u8] = include_bytes!("../model/model.safetensors");
/// `vocab.txt`.
pub const VOCABULARY: &str = include_str!("../model/vocab.txt");
/// `configuration.json`.
pub const CONFIGURATION_JSON: &str = include_str!("../model/configuration.json");
/// `config.yaml`.
pub const CONFIG_YAML: &str = include_str!("../model/config.yaml");
/// `config_bert.json`.
pub const BERT_JSON: &str = include_str!("../model/config_bert.json");
