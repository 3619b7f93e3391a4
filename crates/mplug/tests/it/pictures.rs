//! Pictures of every kind (`fixtures/pictures`, made by `reference/check_pictures.py` with Pillow 13) give Pillow's pixels, upright, or
//! an error that names what they are. The names of some begin with the number of the report that they stand for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mplug::preprocess::image::{Background, ImageFault, ImageLimits, RgbImage, decode_image};
use proptest::prelude::*;
use safetensors::SafeTensors;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Width, height and SHA-256 of Pillow's pixels.
type Pixels = (u32, u32, String);

#[derive(Deserialize)]
struct Expected {
    /// `None` for kinds that are refused.
    files: BTreeMap<String, Option<Pixels>>,
}

fn fixture(name: &str) -> Vec<u8> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/pictures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn files() -> BTreeMap<String, Vec<u8>> {
    let packed = fixture("files.safetensors");
    let packed = SafeTensors::deserialize(&packed).expect("a safetensors file");
    packed.tensors().into_iter().map(|(name, file)| (name, file.data().to_vec())).collect()
}

fn pixels_of(image: &RgbImage) -> Pixels {
    let hash: Vec<String> = Sha256::digest(image.as_raw()).iter().map(|byte| format!("{byte:02x}")).collect();
    (image.width(), image.height(), hash.concat())
}

fn decode(name: &str) -> RgbImage {
    decode_image(&files()[name], &ImageLimits::default()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn fault(name: &str) -> ImageFault {
    decode_image(&files()[name], &ImageLimits::default()).expect_err(name).fault
}

#[test]
fn every_pixel_is_pillows_or_the_kind_is_refused_by_name() {
    let expected: Expected =
        serde_json::from_slice(&fixture("expected.json")).expect("as the script writes it");
    let files = files();
    assert_eq!(files.keys().collect::<Vec<_>>(), expected.files.keys().collect::<Vec<_>>());
    let mut wrong = Vec::new();
    for (name, bytes) in &files {
        match (&expected.files[name], decode_image(bytes, &ImageLimits::default())) {
            (Some(pixels), Ok(image)) if &pixels_of(&image) == pixels => {}
            (Some(_), Ok(_)) => wrong.push(format!("{name}: other pixels")),
            (None, Ok(_)) => {
                wrong.push(format!("{name} is read, and its pixels are not known to be Pillow's"));
            }
            (Some(_), Err(error)) => wrong.push(format!("{name}: {error}")),
            (None, Err(error)) => {
                let fault = error.fault;
                let is_named = match fault {
                    ImageFault::Unsupported { .. } | ImageFault::OtherFormat { .. } => {
                        fault.to_string().contains("for example: ")
                    }
                    _ => matches!(fault, ImageFault::NotAPicture(_)),
                };
                if !is_named {
                    wrong.push(format!("{name}: {fault}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(expected.files.values().flatten().count() > 150);
}

#[test]
fn case_03_orientation_of_a_png_counts_wherever_it_stands() {
    let turned = ::image::imageops::rotate180(&decode("03_upright.png"));
    for place in ["exif_behind_the_data", "raw_profile", "raw_profile_behind_the_data", "xmp"] {
        assert_eq!(decode(&format!("03_{place}.png")), turned, "{place}");
    }
}

#[test]
fn case_05_exif_of_type_long_and_the_first_of_two_blocks_count() {
    let upright = decode("05_upright.jpg");
    let half = ::image::imageops::rotate180(&upright);
    let quarter = ::image::imageops::rotate90(&upright);
    assert_eq!([decode("05_exif_long.jpg"), decode("05_exif_long_le.jpg")], [half.clone(), half.clone()]);
    assert_eq!([decode("05_two_exif_6_3.jpg"), decode("05_two_exif_3_6.jpg")], [quarter.clone(), half]);
    for kind in [6, 8, 9, 11, 13] {
        assert_eq!(decode(&format!("05_exif_type_{kind}.jpg")), quarter, "type {kind}");
    }
    assert_eq!(decode("05_exif_type_1.jpg"), upright, "bytes are no number to Pillow");
}

#[test]
fn case_24_kinds_of_tiff_are_read_or_named() {
    // That their pixels are Pillow's holds the test of all.
    let kinds = ["bigtiff", "palette", "ycbcr", "float", "int32", "cmyk", "group3", "group4", "tiff_ccitt"];
    for kind in kinds {
        decode(&format!("24_{kind}.tif"));
    }
    let error = fault("24_lab.tif").to_string();
    assert!(
        error.contains("its colours are CIE L*a*b*") && error.contains("magick FILE FILE.png"),
        "{error}"
    );
}

#[test]
fn case_25_avif_is_named_under_any_name_and_ppm_tga_and_ico_are_read() {
    let error = fault("25_avif_called.jpg").to_string();
    assert!(
        error.starts_with("is AVIF, which is not read") && error.contains("avifdec FILE FILE.png"),
        "{error}"
    );
    assert!(fault("25_jpeg_2000.jp2").to_string().starts_with("is JPEG 2000"));
    assert_eq!(decode("25_picture.ppm"), decode("25_picture.tga"));
    assert_eq!(decode("25_picture.ico").dimensions(), (16, 16));
}

#[test]
fn case_27_gray_of_12_bits_in_16_is_seen() {
    let levels: Vec<u8> = decode("27_gray_12_in_16.png").pixels().map(|pixel| pixel.0[0]).collect();
    assert_eq!((levels[0], levels[59]), (0, 255));
    assert!(levels.is_sorted() && levels[29] > 120 && levels[30] < 136, "{levels:?}");
}

#[test]
fn case_33_around_a_small_first_picture_is_the_first_colour_of_the_palette() {
    let bytes = &files()["33_offset.gif"];
    let image = decode("33_offset.gif");
    let first: [u8; 3] = bytes[13..16].try_into().unwrap();
    assert_eq!(image.get_pixel(0, 0).0, first);
    assert_eq!(image.get_pixel(image.width() - 1, image.height() - 1).0, first);
    assert_ne!(first, [0; 3], "black would show nothing");
}

#[test]
fn case_39_a_background_is_seen_through_transparent_pixels() {
    let background = Some("white".parse::<Background>().unwrap());
    let limits = ImageLimits { background, ..ImageLimits::default() };
    let over_white = |name: &str| decode_image(&files()[name], &limits).unwrap().into_raw();
    let black_hidden = decode("39_black_on_transparent.png").into_raw();
    assert_eq!(black_hidden, [0; 9], "alpha is dropped by default, as in the original");
    assert_eq!(over_white("39_black_on_transparent.png"), [255, 255, 255, 0, 0, 0, 155, 155, 155]);
    let gif = over_white("39_black_on_transparent.gif");
    assert_eq!((&gif[..3], &gif[6..]), (&[255; 3][..], &[255; 3][..]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    /// Whatever the damage to whatever kind, a call returns, and a picture that comes back keeps to the limits.
    #[test]
    fn damaged_pictures_of_every_kind_never_panic(
        which: prop::sample::Index,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        in_header: bool,
        kept in 0.5f64..1.5,
    ) {
        let limits = ImageLimits { max_pixels: 100_000, max_file_bytes: 1 << 20, background: None };
        let files: Vec<Vec<u8>> = files().into_values().collect();
        let mut bytes = which.get(&files).clone();
        let reach = if in_header { bytes.len().min(200) } else { bytes.len() };
        for (at, value) in damage {
            bytes[at.index(reach)] = value;
        }
        bytes.truncate((bytes.len() as f64 * kept) as usize);
        match decode_image(&bytes, &limits) {
            Ok(image) => prop_assert!(u64::from(image.width()) * u64::from(image.height()) <= limits.max_pixels),
            Err(error) => prop_assert!(!matches!(error.fault, ImageFault::Panicked(_)), "{error}"),
        }
    }
}
