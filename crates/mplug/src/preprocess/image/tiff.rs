//! TIFF: what kind of picture a file holds, and who reads it: its first picture, as it lies in the file.
//!
//! Source: TIFF 6.0 and BigTIFF, as Pillow and libtiff read them. The crate `tiff` unpacks the levels; what they mean is settled
//! here, so that it never has to know (see [`levels`]). Parts that are JPEG files go to the decoder of JPEG files ([`jpeg_parts`]),
//! and lines of facsimile machines to [`fax`].
//!
//! Each kind that is not read is refused by name.

mod fax;
mod jpeg_parts;
mod levels;

use ::image::metadata::Orientation;

use super::decode::{check_decoded_bytes, check_size};
use super::ifd::Directory;
use super::orientation;
use super::{ImageFault, ImageLimits, RgbImage};

const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const BITS_PER_SAMPLE: u16 = 258;
const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const FILL_ORDER: u16 = 266;
const STRIP_OFFSETS: u16 = 273;
const SAMPLES_PER_PIXEL: u16 = 277;
const STRIP_BYTE_COUNTS: u16 = 279;
const PLANAR_CONFIGURATION: u16 = 284;
const COLOUR_MAP: u16 = 320;
const TILE_LENGTH: u16 = 323;
const TILE_OFFSETS: u16 = 324;
const TILE_BYTE_COUNTS: u16 = 325;
const EXTRA_SAMPLES: u16 = 338;
const SAMPLE_FORMAT: u16 = 339;

/// Most samples of a pixel that are looked at.
const MAX_SAMPLES: usize = 64;

/// The picture, and how it lies.
pub(super) fn decode(bytes: &[u8], limits: &ImageLimits) -> Result<(RgbImage, Orientation), ImageFault> {
    let directory = Directory::read(bytes).ok_or(ImageFault::Truncated { format: "TIFF" })?;
    let header = Header::read(&directory, limits)?;
    let levels = match header.compression {
        1 | 4 | 5 | 8 | 32773 | 32946 => levels::unpacked(bytes, &directory, &header, limits)?,
        2 | 3 => fax::decode(bytes, &directory, &header)?,
        6 => return Err(unsupported("JPEG compression of the old style (6) is in it")),
        7 => return Ok((jpeg_parts::decode(bytes, limits)?, orientation::of_tiff(&directory))),
        other => return Err(unsupported(format!("it is compressed as {}", compression_name(other)))),
    };
    let image = levels::picture(&levels, &directory, &header, limits)?;
    Ok((image, orientation::of_tiff(&directory)))
}

fn compression_name(compression: u64) -> String {
    let name = match compression {
        32771 => "raw 16-bit words",
        32809 => "ThunderScan",
        33003 | 33005 | 34712 => "JPEG 2000",
        34676 | 34677 => "SGI log",
        34887 => "LERC",
        34925 => "LZMA",
        50000 => "Zstandard",
        50001 => "WebP",
        50002 | 52546 => "JPEG XL",
        other => return format!("{other}, which is unknown"),
    };
    format!("{name} ({compression})")
}

fn unsupported(what: impl Into<String>) -> ImageFault {
    ImageFault::Unsupported { format: "TIFF", what: what.into() }
}

fn damaged(what: impl Into<String>) -> ImageFault {
    ImageFault::Damaged { format: "TIFF", what: what.into() }
}

/// What levels of a pixel mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Colours {
    WhiteIsZero,
    BlackIsZero,
    Rgb,
    Palette,
    Cmyk,
    YCbCr,
}

impl Colours {
    fn name(self) -> &'static str {
        match self {
            Self::WhiteIsZero | Self::BlackIsZero => "gray",
            Self::Rgb => "RGB",
            Self::Palette => "a palette",
            Self::Cmyk => "CMYK",
            Self::YCbCr => "YCbCr",
        }
    }

    /// Levels of a pixel without extra ones.
    fn samples(self) -> usize {
        match self {
            Self::WhiteIsZero | Self::BlackIsZero | Self::Palette => 1,
            Self::Rgb | Self::YCbCr => 3,
            Self::Cmyk => 4,
        }
    }
}

/// What numbers the levels are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Numbers {
    Unsigned,
    Signed,
    Float,
}

impl Numbers {
    fn name(self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::Signed => "signed",
            Self::Float => "float",
        }
    }
}

/// What the directory says of the picture.
struct Header {
    width: u32,
    height: u32,
    compression: u64,
    colours: Colours,
    bits: u32,
    numbers: Numbers,
    /// Levels of a pixel, extra ones included.
    samples: usize,
    /// What the first extra level is: 0 anything, 1 alpha that the colours were multiplied by, 2 alpha.
    extra: Option<u64>,
    is_planar: bool,
}

impl Header {
    fn read(directory: &Directory<'_>, limits: &ImageLimits) -> Result<Self, ImageFault> {
        let side = |tag, name| {
            let side = directory.number(tag).ok_or_else(|| damaged(format!("it does not say its {name}")))?;
            u32::try_from(side).map_err(|_| damaged(format!("its {name} is {side}")))
        };
        let (width, height) = (side(WIDTH, "width")?, side(HEIGHT, "height")?);
        check_size(width, height, limits)?;
        let samples = directory.number(SAMPLES_PER_PIXEL).unwrap_or(1);
        let samples = usize::try_from(samples).ok().filter(|samples| (1..=MAX_SAMPLES).contains(samples));
        let header = Self {
            width,
            height,
            compression: directory.number(COMPRESSION).unwrap_or(1),
            colours: colours(directory)?,
            bits: bits(directory)?,
            numbers: numbers(directory)?,
            samples: samples.ok_or_else(|| unsupported("its pixels have more than 64 levels, or none"))?,
            extra: directory.number(EXTRA_SAMPLES),
            is_planar: directory.number(PLANAR_CONFIGURATION) == Some(2) && samples != Some(1),
        };
        // The crate `tiff` takes the last tiles of all planes but the first for whole ones.
        let tile_height = directory.number(TILE_LENGTH).filter(|_| header.is_planar).unwrap_or(1);
        if !u64::from(height).is_multiple_of(tile_height.max(1)) {
            return Err(unsupported(
                "its levels are in tiles of planes apart, which do not end with the picture",
            ));
        }
        // JPEG files say for themselves what they hold.
        if header.compression != 7 {
            header.check(limits)?;
        }
        Ok(header)
    }

    /// Refuses what is not read, by name.
    fn check(&self, limits: &ImageLimits) -> Result<(), ImageFault> {
        let is_gray = matches!(self.colours, Colours::WhiteIsZero | Colours::BlackIsZero);
        let is_read = match (self.numbers, self.bits) {
            (Numbers::Unsigned, 8) => true,
            (Numbers::Unsigned, 16) => !matches!(self.colours, Colours::Palette | Colours::YCbCr),
            (Numbers::Unsigned, 1 | 2 | 4) => is_gray || self.colours == Colours::Palette,
            (Numbers::Unsigned, 32) | (Numbers::Signed, 8 | 16 | 32) => is_gray,
            (Numbers::Float, 32) => is_gray || self.colours == Colours::Rgb,
            _ => false,
        };
        if !is_read {
            let (numbers, colours) = (self.numbers.name(), self.colours.name());
            return Err(unsupported(format!("it has {numbers} levels of {} bits, for {colours}", self.bits)));
        }
        if self.samples < self.colours.samples() {
            let (found, expected) = (self.samples, self.colours.samples());
            return Err(damaged(format!("its pixels have {found} levels, expected {expected}")));
        }
        let bits =
            self.samples as u64 * u64::from(self.bits) * u64::from(self.width) * u64::from(self.height);
        check_decoded_bytes(bits / 8, limits)
    }

    /// Where alpha is among the levels of a pixel, if it is.
    fn alpha(&self) -> Option<usize> {
        let first = self.colours.samples();
        let is_alpha = match self.extra {
            Some(kind) => kind != 0,
            // libtiff takes the fourth of RGB for it.
            None => self.colours == Colours::Rgb && self.samples == 4,
        };
        (is_alpha && self.samples > first).then_some(first)
    }

    /// Bytes of a row of one plane, or of all levels where planes are not apart.
    fn row_bytes(&self) -> usize {
        (self.row_levels() * self.bits as usize).div_ceil(8)
    }

    /// Levels of such a row.
    fn row_levels(&self) -> usize {
        self.width as usize * if self.is_planar { 1 } else { self.samples }
    }
}

fn colours(directory: &Directory<'_>) -> Result<Colours, ImageFault> {
    Ok(match directory.number(PHOTOMETRIC) {
        Some(0) => Colours::WhiteIsZero,
        Some(1) => Colours::BlackIsZero,
        Some(2) => Colours::Rgb,
        Some(3) => Colours::Palette,
        Some(5) => Colours::Cmyk,
        Some(6) => Colours::YCbCr,
        None => return Err(damaged("it does not say what its levels mean (tag 262)")),
        Some(4) => return Err(unsupported("it is a mask of another picture (4)")),
        Some(8..=10) => return Err(unsupported("its colours are CIE L*a*b*")),
        Some(32803) => return Err(unsupported("it is a camera's raw mosaic (32803)")),
        Some(34892) => return Err(unsupported("it is a camera's raw picture (34892)")),
        Some(other) => return Err(unsupported(format!("its levels mean {other}, which is unknown"))),
    })
}

fn bits(directory: &Directory<'_>) -> Result<u32, ImageFault> {
    let mut bits = directory.numbers(BITS_PER_SAMPLE).take(MAX_SAMPLES);
    let first = bits.next().unwrap_or(1);
    if let Some(other) = bits.find(|other| *other != first) {
        return Err(unsupported(format!("its levels have {first} and {other} bits")));
    }
    u32::try_from(first).map_err(|_| damaged(format!("its levels have {first} bits")))
}

fn numbers(directory: &Directory<'_>) -> Result<Numbers, ImageFault> {
    match directory.number(SAMPLE_FORMAT).unwrap_or(1) {
        1 | 4 => Ok(Numbers::Unsigned),
        2 => Ok(Numbers::Signed),
        3 => Ok(Numbers::Float),
        other => Err(unsupported(format!("its levels are numbers of the kind {other}"))),
    }
}
