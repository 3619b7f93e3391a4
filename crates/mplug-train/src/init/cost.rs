//! What training costs on this machine: its cores, its memory and the speed of its products are measured, the network's
//! operations are those of `preflight::cost`. An estimate: caches, other programs and short texts move it by a factor of two.

use std::path::Path;
use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};
use mplug::checkpoint::names;
use mplug::config::{ModelConfig, Task};

use super::{BATCH, EPOCHS, EVENING, FEW_TEXTS, Found, MOST_FEATURES};
use crate::config::{AnsweringSection, ContrastSection, ObjectiveSection};
use crate::preflight::cost::work;
use crate::preflight::machine;

/// What a part of a step is slower than its products alone.
const OVERHEAD: f64 = 1.8;
/// A run that trains the decoder itself holds its weights, gradients and two moments; less memory than this, in times of the
/// weights' bytes, is too little.
const COPIES: f64 = 6.0;

/// A machine.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) threads: usize,
    /// Of this process, in bytes, where the system says.
    pub(super) memory: Option<u64>,
    /// Multiplications and additions a second of one thread in products of matrices.
    pub(super) speed: f64,
}

impl Machine {
    /// This machine. Takes a quarter of a second.
    pub(super) fn measure() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        let speed = match pool {
            Ok(pool) => pool.install(speed_of_products),
            Err(_) => speed_of_products(),
        };
        Self { threads, memory: machine::Machine::here(Path::new(".")).memory, speed }
    }
}

fn speed_of_products() -> f64 {
    let device = Device::flex();
    let [left, right] =
        [[256, 768], [768, 768]].map(|shape| Tensor::<2>::random(shape, Distribution::Default, &device));
    let (started, mut count) = (Instant::now(), 0_u32);
    while started.elapsed().as_secs_f64() < 0.25 {
        let _product: Vec<f32> = left.clone().matmul(right.clone()).try_into_vec_as().unwrap_or_default();
        count += 1;
    }
    f64::from(count) * 2.0 * 256.0 * 768.0 * 768.0 / started.elapsed().as_secs_f64()
}

/// What a recipe does.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) is_lora: bool,
    /// Whether pictures are encoded once; what that takes on disk, in bytes.
    pub(super) features: Option<u64>,
    pub(super) steps: u64,
    pub(super) batch_size: usize,
    /// Estimates, in seconds.
    pub(super) step_seconds: f64,
    pub(super) first_epoch_seconds: f64,
    pub(super) seconds: f64,
}

pub(super) fn plan(config: &ModelConfig, found: &Found, machine: &Machine) -> Plan {
    let weights = 4.0
        * mplug::checkpoint::expected::needed_tensors(config)
            .iter()
            .map(|(_, shape)| shape.iter().product::<usize>() as f64)
            .sum::<f64>();
    let has_room = machine.memory.is_none_or(|bytes| bytes as f64 > COPIES * weights);
    let is_lora = found.texts < FEW_TEXTS || !has_room;
    let bytes = (found.pictures * config.vision.image_len() * config.vision.hidden_size * 4) as u64;
    let features = Some(bytes).filter(|bytes| *bytes <= MOST_FEATURES);
    let batch_size = BATCH.min(found.texts).max(1);
    // Two micro-batches at least, so that both halves of the machine work.
    let speed = machine.speed * machine.threads.min(batch_size) as f64 / OVERHEAD;
    // A frozen part is gone through once more for the gradients of what is before it; a trained one twice.
    let passes = if is_lora { 2.0 } else { 3.0 };
    let work = work(config, &objective_of(config.task), found.median);
    let (encode, text_seconds) = (work.vision / speed, passes * work.rest / speed);
    let of_picture = if features.is_some() { 0.0 } else { encode };
    let step_seconds = batch_size as f64 * (text_seconds + of_picture);
    let first_epoch_seconds = if features.is_some() { found.pictures as f64 * encode } else { 0.0 };
    let wanted = EPOCHS * (found.texts as u64).div_ceil(batch_size as u64);
    let affordable = ((EVENING - first_epoch_seconds).max(600.0) / step_seconds.max(1e-6)) as u64;
    let steps = wanted.min(affordable).max(1);
    let seconds = first_epoch_seconds + steps as f64 * step_seconds;
    Plan { is_lora, features, steps, batch_size, step_seconds, first_epoch_seconds, seconds }
}

/// What a recipe of `--init` trains a model of this task with.
fn objective_of(task: Task) -> ObjectiveSection {
    match task {
        Task::ImageCaptioning => ObjectiveSection::Captioning {},
        Task::VisualQuestionAnswering => ObjectiveSection::Answering(AnsweringSection::default()),
        Task::ImageTextRetrieval => ObjectiveSection::Retrieval(ContrastSection::default()),
    }
}

/// What is frozen where the text side is trained.
pub(super) const FROZEN: &str = names::VISUAL_ENCODER;
