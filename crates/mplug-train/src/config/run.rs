//! How a run goes: its length, micro-batches, what it keeps.

use mplug_nn::Precision;
use serde::{Deserialize, Serialize};

use crate::loss_scale::LossScale;

/// How long, and in what micro-batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSection {
    /// Optimizer steps; or else `epochs`.
    pub steps: Option<u64>,
    /// How often the run goes through the data; or else `steps`.
    pub epochs: Option<u64>,
    /// With `epochs`: whether the examples that are left for a short last batch of an epoch are dropped, as in the research
    /// code. ModelScope's trainer takes them.
    #[serde(default)]
    pub drop_last: bool,
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
    /// The latest checkpoints that are kept, beside that of the best evaluation.
    #[serde(default = "default_keep_last")]
    pub keep_last: usize,
    /// Steps in a row without a finite loss and gradient after which the run ends. Each of them is skipped.
    #[serde(default = "default_max_skipped_steps")]
    pub max_skipped_steps: u64,
    /// What else is written at the end of the run: the best model, or the last where nothing was evaluated, for other programs.
    pub export: Option<ExportKind>,
}

/// What a model is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExportKind {
    /// ModelScope's `pipeline`, in the folder `modelscope`.
    Modelscope,
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
