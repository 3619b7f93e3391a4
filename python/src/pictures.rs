//! Pictures as Python hands them over: a path, the bytes of a file, pixels, or a web address.

use std::path::PathBuf;

use mplug::RgbImage;
use mplug::preprocess::image::{
    ImageError, ImageFault, ImageLimits, decode_image, load_image, resize_bicubic,
};
use pyo3::prelude::*;
use rayon::prelude::*;

use crate::errors::{Fault, of_picture};
use crate::web::Fetcher;

/// What an encoded file is called in messages.
const BYTES: &str = "picture";

/// A picture that is still to be opened.
#[derive(FromPyObject)]
pub(crate) enum Picture {
    /// Width, height, and three bytes for each pixel.
    Pixels(u32, u32, Vec<u8>),
    /// `("path", path)`, `("url", address)`.
    Named(String, PathBuf),
    /// An encoded file.
    File(Vec<u8>),
}

impl Picture {
    /// The picture, or what is wrong with it.
    fn open(self, fetcher: Option<&Fetcher>) -> Result<RgbImage, Fault> {
        let limits = ImageLimits::default();
        match self {
            Self::Named(kind, path) if kind == "path" => {
                load_image(&path, &limits).map_err(|error| of_picture(path.display().to_string(), &error))
            }
            Self::Named(_, address) => {
                let address = address.display().to_string();
                let fetcher = fetcher.ok_or_else(|| not_allowed(&address))?;
                let bytes = fetcher.get(&address, limits.max_file_bytes)?;
                decode_image(&bytes, &limits).map_err(|error| of_picture(address, &error))
            }
            Self::File(bytes) => {
                decode_image(&bytes, &limits).map_err(|error| of_picture(BYTES.to_owned(), &error))
            }
            Self::Pixels(width, height, bytes) => pixels(width, height, bytes, &limits).map_err(|fault| {
                of_picture(BYTES.to_owned(), &ImageError { origin: BYTES.to_owned(), fault })
            }),
        }
    }
}

fn pixels(width: u32, height: u32, bytes: Vec<u8>, limits: &ImageLimits) -> Result<RgbImage, ImageFault> {
    let (pixels, limit) = (u64::from(width) * u64::from(height), limits.max_pixels);
    if pixels == 0 {
        return Err(ImageFault::NoPixels { width, height });
    }
    if pixels > limit {
        return Err(ImageFault::TooManyPixels { width, height, pixels, limit });
    }
    RgbImage::from_raw(width, height, bytes).ok_or(ImageFault::Truncated { format: "RGB" })
}

fn not_allowed(address: &str) -> Fault {
    let message =
        format!("{address}: is a web address, and nothing is downloaded unasked; `allow_urls=True` opens it");
    Fault::Picture { source: address.to_owned(), reason: "unsupported", message }
}

/// Opens all of them, each on its own, and resizes them to squares of `side` pixels, as the model does: only a picture that is being
/// opened is held at full size.
pub(crate) fn open_all(
    pictures: Vec<Picture>,
    side: usize,
    fetcher: Option<&Fetcher>,
) -> Vec<Result<RgbImage, Fault>> {
    let side = side as u32;
    let open = |picture: Picture| Ok(resize_bicubic(&picture.open(fetcher)?, side, side));
    pictures.into_par_iter().map(open).collect()
}
