//! How long it takes to explain a caption of 25 tokens at base size, with weights drawn from a seed.
//!
//! `cargo run --release -p mplug-eval --example explain_time`

use std::time::Instant;

use mplug::checkpoint::ModelFolder;
use mplug::checkpoint::seeded::{seeded_checkpoint, synthetic_vocabulary};
use mplug::config::ModelConfig;
use mplug::explain::{ExplainOptions, Heads, Method};
use mplug::generate::GenerationOptions;
use mplug::tasks::LoadOptions;
use mplug::{Captioner, Precision};
use mplug_data::synth::{EVAL_SEED, draw};

/// Rounds that are timed, after one that warms up.
const ROUNDS: usize = 3;

#[expect(clippy::print_stdout, reason = "a program for the terminal")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = ModelConfig::base_captioning_zh();
    let vocabulary = synthetic_vocabulary(config.text.vocab_size);
    let folder = ModelFolder::from_checkpoint(&config, seeded_checkpoint(&config, 1)?, vocabulary)?;
    println!("{} threads, {}", rayon::current_num_threads(), mplug::instruction_set().name());
    for precision in Precision::ALL {
        let options = LoadOptions { precision: Some(precision), ..LoadOptions::default() };
        let captioner = Captioner::load_with(&folder, &options)?;
        let options = GenerationOptions {
            min_new_tokens: 25,
            max_new_tokens: 25,
            num_beams: 1,
            ..captioner.default_options()
        };
        let pictures = captioner.encode(&[draw(EVAL_SEED, 0).image]);
        let caption = captioner.caption_encoded(&pictures, &options)?.remove(0)?.remove(0);
        let resolved = captioner.resolve(&options)?;
        for method in [Method::Ablation, Method::Attention(Heads::Mean)] {
            let options = ExplainOptions { method, ..ExplainOptions::default() };
            let mut seconds = Vec::new();
            for _ in 0..=ROUNDS {
                let start = Instant::now();
                captioner.explain(&pictures[0], &caption, &resolved, &options)?;
                seconds.push(start.elapsed().as_secs_f64());
            }
            seconds[1..].sort_by(f64::total_cmp);
            println!(
                "{precision} {method:?}: {} tokens, {:.2} s",
                caption.token_ids.len(),
                seconds[1 + ROUNDS / 2]
            );
        }
    }
    Ok(())
}
