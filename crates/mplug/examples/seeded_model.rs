//! Writes a model folder whose weights are drawn from a seed: for tests and benchmarks without any download.
//!
//! ```text
//! cargo run --release -p mplug --example seeded_model -- OUT_DIR [--size base|large|tiny] [--task caption|ask|match]
//!     [--seed N] [--format safetensors|pytorch|pytorch-trainer] [--dtype f32|f16|bf16] [--keep all|task] [--overwrite]
//!     [--outliers]
//! cargo run --release -p mplug --example seeded_model -- OUT_DIR --golden fixtures/golden/NAME [--format pytorch] [--seed N]
//!     [--outliers]
//! ```
//!
//! The captions of such a model are nonsense; its shapes, speed and memory are those of a real one. With `--golden` it is the
//! model of which the original's numbers are known, always with all its tensors, at f32; with `--seed` as well it is
//! another model drawn by the same manifest. `--outliers` gives the model channels that are 40 times larger than the others and
//! changes nothing that it computes (`mplug::checkpoint::outliers`).

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use mplug::checkpoint::outliers::WithOutliers;
use mplug::checkpoint::seeded::{
    Recipe, seeded_stored_tensors, seeded_tensors, synthetic_vocabulary, tensors_from_manifest,
};
use mplug::checkpoint::{
    Dtype, FileFormat, Keep, TensorReader, WriteOptions, write_model_folder_of, write_pytorch,
    write_safetensors,
};
use mplug::config::{ModelConfig, Task};

struct Arguments {
    out_dir: PathBuf,
    golden: Option<PathBuf>,
    config: ModelConfig,
    seed: Option<u64>,
    has_outliers: bool,
    options: WriteOptions,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = parse(std::env::args().skip(1))?;
    let (config, seed) = (&arguments.config, arguments.seed);
    let recipe = match &arguments.golden {
        Some(golden) => golden_recipe(golden, seed)?,
        None if arguments.options.keep == Keep::All => seeded_stored_tensors(config, seed.unwrap_or(0)),
        None => seeded_tensors(config, seed.unwrap_or(0)),
    };
    if arguments.has_outliers {
        write(&arguments, &WithOutliers::new(&recipe))
    } else {
        write(&arguments, &recipe)
    }
}

/// The tensors of a golden model by its manifest, or of another that has a seed of its own.
fn golden_recipe(golden: &Path, seed: Option<u64>) -> Result<Recipe, Box<dyn Error>> {
    let manifest = fs::read_to_string(golden.join("manifest.json"))?;
    let recipe = tensors_from_manifest(&manifest, fs::read(golden.join("explicit.safetensors")).ok())?;
    Ok(Recipe { seed: seed.unwrap_or(recipe.seed), ..recipe })
}

/// Writes the folder; the small files of a golden model are copied.
fn write(arguments: &Arguments, tensors: &impl TensorReader) -> Result<(), Box<dyn Error>> {
    let Arguments { out_dir, config, options, .. } = arguments;
    let Some(golden) = &arguments.golden else {
        let vocabulary = synthetic_vocabulary(config.text.vocab_size);
        return Ok(write_model_folder_of(out_dir, config, &vocabulary, tensors, options)?);
    };
    fs::create_dir(out_dir)?;
    for name in ["configuration.json", "config.yaml", "config_bert.json", "vocab.txt"] {
        fs::copy(golden.join(name), out_dir.join(name))?;
    }
    match options.format {
        FileFormat::Safetensors => {
            write_safetensors(&out_dir.join("model.safetensors"), tensors, Dtype::F32)?;
        }
        _ => write_pytorch(&out_dir.join("pytorch_model.bin"), tensors, Dtype::F32)?,
    }
    Ok(())
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Arguments, Box<dyn Error>> {
    let (mut out_dir, mut golden) = (None, None);
    let (mut size, mut task) = ("base".to_owned(), Task::ImageCaptioning);
    let (mut seed, mut has_outliers) = (None, false);
    let mut options = WriteOptions::default();
    while let Some(argument) = arguments.next() {
        if argument == "--overwrite" {
            options.overwrite = true;
            continue;
        }
        if argument == "--outliers" {
            has_outliers = true;
            continue;
        }
        if !argument.starts_with("--") {
            out_dir = Some(PathBuf::from(argument));
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("{argument} needs a value"))?;
        match (argument.as_str(), value.as_str()) {
            ("--golden", _) => golden = Some(PathBuf::from(value)),
            ("--size", "base" | "large" | "tiny") => size = value,
            ("--task", "caption") => task = Task::ImageCaptioning,
            ("--task", "ask") => task = Task::VisualQuestionAnswering,
            ("--task", "match") => task = Task::ImageTextRetrieval,
            ("--seed", _) => seed = Some(value.parse()?),
            ("--format", "pytorch") => options.format = FileFormat::Pytorch,
            ("--format", "pytorch-trainer") => options.format = FileFormat::PytorchTrainer,
            ("--format", "safetensors") => options.format = FileFormat::Safetensors,
            ("--dtype", "f32") => options.dtype = Dtype::F32,
            ("--dtype", "f16") => options.dtype = Dtype::F16,
            ("--dtype", "bf16") => options.dtype = Dtype::Bf16,
            ("--keep", "all") => options.keep = Keep::All,
            ("--keep", "task") => options.keep = Keep::Task,
            _ => return Err(format!("{argument} {value} is not understood; see the top of this file").into()),
        }
    }
    let config = match size.as_str() {
        "base" => ModelConfig::base_captioning_zh(),
        "large" => ModelConfig::large_captioning(21128),
        _ => ModelConfig::tiny(task),
    };
    let out_dir = out_dir.ok_or("the folder to write is missing")?;
    Ok(Arguments { out_dir, golden, config: config.with_task(task), seed, has_outliers, options })
}
