//! The ten distortions by name: how strong each is at a level, and which function carries it out.
//!
//! Source: the research code's `dataset/randaugment.py` (numpy and OpenCV). Levels go to 10; the fill is gray 128.
//!
//! Refuses to know which are drawn, and how often.

use mplug::preprocess::image::RgbImage;

use super::{intensity, warp};

/// The level at which an operation is strongest.
const MAX_LEVEL: f64 = 10.0;

/// What happens where the original's 8-bit arithmetic overflows, in two operations.
///
/// - AutoContrast negates the darkest value of a channel as an unsigned byte. A channel without a 0 in it comes out
///   white all over: most pictures of pale scenes become blank sheets.
/// - Sharpness casts to bytes without clamping: an edge that overshoots white turns black, and the reverse.
///
/// All other operations are the same either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// As the original does (on x86-64), byte for byte.
    Wrap,
    /// As the original's comments intend: equal to Pillow's `ImageOps.autocontrast` and `ImageEnhance.Sharpness`.
    Clamp,
}

/// A distortion of a picture that leaves its size alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// None. Its magnitude means nothing.
    Identity,
    /// Stretches each channel to the whole range 0 to 255. Its magnitude means nothing.
    AutoContrast,
    /// Levels each channel's histogram. Its magnitude means nothing.
    Equalize,
    /// Multiplies values by the magnitude.
    Brightness,
    /// Moves values away from their smoothed ones: magnitude 0 is smooth, 1 the picture, more is sharper.
    Sharpness,
    /// Moves each row right by magnitude × its number.
    ShearX,
    /// Moves each column down by magnitude × its number.
    ShearY,
    /// Moves the picture left by that many pixels.
    TranslateX,
    /// Moves the picture up by that many pixels.
    TranslateY,
    /// Turns the picture counter-clockwise about its centre by that many degrees.
    Rotate,
}

impl Operation {
    /// All ten, in the original's order.
    pub const ALL: [Self; 10] = [
        Self::Identity,
        Self::AutoContrast,
        Self::Equalize,
        Self::Brightness,
        Self::Sharpness,
        Self::ShearX,
        Self::ShearY,
        Self::TranslateX,
        Self::TranslateY,
        Self::Rotate,
    ];

    /// How strong the operation is at `level` of 10, in its own unit: a factor (Brightness, Sharpness: 0.1 to 1.9), a
    /// slope (ShearX, ShearY: up to 0.3), pixels whatever the picture's size (TranslateX, TranslateY: up to 10), degrees
    /// (Rotate: up to 30). 0 for those that have no strength.
    pub fn magnitude(self, level: u8) -> f64 {
        let share = f64::from(level) / MAX_LEVEL;
        match self {
            Self::Identity | Self::AutoContrast | Self::Equalize => 0.0,
            Self::Brightness | Self::Sharpness => share * 1.8 + 0.1,
            Self::ShearX | Self::ShearY => share * 0.3,
            Self::TranslateX | Self::TranslateY => share * 10.0,
            Self::Rotate => share * 30.0,
        }
    }

    /// Whether the magnitude may be negated, to go the other way.
    pub fn has_direction(self) -> bool {
        matches!(self, Self::ShearX | Self::ShearY | Self::TranslateX | Self::TranslateY | Self::Rotate)
    }

    /// Distorts a picture. Any magnitude is good, though the original knows only those of [`Operation::magnitude`] and
    /// their negatives.
    pub fn apply(self, image: RgbImage, magnitude: f64, overflow: Overflow) -> RgbImage {
        // The original keeps slopes and pixels in 32 bits, degrees in 64.
        let short = f64::from(magnitude as f32);
        match self {
            Self::Identity => image,
            Self::AutoContrast => intensity::auto_contrast(image, overflow),
            Self::Equalize => intensity::equalize(image),
            Self::Brightness => intensity::brightness(image, magnitude as f32),
            Self::Sharpness => intensity::sharpness(&image, magnitude as f32, overflow),
            Self::ShearX => warp::warp(&image, [[1.0, short, 0.0], [0.0, 1.0, 0.0]]),
            Self::ShearY => warp::warp(&image, [[1.0, 0.0, 0.0], [short, 1.0, 0.0]]),
            Self::TranslateX => warp::warp(&image, [[1.0, 0.0, -short], [0.0, 1.0, 0.0]]),
            Self::TranslateY => warp::warp(&image, [[1.0, 0.0, 0.0], [0.0, 1.0, -short]]),
            Self::Rotate => warp::warp(&image, warp::rotation(image.width(), image.height(), magnitude)),
        }
    }
}
