//! Keys of a recipe that its run would never look at: what they do needs another objective, or another setting. Knows no types
//! of values.

use mplug::config::Task;
use mplug_nn::Parts;

use super::data::{DataSection, Unreadable};
use super::objective::{ObjectiveSection, WrittenBy};
use super::{TrainConfig, fields};
use crate::error::TrainError;
use crate::training_data::Reading;

/// A key that a recipe's run does not use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unused {
    /// The key, with its table.
    pub(super) key: &'static str,
    /// Why not, and what is used instead.
    why: &'static str,
}

/// An error for the first of the fields that are `given` and not used.
pub(super) fn refuse(config: &TrainConfig, given: &toml::Table) -> Result<(), TrainError> {
    let mut names = std::collections::BTreeMap::new();
    fields::flatten("", &toml::Value::Table(given.clone()), &mut names);
    match unused(config).into_iter().find(|unused| names.contains_key(unused.key)) {
        None => Ok(()),
        Some(Unused { key, why }) => Err(TrainError::Recipe(format!(
            "{key}: expected none, for with objective.kind = \"{}\" {why}, found {}; leave it out",
            config.objective.kind(),
            names[key]
        ))),
    }
}

/// The keys that `config`'s run does not use.
pub(super) fn unused(config: &TrainConfig) -> Vec<Unused> {
    let mut found = Vec::new();
    let mut add = |is_unused: bool, keys: &[&'static str], why: &'static str| {
        if is_unused {
            found.extend(keys.iter().map(|key| Unused { key, why }));
        }
    };
    let objective = &config.objective;
    let parts: Parts = objective.parts();
    let orders = matches!(objective, ObjectiveSection::Retrieval(_) | ObjectiveSection::Pretraining(_));
    add(
        !parts.fusion_encoder,
        &["model.text_encoder_layers", "model.fusion_layers", "model.connected_stride"],
        "the network has no text encoder and no fusion encoder; `model.vision_layers` and `model.decoder_layers` are used",
    );
    add(
        !parts.contrastive_head,
        &["model.shared_size", "start.shared_size"],
        "pictures and texts are not projected into one space, as retrieval and pretraining do",
    );
    add(
        !parts.text_decoder,
        &["model.decoder_layers"],
        "the network has no decoder and writes nothing; `model.text_encoder_layers` and `model.fusion_layers` are used",
    );
    let by_beams = matches!(objective, ObjectiveSection::Cider(cider) if cider.by == WrittenBy::Beams);
    add(
        by_beams,
        &["objective.temperature"],
        "and objective.by = \"beams\" nothing is drawn by chance; objective.by = \"samples\" uses it",
    );
    let by_labels =
        matches!(objective, ObjectiveSection::Answering(answering) if answering.distillation == 0.0);
    add(
        by_labels,
        &["objective.momentum"],
        "and objective.distillation = 0 there is no momentum model; `objective.distillation` above 0 uses it",
    );
    add(!orders, &["evaluation.rerank"], "no candidates are ordered; `evaluation.num_beams` is used");
    add(orders, &["evaluation.num_beams"], "an evaluation writes no texts; `evaluation.rerank` is used");
    add(
        objective.task() != Task::ImageCaptioning,
        &["start.keep_encoders"],
        "all parts of the model are trained and kept",
    );
    add(
        !matches!(objective.reading(), Reading::Captions | Reading::Pairs),
        &["data.clean_captions"],
        "no captions are read or written; captioning, retrieval and pretraining use it",
    );
    add(
        config.run.epochs.is_none(),
        &["run.drop_last"],
        "and run.steps batches go on over the end of an epoch; `run.epochs` uses it",
    );
    let has_distortions = config.augment.as_ref().is_none_or(|augment| augment.operations > 0);
    add(
        !has_distortions,
        &["augment.level", "augment.overflow"],
        "and augment.operations = 0 nothing is distorted; `augment.scale` and `augment.flip` are used",
    );
    let fails = matches!(&config.data, DataSection::Annotations(data) if data.unreadable == Unreadable::Fail);
    add(
        fails,
        &["data.max_skipped"],
        "and data.unreadable = \"fail\" no picture is skipped; data.unreadable = \"skip\" uses it",
    );
    found
}
