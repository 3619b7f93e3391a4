//! The measurements, stage by stage: each is the median of the rounds, after one that warms up.

use std::time::Instant;

use anyhow::Context;
use mplug::checkpoint::ModelFolder;
use mplug::config::ModelConfig;
use mplug::generate::GenerationOptions;
use mplug::generate::key_value_cache::KeyValueCache;
use mplug::instruction_set;
use mplug::preprocess::image::{ImageLimits, RgbImage, load_image, pixel_values, resize_bicubic};
use mplug::tasks::{Captioner, LoadOptions};
use mplug::text_decoder::{StepBuffers, StepRows};
use serde::Serialize;

use super::BenchArgs;
use super::report::{Benchmark, Throughput};

/// Beams of a picture whose decoder step is timed.
const BEAMS: usize = 5;
/// Rows of the decoder step that is timed: the beams of one picture, and of two.
const STEP_ROWS: [usize; 2] = [BEAMS, 2 * BEAMS];
/// Steps timed together, from the middle of a caption: one alone is short.
const STEPS: usize = 8;

/// Seconds that a stage took, over the rounds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Seconds {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
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

impl Benchmark {
    /// Measures captioning at the precision of `load_options`.
    pub(super) fn measure(
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
            captioner.decoder().attend_to(embeds.clone(), captioner.config().vision.image_len());
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
        let pictures: Vec<_> =
            (0..rows.div_ceil(BEAMS)).map(|_| decoder.attend_to(embeds.to_vec(), image_len)).collect();
        let mut caches: Vec<_> = pictures.iter().map(|_| decoder.new_cache()).collect();
        let mut buffers = StepBuffers::default();
        let seconds = Seconds::of(rounds, || {
            caches.iter_mut().for_each(KeyValueCache::clear);
            for step in 0..STEPS {
                let tokens = vec![bos_token_id; if step == 0 { 1 } else { BEAMS }];
                for cache in &mut caches {
                    if step == 1 {
                        cache.select_rows(&[0; BEAMS]);
                    }
                    cache.begin_step();
                }
                let texts = pictures.iter().zip(&mut caches);
                let mut texts: Vec<_> =
                    texts.map(|(picture, cache)| StepRows::new(picture, cache, &tokens)).collect();
                decoder.step(&mut texts, &mut buffers);
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
        // As many pictures for every size, where a round has that many.
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

/// The most memory that this process ever had resident, where the system reports it.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
