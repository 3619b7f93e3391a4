//! What an evaluation of many held-out pictures costs: its memory over that of the model, and what a second thread is worth. The
//! figures must be the same bits. Ends with an error where a bound is broken.
//!
//! ```sh
//! cargo run --release -p mplug-train --example evaluate_many                       # 5,000 pictures of 384 pixels, a small captioner
//! cargo run --release -p mplug-train --example evaluate_many -- 5000 small search  # a small retrieval model
//! cargo run --release -p mplug-train --example evaluate_many -- 16 base            # the base captioner: minutes for 16 pictures
//! ```

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::collections::BTreeMap;
use std::error::Error;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use burn::tensor::Device;
use mplug::config::{ModelConfig, Task, vocabulary_size};
use mplug_nn::{DropoutRates, Mplug, Parts, RandomParameters};
use mplug_train::config::DrawnLanguage;
use mplug_train::engine_copy::EngineCopy;
use mplug_train::evaluate::{CaptionFigures, Evaluator, Plan};
use mplug_train::gradients::Workers;
use mplug_train::log::peak_memory;
use mplug_train::objective::Writing;
use mplug_train::training_data::{DrawnPictures, Reading, TrainingData, Views};

/// Bytes over the model's that an evaluation may hold.
const MOST_BYTES: f64 = 400e6;
/// How much faster two threads are at least.
const LEAST_SPEEDUP: f64 = 1.7;
/// Tokens of a text at most, the start and end tokens included.
const MAX_LEN: usize = 25;

/// What one process found.
struct Found {
    seconds: f64,
    /// Bytes of the model in its two forms, and the most while it was evaluated.
    memory: [f64; 2],
    figures: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |index: usize, default: &str| arguments.get(index).map_or(default, |text| text).to_owned();
    let (pictures, size, task) = (argument(0, "5000"), argument(1, "small"), argument(2, "captions"));
    if let Some(threads) = arguments.get(3) {
        return evaluate(pictures.parse()?, &size, &task, threads.parse()?);
    }
    let mut found: Vec<Found> = Vec::new();
    for threads in ["1", "2"] {
        let ended =
            Command::new(std::env::current_exe()?).args([&pictures, &size, &task, threads]).output()?;
        if !ended.status.success() {
            return Err(String::from_utf8_lossy(&ended.stderr).into_owned().into());
        }
        let of = read(&String::from_utf8(ended.stdout)?)?;
        let [model, peak] = of.memory.map(|bytes| bytes / 1e6);
        println!(
            "{threads} threads: {:.1} s; model {model:.0} MB, peak {:.0} MB over it",
            of.seconds,
            peak - model
        );
        found.push(of);
    }
    println!("figures: {}", found[0].figures);
    let speedup = found[0].seconds / found[1].seconds;
    println!("two threads are {speedup:.2} times as fast as one");
    let is_same = found[0].figures == found[1].figures;
    let is_small = found.iter().all(|of| of.memory[1] - of.memory[0] < MOST_BYTES);
    if is_same && is_small && speedup >= LEAST_SPEEDUP {
        return Ok(());
    }
    Err(format!("same figures: {is_same}, memory: {is_small}, speed: {}", speedup >= LEAST_SPEEDUP).into())
}

fn read(line: &str) -> Result<Found, Box<dyn Error>> {
    let mut parts = line.trim().splitn(4, ' ');
    let mut number = || -> Result<f64, Box<dyn Error>> { Ok(parts.next().ok_or("no number")?.parse()?) };
    let (seconds, memory) = (number()?, [number()?, number()?]);
    Ok(Found { seconds, memory, figures: parts.next().ok_or("no figures")?.to_owned() })
}

/// Evaluates a model with random weights on drawn pictures, and prints one line.
fn evaluate(pictures: usize, size: &str, task: &str, threads: usize) -> Result<(), Box<dyn Error>> {
    let (task, reading) = match task {
        "search" => (Task::ImageTextRetrieval, Reading::Pairs),
        "answers" => (Task::VisualQuestionAnswering, Reading::Questions),
        _ => (Task::ImageCaptioning, Reading::Captions),
    };
    let mut config = if size == "base" { ModelConfig::base_captioning_zh() } else { ModelConfig::tiny(task) };
    config = config.with_task(task);
    config.vision.image_size = 384;
    config.vision.patch_size = 16;
    config.generation.max_new_tokens = MAX_LEN - 1;
    let views = Views { size: 384, augmentation: None, seed: 1 };
    let none = BTreeMap::new();
    let data = DrawnPictures::new([1, 2], DrawnLanguage::Zh, reading, views, MAX_LEN, None, &none)?;
    config.text.vocab_size = vocabulary_size(data.vocabulary());
    let device = Device::flex();
    let model = Mplug::new(&config, Parts::of(task), &mut RandomParameters { seed: 1 }, &device)?;
    let of_model = with_engine(&model, &config)?;
    // From here on the peak is that of the evaluation.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let start = Instant::now();
    let found = Evaluator {
        model: &model,
        config: &config,
        objective: &if reading == Reading::Questions { Writing::answers(None) } else { Writing::captions() },
        data: &data,
        device: &device,
        workers: &Workers::new(threads, device.clone(), DropoutRates::default())?,
        figures: &CaptionFigures::open(&toml::from_str("every = 1\npictures = 1")?)?,
        stop: &AtomicBool::new(false),
        plan: Plan { examples: pictures, num_beams: None, rerank: 16 },
    }
    .run(reading)?;
    let seconds = start.elapsed().as_secs_f64();
    let peak = peak_memory().ok_or("this needs Linux")?;
    let figures: Vec<String> = found
        .metrics
        .iter()
        .map(|(name, value)| format!("{name} {value:.4} ({:016x})", value.to_bits()))
        .collect();
    println!("{seconds} {of_model} {peak} {}", figures.join(", "));
    Ok(())
}

/// Bytes that this process holds with the model and its copy in the engine.
fn with_engine(model: &Mplug, config: &ModelConfig) -> Result<u64, Box<dyn Error>> {
    let copy = EngineCopy { model, config };
    let parts = model.parts();
    let decoder = parts.text_decoder.then(|| copy.decoder()).transpose()?;
    let multimodal = parts.fusion_encoder.then(|| copy.multimodal()).transpose()?;
    let visual_encoder = copy.visual_encoder()?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    drop((decoder, multimodal, visual_encoder));
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("this needs Linux")?;
    Ok(1024 * line.trim().trim_end_matches("kB").trim().parse::<u64>()?)
}
