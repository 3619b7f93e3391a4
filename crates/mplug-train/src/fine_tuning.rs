//! What of a network is trained: all of it, all but what is frozen, or low-rank matrices beside some of its weights (LoRA). Knows
//! no step.

use burn::tensor::Device;
use mplug::checkpoint::adapter::{AdapterSettings, weights_fingerprint};
use mplug_data::error::nearest;
use mplug_nn::parameter::Parameter;
use mplug_nn::{LoraSettings, Mplug};

use crate::config::{LoraSection, TrainConfig};
use crate::error::TrainError;
use crate::initial_weights::InitialWeights;

/// Names that a message lists.
const SHOWN: usize = 8;

/// Freezes and adapts `model`, which is on `device`, as the recipe says. What is returned describes the adaptation, if there is one.
///
/// # Errors
/// [`TrainError::Value`] for names that fit nothing, where nothing is left to train, and where there is no whole model to adapt.
pub fn prepare(
    config: &TrainConfig,
    initial: &InitialWeights,
    model: &mut Mplug,
    device: &Device,
) -> Result<Option<AdapterSettings>, TrainError> {
    if let Some(lora) = &config.lora {
        return adapt(config, lora, initial, model, device).map(Some);
    }
    if config.freeze.is_empty() {
        return Ok(None);
    }
    let parameters = model.parameters();
    let names: Vec<&str> = parameters.iter().map(Parameter::name).collect();
    for prefix in &config.freeze {
        if !names.iter().any(|name| is_below(prefix, name)) {
            return Err(unknown(
                "freeze",
                "the beginning of a tensor's name, to a dot",
                prefix,
                &prefixes(&names),
            ));
        }
    }
    model.freeze(|name| config.freeze.iter().any(|prefix| is_below(prefix, name)));
    if model.parameters().iter().all(Parameter::is_frozen) {
        let expected = "something left to train".to_owned();
        return Err(TrainError::Value { field: "freeze", expected, found: "all of the model".to_owned() });
    }
    Ok(None)
}

fn adapt(
    config: &TrainConfig,
    lora: &LoraSection,
    initial: &InitialWeights,
    model: &mut Mplug,
    device: &Device,
) -> Result<AdapterSettings, TrainError> {
    let modules = model.adaptable_modules();
    for target in &lora.targets {
        if !modules.iter().any(|module| is_target(target, module)) {
            let ends: Vec<String> =
                modules.iter().flat_map(|module| ends_of(module)).map(str::to_owned).collect();
            let expected = "the name of a module of attention or of a feed-forward block, or its end";
            return Err(unknown("lora.targets", expected, target, &ends));
        }
    }
    let task = config.objective.task();
    let Some(folder) = initial.folder().filter(|folder| folder.config.task == task) else {
        let expected =
            "a model of the objective's task, with all of its weights: an adapter is nothing without them";
        let found = initial.folder().map_or("none".to_owned(), |folder| {
            format!("a model whose weights are for {:?}", folder.config.task)
        });
        return Err(TrainError::Value { field: "start.model", expected: expected.to_owned(), found });
    };
    let settings = LoraSettings { rank: lora.rank, alpha: lora.alpha, dropout: lora.dropout };
    let is_target = |module: &str| lora.targets.iter().any(|target| is_target(target, module));
    model.adapt(settings, is_target, config.seed, device)?;
    let path = config.start.as_ref().and_then(|start| start.model.as_ref());
    Ok(AdapterSettings {
        rank: lora.rank,
        alpha: lora.alpha,
        dropout: lora.dropout,
        base_name: path.map(|path| path.display().to_string()).unwrap_or_default(),
        base_fingerprint: weights_fingerprint(folder.checkpoint(), &folder.config)?,
    })
}

/// Whether `name` is `prefix` or goes on with a dot after it.
fn is_below(prefix: &str, name: &str) -> bool {
    name.strip_prefix(prefix.trim_end_matches('.'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether a module is called `target`, or ends in it behind a dot; `*` stands for any characters.
fn is_target(target: &str, module: &str) -> bool {
    ends_of(module).any(|end| fits(target, end))
}

/// A module's name, and what is left of it behind each of its dots.
fn ends_of(module: &str) -> impl Iterator<Item = &str> {
    std::iter::once(module).chain(module.match_indices('.').map(|(at, _)| &module[at + 1..]))
}

/// Whether `text` is what `pattern` says, in which `*` stands for any characters.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(first) else { return false };
    let parts: Vec<&str> = rest.split('*').collect();
    let (last, between) = parts.split_last().unwrap_or((&"", &[]));
    for part in between {
        match left.split_once(part) {
            Some((_, behind)) => left = behind,
            None => return false,
        }
    }
    left.ends_with(last)
}

/// The beginnings of names, to each of their dots, once each.
fn prefixes(names: &[&str]) -> Vec<String> {
    let mut prefixes: Vec<String> = names
        .iter()
        .flat_map(|name| {
            name.match_indices('.')
                .map(|(at, _)| &name[..at])
                .chain(std::iter::once(*name))
                .map(str::to_owned)
        })
        .collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes
}

/// An unknown name, with the nearest of those that are known: one that has all of its parts in their order, or one that differs
/// in few letters.
fn unknown(field: &'static str, expected: &str, found: &str, known: &[String]) -> TrainError {
    let has_parts = |name: &&String| {
        let mut rest = name.as_str();
        found.split('.').all(|part| match rest.split_once(part) {
            Some((_, behind)) if !part.is_empty() => {
                rest = behind;
                true
            }
            _ => false,
        })
    };
    let with_parts = known.iter().filter(has_parts).min_by_key(|name| name.len()).map(String::as_str);
    let near = with_parts.or_else(|| nearest(found, known.iter().map(String::as_str)));
    let expected = if let Some(name) = near {
        format!("{expected} (`{name}`?)")
    } else {
        let mut first: Vec<&str> =
            known.iter().map(String::as_str).filter(|name| !name.contains('.')).collect();
        first.sort_unstable();
        first.dedup();
        format!("{expected}, such as {}", first[..first.len().min(SHOWN)].join(", "))
    };
    TrainError::Value { field, expected, found: format!("`{found}`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_at_dots() {
        assert!(is_below("a.layer.1", "a.layer.1.weight") && is_below("a.layer.1.", "a.layer.1.weight"));
        assert!(is_below("temp", "temp") && !is_below("a.layer.1", "a.layer.10.weight"));
    }

    #[test]
    fn targets_are_ends_of_names() {
        let module = "text_decoder.bert.encoder.layer.10.attention.self.query";
        for target in ["query", "self.query", module, "text_decoder.*.query", "*.layer.1*.query", "*"] {
            assert!(is_target(target, module), "{target}");
        }
        for target in ["uery", "attention", "fusion_encoder.*.query", "text_decoder.*.key", "layer.10", ""] {
            assert!(!is_target(target, module), "{target}");
        }
    }

    #[test]
    fn what_may_have_been_meant_is_named() {
        let names = ["text_decoder.bert.embeddings.word.weight", "visual_encoder.conv1.weight"];
        let message = |found| unknown("freeze", "a name", found, &prefixes(&names)).to_string();
        assert!(message("decoder.embeddings").contains("(`text_decoder.bert.embeddings`?)"));
        assert!(message("visual_encode").contains("(`visual_encoder`?)"), "{}", message("visual_encode"));
        assert!(
            message("nonsense").contains("such as text_decoder, visual_encoder"),
            "{}",
            message("nonsense")
        );
    }
}
