//! `adapter_config.json` as PEFT writes it, of which only plain LoRA is taken, and `base_model.json`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ADAPTER_CONFIG, BASE_MODEL, read_small, unfit};
use crate::checkpoint::CheckpointError;

/// Which model an adapter was trained on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BaseRecord {
    /// The model as its user called it.
    pub(super) name: String,
    /// [`weights_fingerprint`](super::weights_fingerprint).
    pub(super) weights_sha256: String,
}

impl BaseRecord {
    /// The record of a folder, if it has one.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, CheckpointError> {
        let path = folder.join(BASE_MODEL);
        let Some(text) = read_small(&path)? else { return Ok(None) };
        let error = |error: serde_json::Error| CheckpointError::Config {
            file: path.display().to_string(),
            reason: error.to_string(),
        };
        serde_json::from_str(&text).map(Some).map_err(error)
    }
}

/// What counts of `adapter_config.json`.
#[derive(Debug, Deserialize)]
pub(super) struct ConfigFile {
    peft_type: String,
    lora_alpha: f32,
    #[serde(default)]
    base_model_name_or_path: Option<String>,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    alpha_pattern: BTreeMap<String, f32>,
    /// Settings that must be absent, false, empty or `none`.
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// Settings that change what an adapter does and are not known here.
const UNKNOWN: [&str; 9] = [
    "bias",
    "fan_in_fan_out",
    "use_dora",
    "use_qalora",
    "modules_to_save",
    "layer_replication",
    "trainable_token_indices",
    "lora_bias",
    "target_parameters",
];

impl ConfigFile {
    /// `lora_alpha`.
    pub(super) fn alpha(&self) -> f32 {
        self.lora_alpha
    }

    /// The model that it was trained on, as PEFT records it.
    pub(super) fn base_name(&self) -> Option<&str> {
        self.base_model_name_or_path.as_deref().filter(|name| !name.is_empty())
    }

    /// Reads the settings of a folder.
    pub(super) fn read(folder: &Path) -> Result<Self, CheckpointError> {
        let path = folder.join(ADAPTER_CONFIG);
        let Some(text) = read_small(&path)? else {
            return Err(unfit(
                folder,
                format!("expected the folder of an adapter, found no {ADAPTER_CONFIG} in it"),
            ));
        };
        let config: Self = serde_json::from_str(&text).map_err(|error| CheckpointError::Config {
            file: path.display().to_string(),
            reason: error.to_string(),
        })?;
        if config.peft_type != "LORA" {
            let reason =
                format!("{ADAPTER_CONFIG}: expected the peft_type `LORA`, found `{}`", config.peft_type);
            return Err(unfit(folder, reason));
        }
        let is_plain = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text == "none",
            Value::Array(values) => values.is_empty(),
            Value::Object(values) => values.is_empty(),
            Value::Bool(true) | Value::Number(_) => false,
        };
        let mut set = UNKNOWN.into_iter().filter_map(|name| Some((name, config.others.get(name)?)));
        if let Some((name, value)) = set.find(|(_, value)| !is_plain(value)) {
            let reason =
                format!("{ADAPTER_CONFIG}: expected no `{name}`, found {value}: plain LoRA alone is known");
            return Err(unfit(folder, reason));
        }
        Ok(config)
    }

    /// What the product of a module's matrices is multiplied with.
    pub(super) fn scale(&self, folder: &Path, module: &str, rank: usize) -> Result<f32, CheckpointError> {
        let fits = |(name, _): &(&String, &f32)| module == *name || module.ends_with(&format!(".{name}"));
        let alpha = self.alpha_pattern.iter().find(fits).map_or(self.lora_alpha, |(_, alpha)| *alpha);
        let scale = if self.use_rslora { alpha / (rank as f32).sqrt() } else { alpha / rank as f32 };
        if scale.is_finite() {
            return Ok(scale);
        }
        Err(unfit(folder, format!("{ADAPTER_CONFIG}: expected a finite lora_alpha, found {alpha}")))
    }
}
