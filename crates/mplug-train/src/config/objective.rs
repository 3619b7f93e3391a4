//! What training minimises, and its settings.

use mplug::config::Task;
use mplug_nn::Parts;
use serde::{Deserialize, Serialize};

use super::BestBy;
use super::check::ensure;
use crate::error::TrainError;
use crate::training_data::Reading;

/// What training minimises.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase", tag = "kind")]
pub enum ObjectiveSection {
    /// Cross-entropy of captions. (With braces, so that settings it does not have are errors.)
    Captioning {},
    /// CIDEr of captions that the model writes (self-critical training).
    Cider(CiderSection),
    /// Cross-entropy of answers to questions.
    Answering(AnsweringSection),
    /// Contrast and matching of pictures and texts.
    Retrieval(ContrastSection),
    /// Contrast, matching, masked language and prefix language modelling together.
    Pretraining(PretrainingSection),
}

/// CIDEr optimisation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CiderSection {
    /// Captions written of each picture.
    pub candidates: usize,
    /// How.
    pub by: WrittenBy,
    /// Samples: what logits are divided by.
    pub temperature: f32,
    /// What a reward is compared with.
    pub baseline: BaselineKind,
    /// What says how rare n-grams are.
    pub frequencies: Frequencies,
    /// Fewest tokens of a caption.
    pub min_new_tokens: usize,
    /// Most tokens of a caption, the end token included.
    pub max_new_tokens: usize,
    /// Whether the end of a text is a token of captions, references and frequencies (Rennie et al. 2017). Without it, as in the
    /// original, a caption that breaks off is often worth more than a whole one.
    pub end_token: bool,
}

impl Default for CiderSection {
    fn default() -> Self {
        Self {
            candidates: 5,
            by: WrittenBy::Beams,
            temperature: 1.0,
            baseline: BaselineKind::Mean,
            frequencies: Frequencies::Batch,
            min_new_tokens: 1,
            max_new_tokens: 25,
            end_token: false,
        }
    }
}

/// How candidates are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WrittenBy {
    /// The beams of a search: the original's.
    Beams,
    /// By chance.
    Samples,
}

/// What a reward is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BaselineKind {
    /// The mean of all candidates of the picture: the original's.
    Mean,
    /// The mean of the others.
    LeaveOneOut,
}

/// What says how rare n-grams are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Frequencies {
    /// The batch: the original's.
    Batch,
    /// The references of the data.
    Data,
}

/// Answering.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnsweringSection {
    /// The share of a momentum model's soft labels in the loss; 0, as in the original's effect, needs no momentum model.
    pub distillation: f64,
    /// How slowly the momentum model follows.
    pub momentum: f64,
}

impl Default for AnsweringSection {
    fn default() -> Self {
        Self { distillation: 0.0, momentum: 0.995 }
    }
}

/// Contrast and matching.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContrastSection {
    /// Places of the queue.
    pub queue_size: usize,
    /// How slowly the momentum model follows.
    pub momentum: f64,
    /// The share of the momentum model's similarities in the targets (the original's `alpha`).
    pub distillation: f64,
    /// Whether that share grows evenly from 0 during the first epoch (the research code's `warm_up`).
    pub distillation_ramp: bool,
}

impl Default for ContrastSection {
    fn default() -> Self {
        Self { queue_size: 65536, momentum: 0.995, distillation: 0.4, distillation_ramp: false }
    }
}

/// Pre-training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PretrainingSection {
    /// Places of the queue.
    pub queue_size: usize,
    /// How slowly the momentum model follows.
    pub momentum: f64,
    /// The share of the momentum model's similarities in the targets (the original's `alpha`).
    pub distillation: f64,
    /// Whether that share grows evenly from 0 during the first epoch.
    pub distillation_ramp: bool,
    /// The share of masked tokens (the original's `mlm_probability`).
    pub mask_share: f32,
}

impl Default for PretrainingSection {
    fn default() -> Self {
        let ContrastSection { queue_size, momentum, distillation, distillation_ramp } =
            ContrastSection::default();
        Self { queue_size, momentum, distillation, distillation_ramp, mask_share: 0.15 }
    }
}

impl Default for ObjectiveSection {
    fn default() -> Self {
        Self::Captioning {}
    }
}

impl ObjectiveSection {
    /// Its name in a recipe.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Captioning {} => "captioning",
            Self::Cider(_) => "cider",
            Self::Answering(_) => "answering",
            Self::Retrieval(_) => "retrieval",
            Self::Pretraining(_) => "pretraining",
        }
    }

    /// The task of the model folders that it writes.
    pub fn task(&self) -> Task {
        match self {
            Self::Captioning {} | Self::Cider(_) => Task::ImageCaptioning,
            Self::Answering(_) => Task::VisualQuestionAnswering,
            Self::Retrieval(_) | Self::Pretraining(_) => Task::ImageTextRetrieval,
        }
    }

    /// What it makes of a dataset's records.
    pub fn reading(&self) -> Reading {
        match self {
            Self::Captioning {} => Reading::Captions,
            Self::Cider(_) => Reading::Pictures,
            Self::Answering(_) => Reading::Questions,
            Self::Retrieval(_) | Self::Pretraining(_) => Reading::Pairs,
        }
    }

    /// The parts that the network must have.
    pub fn parts(&self) -> Parts {
        match self {
            Self::Pretraining(_) => Parts::all(),
            other => Parts::of(other.task()),
        }
    }

    /// The figure that decides what is best, in the order of preference.
    pub fn best_by(&self) -> &'static [BestBy] {
        match self {
            Self::Captioning {} => &[BestBy::Truth, BestBy::Cider, BestBy::Loss],
            Self::Cider(_) => &[BestBy::Cider],
            Self::Answering(_) => &[BestBy::Accuracy, BestBy::Loss],
            Self::Retrieval(_) | Self::Pretraining(_) => &[BestBy::RMean],
        }
    }

    /// Whether the share of soft labels grows during the first epoch.
    pub fn ramps_distillation(&self) -> bool {
        match self {
            Self::Retrieval(section) => section.distillation_ramp,
            Self::Pretraining(section) => section.distillation_ramp,
            Self::Captioning {} | Self::Cider(_) | Self::Answering(_) => false,
        }
    }

    /// Checks what types cannot say.
    pub(super) fn check(&self, micro_batch_size: usize) -> Result<(), TrainError> {
        let share = |field, value: f64| {
            ensure((0.0..=1.0).contains(&value), field, || ("0 to 1".to_owned(), value.to_string()))
        };
        match self {
            Self::Captioning {} => Ok(()),
            Self::Cider(cider) => {
                ensure((2..=256).contains(&cider.candidates), "objective.candidates", || {
                    ("2 to 256".to_owned(), cider.candidates.to_string())
                })?;
                let warm = cider.temperature > 0.0 && cider.temperature.is_finite();
                ensure(warm, "objective.temperature", || {
                    ("above 0".to_owned(), cider.temperature.to_string())
                })?;
                ensure(
                    cider.max_new_tokens > 0 && cider.min_new_tokens <= cider.max_new_tokens,
                    "objective.max_new_tokens",
                    || {
                        let least = cider.min_new_tokens.max(1);
                        (format!("at least {least}"), cider.max_new_tokens.to_string())
                    },
                )
            }
            Self::Answering(answering) => {
                share("objective.distillation", answering.distillation)?;
                share("objective.momentum", answering.momentum)
            }
            Self::Retrieval(ContrastSection { queue_size, momentum, distillation, .. })
            | Self::Pretraining(PretrainingSection { queue_size, momentum, distillation, .. }) => {
                share("objective.momentum", *momentum)?;
                share("objective.distillation", *distillation)?;
                if let Self::Pretraining(section) = self {
                    share("objective.mask_share", f64::from(section.mask_share))?;
                }
                ensure(*queue_size > 0, "objective.queue_size", || {
                    ("at least 1".to_owned(), queue_size.to_string())
                })?;
                ensure(micro_batch_size > 1, "run.micro_batch_size", || {
                    (
                        "at least 2: negatives come from the micro-batch".to_owned(),
                        micro_batch_size.to_string(),
                    )
                })
            }
        }
    }
}
