//! What the ways to fine-tune cost, and what they are worth: full training, a frozen visual encoder, the same with each picture encoded
//! once, LoRA, and LoRA with each picture encoded once.
//!
//! ```sh
//! cargo run --release -p mplug-train --example fine_tuning_cost -- cost 5        # base size, batch 4, two threads; steps measured
//! cargo run --release -p mplug-train --example fine_tuning_cost -- quality 150   # the demo model, fixed steps; needs this repository
//! ```
//!
//! `cost` draws weights of base size and runs each way in a process of its own: seconds of a step (the median, once the pictures are
//! encoded), the most memory held until the last step and until all is saved, and the bytes of the model and of the state that are
//! saved. `quality` teaches the demo captioner to write English unasked, where it writes Chinese, from 400 drawn pictures, and
//! says how many of 200 held-out captions are true.

use std::error::Error;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;

use mplug::checkpoint::seeded::{seeded_tensors, synthetic_vocabulary};
use mplug::checkpoint::{WriteOptions, write_model_folder_of};
use mplug::config::ModelConfig;
use mplug_data::synth::{FolderOptions, TRAIN_SEED, write_folder};
use mplug_train::{Progress, TrainConfig, train};

/// The ways: name, what the recipe has for it before its tables, and its tables.
const WAYS: [(&str, &str, &str); 5] = [
    ("full", "", ""),
    ("frozen encoder", "freeze = [\"visual_encoder\"]", ""),
    ("frozen, encoded once", "freeze = [\"visual_encoder\"]", "[features]\n"),
    ("LoRA r=8", "", "[lora]\n"),
    ("LoRA r=8, encoded once", "", "[lora]\n[features]\n"),
];

/// Pictures of `cost`, with some five captions each; after an epoch of them all are encoded.
const PICTURES: u64 = 4;
const EPOCH: u64 = 6;
const BATCH: u64 = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["cost", steps] => cost(steps),
        ["one", way, folder, steps] => one(way.parse()?, Path::new(folder), steps.parse()?),
        ["quality", steps] => quality(steps.parse()?),
        _ => Err("expected `cost STEPS` or `quality STEPS`".into()),
    }
}

fn cost(steps: &str) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let config = ModelConfig::base_captioning_zh();
    let vocabulary = synthetic_vocabulary(config.text.vocab_size);
    let (model, options) = (folder.path().join("model"), WriteOptions::default());
    write_model_folder_of(&model, &config, &vocabulary, &seeded_tensors(&config, 7), &options)?;
    write_folder(&folder.path().join("data"), TRAIN_SEED, PICTURES, &FolderOptions::default(), &mut |_| ())?;
    say(
        "way                      s/step   GB until the last step   GB in all   MB of the model   MB of the state",
    );
    for way in 0..WAYS.len() {
        let path = folder.path().to_str().ok_or("the path is no text")?;
        let child =
            Command::new(std::env::current_exe()?).args(["one", &way.to_string(), path, steps]).output()?;
        if !child.status.success() {
            return Err(String::from_utf8_lossy(&child.stderr).into());
        }
        say(String::from_utf8_lossy(&child.stdout).trim_end());
    }
    Ok(())
}

/// One way at base size, in a process of its own.
fn one(way: usize, folder: &Path, steps: u64) -> Result<(), Box<dyn Error>> {
    let (name, before, tables) = WAYS[way];
    let output = folder.join(format!("run-{way}"));
    let quoted = |path: PathBuf| toml_string(&path);
    let data = quoted(folder.join("data"));
    let first = if tables.contains("[features]") { EPOCH } else { 1 };
    let recipe = format!(
        "output = {}\n{before}\n{tables}[start]\nmodel = {}\nmax_text_tokens = 25\ndropout = 0.1\n[data]\nkind = \"annotations\"\n\
         train = {data}\nheld_out = {}\nlanguage = \"zh\"\n[run]\nsteps = {}\nbatch_size = {BATCH}\nmicro_batch_size = 2\nthreads = 2\n\
         data_threads = 1\nlog_every = 1\ncheckpoint_every = 1000000\n[optimizer]\nlearning_rate = 1e-5\nweight_decay = 0.02\n\
         [schedule]\nwarmup_steps = 0\n[evaluation]\nevery = 0\npictures = 1\n",
        quoted(output.clone()),
        quoted(folder.join("model")),
        quoted(folder.join("data/annotations.jsonl")),
        first + steps,
    );
    let config = TrainConfig::from_toml(&recipe, &[])?;
    let (mut seconds, mut peak) = (Vec::new(), 0);
    train(&config, false, &mut |event| {
        if let Progress::Step(report) = event {
            if report.step > first {
                seconds.push(report.step_seconds);
            }
            peak = report.peak_memory.unwrap_or_default();
        }
        ControlFlow::Continue(())
    })?;
    seconds.sort_by(f64::total_cmp);
    let in_all = mplug_train::log::peak_memory().unwrap_or_default();
    let state = std::fs::metadata(output.join("last/state.safetensors"))?.len();
    say(&format!(
        "{name:24} {:6.2}   {:22.2}   {:9.2}   {:15.1}   {:15.1}",
        seconds[seconds.len() / 2],
        peak as f64 / 1e9,
        in_all as f64 / 1e9,
        (size(&output.join("last"))? - state) as f64 / 1e6,
        state as f64 / 1e6,
    ));
    Ok(())
}

fn size(folder: &Path) -> std::io::Result<u64> {
    std::fs::read_dir(folder)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}

fn quality(steps: u64) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mplug-demo-caption/model");
    say("way                      loss    true    CIDEr-D   seconds");
    for (way, (name, before, tables)) in WAYS.into_iter().enumerate() {
        let (is_lora, features) = (tables.contains("[lora]"), tables.contains("[features]"));
        let lora =
            "[lora]\ntargets = [\"query\", \"key\", \"value\", \"output.dense\", \"intermediate.dense\"]\n";
        let tables = [if is_lora { lora } else { "" }, if features { "[features]\n" } else { "" }].concat();
        let rate = if is_lora { "2e-3" } else { "2e-4" };
        let recipe = format!(
            "output = {}\n{before}\n{tables}[start]\nmodel = {}\nmax_text_tokens = 40\n[prompts]\nzh = \"the picture:\"\n[data]\n\
             kind = \"synth\"\nlanguage = \"en\"\nseed = 1\nheld_out_seed = 2\npictures = 400\n[run]\nsteps = {steps}\nbatch_size = 16\n\
             micro_batch_size = 8\nthreads = 2\ndata_threads = 1\nlog_every = {steps}\ncheckpoint_every = {steps}\n[optimizer]\n\
             learning_rate = {rate}\nweight_decay = 0.01\nclip_norm = 1.0\n[schedule]\nwarmup_steps = {}\n[evaluation]\nevery = {steps}\n\
             pictures = 200\n",
            toml_string(&folder.path().join(way.to_string())),
            toml_string(&demo),
            steps / 20,
        );
        let config = TrainConfig::from_toml(&recipe, &[])?;
        let (mut figures, started) = ([0.0; 3], std::time::Instant::now());
        train(&config, false, &mut |event| {
            if let Progress::Evaluated { metrics, .. } = event {
                figures =
                    ["loss", "truth", "cider"].map(|name| metrics.get(name).copied().unwrap_or(f64::NAN));
            }
            ControlFlow::Continue(())
        })?;
        let [loss, truth, cider] = figures;
        let seconds = started.elapsed().as_secs_f64();
        say(&format!("{name:24} {loss:.3}   {truth:.3}   {cider:7.3}   {seconds:7.0}"));
    }
    Ok(())
}

fn toml_string(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

#[expect(clippy::print_stdout, reason = "a program's result")]
fn say(line: &str) {
    println!("{line}");
}
