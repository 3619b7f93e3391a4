//! Opens the pictures of a batch in parallel, each on its own: a picture that fails has its reason and harms no other.

use mplug::preprocess::image::{ImageLimits, RgbImage, decode_image, resize_bicubic};
use mplug_data::dataset::AnnotatedDataset;
use rayon::prelude::*;

use crate::inputs::Input;

/// How pictures are opened.
#[derive(Clone, Debug)]
pub(crate) struct PictureLoader {
    /// What a file may cost.
    pub(crate) limits: ImageLimits,
    /// Side of the square that the model reads.
    pub(crate) image_size: u32,
}

impl PictureLoader {
    /// The pictures of a batch, each resized already: only those being decoded are ever held at full size.
    /// (To resize a picture to its own size changes nothing, so the engine's own resizing finds the same pixels.)
    pub(crate) fn load_batch(&self, batch: &[Input]) -> Vec<Result<RgbImage, String>> {
        batch.par_iter().map(|input| self.load(input)).collect()
    }

    /// One picture, resized.
    pub(crate) fn load(&self, input: &Input) -> Result<RgbImage, String> {
        self.decode(&self.read(input)?)
    }

    /// The bytes of a picture.
    pub(crate) fn read(&self, input: &Input) -> Result<Vec<u8>, String> {
        let source = input.source.as_ref().map_err(Clone::clone)?;
        // The fault alone: the message names the path itself.
        source.read(&self.limits).map_err(|error| error.fault.to_string())
    }

    /// The picture of those bytes, resized.
    pub(crate) fn decode(&self, bytes: &[u8]) -> Result<RgbImage, String> {
        let image = decode_image(bytes, &self.limits).map_err(|error| error.fault.to_string())?;
        Ok(resize_bicubic(&image, self.image_size, self.image_size))
    }
}

/// The picture of an example of `dataset`, resized to a square of `side`, or what is wrong with it.
pub(crate) fn open_example(dataset: &AnnotatedDataset, place: usize, side: u32) -> Result<RgbImage, String> {
    let picture = dataset.picture(place).map_err(|error| error.to_string())?;
    let image = picture.decode(dataset.limits()).map_err(|error| error.to_string())?;
    Ok(resize_bicubic(&image, side, side))
}

/// Splits a batch into the pictures that opened, and the whole batch with each good picture's place among them.
pub(crate) fn split(batch: Vec<Result<RgbImage, String>>) -> (Vec<RgbImage>, Vec<Result<usize, String>>) {
    let mut images = Vec::new();
    let places = batch
        .into_iter()
        .map(|picture| {
            picture.map(|image| {
                images.push(image);
                images.len() - 1
            })
        })
        .collect();
    (images, places)
}
