//! Draws a sheet of pictures to look at, with their captions and the time that drawing took.

#![expect(clippy::print_stdout, reason = "an example that reports")]

use std::time::Instant;

use image::{RgbImage, imageops};
use mplug_data::synth::{EVAL_SEED, demo_vocabulary, draw, draw_at};

/// Usage: contact_sheet OUT.png SIDE COLUMNS ROWS [FIRST]
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default: u64| arguments.get(i).and_then(|a| a.parse().ok()).unwrap_or(default);
    let (side, columns, rows, first) = (number(1, 96) as u32, number(2, 8), number(3, 6), number(4, 0));
    let mut sheet = RgbImage::new(side * columns as u32, side * rows as u32);
    for i in 0..columns * rows {
        let example = draw_at(EVAL_SEED, first + i, side, side);
        let (x, y) = ((i % columns) as i64 * i64::from(side), (i / columns) as i64 * i64::from(side));
        imageops::replace(&mut sheet, &example.image, x, y);
        println!("{:3} {} | {}", first + i, example.captions_zh.join(" / "), example.captions_en[0]);
    }
    if let Some(path) = arguments.first() {
        sheet.save(path).expect("the sheet can be written");
    }
    println!("vocabulary:   {} tokens", demo_vocabulary().lines().count());
    let start = Instant::now();
    (0..500).for_each(|i| drop(draw(3, i)));
    println!("natural size: {:.3} ms a picture", start.elapsed().as_secs_f64() * 2.0);
    let start = Instant::now();
    (0..500).for_each(|i| drop(draw_at(3, i, 96, 96)));
    println!("96 x 96:      {:.3} ms a picture", start.elapsed().as_secs_f64() * 2.0);
}
