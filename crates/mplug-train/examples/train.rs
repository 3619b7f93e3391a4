//! Runs a recipe: `cargo run --release -p mplug-train --example train -- configs/demo.toml [--resume] [key=value]...`
#![allow(clippy::print_stdout)]

use mplug_train::{TrainConfig, train};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: train RECIPE [--resume] [key=value]...")?;
    let (mut resume, mut overrides) = (false, Vec::new());
    for argument in arguments {
        match argument.split_once('=') {
            Some((key, value)) => overrides.push((key.to_owned(), value.to_owned())),
            None if argument == "--resume" => resume = true,
            None => return Err(format!("unknown argument {argument}").into()),
        }
    }
    let config = TrainConfig::open(path.as_ref(), &overrides)?;
    let start = std::time::Instant::now();
    train(&config, resume, &mut |event| println!("{:7.1} {event:?}", start.elapsed().as_secs_f64()))?;
    Ok(())
}
