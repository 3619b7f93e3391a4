//! How a run goes: micro-batches, optimizer, schedule, evaluations.

use mplug_nn::Precision;
use serde::{Deserialize, Serialize};

use crate::loss_scale::LossScale;

/// How long, and in what micro-batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSection {
    /// Optimizer steps.
    pub steps: u64,
    /// Examples per optimizer step.
    pub batch_size: usize,
    /// Examples that go through the network at once; their gradients are summed to the batch's. Small micro-batches stay in
    /// the processor's caches.
    pub micro_batch_size: usize,
    /// Threads that compute gradients side by side.
    pub threads: usize,
    /// Threads that make examples ahead of the network.
    pub data_threads: usize,
    /// Most memory of the batches that wait for the network, in megabytes; one batch may wait in any case. Data threads whose
    /// batches do not fit are not started.
    #[serde(default = "default_data_memory")]
    pub data_memory: usize,
    /// Steps between lines in the log.
    pub log_every: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Where the network runs.
    #[serde(default)]
    pub device: DeviceKind,
    /// What the factors and results of its matrix products are rounded to (mixed precision).
    #[serde(default)]
    pub precision: PrecisionKind,
    /// Whether the visual encoder keeps little for its gradients and computes it again: less memory, more time.
    #[serde(default)]
    pub gradient_checkpointing: bool,
    /// Checkpoints whose models are kept under their steps; with 1 there is `last` alone.
    #[serde(default = "default_keep_last")]
    pub keep_last: usize,
    /// Steps in a row without a finite loss and gradient after which the run ends. Each of them is skipped.
    #[serde(default = "default_max_skipped_steps")]
    pub max_skipped_steps: u64,
}

/// Where the network runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// The processor.
    #[default]
    Cpu,
    /// The GPU that wgpu prefers, by Vulkan, Metal, DirectX 12 or OpenGL, in builds with the feature `wgpu`.
    Gpu,
}

/// What the factors and results of matrix products are rounded to. Weights, norms, softmax and losses are f32 in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionKind {
    /// Nothing.
    #[default]
    F32,
    /// bfloat16.
    Bf16,
    /// IEEE half, with the loss scaled up so that small gradients do not vanish.
    F16,
}

impl PrecisionKind {
    /// The network's name for it.
    pub fn precision(self) -> Precision {
        match self {
            Self::F32 => Precision::F32,
            Self::Bf16 => Precision::Bf16,
            Self::F16 => Precision::F16,
        }
    }

    /// What losses are multiplied with at first, and whether that changes.
    pub fn loss_scale(self) -> LossScale {
        if self == Self::F16 { LossScale::following() } else { LossScale::default() }
    }
}

fn default_data_memory() -> usize {
    512
}

fn default_keep_last() -> usize {
    1
}

fn default_max_skipped_steps() -> u64 {
    10
}

/// AdamW (Loshchilov and Hutter 2019) as the original groups it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerSection {
    /// Peak learning rate of everything but the visual encoder.
    pub learning_rate: f64,
    /// Peak learning rate of the visual encoder; the same if absent.
    pub vision_learning_rate: Option<f64>,
    /// Decay rates of the two moments.
    #[serde(default = "default_betas")]
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    #[serde(default = "default_eps")]
    pub eps: f64,
    /// Decay of weights, of those in `groups`.
    pub weight_decay: f64,
    /// What decays.
    #[serde(default)]
    pub groups: Groups,
    /// Largest norm of the gradient; longer ones are scaled down. 0 turns clipping off.
    #[serde(default)]
    pub clip_norm: f64,
    /// Decay of the running average of the weights, which is what is evaluated and kept; 0 turns it off.
    #[serde(default)]
    pub average_decay: f64,
}

/// Which weights decay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Groups {
    /// The research code's: those whose names hold neither `bias` nor `LayerNorm.weight`.
    #[default]
    Research,
    /// ModelScope's trainer's: all.
    Single,
}

fn default_betas() -> [f64; 2] {
    [0.9, 0.999]
}

fn default_eps() -> f64 {
    1e-8
}

/// The learning rate over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSection {
    /// Its shape.
    #[serde(default)]
    pub kind: ScheduleKind,
    /// Steps of warm-up.
    pub warmup_steps: u64,
    /// The floor as a share of the peak; of every group's own peak.
    #[serde(default)]
    pub min_ratio: f64,
    /// For `research`: the learning rate that warm-up starts from (the original's `warmup_lr`).
    #[serde(default = "default_warmup_rate")]
    pub warmup_rate: f64,
    /// For `research`: the learning rate at the end (the original's `min_lr`).
    #[serde(default = "default_min_rate")]
    pub min_rate: f64,
    /// For `research`: the length of an epoch in steps.
    #[serde(default)]
    pub epoch_steps: u64,
}

fn default_warmup_rate() -> f64 {
    1e-5
}

fn default_min_rate() -> f64 {
    1e-6
}

/// The shape of a schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleKind {
    /// Linear warm-up, then a cosine down to the floor at the last step.
    #[default]
    Cosine,
    /// Linear warm-up, then straight down to the floor at the last step.
    Linear,
    /// Linear warm-up, then the peak.
    Constant,
    /// The research code's (AliceMind's `caption_mplug.py`, timm's cosine): constant inside an epoch, in the first one
    /// from `warmup_rate` towards the peak in steps of 100 (downwards too, where the peak is lower).
    Research,
}

/// When and on what to evaluate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationSection {
    /// Steps between evaluations; 0 turns them off.
    pub every: u64,
    /// Held-out examples.
    pub pictures: usize,
    /// The figure that decides what is best; the task's own if absent.
    pub metric: Option<BestBy>,
    /// Beams of the texts that are written.
    #[serde(default = "default_evaluation_beams")]
    pub num_beams: usize,
    /// Retrieval: how many candidates of each picture and text the matching head orders anew (the original's `k_test`).
    #[serde(default = "default_rerank")]
    pub rerank: usize,
    /// The number of evaluations in a row, none of them the best, that ends the run; 0 never does.
    #[serde(default)]
    pub patience: u64,
}

fn default_evaluation_beams() -> usize {
    1
}

fn default_rerank() -> usize {
    16
}

/// A figure of evaluations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BestBy {
    /// The loss on held-out examples; less is better.
    Loss,
    /// The share of captions that are true in full, where the data can judge it.
    Truth,
    /// CIDEr-D.
    Cider,
    /// BLEU-4.
    #[serde(rename = "bleu_4")]
    Bleu4,
    /// Accuracy of answers.
    Accuracy,
    /// Recall at 1 of texts by pictures.
    TextR1,
    /// Recall at 5 of texts by pictures.
    TextR5,
    /// Recall at 10 of texts by pictures.
    TextR10,
    /// Recall at 1 of pictures by texts.
    ImageR1,
    /// Recall at 5 of pictures by texts.
    ImageR5,
    /// Recall at 10 of pictures by texts.
    ImageR10,
    /// The mean of all recalls.
    RMean,
}

impl BestBy {
    /// Those of retrieval.
    pub const RECALLS: [Self; 7] = [
        Self::TextR1,
        Self::TextR5,
        Self::TextR10,
        Self::ImageR1,
        Self::ImageR5,
        Self::ImageR10,
        Self::RMean,
    ];

    /// Whether it compares texts with what people wrote.
    pub fn needs_references(self) -> bool {
        matches!(self, Self::Cider | Self::Bleu4)
    }

    /// Its name in an evaluation.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Truth => "truth",
            Self::Cider => "cider",
            Self::Bleu4 => "bleu_4",
            Self::Accuracy => "accuracy",
            Self::TextR1 => "text_r1",
            Self::TextR5 => "text_r5",
            Self::TextR10 => "text_r10",
            Self::ImageR1 => "image_r1",
            Self::ImageR5 => "image_r5",
            Self::ImageR10 => "image_r10",
            Self::RMean => "r_mean",
        }
    }
}
