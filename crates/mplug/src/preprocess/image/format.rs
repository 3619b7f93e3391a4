//! Which format a file has, by its first bytes; its name says nothing. Formats that are not read are known by name, with a command
//! that converts them.
//!
//! Refuses to know how any of them is decoded.

use super::ImageFault;

/// The formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Png,
    Jpeg,
    WebP,
    Gif,
    Bmp,
    Tiff,
    Pnm,
    Tga,
    Ico,
}

impl Format {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::WebP => "WebP",
            Self::Gif => "GIF",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
            Self::Pnm => "PNM",
            Self::Tga => "TGA",
            Self::Ico => "ICO",
        }
    }
}

/// The formats that are read, by what their files begin with.
const READ: [(&[u8], Format); 11] = [
    (b"\x89PNG\r\n\x1a\n", Format::Png),
    (b"\xFF\xD8\xFF", Format::Jpeg),
    (b"GIF89a", Format::Gif),
    (b"GIF87a", Format::Gif),
    (b"II*\0", Format::Tiff),
    (b"MM\0*", Format::Tiff),
    (b"II+\0", Format::Tiff),
    (b"MM\0+", Format::Tiff),
    (b"BM", Format::Bmp),
    (b"\0\0\x01\0", Format::Ico),
    (b"RIFF", Format::WebP), // with "WEBP" behind its length
];

/// Other formats, by what their files begin with.
const NOT_READ: [(&[u8], &str); 21] = [
    (b"\0\0\0\x0CjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xFF\x4F\xFF\x51", "JPEG 2000"),
    (b"\0\0\0\x0CJXL \r\n\x87\n", "JPEG XL"),
    (b"\xFF\x0A", "JPEG XL"),
    (b"8BPS", "Photoshop"),
    (b"\x0A\x05\x01", "PCX"),
    (b"%PDF", "PDF"),
    (b"%!PS", "PostScript"),
    (b"<svg", "SVG"),
    (b"DDS ", "DDS"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"v/1\x01", "OpenEXR"),
    (b"qoif", "QOI"),
    (b"farbfeld", "farbfeld"),
    (b"P7", "PAM"),
    (b"PF", "PFM"),
    (b"Pf", "PFM"),
    (b"\0\0\x02\0\x01\0", "Windows cursor"),
    (b"icns", "ICNS"),
    (b"II\xBC\x01", "JPEG XR"),
    (b"\xD7\xCD\xC6\x9A", "WMF"),
];

/// The format that the first bytes announce.
pub(super) fn sniff(bytes: &[u8]) -> Result<Format, ImageFault> {
    let announces = |signature: &[u8]| bytes.starts_with(signature);
    let is_complete = |format| format != Format::WebP || bytes.get(8..12) == Some(b"WEBP");
    if let Some((_, format)) = READ.iter().find(|(start, format)| announces(start) && is_complete(*format)) {
        return Ok(*format);
    }
    let other = of_boxes(bytes).or_else(|| {
        let is_drawing =
            announces(b"<?xml") && bytes[..bytes.len().min(1024)].windows(4).any(|w| w == b"<svg");
        if is_drawing {
            Some("SVG")
        } else {
            NOT_READ.iter().find(|(start, _)| announces(start)).map(|o| o.1)
        }
    });
    if let Some(format) = other {
        return Err(ImageFault::OtherFormat { format: format.to_owned() });
    }
    if is_pnm(bytes) {
        return Ok(Format::Pnm);
    }
    if is_tga(bytes) {
        return Ok(Format::Tga);
    }
    Err(ImageFault::NotAPicture(format!("\"{}\"", bytes[..bytes.len().min(12)].escape_ascii())))
}

/// The formats that have the box structure of MP4 (ISO/IEC 14496-12), by their brands: phones write them, and the web.
fn of_boxes(bytes: &[u8]) -> Option<&'static str> {
    const MOST_BRANDS: usize = 64;
    if bytes.get(4..8)? != b"ftyp" {
        return None;
    }
    match bytes.get(8..12)? {
        b"avif" | b"avis" => Some("AVIF"),
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" => Some("HEIC"),
        // Any picture: the brands that it is compatible with say which.
        b"mif1" | b"msf1" | b"miaf" => {
            let len = u32::from_be_bytes(*bytes.first_chunk()?) as usize;
            let brands = bytes.get(16..len.min(bytes.len())).unwrap_or_default();
            let mut brands = brands.chunks_exact(4).take(MOST_BRANDS);
            Some(if brands.any(|brand| matches!(brand, b"avif" | b"avis")) { "AVIF" } else { "HEIC" })
        }
        _ => None,
    }
}

/// A kind, white space, and a number or a comment: texts begin with "P" too.
fn is_pnm(bytes: &[u8]) -> bool {
    let [b'P', b'1'..=b'6', space, rest @ ..] = bytes else { return false };
    let next = rest.iter().find(|byte| !byte.is_ascii_whitespace());
    space.is_ascii_whitespace() && next.is_some_and(|byte| byte.is_ascii_digit() || *byte == b'#')
}

/// TGA has no signature: a header whose fields agree with each other.
fn is_tga(bytes: &[u8]) -> bool {
    let Some(header) = bytes.first_chunk::<18>() else { return false };
    let [_, has_map, kind, _, _, _, _, map_bits, .., bits, flags] = *header;
    let is_size = |at: usize| header[at] != 0 || header[at + 1] != 0;
    let agrees = match kind {
        1 | 9 => has_map == 1 && bits == 8 && matches!(map_bits, 15 | 16 | 24 | 32),
        2 | 10 => has_map <= 1 && matches!(bits, 15 | 16 | 24 | 32),
        3 | 11 => has_map <= 1 && matches!(bits, 8 | 16),
        _ => false,
    };
    agrees && is_size(12) && is_size(14) && flags & 0xC0 == 0
}

/// A command that converts a file of that format to PNG.
pub(super) fn conversion(format: &str) -> &'static str {
    match format {
        "AVIF" => "avifdec FILE FILE.png",
        "HEIC" => "heif-convert FILE FILE.png",
        "JPEG 2000" => "opj_decompress -i FILE -o FILE.png",
        "JPEG XL" => "djxl FILE FILE.png",
        "SVG" => "rsvg-convert FILE -o FILE.png",
        "PDF" => "pdftoppm -png FILE FILE",
        "PAM" | "PFM" => "pnmtopng FILE > FILE.png",
        _ => "magick FILE FILE.png",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(bytes: &[u8]) -> String {
        match sniff(bytes) {
            Ok(format) => format.name().to_owned(),
            Err(ImageFault::OtherFormat { format }) => format,
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn case_25_formats_that_are_not_read_are_named_with_a_command() {
        let avif = b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf".as_slice();
        let heic = b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic".as_slice();
        let outside = b"\0\0\0\x10ftypmif1\0\0\0\0avif".as_slice(); // beyond the box
        assert_eq!([avif, heic, outside].map(format), ["AVIF", "HEIC", "HEIC"]);
        assert_eq!(format(b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>"), "SVG");
        assert_eq!(format(b"\0\0\0\x0CjP  \r\n\x87\n\0\0"), "JPEG 2000");
        let error = sniff(avif).unwrap_err().to_string();
        assert!(error.contains("AVIF") && error.contains("avifdec FILE FILE.png"), "{error}");
        assert!(NOT_READ.iter().all(|(_, name)| conversion(name).contains("FILE")));
    }

    #[test]
    fn texts_and_films_are_no_pictures() {
        let texts: [&[u8]; 6] = [
            b"P5 is the fifth of them, and",
            b"Pictures of a text file here",
            b"<?xml version='1.0'?><html/>",
            b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
            b"RIFF\0\0\0\0WAVEfmt \0\0\0\0\0\0\0",
            &[0; 30],
        ];
        for text in texts {
            assert!(matches!(sniff(text), Err(ImageFault::NotAPicture(_))), "{}", text.escape_ascii());
        }
    }
}
