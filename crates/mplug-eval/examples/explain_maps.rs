//! How well maps find what the words of captions name, on drawn pictures whose scenes are known (docs/explain.md):
//!
//! `cargo run --release -p mplug-eval --features jieba --example explain_maps -- [COUNT [SEED [MODEL]]]`

use std::ops::ControlFlow;

use mplug::config::Task;
use mplug::tasks::OpenOptions;
use mplug::{Captioner, open};
use mplug_data::synth::EVAL_SEED;
use mplug_eval::drawn::Drawn;
use mplug_eval::drawn_maps;

/// The demo captioner.
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../mplug-demo-caption/model");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let count = arguments.next().map_or(Ok(200), |count| count.parse())?;
    let seed = arguments.next().map_or(Ok(EVAL_SEED), |seed| seed.parse())?;
    let model = arguments.next().unwrap_or_else(|| MODEL.to_owned());
    let folder = open(&model, Task::ImageCaptioning, &OpenOptions::default())?;
    let captioner = Captioner::load(&folder)?;
    let drawn = Drawn { seed, count, language: None };
    let report = drawn_maps::evaluate(&drawn, &captioner, &folder, &mut |_| ControlFlow::Continue(()))?;
    report.write_text(&mut std::io::stdout())?;
    Ok(())
}
