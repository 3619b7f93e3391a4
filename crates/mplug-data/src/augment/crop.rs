//! The part of a picture that training sees: torchvision's `RandomResizedCrop` on Pillow pictures.
//!
//! Ten tries at a rectangle of a random area and a random aspect ratio that fits the picture; else the greatest central
//! one whose aspect ratio is allowed. It is cut out first and then stretched with Pillow's bicubic filter, so that no
//! pixel beyond its edge is seen.
//!
//! Refuses to know what happens to the picture afterwards.

use ::image::imageops::crop_imm;
use mplug::preprocess::image::{RgbImage, resize_bicubic};
use rand::{Rng, RngExt};

/// Rectangles that are tried before the central one is taken.
const TRIES: usize = 10;

/// A rectangle of whole pixels inside a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// Columns left of it.
    pub left: u32,
    /// Rows above it.
    pub top: u32,
    /// Its width in pixels.
    pub width: u32,
    /// Its height in pixels.
    pub height: u32,
}

impl Crop {
    /// Draws a rectangle inside a picture of (width, height): `scale` is the range of its share of the area (uniform),
    /// `aspect_ratio` that of its width / height (uniform in the logarithm).
    pub(super) fn draw<R: Rng + ?Sized>(
        (width, height): (u32, u32),
        scale: (f64, f64),
        aspect_ratio: (f64, f64),
        rng: &mut R,
    ) -> Self {
        let whole = f64::from(width) * f64::from(height);
        let log_ratio = (aspect_ratio.0.ln(), aspect_ratio.1.ln());
        for _ in 0..TRIES {
            let area = whole * between(scale, rng);
            let ratio = between(log_ratio, rng).exp();
            let (w, h) = (to_side((area * ratio).sqrt()), to_side((area / ratio).sqrt()));
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                let top = rng.random_range(0..=height - h);
                let left = rng.random_range(0..=width - w);
                return Self { left, top, width: w, height: h };
            }
        }
        Self::central((width, height), aspect_ratio)
    }

    /// The greatest rectangle in the middle of a picture of (width, height) whose width / height is within the range.
    fn central((width, height): (u32, u32), (narrowest, widest): (f64, f64)) -> Self {
        let ratio = f64::from(width) / f64::from(height);
        let (w, h) = if ratio < narrowest {
            (width, to_side(f64::from(width) / narrowest).max(1).min(height))
        } else if ratio > widest {
            (to_side(f64::from(height) * widest).max(1).min(width), height)
        } else {
            (width, height)
        };
        Self { left: (width - w) / 2, top: (height - h) / 2, width: w, height: h }
    }

    /// Cuts the rectangle out of `image` and stretches it to `size` × `size`. What lies beyond the picture is left out.
    pub fn resize(&self, image: &RgbImage, size: u32) -> RgbImage {
        let whole = Self { left: 0, top: 0, width: image.width(), height: image.height() };
        if *self == whole {
            return resize_bicubic(image, size, size);
        }
        let cut = crop_imm(image, self.left, self.top, self.width, self.height).to_image();
        resize_bicubic(&cut, size, size)
    }
}

/// A number between `low` and `high`, uniform. Any range is good: nonsense gives nonsense, never a panic.
fn between<R: Rng + ?Sized>((low, high): (f64, f64), rng: &mut R) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

/// To whole pixels as Python's `round`: halves to even. Not a number gives 0, which no crop may have.
fn to_side(side: f64) -> u32 {
    side.round_ties_even() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATIOS: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);

    /// Worked out by hand from torchvision's rule.
    #[test]
    fn the_central_crop_is_the_greatest_of_an_allowed_ratio() {
        for (size, (left, top, width, height)) in [
            ((1000, 10), (493, 0, 13, 10)), // round(13.33)
            ((10, 1000), (0, 493, 10, 13)),
            ((90, 60), (5, 0, 80, 60)),
            ((6, 1), (2, 0, 1, 1)), // (6 - 1) / 2 cut
            ((1, 1), (0, 0, 1, 1)),
            ((100, 80), (0, 0, 100, 80)), // 1.25: allowed as it is
            ((30, 6), (11, 0, 8, 6)),
            ((6, 500), (0, 246, 6, 8)),
        ] {
            assert_eq!(Crop::central(size, RATIOS), Crop { left, top, width, height }, "{size:?}");
        }
    }

    #[test]
    fn halves_round_to_even() {
        assert_eq!([0.5, 1.5, 2.5, -1.0, f64::NAN].map(to_side), [0, 2, 2, 0, 0]);
    }
}
