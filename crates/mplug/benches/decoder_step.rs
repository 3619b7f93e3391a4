//! A decoder's step at the base size, beside a plain read of the bytes that it must read.
//!
//! ```text
//! cargo bench -p mplug --bench decoder_step [-- THREADS [PRECISION [PICTURES]]]
//! ```
//!
//! `decoder` is the step alone, `engine` a whole step of the generation engine, search included; pictures have five beams each. Medians
//! of many steps, with the fastest tenth. `two callers` are two engines with a picture each, at once on the same threads.

use std::hint::black_box;
use std::time::Instant;

use mplug::checkpoint::ModelFolder;
use mplug::checkpoint::seeded::{seeded_checkpoint, synthetic_vocabulary};
use mplug::config::ModelConfig;
use mplug::generate::GenerationOptions;
use mplug::generate::key_value_cache::KeyValueCache;
use mplug::tasks::LoadOptions;
use mplug::text_decoder::{StepBuffers, StepRows};
use mplug::{Captioner, EncodedPicture, Precision, limits};

const BEAMS: usize = 5;
const STEPS: usize = 24;
const ROUNDS: usize = 9;

#[expect(clippy::print_stdout, reason = "a benchmark prints")]
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let threads = arguments.first().map_or(2, |threads| threads.parse().expect("a number of threads"));
    let precisions = match arguments.get(1) {
        Some(precision) => vec![precision.parse().expect("a precision")],
        None => Precision::ALL.to_vec(),
    };
    let counts = match arguments.get(2) {
        Some(count) => vec![count.parse().expect("a number of pictures")],
        None => vec![1, 2, 4, 8],
    };
    let config = ModelConfig::base_captioning_zh();
    let checkpoint = seeded_checkpoint(&config, 1).expect("drawn weights");
    let vocabulary = synthetic_vocabulary(config.text.vocab_size);
    let folder = ModelFolder::from_checkpoint(&config, checkpoint, vocabulary).expect("a model");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool");
    println!("{threads} threads, {}; milliseconds: median (fastest)", mplug::instruction_set().name());
    for precision in precisions {
        let options = LoadOptions { precision: Some(precision), ..LoadOptions::default() };
        let captioner = Captioner::load_with(&folder, &options).expect("loads");
        pool.install(|| measure(&captioner, precision, &counts));
    }
}

#[expect(clippy::print_stdout, reason = "a benchmark prints")]
fn measure(captioner: &Captioner, precision: Precision, counts: &[usize]) {
    let decoder = captioner.decoder();
    let bytes = decoder.step_weight_bytes();
    let pictures = pictures(captioner);
    let read = Times::of(|times| times.push(limits::read_seconds(bytes)));
    println!("{precision}: plain read of {} MB {read}", bytes / 1_000_000);
    for &count in counts {
        let alone = Times::of(|times| decoder_steps(captioner, &pictures[..count], times));
        let whole = Times::of(|times| engine_steps(captioner, &pictures[..count], times));
        let ratio = alone.median() / read.median();
        println!("  {count} pictures: decoder {alone}, {ratio:.2} times the read; engine {whole}");
    }
    let callers = Times::of(|times| {
        let measured = rayon::join(
            || steps_of_engine(captioner, &pictures[..1]),
            || steps_of_engine(captioner, &pictures[1..2]),
        );
        times.extend(measured.0);
        times.extend(measured.1);
    });
    println!("  two callers: engine {callers}");
}

/// Eight pictures of noise, each with keys and values of its own.
fn pictures(captioner: &Captioner) -> Vec<EncodedPicture> {
    let vision = &captioner.config().vision;
    let len = vision.image_len() * vision.hidden_size;
    let noise = |seed: usize| {
        let value =
            |i: usize| ((i + 7 * seed).wrapping_mul(2_654_435_761) >> 8 & 0xffff) as f32 / 32768.0 - 1.0;
        captioner.decoder().attend_to((0..len).map(value).collect(), vision.image_len())
    };
    (0..8).map(noise).collect()
}

fn decoder_steps(captioner: &Captioner, pictures: &[EncodedPicture], times: &mut Vec<f64>) {
    let decoder = captioner.decoder();
    let mut caches: Vec<KeyValueCache> = pictures.iter().map(|_| decoder.new_cache()).collect();
    let mut buffers = StepBuffers::default();
    for step in 0..STEPS {
        // The first step has a row a picture, and is not measured.
        let tokens = vec![101; if step == 0 { 1 } else { BEAMS }];
        for cache in &mut caches {
            if step == 1 {
                cache.select_rows(&[0; BEAMS]);
            }
            cache.begin_step();
        }
        let texts = pictures.iter().zip(&mut caches);
        let mut texts: Vec<_> =
            texts.map(|(picture, cache)| StepRows::new(picture, cache, &tokens)).collect();
        let start = Instant::now();
        decoder.step(&mut texts, &mut buffers);
        if step > 0 {
            times.push(start.elapsed().as_secs_f64());
        }
        black_box(&buffers.logits);
    }
    for cache in caches {
        decoder.keep_cache(cache);
    }
}

fn engine_steps(captioner: &Captioner, pictures: &[EncodedPicture], times: &mut Vec<f64>) {
    times.extend(steps_of_engine(captioner, pictures));
}

/// Seconds of each step but the first.
fn steps_of_engine(captioner: &Captioner, pictures: &[EncodedPicture]) -> Vec<f64> {
    let options = GenerationOptions {
        num_beams: BEAMS,
        min_new_tokens: STEPS,
        max_new_tokens: STEPS,
        ..captioner.default_options()
    };
    let resolved = std::sync::Arc::new(captioner.resolve(&options).expect("options that can be"));
    let mut engine = captioner.engine();
    for picture in pictures {
        engine.add(picture.clone(), std::sync::Arc::clone(&resolved));
    }
    let mut times = Vec::new();
    while !engine.is_empty() {
        let start = Instant::now();
        engine.step();
        times.push(start.elapsed().as_secs_f64());
    }
    times.split_off(1)
}

/// Seconds that something took, in order.
struct Times(Vec<f64>);

impl Times {
    /// All that `work` measures, after one round that warms up.
    fn of(mut work: impl FnMut(&mut Vec<f64>)) -> Self {
        work(&mut Vec::new());
        let mut times = Vec::new();
        (0..ROUNDS).for_each(|_| work(&mut times));
        times.sort_by(f64::total_cmp);
        Self(times)
    }

    fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} ({:.2})", 1e3 * self.median(), 1e3 * self.0[self.0.len() / 10])
    }
}
