//! PNG: which chunks decide the pixels, and what the others say of how the picture lies.
//!
//! Source: the PNG specification, and Pillow's `PngImagePlugin`: orientation is in `eXIf`, in a text chunk `exif`, in ImageMagick's
//! `Raw profile type exif`, or in XMP, before the picture's data or behind it; of several the last counts.
//!
//! Refuses to know pixels.

use std::borrow::Cow;
use std::io::{ErrorKind, Read};

use ::image::metadata::Orientation;
use flate2::read::ZlibDecoder;

use super::orientation;

const SIGNATURE_LEN: usize = 8;
/// Most bytes of a text that is unpacked: Pillow's limit.
const MAX_TEXT_BYTES: u64 = 1 << 20;
const RAW_PROFILE: &[u8] = b"Raw profile type exif";
const XMP: &[u8] = b"XML:com.adobe.xmp";

/// The chunks that decide the pixels, and the orientation. The others (colour profile, text, animation) are left out before
/// decoding: compressed ones may unpack to hundreds of megabytes.
pub(super) fn read(bytes: &[u8]) -> (Vec<u8>, Orientation) {
    const ESSENTIAL: [&[u8; 4]; 5] = [b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS"];
    let (signature, mut rest) = bytes.split_at(bytes.len().min(SIGNATURE_LEN));
    let mut essential = Vec::with_capacity(bytes.len());
    essential.extend_from_slice(signature);
    let mut metadata = Metadata::default();
    while let Some((length, body)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let (chunk, after) = rest.split_at(length.saturating_add(12).min(rest.len())); // length, type, data, checksum
        if ESSENTIAL.iter().any(|kind| body.starts_with(*kind)) {
            essential.extend_from_slice(chunk);
        }
        if let (Some(kind), Some(data)) = (chunk.get(4..8), chunk.get(8..length.saturating_add(8))) {
            metadata.read(kind, data);
        }
        rest = after;
    }
    (essential, metadata.orientation())
}

/// What chunks say of how the picture lies.
#[derive(Default)]
struct Metadata<'a> {
    exif: Option<&'a [u8]>,
    raw_profile: Option<Vec<u8>>,
    xmp: Option<Cow<'a, [u8]>>,
    is_animated: bool,
    has_data: bool,
    is_over: bool,
}

impl<'a> Metadata<'a> {
    fn read(&mut self, kind: &[u8], data: &'a [u8]) {
        if self.is_over {
            return;
        }
        match kind {
            b"IDAT" => self.has_data = true,
            b"acTL" => self.is_animated = data.first_chunk().is_some_and(|n| u32::from_be_bytes(*n) > 1),
            // What follows is of the animation's next picture.
            b"fcTL" => self.is_over = self.is_animated && self.has_data,
            b"IEND" => self.is_over = true,
            b"eXIf" => self.exif = Some(data),
            b"tEXt" => {
                let (keyword, text) = split(data).unwrap_or((data, &[]));
                if keyword == b"exif" {
                    self.exif = Some(text);
                }
                self.text(keyword, || Some(text.into()));
            }
            b"zTXt" => {
                let (keyword, packed) = split(data).unwrap_or((data, &[]));
                self.text(keyword, || match packed.split_first() {
                    Some((0, packed)) => unpacked(packed),
                    _ => None,
                });
            }
            b"iTXt" => self.international_text(data),
            _ => {}
        }
    }

    /// Keyword, whether the text is packed and how, language, keyword in that language, text.
    fn international_text(&mut self, data: &'a [u8]) {
        let Some((keyword, [is_packed, method, rest @ ..])) = split(data) else { return };
        let Some((_, (_, text))) = split(rest).and_then(|(language, rest)| Some((language, split(rest)?)))
        else {
            return;
        };
        self.text(keyword, || match (is_packed, method) {
            (0, _) => Some(text.into()),
            (_, 0) => unpacked(text),
            _ => None,
        });
    }

    /// Takes a text if its keyword matters; only then is it unpacked.
    fn text(&mut self, keyword: &[u8], text: impl FnOnce() -> Option<Cow<'a, [u8]>>) {
        if keyword == RAW_PROFILE {
            self.raw_profile = text().and_then(|text| of_raw_profile(&text)).or(self.raw_profile.take());
        } else if keyword == XMP {
            self.xmp = text().or(self.xmp.take());
        }
    }

    fn orientation(&self) -> Orientation {
        orientation::of_metadata(self.exif.or(self.raw_profile.as_deref()), self.xmp.as_deref())
    }
}

/// What is before and behind the first zero.
fn split(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let zero = data.iter().position(|&byte| byte == 0)?;
    Some((&data[..zero], &data[zero + 1..]))
}

/// A packed text; `None` where it is longer than [`MAX_TEXT_BYTES`] or damaged.
fn unpacked(packed: &[u8]) -> Option<Cow<'static, [u8]>> {
    let mut text = Vec::new();
    match ZlibDecoder::new(packed).take(MAX_TEXT_BYTES + 1).read_to_end(&mut text) {
        Err(error) if error.kind() != ErrorKind::UnexpectedEof => None,
        _ => (text.len() as u64 <= MAX_TEXT_BYTES).then(|| text.into()),
    }
}

/// The bytes of ImageMagick's form: an empty line, the kind, the number of bytes, and lines of hexadecimal digits.
fn of_raw_profile(text: &[u8]) -> Option<Vec<u8>> {
    let lines = text.split(|&byte| byte == b'\n').skip(3);
    let digits: Vec<u8> = lines.flatten().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let value = |digit: u8| (digit as char).to_digit(16);
    digits.chunks(2).map(|pair| Some((value(pair[0])? << 4 | value(*pair.get(1)?)?) as u8)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXIF: &[u8] = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0";

    fn orientation_of(chunks: &[(&[u8], &[u8])]) -> Orientation {
        let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
        for (kind, data) in chunks {
            file.extend([&(data.len() as u32).to_be_bytes(), *kind, *data, &[0; 4]].concat());
        }
        read(&file).1
    }

    fn raw_profile() -> Vec<u8> {
        let hex = EXIF.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        format!("\nexif\n{:8}\n{}\n{}\n", EXIF.len(), &hex[..20], &hex[20..]).into_bytes()
    }

    #[test]
    fn case_03_orientation_is_found_wherever_pillow_finds_it() {
        let raw = raw_profile();
        let data: (&[u8], &[u8]) = (b"IDAT", b"");
        let text = [b"Raw profile type exif\0".as_slice(), &raw].concat();
        let international = [b"Raw profile type exif\0\0\0\0\0".as_slice(), &raw].concat();
        let xmp = b"XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation=\"6\"/>".as_slice();
        let chunks: [(&[u8], &[u8]); 5] = [
            (b"eXIf", &EXIF[6..]),
            (b"tEXt", &text),
            (b"iTXt", &international),
            (b"iTXt", xmp),
            (b"tEXt", &[b"exif\0", EXIF].concat()),
        ];
        for chunk in chunks {
            for order in [[chunk, data], [data, chunk]] {
                assert_eq!(orientation_of(&order), Orientation::Rotate90, "{}", chunk.0.escape_ascii());
            }
        }
        // Pillow does not read this one.
        let app1 = [b"Raw profile type APP1\0".as_slice(), &raw].concat();
        assert_eq!(orientation_of(&[data, (b"tEXt", &app1)]), Orientation::NoTransforms);
    }

    #[test]
    fn of_two_blocks_the_last_counts_and_exif_before_a_raw_profile() {
        let mut upright = EXIF.to_vec();
        upright[24] = 1;
        let text = [b"Raw profile type exif\0".as_slice(), &raw_profile()].concat();
        let turned: (&[u8], &[u8]) = (b"eXIf", EXIF);
        let upright: (&[u8], &[u8]) = (b"eXIf", &upright);
        assert_eq!(orientation_of(&[turned, upright]), Orientation::NoTransforms);
        assert_eq!(orientation_of(&[upright, turned]), Orientation::Rotate90);
        assert_eq!(orientation_of(&[upright, (b"tEXt", &text)]), Orientation::NoTransforms);
        assert_eq!(orientation_of(&[(b"IEND", b""), turned]), Orientation::NoTransforms);
        let next_picture: (&[u8], &[u8]) = (b"fcTL", b"");
        let animation: (&[u8], &[u8]) = (b"acTL", &[0, 0, 0, 2, 0, 0, 0, 0]);
        let data: (&[u8], &[u8]) = (b"IDAT", b"");
        assert_eq!(orientation_of(&[animation, data, next_picture, turned]), Orientation::NoTransforms);
    }

    #[test]
    fn a_raw_profile_that_is_no_hexadecimal_turns_nothing() {
        for text in [b"\nexif\n 4\nzz".as_slice(), b"\nexif\n 4\nabc", b""] {
            assert_eq!(of_raw_profile(text).filter(|bytes| !bytes.is_empty()), None);
        }
    }
}
