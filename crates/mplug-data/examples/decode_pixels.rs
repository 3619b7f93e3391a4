//! What is made of many pictures, to be held to another program: of each the width, the height and the SHA-256 of its upright RGB
//! pixels, or why it is refused. Standard input has a line for each: a path, or an archive's path, a tab, and a member's name.
//! A line of JSON for each comes out, in that order.
//!
//! ```text
//! cargo run --release -p mplug-data --example decode_pixels < list
//! ```
//!
//! `reference/check_pictures.py` is the other side.
#![expect(clippy::print_stdout, reason = "an example that reports")]

use std::collections::HashMap;
use std::error::Error;
use std::fmt::Write;
use std::io::{BufRead, stdin};
use std::path::{Path, PathBuf};

use image::RgbImage;
use mplug::preprocess::image::ImageLimits;
use mplug_data::source::{ImageRoot, PictureSource};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

fn main() -> Result<(), Box<dyn Error>> {
    let lines: Vec<String> = stdin().lock().lines().collect::<Result<_, _>>()?;
    let mut archives = HashMap::new();
    for (archive, _) in lines.iter().filter_map(|line| line.split_once('\t')) {
        if !archives.contains_key(archive) {
            archives.insert(archive, ImageRoot::open(Path::new(archive))?);
        }
    }
    let pixels = |line: &String| -> Result<RgbImage, String> {
        let source = match line.split_once('\t') {
            Some((archive, name)) => archives[archive].find(name).map_err(|error| error.to_string())?,
            None => PictureSource::File(PathBuf::from(line)),
        };
        source.decode(&ImageLimits::default()).map_err(|error| error.fault.to_string())
    };
    let reports: Vec<serde_json::Value> = lines.par_iter().map(|line| report(line, pixels(line))).collect();
    for report in reports {
        println!("{report}");
    }
    Ok(())
}

fn report(line: &str, pixels: Result<RgbImage, String>) -> serde_json::Value {
    match pixels {
        Ok(image) => serde_json::json!({
            "picture": line,
            "size": [image.width(), image.height()],
            "sha256": hexadecimal(&Sha256::digest(image.as_raw())),
        }),
        Err(error) => serde_json::json!({ "picture": line, "error": error }),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
