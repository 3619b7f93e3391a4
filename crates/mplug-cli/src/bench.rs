//! `mplug bench`: how fast captioning is on this machine, stage by stage, at each precision.

use std::{
    io::{self, Write},
    path::PathBuf,
    time::Instant,
};

use anyhow::Context;
use clap::Args;
use mplug::{
    checkpoint::{Dtype, ModelFolder, seeded},
    config::{ModelConfig, Task},
    generate::{GenerationOptions, StepDecoder},
    instruction_set,
    model::DecoderState,
    preprocess::image::{ImageLimits, RgbImage, load_image, pixel_values, resize_bicubic},
    tasks::{Captioner, LoadOptions},
};
use mplug_bulk::Record;
use mplug_data::message::about;
use serde::Serialize;

use crate::{
    args::{EngineArgs, SearchArgs, StrictArg, between},
    model,
    output::OutputArgs,
    pool,
    precision::PrecisionArg,
    status::Status,
};

/// Seed of the weights when no model is given.
const SEED: u64 = 0;
/// Rows of the decoder step that is timed: the beams of one picture, and of two.
const STEP_ROWS: [usize; 2] = [5, 10];
/// Steps timed together, from the middle of a caption: one alone is short.
const STEPS: usize = 8;

/// Measure speed on this machine: encoder, decoder step, whole captions
#[derive(Args, Debug)]
#[command(after_help = "\
Without --model, weights of the base captioning model's size are drawn from a seed: their captions
are nonsense, their speed is that of a real model. Each figure is the median of the rounds, with the
fastest and the slowest. `share` sets the encoder against the multiplications that this machine can do
at most, and the decoder's step against its memory, both measured in the same run.

Examples:
  mplug bench
  mplug bench --model ./mplug_base_zh --precision int8 --images photo.jpg
  mplug bench --threads 1 --batch-sizes 1,4,16 --format json")]
pub(crate) struct BenchArgs {
    /// Captioning model: a folder, the weight file in one, or a pulled model's name [default: drawn weights of base size]
    #[arg(long, short, value_name = "DIR|FILE|NAME", env = "MPLUG_MODEL")]
    model: Option<PathBuf>,
    #[command(flatten)]
    strict: StrictArg,
    /// Picture to caption [default: a drawn one of 1600 x 1200 pixels]
    #[arg(long, value_name = "FILE")]
    images: Option<PathBuf>,
    /// Times that each stage is measured
    #[arg(long, value_name = "N", default_value = "5", value_parser = between::<1, 1000>)]
    rounds: usize,
    /// Numbers of pictures that are captioned together
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
        Some(path) => model::open(path, args.engine.image_size, Task::ImageCaptioning, args.strict)?,
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

/// Seconds that a stage took, over the rounds.
#[derive(Clone, Copy, Debug, Serialize)]
struct Seconds {
    median: f64,
    min: f64,
    max: f64,
}

impl Seconds {
    /// Runs `work` once to warm up, then `rounds` times.
    fn of(rounds: usize, mut work: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Self> {
        work()?;
        let mut seconds = Vec::with_capacity(rounds);
        for _ in 0..rounds {
            let start = Instant::now();
            work()?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        seconds.sort_by(f64::total_cmp);
        Ok(Self { median: seconds[rounds / 2], min: seconds[0], max: seconds[rounds - 1] })
    }

    fn scaled(self, by: f64) -> Self {
        Self { median: self.median * by, min: self.min * by, max: self.max * by }
    }
}

/// Pictures a second at one batch size.
#[derive(Serialize)]
struct Throughput {
    batch_size: usize,
    value: f64,
}

/// Everything measured at one precision.
#[derive(Serialize)]
struct Benchmark {
    precision: String,
    instruction_set: &'static str,
    threads: usize,
    image_size: usize,
    num_beams: usize,
    load_s: f64,
    encoder_s: Seconds,
    /// Share of the machine's product rate, attention and everything else included.
    encoder_share: f64,
    cross_key_values_s: Seconds,
    decode_step_s: Seconds,
    /// Share of the machine's memory bandwidth that the step's weights take.
    decode_step_share: f64,
    decode_step_10_rows_s: Seconds,
    end_to_end_s: Seconds,
    tokens: usize,
    token_ids: Vec<u32>,
    pictures_per_s: Vec<Throughput>,
    product_rate: f64,
    read_bandwidth: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_memory_bytes: Option<u64>,
}

impl Benchmark {
    fn measure(
        args: &BenchArgs,
        folder: &ModelFolder,
        load_options: &LoadOptions,
        picture: &RgbImage,
    ) -> anyhow::Result<Self> {
        let start = Instant::now();
        let captioner = Captioner::load_with(folder, load_options)?;
        let load_s = start.elapsed().as_secs_f64();
        let options = generation_options(args, &captioner)?;
        let precision = load_options.precision.unwrap_or(folder.stored_precision());
        let size = captioner.config().vision.image_size;
        let pixels = pixel_values(&resize_bicubic(picture, size as u32, size as u32));
        let embeds = captioner.visual_encoder().forward(&pixels); // (image_len, hidden_size)
        let encoder_s = Seconds::of(args.rounds, || {
            captioner.visual_encoder().forward(&pixels);
            Ok(())
        })?;
        let cross_key_values_s = Seconds::of(args.rounds, || {
            captioner.decoder().attend_to(&embeds, captioner.config().vision.image_len());
            Ok(())
        })?;
        let [decode_step_s, decode_step_10_rows_s] = time_steps(args.rounds, &captioner, &embeds)?;
        let end_to_end_s = Seconds::of(args.rounds, || caption(args, &captioner, picture, &options))?;
        let token_ids =
            captioner.caption_batch(std::slice::from_ref(picture), &options)?[0][0].token_ids.clone();
        let pictures_per_s = throughputs(args, &captioner, picture, &options)?;
        // Before the limits are measured, which takes memory. Drawing weights takes more than running them: no figure then.
        let peak_memory_bytes = args.model.as_ref().and_then(|_| peak_memory());
        // In the same minute: on a shared machine the limits move as well.
        let product_rate = mplug::limits::product_rate(precision);
        let read_bandwidth = mplug::limits::read_bandwidth();
        Ok(Self {
            precision: precision.to_string(),
            instruction_set: instruction_set().name(),
            threads: rayon::current_num_threads(),
            image_size: size,
            num_beams: options.num_beams,
            load_s,
            encoder_share: encoder_operations(captioner.config()) / encoder_s.median / product_rate,
            encoder_s,
            cross_key_values_s,
            decode_step_share: captioner.decoder().step_weight_bytes() as f64
                / decode_step_s.median
                / read_bandwidth,
            decode_step_s,
            decode_step_10_rows_s,
            end_to_end_s,
            tokens: token_ids.len(),
            token_ids,
            pictures_per_s,
            product_rate,
            read_bandwidth,
            peak_memory_bytes,
        })
    }
}

/// The model's own options with what was typed in their place; of drawn weights, captions of 8 to 25 tokens.
fn generation_options(args: &BenchArgs, captioner: &Captioner) -> anyhow::Result<GenerationOptions> {
    let mut options = captioner.default_options();
    if args.model.is_none() {
        (options.min_new_tokens, options.max_new_tokens) = (8, 25);
    }
    args.search.options(options)
}

/// A picture's whole way, from its file if one was given.
fn caption(
    args: &BenchArgs,
    captioner: &Captioner,
    picture: &RgbImage,
    options: &GenerationOptions,
) -> anyhow::Result<()> {
    match &args.images {
        Some(path) => {
            let picture = load_image(path, &ImageLimits::default()).context("the picture")?;
            captioner.caption_batch(&[picture], options)?;
        }
        None => {
            captioner.caption_batch(std::slice::from_ref(picture), options)?;
        }
    }
    Ok(())
}

/// One decoder step of 5 and of 10 rows, after some tokens.
fn time_steps(rounds: usize, captioner: &Captioner, embeds: &[f32]) -> anyhow::Result<[Seconds; 2]> {
    let decoder = captioner.decoder();
    let image_len = captioner.config().vision.image_len();
    let bos_token_id = captioner.tokenizer().bos_token_id();
    let mut found = Vec::with_capacity(STEP_ROWS.len());
    for rows in STEP_ROWS {
        // Two pictures have keys and values of their own.
        let memories: Vec<_> = (0..rows.div_ceil(5)).map(|_| decoder.attend_to(embeds, image_len)).collect();
        let seconds = Seconds::of(rounds, || {
            let mut state = DecoderState::new(decoder, &memories, 2 * STEPS);
            state.step(&vec![bos_token_id; memories.len()]);
            state.select_rows(&(0..rows).map(|row| row / 5).collect::<Vec<_>>());
            for _ in 1..STEPS {
                state.step(&vec![bos_token_id; rows]);
            }
            Ok(())
        })?;
        found.push(seconds.scaled(1.0 / STEPS as f64));
    }
    Ok([found[0], found[1]])
}

fn throughputs(
    args: &BenchArgs,
    captioner: &Captioner,
    picture: &RgbImage,
    options: &GenerationOptions,
) -> anyhow::Result<Vec<Throughput>> {
    let throughput = |&batch_size: &usize| {
        let pictures = vec![picture.clone(); batch_size];
        // As many pictures for every size, where a round has so many.
        let rounds = (args.rounds / batch_size).max(1);
        let seconds = Seconds::of(rounds, || Ok(captioner.caption_batch(&pictures, options).map(drop)?))?;
        Ok(Throughput { batch_size, value: batch_size as f64 / seconds.median })
    };
    args.batch_sizes.iter().map(throughput).collect()
}

/// Multiplications and additions of encoding one picture.
fn encoder_operations(config: &ModelConfig) -> f64 {
    let vision = &config.vision;
    let (len, width) = (vision.image_len() as f64, vision.hidden_size as f64);
    let inner = vision.intermediate_size as f64;
    let products = 2.0 * len * width * (4.0 * width + 2.0 * inner);
    let attention = 4.0 * len * len * width;
    let patches = 2.0 * len * width * (3 * vision.patch_size * vision.patch_size) as f64;
    patches + vision.num_hidden_layers as f64 * (products + attention)
}

/// The most memory that this process ever had resident, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

impl Record for Benchmark {
    fn write_text(&self, to: &mut dyn Write) -> io::Result<()> {
        writeln!(
            to,
            "{} on {}, {} threads, {} px, {} beams, {} tokens",
            self.precision, self.instruction_set, self.threads, self.image_size, self.num_beams, self.tokens
        )?;
        let mut line = |name: &str, seconds: Seconds, note: String| {
            writeln!(
                to,
                "  {name:<26}{:>9.1} ms  ({:.1} to {:.1}){note}",
                1e3 * seconds.median,
                1e3 * seconds.min,
                1e3 * seconds.max
            )
        };
        let encoder =
            format!("  {:.0} % of {:.0} Gop/s", 100.0 * self.encoder_share, self.product_rate / 1e9);
        line("encoder", self.encoder_s, encoder)?;
        line("cross-attention keys", self.cross_key_values_s, String::new())?;
        let step =
            format!("  {:.0} % of {:.1} GB/s", 100.0 * self.decode_step_share, self.read_bandwidth / 1e9);
        line("decoder step, 5 rows", self.decode_step_s, step)?;
        line("decoder step, 10 rows", self.decode_step_10_rows_s, String::new())?;
        line("one picture, end to end", self.end_to_end_s, String::new())?;
        for throughput in &self.pictures_per_s {
            writeln!(to, "  batch of {:<16}{:>9.2} pictures/s", throughput.batch_size, throughput.value)?;
        }
        writeln!(to, "  loading the model {:>16.0} ms", 1e3 * self.load_s)?;
        if let Some(bytes) = self.peak_memory_bytes {
            writeln!(to, "  peak memory so far{:>16} MB", bytes / 1_000_000)?;
        }
        Ok(())
    }
}
