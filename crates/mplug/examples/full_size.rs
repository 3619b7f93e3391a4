//! How long a full-size captioner takes to load and to caption one picture, and its peak memory.
//!
//! ```text
//! cargo run --release -p mplug --example seeded_model -- MODEL_DIR --size base --format pytorch
//! cargo run --release -p mplug --example full_size -- MODEL_DIR PICTURE [NEW_TOKENS] [REPEATS]
//! ```
//!
//! The number of new tokens is forced, so that runs compare. Prints milliseconds, and from `/proc` the peak memory.

use std::time::Instant;

use mplug::checkpoint::ModelFolder;
use mplug::config::ConfigOverrides;
use mplug::preprocess::image::{ImageLimits, load_image};
use mplug::tasks::Captioner;

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // Inside a pool: entering one from outside costs microseconds, hundreds of times a caption.
    rayon::ThreadPoolBuilder::new().build()?.install(run)
}

#[expect(clippy::print_stdout, reason = "an example prints its results")]
fn run() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, picture, ..] = arguments.as_slice() else {
        return Err("usage: full_size MODEL_DIR PICTURE [NEW_TOKENS] [REPEATS]".into());
    };
    let number = |i: usize, default| arguments.get(i).map_or(Ok(default), |text| text.parse::<usize>());
    let (new_tokens, repeats) = (number(2, 20)?, number(3, 5)?);

    let start = Instant::now();
    let folder = ModelFolder::open(model.as_ref(), &ConfigOverrides::default())?;
    let captioner = Captioner::load(&folder)?;
    println!("load: {} ms", start.elapsed().as_millis());

    let mut options = captioner.default_options();
    (options.min_new_tokens, options.max_new_tokens) = (new_tokens, new_tokens);
    for _ in 0..repeats {
        let start = Instant::now();
        let image = load_image(picture.as_ref(), &ImageLimits::default())?;
        let captions = captioner.caption_batch(&[image], &options)?;
        let caption = &captions[0][0];
        let count = caption.token_ids.len();
        println!(
            "caption: {} ms, {} beams, {count} tokens: {}",
            start.elapsed().as_millis(),
            options.num_beams,
            caption.text
        );
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    for line in status.lines().filter(|line| line.starts_with("VmHWM")) {
        println!("peak memory: {}", line.trim_start_matches("VmHWM:").trim());
    }
    Ok(())
}
