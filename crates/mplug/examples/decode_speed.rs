//! How long a picture takes to be decoded and resized, beside the decoder of the crate `image`, taking turns. On Linux it is
//! the processor time of all threads, which other programs disturb less.
//!
//! ```text
//! cargo run --release -p mplug --example decode_speed -- FILE [ROUNDS] [SIDE]
//! ```
#![expect(clippy::print_stdout, reason = "an example that reports")]

use std::error::Error;
use std::time::{Duration, Instant};

use mplug::preprocess::image::{ImageLimits, RgbImage, decode_image, resize_bicubic};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = arguments.first().ok_or("expected FILE [ROUNDS] [SIDE]")?;
    let number = |at: usize, default: u32| arguments.get(at).map_or(Ok(default), |text| text.parse());
    let (rounds, side) = (number(1, 9)?, number(2, 384)?);
    let bytes = std::fs::read(path)?;

    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let other = timed(side, || Ok(image::load_from_memory(&bytes)?.into_rgb8()))?;
        let own = timed(side, || Ok(decode_image(&bytes, &ImageLimits::default())?))?;
        theirs.push(other.as_secs_f64() * 1e3);
        ours.push(own.as_secs_f64() * 1e3);
        ratios.push(own.as_secs_f64() / other.as_secs_f64());
    }
    let (ours, theirs, ratio) = (median(ours), median(theirs), median(ratios));
    println!("medians of {rounds} rounds: mplug {ours:.0} ms, crate image {theirs:.0} ms, ratio {ratio:.2}");
    Ok(())
}

fn timed(
    side: u32,
    decode: impl Fn() -> Result<RgbImage, Box<dyn Error>>,
) -> Result<Duration, Box<dyn Error>> {
    let (start, start_of_program) = (Instant::now(), processor_time());
    let image = decode()?;
    std::hint::black_box(resize_bicubic(&image, side, side));
    let spent = processor_time().zip(start_of_program).map(|(end, start)| end.saturating_sub(start));
    Ok(spent.unwrap_or_else(|| start.elapsed()))
}

/// What this program has computed so far, for itself and in the kernel: two numbers of hundredths of a second.
fn processor_time() -> Option<Duration> {
    let line = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, after_name) = line.rsplit_once(')')?;
    let hundredths: u64 =
        after_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(hundredths * 10))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
