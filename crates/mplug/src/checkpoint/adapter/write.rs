//! Writing an adapter's files as PEFT has them.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use super::settings::BaseRecord;
use super::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, BASE_MODEL, LORA_A, PREFIX};
use crate::checkpoint::{CheckpointError, Dtype, write_safetensors, write_text};

/// What an adapter's files say besides its matrices.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterSettings {
    /// Rows of the matrices that narrow.
    pub rank: usize,
    /// What the products are multiplied with, times `rank`.
    pub alpha: f32,
    /// Dropout while it was trained.
    pub dropout: f32,
    /// The model that it was trained on, as its user called it.
    pub base_name: String,
    /// [`weights_fingerprint`](super::weights_fingerprint) of that model.
    pub base_fingerprint: String,
}

/// Writes the three files of an adapter into `folder`, which is there and has none of them. `tensors` are named after their modules,
/// without what PEFT puts before the names: name, shape, values.
///
/// # Errors
/// When a file cannot be written.
pub fn write_adapter_files(
    folder: &Path,
    settings: &AdapterSettings,
    tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
) -> Result<(), CheckpointError> {
    let modules: BTreeSet<String> = tensors.iter().filter_map(|(name, ..)| target_of(name)).collect();
    let config = json!({
        "peft_type": "LORA",
        "task_type": null,
        "base_model_name_or_path": settings.base_name,
        "r": settings.rank,
        "lora_alpha": settings.alpha,
        "lora_dropout": settings.dropout,
        "target_modules": modules,
        "bias": "none",
        "fan_in_fan_out": false,
        "init_lora_weights": true,
        "inference_mode": true,
        "modules_to_save": null,
    });
    let base =
        BaseRecord { name: settings.base_name.clone(), weights_sha256: settings.base_fingerprint.clone() };
    write_text(&folder.join(ADAPTER_CONFIG), &format!("{config:#}\n"))?;
    write_text(&folder.join(BASE_MODEL), &format!("{:#}\n", json!(base)))?;
    let tensors: Vec<_> =
        tensors.into_iter().map(|(name, shape, values)| (format!("{PREFIX}{name}"), shape, values)).collect();
    write_safetensors(&folder.join(ADAPTER_WEIGHTS), tensors.as_slice(), Dtype::F32)
}

/// The module that PEFT adapts for a matrix of this name; none for the second matrix of a module.
fn target_of(name: &str) -> Option<String> {
    Some(name.strip_suffix(LORA_A)?.trim_end_matches('.').to_owned())
}
