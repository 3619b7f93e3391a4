//! `mplug bench`: how fast captioning is on this machine, stage by stage, at each precision.

mod measure;
mod report;

use std::path::PathBuf;

use clap::Args;
use mplug::checkpoint::{Dtype, ModelFolder, seeded};
use mplug::config::{ModelConfig, Task};
use mplug::preprocess::image::{ImageLimits, RgbImage, load_image};
use mplug_data::message::about;

use self::report::Benchmark;
use crate::args::{EngineArgs, SearchArgs, StrictArg, between};
use crate::output::OutputArgs;
use crate::precision::PrecisionArg;
use crate::status::Status;
use crate::{model, pool};

/// Seed of the weights when no model is given.
const SEED: u64 = 0;

/// Measure captioning speed on this machine
#[derive(Args, Debug)]
#[command(after_help = "\
Without --model, random weights in the size of the base captioning model are used; their speed
is that of a trained model. Each time is the median of the rounds, with the fastest and the
slowest. The percentages compare the encoder with the peak rate of matrix products and the
decoder step with the memory bandwidth, both measured in the same run.

Examples:
  mplug bench
  mplug bench --model caption-base-zh --precision int8 --images photo.jpg
  mplug bench --threads 1 --batch-sizes 1,4,16 --format json")]
pub(crate) struct BenchArgs {
    /// Captioning model: a folder, a weight file, or the name of a downloaded model [default: random weights of base size]
    #[arg(long, short, value_name = "DIR|FILE|NAME", env = "MPLUG_MODEL")]
    model: Option<PathBuf>,
    /// Folder of a LoRA adapter (PEFT's files) that was trained on the model
    #[arg(long, value_name = "DIR", requires = "model")]
    adapter: Option<PathBuf>,
    #[command(flatten)]
    strict: StrictArg,
    /// Picture to caption [default: a generated one of 1600 x 1200 pixels]
    #[arg(long, value_name = "FILE")]
    images: Option<PathBuf>,
    /// Number of measurements of each stage
    #[arg(long, value_name = "N", default_value = "5", value_parser = between::<1, 1000>)]
    rounds: usize,
    /// Batch sizes to measure
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,8", value_parser = between::<1, 256>)]
    batch_sizes: Vec<usize>,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    search: SearchArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
pub(crate) fn run(args: BenchArgs) -> anyhow::Result<Status> {
    pool::run(args.engine.threads, move || bench(&args))
}

fn bench(args: &BenchArgs) -> anyhow::Result<Status> {
    let mut writer = args.output.create(None)?;
    let folder = match &args.model {
        Some(path) => {
            let (size, adapter) = (args.engine.image_size, args.adapter.as_ref());
            model::open(path, size, Task::ImageCaptioning, args.strict, adapter)?
        }
        None => drawn_model(args.engine.image_size)?,
    };
    let picture = match &args.images {
        Some(path) => load_image(path, &ImageLimits::default())
            .map_err(|error| anyhow::anyhow!(about(path, &error.fault.to_string())))?,
        None => drawn_picture(1600, 1200),
    };
    let all = [PrecisionArg::F32, PrecisionArg::Bf16, PrecisionArg::Int8];
    let precisions = args.engine.precision.map_or(all.to_vec(), |precision| vec![precision]);
    for precision in precisions {
        let options = crate::precision::load_options(&folder, Some(precision));
        writer.write(&Benchmark::measure(args, &folder, &options, &picture)?)?;
        writer.flush()?;
    }
    writer.finish()?;
    Ok(Status::Good)
}

/// A base-size model whose weights are drawn.
fn drawn_model(image_size: Option<usize>) -> anyhow::Result<ModelFolder> {
    let mut config = ModelConfig::base_captioning_zh();
    if let Some(size) = image_size {
        let patch = config.vision.patch_size;
        anyhow::ensure!(
            size % patch == 0,
            "`--image-size` {size} is not a multiple of the patch size, {patch}"
        );
        config.vision.image_size = size;
    }
    let checkpoint = seeded::seeded_tensors(&config, SEED).to_checkpoint(Dtype::Bf16)?;
    let vocabulary = seeded::synthetic_vocabulary(config.text.vocab_size);
    Ok(ModelFolder::from_checkpoint(&config, checkpoint, vocabulary)?)
}

fn drawn_picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        [x * 255 / width, y * 255 / height, (x ^ y) & 255].map(|value| value as u8).into()
    })
}
