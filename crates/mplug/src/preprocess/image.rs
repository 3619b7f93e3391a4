//! Pictures: from a file's bytes to the model's `pixel_values`.
//!
//! Source: the original's `MPlugPreprocessor`, which reads a path with Pillow, turns it upright, converts it to RGB,
//! stretches it to a square with Pillow's bicubic filter, and normalises as CLIP does. Three steps, one file each:
//! [`decode_image`], [`resize_bicubic`], [`pixel_values`].
//!
//! Refuses to know where a picture comes from beyond a path or bytes (no URLs), and what the model does with it.

mod background;
mod decode;
mod format;
mod gif;
mod ico;
mod ifd;
mod jpeg;
mod normalize;
mod orientation;
mod png;
mod pnm;
mod resize;
mod rgb;
mod tiff;
mod webp;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

pub use ::image::RgbImage;

pub use self::background::{Background, NoColour};
pub use self::decode::decode_image;
pub use self::normalize::{IMAGE_MEAN, IMAGE_STD, bytes_of, pixel_values};
pub use self::resize::resize_bicubic;
use crate::passing::io_error_is_passing;

/// What a picture may cost, checked before memory is taken, and what is seen where it is transparent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageLimits {
    /// Most pixels (width × height) of a picture. A picture may decode to four bytes for each.
    pub max_pixels: u64,
    /// Most bytes of an encoded picture.
    pub max_file_bytes: u64,
    /// The colour that a transparent picture is laid over. `None`, the default, drops alpha as the original does: a transparent pixel
    /// shows the colour hidden under it, often black.
    pub background: Option<Background>,
}

impl Default for ImageLimits {
    /// 100 megapixels, 256 MiB, alpha dropped.
    fn default() -> Self {
        Self { max_pixels: 100_000_000, max_file_bytes: 256 << 20, background: None }
    }
}

/// A picture that could not be had, and which one.
#[derive(Debug)]
pub struct ImageError {
    /// The picture's name for people: its path, or what [`ImageError::named`] said.
    pub origin: String,
    /// What is wrong with it.
    pub fault: ImageFault,
}

impl ImageError {
    /// The error under another name of the picture: the position in a stream, the name of an archive's member.
    #[must_use]
    pub fn named(self, origin: impl fmt::Display) -> Self {
        Self { origin: origin.to_string(), fault: self.fault }
    }

    /// Whether the picture may be had later: [`ImageFault::is_passing`].
    pub fn is_passing(&self) -> bool {
        self.fault.is_passing()
    }
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.fault)
    }
}

impl std::error::Error for ImageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.fault)
    }
}

/// What is wrong with a picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageFault {
    /// The file is missing, or may not be read.
    #[error("cannot be read: {0}")]
    Read(#[source] std::io::Error),
    /// It is elsewhere, and did not come.
    #[error("cannot be fetched: {source}")]
    Fetch {
        /// Why, as whoever fetches it says.
        source: Box<dyn std::error::Error + Send + Sync>,
        /// Whether it may come later: a server that is down, not a picture that is gone.
        is_passing: bool,
    },
    /// The archive or table that it is in is not what it was when its pictures were listed.
    #[error("its file changed since its pictures were listed; run again to list it anew")]
    Changed,
    /// A folder, a pipe, a device.
    #[error("is not a regular file; give the path of a picture")]
    NotAFile,
    /// No bytes at all.
    #[error("is empty (0 bytes)")]
    Empty,
    /// No known signature at the start.
    #[error("not a picture: starts with {0}; expected PNG, JPEG, WebP, GIF, BMP, TIFF, PNM, TGA or ICO")]
    NotAPicture(String),
    /// A picture of a format that is not read.
    #[error(
        "is {format}, which is not read; convert it to JPEG or PNG, for example: {}",
        format::conversion(.format)
    )]
    OtherFormat {
        /// The format.
        format: String,
    },
    /// The encoded picture is larger than the limit.
    #[error("has {found} bytes, more than the limit of {limit}")]
    TooManyBytes {
        /// Bytes of the file.
        found: u64,
        /// [`ImageLimits::max_file_bytes`].
        limit: u64,
    },
    /// Width or height is 0.
    #[error("has no pixels: {width}x{height}")]
    NoPixels {
        /// Claimed width in pixels.
        width: u32,
        /// Claimed height in pixels.
        height: u32,
    },
    /// The header claims more pixels than the limit.
    #[error("claims {width}x{height} = {pixels} pixels, more than the limit of {limit}")]
    TooManyPixels {
        /// Claimed width in pixels.
        width: u32,
        /// Claimed height in pixels.
        height: u32,
        /// Their product.
        pixels: u64,
        /// [`ImageLimits::max_pixels`].
        limit: u64,
    },
    /// The decoded picture would take more memory than the limit (deep colours).
    #[error("would decode to {found} bytes, more than the limit of {limit}")]
    TooManyDecodedBytes {
        /// Bytes of the decoded picture.
        found: u64,
        /// Four times [`ImageLimits::max_pixels`].
        limit: u64,
    },
    /// Decoding would hold more at once than the limit: a progressive JPEG holds all of its coefficients.
    #[error(
        "takes {found} bytes to decode, more than the limit of {limit}; save it smaller, or as baseline JPEG or PNG"
    )]
    TooMuchMemory {
        /// Bytes that its decoder would hold at once.
        found: u64,
        /// Eight times [`ImageLimits::max_pixels`].
        limit: u64,
    },
    /// A JPEG that is sent in too many passes.
    #[error("has more than {limit} scans; save it again as baseline JPEG or PNG")]
    TooManyScans {
        /// Most scans of a file.
        limit: usize,
    },
    /// A JPEG whose passes over its samples would take long, together.
    #[error(
        "has scans of {found} samples in all, more than the limit of {limit}; save it again as baseline JPEG or PNG"
    )]
    TooLongScans {
        /// Samples of all scans.
        found: u64,
        /// Twenty times [`ImageLimits::max_pixels`].
        limit: u64,
    },
    /// A kind of the format that is not read here, or not with the pixels that the original sees.
    #[error(
        "is a {format} of a kind that is not read: {what}; save it again as baseline JPEG or PNG, for example: magick FILE FILE.png"
    )]
    Unsupported {
        /// Name of the format.
        format: &'static str,
        /// What the file is.
        what: String,
    },
    /// The file contradicts its format, or its coded data cannot be right.
    #[error("damaged {format}: {what}")]
    Damaged {
        /// Name of the format.
        format: &'static str,
        /// What is wrong.
        what: String,
    },
    /// The file ends before the picture does.
    #[error("truncated {format}: the file ends before the picture does")]
    Truncated {
        /// Name of the format.
        format: &'static str,
    },
    /// The decoder refused it.
    #[error("cannot be decoded: {0}")]
    Decode(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The decoder panicked: a fault of the decoder that a hostile picture set off.
    #[error("made its decoder panic: {0}")]
    Panicked(String),
}

impl ImageFault {
    /// Whether the picture may be had later, so that a failure of it is no answer.
    ///
    /// | fault | passes |
    /// |---|---|
    /// | [`Read`](Self::Read) | as [`io_error_is_passing`] says: too many open files, a device's error, not a missing file |
    /// | [`Fetch`](Self::Fetch) | as whoever fetches says: `FetchFault::is_passing` for web addresses |
    /// | [`Changed`](Self::Changed) | yes: it is listed anew |
    /// | all others | no: they are of the picture's own bytes |
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Read(error) => io_error_is_passing(error),
            Self::Fetch { is_passing, .. } => *is_passing,
            Self::Changed => true,
            _ => false,
        }
    }
}

/// Reads a picture from a file: upright (EXIF), RGB, alpha dropped, its format detected by its bytes and not by its name.
pub fn load_image(path: impl AsRef<Path>, limits: &ImageLimits) -> Result<RgbImage, ImageError> {
    let path = path.as_ref();
    read_file(path, limits)
        .and_then(|bytes| decode::decode(&bytes, limits))
        .map_err(|fault| ImageError { origin: path.display().to_string(), fault })
}

/// A regular file's bytes, never more than the limit even if the file grows meanwhile.
fn read_file(path: &Path, limits: &ImageLimits) -> Result<Vec<u8>, ImageFault> {
    let metadata = std::fs::metadata(path).map_err(ImageFault::Read)?;
    // Checked before opening: opening a pipe nobody writes to would wait for ever.
    if !metadata.is_file() {
        return Err(ImageFault::NotAFile);
    }
    let limit = limits.max_file_bytes;
    if metadata.len() > limit {
        return Err(ImageFault::TooManyBytes { found: metadata.len(), limit });
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    let file = File::open(path).map_err(ImageFault::Read)?;
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(ImageFault::Read)?;
    Ok(bytes)
}
