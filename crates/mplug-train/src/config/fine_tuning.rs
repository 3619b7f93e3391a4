//! Training that costs little: what stays as it is, low-rank adaptation, and pictures that are encoded once.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::TrainConfig;
use super::check::ensure;
use crate::config::ObjectiveSection;
use crate::error::TrainError;

/// Largest rank of an adaptation: beyond it nothing is saved.
const MAX_RANK: usize = 256;

/// Low-rank adaptation (LoRA): the model's weights stay as they are, and small matrices beside some of them are trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoraSection {
    /// The inner size of the small matrices.
    pub rank: usize,
    /// What their product is multiplied with, times `rank`.
    pub alpha: f32,
    /// Dropout of their inputs.
    pub dropout: f32,
    /// Which modules are adapted: by their names or the ends of their names, in which `*` stands for any characters.
    pub targets: Vec<String>,
}

impl Default for LoraSection {
    fn default() -> Self {
        Self { rank: 8, alpha: 16.0, dropout: 0.0, targets: vec!["query".to_owned(), "value".to_owned()] }
    }
}

/// What a frozen visual encoder makes of each picture is kept on disk, so that a picture is encoded once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeaturesSection {
    /// Where; `features` in the run folder if absent. Runs with the same encoder may share a folder.
    pub folder: Option<PathBuf>,
    /// Most that it may take on disk, in units of 10⁹ bytes.
    pub max_gigabytes: f64,
}

impl Default for FeaturesSection {
    fn default() -> Self {
        Self { folder: None, max_gigabytes: 20.0 }
    }
}

impl TrainConfig {
    /// Checks what types cannot say of `freeze`, `[lora]` and `[features]`.
    pub(super) fn check_fine_tuning(&self) -> Result<(), TrainError> {
        if let Some(lora) = &self.lora {
            self.check_lora(lora)?;
        }
        let Some(features) = &self.features else { return Ok(()) };
        let expected_room = features.max_gigabytes.is_finite() && features.max_gigabytes > 0.0;
        ensure(expected_room, "features.max_gigabytes", || {
            ("a number above 0".to_owned(), features.max_gigabytes.to_string())
        })?;
        ensure(self.augment.is_none(), "features", || {
            let expected =
                "no table [augment]: a picture that changes from epoch to epoch cannot be encoded once";
            (expected.to_owned(), "both".to_owned())
        })?;
        ensure(self.dropout().visual_attention == 0.0, "features", || {
            let expected = "no visual_attention_dropout, which changes what the encoder makes of a picture";
            (expected.to_owned(), self.dropout().visual_attention.to_string())
        })
    }

    fn check_lora(&self, lora: &LoraSection) -> Result<(), TrainError> {
        ensure((1..=MAX_RANK).contains(&lora.rank), "lora.rank", || {
            (format!("1 to {MAX_RANK}"), lora.rank.to_string())
        })?;
        ensure(lora.alpha.is_finite() && lora.alpha > 0.0, "lora.alpha", || {
            ("a number above 0".to_owned(), lora.alpha.to_string())
        })?;
        super::check::check_dropout("lora.dropout", lora.dropout)?;
        ensure(!lora.targets.is_empty(), "lora.targets", || {
            ("the names of modules".to_owned(), "none".to_owned())
        })?;
        ensure(self.freeze.is_empty(), "freeze", || {
            let expected = "none with [lora], which freezes all weights of the model";
            (expected.to_owned(), format!("{:?}", self.freeze))
        })?;
        let has_model = self.start.as_ref().is_some_and(|start| start.model.is_some());
        ensure(has_model, "lora", || {
            let expected = "a model to adapt, `start.model`";
            (expected.to_owned(), "none".to_owned())
        })?;
        ensure(!matches!(self.objective, ObjectiveSection::Pretraining(_)), "lora", || {
            ("an objective whose heads the model has".to_owned(), "pretraining".to_owned())
        })
    }
}
