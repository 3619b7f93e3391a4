//! How a picture lies: the orientation that EXIF says, or XMP where EXIF says none.
//!
//! Source: Pillow's `ImageOps.exif_transpose`, which the original calls. EXIF may say it as any type of number, not as bytes; what
//! EXIF says counts before XMP, even where it is no orientation. What cannot be read turns nothing.
//!
//! Refuses to know where a format keeps its EXIF and XMP.

use ::image::metadata::Orientation;

use super::ifd::{BYTE, Directory, UNDEFINED};

const ORIENTATION: u16 = 274;
/// XMP in a TIFF file.
const XMP: u16 = 700;
const EXIF_SIGNATURE: &[u8] = b"Exif\0\0";

/// The orientation by a file's EXIF block (with or without its signature) and its XMP.
pub(super) fn of_metadata(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Orientation {
    let Some(mut block) = exif else { return of_xmp(xmp) };
    for _ in 0..2 {
        block = block.strip_prefix(EXIF_SIGNATURE).unwrap_or(block);
    }
    if block.is_empty() {
        return of_xmp(xmp);
    }
    match Directory::read(block) {
        Some(directory) => of_directory(&directory).unwrap_or_else(|| of_xmp(xmp)),
        None => Orientation::NoTransforms,
    }
}

/// The orientation of a TIFF file.
pub(super) fn of_tiff(directory: &Directory<'_>) -> Orientation {
    let xmp = directory.raw(XMP).filter(|(kind, _)| matches!(*kind, BYTE | UNDEFINED));
    of_directory(directory).unwrap_or_else(|| of_xmp(xmp.map(|(_, bytes)| bytes)))
}

/// What a directory says, if it says anything.
fn of_directory(directory: &Directory<'_>) -> Option<Orientation> {
    directory.has(ORIENTATION).then(|| {
        let value = directory.real(ORIENTATION).unwrap_or(1.0);
        let is_whole = value.fract() == 0.0 && (1.0..=8.0).contains(&value);
        is_whole.then(|| Orientation::from_exif(value as u8)).flatten().unwrap_or(Orientation::NoTransforms)
    })
}

/// The first `tiff:Orientation="6` or `tiff:Orientation>6` of the text.
fn of_xmp(xmp: Option<&[u8]>) -> Orientation {
    const NAME: &[u8] = b"tiff:Orientation";
    let xmp = xmp.unwrap_or_default();
    let digit = |at: usize| {
        let rest = xmp[at..].strip_prefix(NAME)?;
        let value = rest.strip_prefix(b"=\"").or_else(|| rest.strip_prefix(b">"))?;
        value.first().filter(|byte| byte.is_ascii_digit()).map(|byte| byte - b'0')
    };
    let found = (0..xmp.len()).filter(|&at| xmp[at] == NAME[0]).find_map(digit);
    found.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An EXIF block that says `value` in a field of that type.
    fn exif(kind: u8, value: [u8; 4]) -> Vec<u8> {
        let head = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01";
        [head.as_slice(), &[kind, 0, 1, 0, 0, 0], &value].concat()
    }

    #[test]
    fn case_05_every_type_of_number_says_it_and_bytes_do_not() {
        // Pillow 13 of a JPEG with each
        for kind in [3, 4, 6, 8, 9, 13] {
            assert_eq!(of_metadata(Some(&exif(kind, [6, 0, 0, 0])), None), Orientation::Rotate90, "{kind}");
        }
        assert_eq!(of_metadata(Some(&exif(11, 6f32.to_le_bytes())), None), Orientation::Rotate90);
        for kind in [1, 2, 7] {
            assert_eq!(of_metadata(Some(&exif(kind, [6, 0, 0, 0])), None), Orientation::NoTransforms);
        }
        assert_eq!(of_metadata(Some(&exif(11, 6.5f32.to_le_bytes())), None), Orientation::NoTransforms);
    }

    #[test]
    fn xmp_counts_where_exif_says_nothing() {
        let xmp = br#"<x tiff:Orientation="a" tiff:Orientation="6"/><tiff:Orientation>1<"#;
        assert_eq!(of_metadata(None, Some(xmp)), Orientation::Rotate90);
        assert_eq!(of_metadata(None, Some(b"<tiff:Orientation>6</tiff:Orientation>")), Orientation::Rotate90);
        assert_eq!(of_metadata(Some(b"Exif\0\0"), Some(xmp)), Orientation::Rotate90);
        let silent = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x0F\x01\x02\0\x04\0\0\0abc\0";
        assert_eq!(of_metadata(Some(silent), Some(xmp)), Orientation::Rotate90);
        // EXIF says 1, or 6 as a byte: XMP is not read. A block that is no EXIF: nothing is.
        for block in [exif(3, [1, 0, 0, 0]), exif(1, [6, 0, 0, 0]), b"Exif\0\0junkjunk".to_vec()] {
            assert_eq!(of_metadata(Some(&block), Some(xmp)), Orientation::NoTransforms);
        }
    }
}
