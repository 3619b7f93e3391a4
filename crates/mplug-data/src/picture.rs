//! One picture of many on its way into a model: opened and resized, or the reason why it is not. A picture that fails harms
//! no other.

use std::fmt;
use std::sync::Arc;

use image::RgbImage;
use mplug::preprocess::image::{ImageError, ImageFault, ImageLimits, decode_image, resize_bicubic};

use crate::dataset::AnnotatedDataset;
use crate::error::DataError;
use crate::source::{HostNotAllowed, PictureSource};

/// Why there is no picture, or no answer to one. Failures are equal where they say the same.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// What is wrong, without the picture's name.
    pub reason: String,
    /// The fault of the picture's file, for callers that treat kinds of faults differently. A failure that was read back from a
    /// journal has none, nor has one that is not the picture's.
    pub fault: Option<Arc<ImageFault>>,
    /// Whether it says nothing of the picture, so that it is to be tried again: a server that is down, too many open files.
    pub is_passing: bool,
    /// What the caller can do about it, if anything.
    pub remedy: Option<Remedy>,
}

/// What a caller can do about a failure. Each program has its own words for it: an option, an argument, a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remedy {
    /// Look into the folder's subfolders too.
    Subfolders,
    /// Allow web addresses.
    WebAddresses,
    /// Allow the host of a web address by name, as one of one's own.
    AllowedHost,
    /// Use a build that reads Parquet.
    Parquet,
    /// Name the column that holds the pictures.
    PictureColumn,
    /// Write to another folder.
    OtherFolder,
    /// Search more: more beams, or longer texts.
    WiderSearch,
}

impl Failure {
    /// One that stays, however often it is tried.
    pub fn lasting(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), fault: None, is_passing: false, remedy: None }
    }

    /// One that may be gone when it is tried again, if `is_passing`.
    pub fn new(reason: impl Into<String>, is_passing: bool) -> Self {
        Self { is_passing, ..Self::lasting(reason) }
    }

    /// Adds what the caller can do about it.
    #[must_use]
    pub fn with_remedy(self, remedy: Remedy) -> Self {
        Self { remedy: Some(remedy), ..self }
    }
}

impl PartialEq for Failure {
    fn eq(&self, other: &Self) -> bool {
        (&self.reason, self.is_passing, self.remedy) == (&other.reason, other.is_passing, other.remedy)
    }
}

impl Eq for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// What an error of a dataset or an archive means for the picture. The reason names the file.
impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        let failure = Self::new(error.to_string(), error.is_passing());
        match error {
            DataError::Image(ImageError { fault, .. }) => Self { fault: Some(Arc::new(fault)), ..failure },
            _ => failure,
        }
    }
}

/// The fault alone: whoever reports it names the picture.
impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        let failure = Self::new(error.fault.to_string(), error.is_passing());
        let is_of_host =
            matches!(&error.fault, ImageFault::Fetch { source, .. } if source.is::<HostNotAllowed>());
        let remedy = is_of_host.then_some(Remedy::AllowedHost);
        Self { remedy, fault: Some(Arc::new(error.fault)), ..failure }
    }
}

/// How pictures are opened.
#[derive(Clone, Copy, Debug)]
pub struct PictureLoader {
    /// What a file may cost.
    pub limits: ImageLimits,
    /// Side in pixels of the square that the model reads.
    pub image_size: u32,
}

impl PictureLoader {
    /// A picture, resized. Only a picture that is being decoded is held at full size; resizing it again to the same size
    /// changes nothing, so that the model's own resizing finds these pixels.
    ///
    /// # Errors
    /// Why it cannot be read or decoded.
    pub fn load(&self, source: &PictureSource) -> Result<RgbImage, Failure> {
        self.decode(&self.read(source)?)
    }

    /// The bytes of a picture.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn read(&self, source: &PictureSource) -> Result<Vec<u8>, Failure> {
        source.read(&self.limits).map_err(Failure::from)
    }

    /// The picture of those bytes, resized.
    ///
    /// # Errors
    /// Why it cannot be decoded.
    pub fn decode(&self, bytes: &[u8]) -> Result<RgbImage, Failure> {
        let image = decode_image(bytes, &self.limits).map_err(Failure::from)?;
        Ok(resize_bicubic(&image, self.image_size, self.image_size))
    }
}

/// The picture of example `index` of `dataset`, resized to a square of side `image_size`.
///
/// # Errors
/// What is wrong with it; the reason names the picture.
pub fn open_example(dataset: &AnnotatedDataset, index: usize, image_size: u32) -> Result<RgbImage, Failure> {
    let picture = dataset.picture(index).map_err(Failure::from)?;
    let image = picture.decode(dataset.limits()).map_err(|error| Failure::from(DataError::from(error)))?;
    Ok(resize_bicubic(&image, image_size, image_size))
}

/// Splits a batch into what is good of it, such as the pictures that opened, and the whole batch with each good one's index among
/// them.
pub fn split<T, E>(batch: Vec<Result<T, E>>) -> (Vec<T>, Vec<Result<usize, E>>) {
    let mut good = Vec::new();
    let indices = batch
        .into_iter()
        .map(|entry| {
            entry.map(|entry| {
                good.push(entry);
                good.len() - 1
            })
        })
        .collect();
    (good, indices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_keeps_its_order() {
        let picture = |side| RgbImage::new(side, side);
        let (images, indices) = split(vec![Ok(picture(1)), Err("broken"), Ok(picture(2))]);
        assert_eq!(images.iter().map(RgbImage::width).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(indices, [Ok(0), Err("broken"), Ok(1)]);
    }
}
