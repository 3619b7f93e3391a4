//! WebP: what its container says of how the picture lies.
//!
//! Source: the WebP container specification, read as libwebp's demuxer reads it: the chunks `EXIF` and `XMP ` count where the
//! flags of `VP8X` announce them, and of several the first.
//!
//! Refuses to know pixels.

use ::image::metadata::Orientation;

use super::orientation;

const HAS_EXIF: u8 = 8;
const HAS_XMP: u8 = 4;

/// The orientation of a file that begins as WebP files do.
pub(super) fn orientation(bytes: &[u8]) -> Orientation {
    let len =
        bytes.get(4..8).and_then(<[u8]>::first_chunk).map_or(0, |len| u32::from_le_bytes(*len) as usize);
    let end = len.saturating_add(8).min(bytes.len());
    let mut rest = bytes.get(12..end).unwrap_or_default();
    let (mut flags, mut exif, mut xmp) = (0, None, None);
    let mut is_first = true;
    while let Some((kind, data)) = next_chunk(&mut rest) {
        match kind {
            b"VP8X" if is_first => flags = data.first().copied().unwrap_or_default(),
            b"EXIF" if flags & HAS_EXIF != 0 => exif = exif.or(Some(data)),
            b"XMP " if flags & HAS_XMP != 0 => xmp = xmp.or(Some(data)),
            _ => {}
        }
        is_first = false;
    }
    orientation::of_metadata(exif, xmp)
}

/// A chunk's name and data; `rest` begins behind it afterwards. One that is cut short is none.
fn next_chunk<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (kind, after) = rest.split_at_checked(4)?;
    let (len, after) = after.split_first_chunk::<4>()?;
    let len = u32::from_le_bytes(*len) as usize;
    let data = after.get(..len)?;
    *rest = after.get(len + len % 2..).unwrap_or_default();
    Some((kind, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(flags: u8, chunks: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut body = [b"WEBPVP8X\x0A\0\0\0".as_slice(), &[flags], &[0; 9]].concat();
        for (kind, data) in chunks {
            body.extend([*kind, &(data.len() as u32).to_le_bytes(), *data, &[0][..data.len() % 2]].concat());
        }
        [b"RIFF".as_slice(), &(body.len() as u32).to_le_bytes(), &body].concat()
    }

    #[test]
    fn announced_chunks_say_how_it_lies() {
        let turned = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0";
        let upright = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x01\0\0\0";
        let xmp = br#"<x tiff:Orientation="6"/>"#;
        let chunks: [(&[u8], &[u8]); 2] = [(b"EXIF", turned), (b"EXIF", upright)];
        assert_eq!(orientation(&file(HAS_EXIF, &chunks)), Orientation::Rotate90);
        assert_eq!(orientation(&file(0, &chunks)), Orientation::NoTransforms);
        assert_eq!(orientation(&file(HAS_XMP, &[(b"XMP ", xmp)])), Orientation::Rotate90);
        let both: [(&[u8], &[u8]); 2] = [(b"XMP ", xmp), (b"EXIF", upright)];
        assert_eq!(orientation(&file(HAS_EXIF | HAS_XMP, &both)), Orientation::NoTransforms);
        assert_eq!(orientation(b"RIFF"), Orientation::NoTransforms);
    }
}
