//! A picture of a caption's maps: the picture, then for each word a numbered tile with what the word stands on. The numbers are drawn
//! here: a font that has Chinese cannot be assumed, so whoever shows the sheet says which word has which number.

use image::{ImageError, ImageFormat, Rgb, RgbImage, imageops};
use mplug::explain::Explanation;

use crate::heat::veiled;
use crate::thumbnail::within;

/// The longest side of a tile in pixels.
const TILE: u32 = 240;
/// Pixels around and between tiles.
const GAP: u32 = 12;
const PAPER: Rgb<u8> = Rgb([250, 250, 250]);
const BADGE: Rgb<u8> = Rgb([194, 65, 12]);
const INK: Rgb<u8> = Rgb([255, 255, 255]);
/// Pixels of a digit's dot.
const DOT: u32 = 3;
/// Dots across a digit, and down.
const DIGIT: (u32, u32) = (5, 7);
/// The dots of 0 to 9, a row of bits each.
const DIGITS: [[u8; 7]; 10] = [
    [0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110],
    [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110],
    [0b01110, 0b10001, 0b00001, 0b00110, 0b01000, 0b10000, 0b11111],
    [0b11110, 0b00001, 0b00001, 0b01110, 0b00001, 0b00001, 0b11110],
    [0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010],
    [0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110],
    [0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110],
    [0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000],
    [0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110],
    [0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100],
];

/// Draws the sheet: the picture first, then word 1, 2 and so on in rows.
///
/// # Panics
/// If the picture has no pixels, or a word has several maps.
pub fn sheet(image: &RgbImage, explanation: &Explanation) -> RgbImage {
    let Explanation { grid, words } = explanation;
    assert!(words.iter().all(|word| word.values.len() == grid * grid), "a sheet shows one map for each word");
    let (width, height) = image.dimensions();
    let enlarged = |side: u32| (side * TILE / width.max(height)).max(1);
    let picture = within(image, TILE).unwrap_or_else(|| {
        imageops::resize(image, enlarged(width), enlarged(height), imageops::FilterType::Triangle)
    });
    let tiles = words.iter().enumerate().map(|(index, word)| {
        let mut tile = veiled(&picture, &word.values, *grid);
        draw_badge(&mut tile, index + 1);
        tile
    });
    arranged(&std::iter::once(picture.clone()).chain(tiles).collect::<Vec<_>>())
}

/// [`sheet`] as the bytes of a PNG file.
///
/// # Errors
/// None that a picture of these sizes can have; they are the encoder's.
pub fn png(image: &RgbImage, explanation: &Explanation) -> Result<Vec<u8>, ImageError> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    sheet(image, explanation).write_to(&mut bytes, ImageFormat::Png)?;
    Ok(bytes.into_inner())
}

/// Which word has which number, as [`sheet`] draws them: `1 一只, 2 红色`.
pub fn legend(explanation: &Explanation) -> String {
    let numbered =
        explanation.words.iter().enumerate().map(|(index, word)| format!("{} {}", index + 1, word.text));
    numbered.collect::<Vec<_>>().join(", ")
}

/// Equal tiles in rows, on paper that is about as wide as high.
fn arranged(tiles: &[RgbImage]) -> RgbImage {
    let (width, height) = tiles[0].dimensions();
    let columns = (1..=tiles.len() as u32)
        .find(|columns| columns * width >= (tiles.len() as u32).div_ceil(*columns) * height)
        .unwrap_or(tiles.len() as u32);
    let rows = (tiles.len() as u32).div_ceil(columns);
    let mut paper = RgbImage::from_pixel(GAP + columns * (width + GAP), GAP + rows * (height + GAP), PAPER);
    for (index, tile) in (0_u32..).zip(tiles) {
        let (x, y) = (GAP + index % columns * (width + GAP), GAP + index / columns * (height + GAP));
        imageops::replace(&mut paper, tile, i64::from(x), i64::from(y));
    }
    paper
}

/// Draws a number into the corner at the top left.
fn draw_badge(tile: &mut RgbImage, number: usize) {
    let digits: Vec<usize> = number.to_string().bytes().map(|digit| usize::from(digit - b'0')).collect();
    let (across, down) = DIGIT;
    let (width, height) = (DOT * ((across + 1) * digits.len() as u32 + 3), DOT * (down + 4));
    fill(tile, 0, 0, width, height, BADGE);
    for (place, digit) in (0..).zip(digits) {
        for (y, row) in (0..).zip(DIGITS[digit]) {
            for x in (0..across).filter(|x| row >> (across - 1 - x) & 1 == 1) {
                fill(tile, DOT * (2 + place * (across + 1) + x), DOT * (2 + y), DOT, DOT, INK);
            }
        }
    }
}

/// Fills a rectangle as far as it lies in the picture.
fn fill(image: &mut RgbImage, left: u32, top: u32, width: u32, height: u32, colour: Rgb<u8>) {
    for y in top..(top + height).min(image.height()) {
        for x in left..(left + width).min(image.width()) {
            image.put_pixel(x, y, colour);
        }
    }
}

#[cfg(test)]
mod tests {
    use mplug::explain::WordMap;

    use super::*;

    fn explanation(words: usize) -> Explanation {
        let word = |index: usize| WordMap {
            text: format!("w{index}"),
            tokens: index..index + 1,
            log_prob: -1.0,
            most_lost: None,
            values: (0..4).map(|patch| if patch == index % 4 { 1.0 } else { 0.0 }).collect(),
        };
        Explanation { grid: 2, words: (0..words).map(word).collect() }
    }

    #[test]
    fn a_sheet_has_the_picture_and_a_numbered_tile_for_each_word() {
        let image = RgbImage::from_pixel(30, 15, Rgb([80, 160, 240]));
        let sheet = sheet(&image, &explanation(11));
        // 12 tiles of 240 x 120 in three columns.
        assert_eq!(sheet.dimensions(), (GAP + 3 * (240 + GAP), GAP + 4 * (120 + GAP)));
        assert_eq!(sheet.get_pixel(GAP, GAP).0, [80, 160, 240], "the picture has no number");
        assert_eq!(*sheet.get_pixel(GAP + 240 + GAP, GAP), BADGE);
        let ink = sheet.pixels().filter(|pixel| **pixel == INK).count();
        let dots = |digit: usize| DIGITS[digit].iter().map(|row| row.count_ones() as usize).sum::<usize>();
        let expected: usize = (1..10).map(dots).sum::<usize>() + dots(1) + dots(0) + 2 * dots(1);
        assert_eq!(ink, expected * (DOT * DOT) as usize);
    }

    #[test]
    fn large_and_flat_pictures_fit() {
        for (width, height) in [(4000, 1), (1, 3000), (500, 400)] {
            let png = png(&RgbImage::new(width, height), &explanation(3)).unwrap();
            assert_eq!(image::guess_format(&png).unwrap(), ImageFormat::Png);
        }
        assert_eq!(legend(&explanation(2)), "1 w0, 2 w1");
    }
}
