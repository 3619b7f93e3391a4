//! GIF: the first picture of a file, on its whole canvas.
//!
//! Source: Pillow's `GifImagePlugin`. Around a picture that is smaller than the canvas Pillow shows the transparent colour if
//! there is one, else the first of the palette, whatever background the file names; one that is larger makes the canvas larger.
//!
//! Refuses to know animation.

use std::io::Cursor;

use ::gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};

use super::background::{Background, over};
use super::decode::check_size;
use super::{ImageFault, ImageLimits, RgbImage};

pub(super) fn decode(bytes: &[u8], limits: &ImageLimits) -> Result<RgbImage, ImageFault> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.set_memory_limit(MemoryLimit::Unlimited); // what it takes is checked below
    let mut decoder = options.read_info(Cursor::new(bytes)).map_err(fault)?;
    let (screen_width, screen_height) = (decoder.width(), decoder.height());
    let frame = decoder.next_frame_info().map_err(fault)?.ok_or_else(|| damaged("it has no picture"))?;
    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let (width, height) = (usize::from(frame.width), usize::from(frame.height));
    let transparent = frame.transparent;
    let across = usize::from(screen_width).max(left + width);
    let down = usize::from(screen_height).max(top + height);
    check_size(across as u32, down as u32, limits)?;
    check_size(width as u32, height as u32, limits)?;

    let mut indices = vec![0; width * height];
    decoder.read_into_buffer(&mut indices).map_err(fault)?;
    let palette = decoder.palette().map_err(fault)?;
    let colours = colours(palette, transparent, limits.background);
    let around = colours[usize::from(transparent.unwrap_or(0))];
    let mut image = RgbImage::from_pixel(across as u32, down as u32, around.into());
    let rows = image.chunks_exact_mut(across * 3).skip(top);
    for (row, indices) in rows.zip(indices.chunks_exact(width)) {
        for (pixel, &index) in row[left * 3..].chunks_exact_mut(3).zip(indices) {
            pixel.copy_from_slice(&colours[usize::from(index)]);
        }
    }
    Ok(image)
}

/// The colour of every index: black where the palette has none.
fn colours(palette: &[u8], transparent: Option<u8>, background: Option<Background>) -> [[u8; 3]; 256] {
    let mut colours = [[0; 3]; 256];
    for (colour, entry) in colours.iter_mut().zip(palette.chunks_exact(3)) {
        colour.copy_from_slice(entry);
    }
    if let Some(index) = transparent.map(usize::from) {
        colours[index] = over(background, colours[index], 0);
    }
    colours
}

fn damaged(what: &str) -> ImageFault {
    ImageFault::Damaged { format: "GIF", what: what.to_owned() }
}

fn fault(error: DecodingError) -> ImageFault {
    match error {
        DecodingError::UnexpectedEof => ImageFault::Truncated { format: "GIF" },
        error => ImageFault::Decode(error.into()),
    }
}
