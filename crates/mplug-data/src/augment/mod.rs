//! Training's random views of a picture: a crop, a mirror, and two of ten distortions.
//!
//! Source: the research code's `train_transform` and `pretrain_transform` (its `dataset/__init__.py` and
//! `dataset/randaugment.py`, taken over from ALBEF): torchvision's `RandomResizedCrop` and `RandomHorizontalFlip`,
//! then `RandomAugment(2, 7)`. Two steps: [`Augmentation::draw`] makes all random choices and touches no pixel;
//! [`View::render`] makes the pixels and has no choice left, so its bytes can be held to the original's. Choices follow
//! the original's distributions, not its generators.
//!
//! Refuses to know captions, boxes, batches, and the normalisation that comes after.

mod crop;
mod intensity;
mod operation;
mod warp;

use ::image::imageops::flip_horizontal_in_place;
use mplug::preprocess::image::RgbImage;
use rand::{Rng, RngExt};

pub use self::crop::Crop;
pub use self::operation::{Operation, Overflow};

/// How training pictures are varied. Every field may be changed: mind `flip_probability` where captions say left and
/// right, and `overflow` where pictures have no black in them.
#[derive(Clone, Debug, PartialEq)]
pub struct Augmentation {
    /// Least and greatest share of the picture's area that a crop covers, uniform between.
    pub scale: (f64, f64),
    /// Least and greatest width / height of a crop, in source pixels, uniform in its logarithm.
    pub aspect_ratio: (f64, f64),
    /// Probability that the picture is mirrored left to right. 0 switches mirroring off.
    pub flip_probability: f64,
    /// How many operations are drawn for a picture (the paper's N), with replacement.
    pub num_operations: usize,
    /// Probability that a drawn operation is applied.
    pub operation_probability: f64,
    /// What is drawn from, each with the same chance. Empty: nothing is.
    pub operations: Vec<Operation>,
    /// Strength of the operations (the paper's M), of 10.
    pub level: u8,
    /// What the original's two 8-bit overflows do.
    pub overflow: Overflow,
}

impl Augmentation {
    /// The original's for captioning, question answering and retrieval: crops of half the area or more. Wraps on
    /// overflow, as the original does.
    pub fn fine_tuning() -> Self {
        Self {
            scale: (0.5, 1.0),
            aspect_ratio: (3.0 / 4.0, 4.0 / 3.0),
            flip_probability: 0.5,
            num_operations: 2,
            operation_probability: 0.5,
            operations: Operation::ALL.to_vec(),
            level: 7,
            overflow: Overflow::Wrap,
        }
    }

    /// The original's for pre-training: crops of a fifth of the area or more.
    pub fn pre_training() -> Self {
        Self { scale: (0.2, 1.0), ..Self::fine_tuning() }
    }

    /// A random view of `image`, `size` pixels wide and high. The same state of `rng` gives the same bytes.
    pub fn apply<R: Rng + ?Sized>(&self, image: &RgbImage, size: u32, rng: &mut R) -> RgbImage {
        self.draw(image.width(), image.height(), rng).render(image, size)
    }

    /// Makes the random choices for one picture of `width` × `height` pixels. Never fails: a probability of 1 or more
    /// is certain, one of 0 or less impossible; ranges that allow no crop fall back to the greatest central one.
    pub fn draw<R: Rng + ?Sized>(&self, width: u32, height: u32, rng: &mut R) -> View {
        let crop = Crop::draw((width, height), self.scale, self.aspect_ratio, rng);
        let is_mirrored = happens(self.flip_probability, rng);
        let mut operations = Vec::with_capacity(self.num_operations);
        for _ in 0..self.num_operations {
            if let Some(drawn) = self.draw_operation(rng) {
                operations.push(drawn);
            }
        }
        View { crop, is_mirrored, operations, overflow: self.overflow }
    }

    /// One operation with its signed magnitude, or none where its coin says no.
    fn draw_operation<R: Rng + ?Sized>(&self, rng: &mut R) -> Option<(Operation, f64)> {
        if self.operations.is_empty() {
            return None;
        }
        let operation = self.operations[rng.random_range(0..self.operations.len() as u32) as usize];
        if !happens(self.operation_probability, rng) {
            return None;
        }
        let magnitude = operation.magnitude(self.level);
        let is_negated = operation.has_direction() && happens(0.5, rng);
        Some((operation, if is_negated { -magnitude } else { magnitude }))
    }
}

/// A coin that shows heads with this probability.
fn happens<R: Rng + ?Sized>(probability: f64, rng: &mut R) -> bool {
    rng.random::<f64>() < probability
}

/// Everything that was chosen for one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The part of the picture that is seen, before mirroring.
    pub crop: Crop,
    /// Whether it is mirrored left to right.
    pub is_mirrored: bool,
    /// Operations in their order, each with its magnitude ([`Operation::magnitude`], perhaps negated).
    pub operations: Vec<(Operation, f64)>,
    /// What the original's two 8-bit overflows do.
    pub overflow: Overflow,
}

impl View {
    /// The pixels of this view, `size` wide and high: cropped and resized, mirrored, then distorted. An empty picture
    /// has no view and gives a black one before the operations.
    pub fn render(&self, image: &RgbImage, size: u32) -> RgbImage {
        let mut view = self.crop.resize(image, size);
        if self.is_mirrored {
            flip_horizontal_in_place(&mut view);
        }
        for &(operation, magnitude) in &self.operations {
            view = operation.apply(view, magnitude, self.overflow);
        }
        view
    }
}
