//! From a picture to the network's pixels: as it is to be judged, or a random view to learn from. Knows no texts.

use mplug::preprocess::image::{RgbImage, pixel_values, resize_bicubic};
use mplug_data::augment::Augmentation;
use rand::SeedableRng;
use rand_pcg::Pcg64;

use crate::seed::seed_of;

/// How pictures become pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct Views {
    /// Side of the square in pixels.
    pub size: u32,
    /// How pictures to learn from are varied, if they are.
    pub augmentation: Option<Augmentation>,
    /// The run's seed.
    pub seed: u64,
}

impl Views {
    /// Normalised pixels `(3, size, size)` of the training example `index`: the same whenever it is requested, another view
    /// of the same picture in the next epoch.
    pub(super) fn training(&self, image: &RgbImage, index: u64) -> Vec<f32> {
        let Some(augmentation) = &self.augmentation else { return self.plain(image) };
        let mut random = Pcg64::seed_from_u64(seed_of(&[self.seed, index]));
        pixel_values(&augmentation.apply(image, self.size, &mut random))
    }

    /// Normalised pixels of the whole picture, stretched to the square as the original does.
    pub(super) fn plain(&self, image: &RgbImage) -> Vec<f32> {
        if image.dimensions() == (self.size, self.size) {
            return pixel_values(image);
        }
        pixel_values(&resize_bicubic(image, self.size, self.size))
    }
}
