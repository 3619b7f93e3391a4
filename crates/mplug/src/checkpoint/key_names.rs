//! The names of the original's tensors: from what a file calls them to one plain form, and which of them a task
//! never needs.
//!
//! Plain names are those of the original's state dict, e.g. `text_decoder.bert.encoder.layer.0.output.dense.weight`. This
//! file knows no shapes.

use std::collections::BTreeMap;

use super::CheckpointError;
use super::tensor::TensorView;
use crate::config::{ModelConfig, Task};

/// The two names of each parameter that the original has under two, the later one in its state dict first: the output
/// weights of the decoder and of its momentum model.
pub(crate) const TIED: [(&str, &str); 4] = [
    ("text_decoder.cls.predictions.decoder.weight", "text_decoder.bert.embeddings.word_embeddings.weight"),
    ("text_decoder.cls.predictions.decoder.bias", "text_decoder.cls.predictions.bias"),
    (
        "text_decoder_m.cls.predictions.decoder.weight",
        "text_decoder_m.bert.embeddings.word_embeddings.weight",
    ),
    ("text_decoder_m.cls.predictions.decoder.bias", "text_decoder_m.cls.predictions.bias"),
];

/// The plain form of a stored name.
///
/// Takes off what wrappers add (`model.` anywhere, as the original does; `module.` at the front) and what the research
/// code's pre-training checkpoints have more (`fusion_encoder.fusion.encoder…`, `text_encoder.bert.embeddings…`).
pub fn plain_name(stored: &str) -> String {
    let mut parts: Vec<&str> = stored.split('.').collect();
    let last = parts.len() - 1;
    let mut index = 0;
    parts.retain(|&part| {
        index += 1;
        part != "model" || index > last
    });
    while parts.len() > 1 && parts[0] == "module" {
        parts.remove(0);
    }
    // The original's rule: names with `fusion` or `bert` and without `decode` lose `fusion.` and `bert.`
    let name = parts.join(".");
    if (name.contains("fusion.") || name.contains("bert.")) && !name.contains("decode") {
        parts.retain(|&part| part != "fusion" && part != "bert");
        return parts.join(".");
    }
    name
}

/// Renames all tensors of a checkpoint that messages call `label`, and makes the two names of tied output weights one tensor.
pub(crate) fn to_plain_names(
    label: &str,
    stored: Vec<(String, TensorView)>,
) -> Result<BTreeMap<String, TensorView>, CheckpointError> {
    let mut tensors = BTreeMap::new();
    for (name, view) in stored {
        let plain = plain_name(&name);
        if tensors.insert(plain.clone(), view).is_some() {
            let reason = format!("`{name}` is a second tensor for `{plain}`");
            return Err(CheckpointError::Damaged { file: label.to_owned(), reason });
        }
    }
    for (later, earlier) in TIED {
        tie(label, &mut tensors, later, earlier)?;
    }
    Ok(tensors)
}

/// The original holds `later` and `earlier` as one parameter; where a file has both, loading leaves the later one (`load_state_dict` goes in the file's order).
fn tie(
    label: &str,
    tensors: &mut BTreeMap<String, TensorView>,
    later: &str,
    earlier: &str,
) -> Result<(), CheckpointError> {
    let view = match (tensors.get(later), tensors.get(earlier)) {
        (Some(a), Some(b)) if a.shape != b.shape => {
            return Err(CheckpointError::WrongShape {
                file: label.to_owned(),
                name: later.to_owned(),
                expected: b.shape.clone(),
                found: a.shape.clone(),
            });
        }
        (Some(view), _) | (None, Some(view)) => view.clone(),
        (None, None) => return Ok(()),
    };
    tensors.insert(later.to_owned(), view.clone());
    tensors.insert(earlier.to_owned(), view);
    Ok(())
}

/// Whether a plain name belongs to a momentum model (`text_encoder_m.…`), which only training uses.
pub fn is_momentum_model(name: &str) -> bool {
    name.split('.').next().is_some_and(|module| module.ends_with("_m"))
}

/// The written list of tensors that may be in a file although the model does not need them. Anything else that is not
/// needed is unexpected.
pub fn is_never_needed(config: &ModelConfig, name: &str) -> bool {
    if is_momentum_model(name) || name.ends_with(".position_ids") {
        return true;
    }
    let (module, rest) = name.split_once('.').unwrap_or((name, ""));
    match module {
        // The CLIP text tower is stored with the visual encoder; `visual.proj` leads to CLIP's projection space.
        "visual_encoder" => !rest.starts_with("visual.") || rest == "visual.proj",
        // Pre-training heads and poolers.
        "text_encoder" => {
            config.task == Task::ImageCaptioning || rest.starts_with("cls.") || rest.starts_with("pooler.")
        }
        "fusion_encoder" => config.task == Task::ImageCaptioning || is_unused_in_fusion(config, rest),
        "text_decoder" => config.task == Task::ImageTextRetrieval || rest.starts_with("bert.pooler."),
        "vision_proj" | "text_proj" | "itm_head" | "temp" => config.task != Task::ImageTextRetrieval,
        "image_queue" | "text_queue" | "idx_queue" | "queue_ptr" => true,
        _ => false,
    }
}

/// Inside the fusion encoder: embeddings and heads that nothing reads, layers before the first that runs, and the
/// cross-attention of connected layers.
fn is_unused_in_fusion(config: &ModelConfig, rest: &str) -> bool {
    if rest.starts_with("embeddings.") || rest.starts_with("cls.") || rest.starts_with("pooler.") {
        return true;
    }
    let Some((index, tail)) = rest.strip_prefix("encoder.layer.").and_then(|r| r.split_once('.')) else {
        return false;
    };
    let Ok(index) = index.parse::<usize>() else { return false };
    match index.checked_sub(config.text.first_fusion_layer) {
        None => true,
        Some(k) => tail.starts_with("crossattention.") && config.text.is_connected_layer(k),
    }
}
