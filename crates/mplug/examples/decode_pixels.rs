//! What is made of many pictures, to be held to another program: of each file its width, height and the SHA-256 of its upright RGB
//! pixels, or why it is refused. A line each, of JSON, in the order given; the folders of a file that is read from lists or archives
//! are not its matter.
//!
//! ```text
//! cargo run --release -p mplug --example decode_pixels -- [--background RRGGBB] FILES…
//! ```
//!
//! `reference/check_pictures.py` is the other side.
#![expect(clippy::print_stdout, reason = "an example that reports")]

use std::error::Error;
use std::fmt::Write;

use mplug::preprocess::image::{ImageLimits, load_image};
use sha2::{Digest, Sha256};

fn main() -> Result<(), Box<dyn Error>> {
    let mut files: Vec<String> = std::env::args().skip(1).collect();
    let mut limits = ImageLimits::default();
    if files.first().is_some_and(|first| first == "--background") {
        let colour = files.drain(..2).nth(1).unwrap_or_default();
        let part = |at: usize| u8::from_str_radix(colour.get(at..at + 2).unwrap_or_default(), 16);
        limits.background = Some([part(0)?, part(2)?, part(4)?]);
    }
    for file in files {
        let line = match load_image(&file, &limits) {
            Ok(image) => serde_json::json!({
                "file": file,
                "size": [image.width(), image.height()],
                "sha256": hexadecimal(&Sha256::digest(image.as_raw())),
            }),
            Err(error) => serde_json::json!({ "file": file, "error": error.fault.to_string() }),
        };
        println!("{line}");
    }
    Ok(())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
