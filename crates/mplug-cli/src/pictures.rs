//! Opens the pictures of a batch in parallel, each on its own: a picture that fails has its reason and harms no other.

use std::fmt;

use mplug::preprocess::image::{ImageError, ImageLimits, RgbImage, decode_image, resize_bicubic};
use mplug_data::error::DataError;
use rayon::prelude::*;

use crate::inputs::Input;

/// Why there is no picture, or no answer to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    /// Whether it says nothing of the picture, so that it is to be tried again: a server that is down, too many open files.
    pub(crate) is_passing: bool,
}

impl Failure {
    /// One that stays, however often it is tried.
    pub(crate) fn lasting(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_passing: false }
    }

    /// What an error of a dataset or an archive means for the picture.
    pub(crate) fn of_data(error: &DataError) -> Self {
        Self { reason: error.to_string(), is_passing: error.is_passing() }
    }

    /// The fault alone: the message names the path itself.
    fn of_picture(error: &ImageError) -> Self {
        Self { reason: error.fault.to_string(), is_passing: error.is_passing() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

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
    pub(crate) fn load_batch(&self, batch: &[Input]) -> Vec<Result<RgbImage, Failure>> {
        batch.par_iter().map(|input| self.load(input)).collect()
    }

    /// One picture, resized.
    pub(crate) fn load(&self, input: &Input) -> Result<RgbImage, Failure> {
        self.decode(&self.read(input)?)
    }

    /// The bytes of a picture.
    pub(crate) fn read(&self, input: &Input) -> Result<Vec<u8>, Failure> {
        let source = input.source.as_ref().map_err(Clone::clone)?;
        source.read(&self.limits).map_err(|error| Failure::of_picture(&error))
    }

    /// The picture of those bytes, resized.
    pub(crate) fn decode(&self, bytes: &[u8]) -> Result<RgbImage, Failure> {
        let image = decode_image(bytes, &self.limits).map_err(|error| Failure::of_picture(&error))?;
        Ok(resize_bicubic(&image, self.image_size, self.image_size))
    }
}

/// Splits a batch into the pictures that opened, and the whole batch with each good picture's place among them.
pub(crate) fn split<E>(batch: Vec<Result<RgbImage, E>>) -> (Vec<RgbImage>, Vec<Result<usize, E>>) {
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
