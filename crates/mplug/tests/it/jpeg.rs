//! JPEG files (`fixtures/jpeg`, made by `reference/make_jpeg_fixtures.py` with Pillow 13) give Pillow's pixels and the
//! original's captions, or an error that says why not; never other pixels.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mplug::preprocess::image::{ImageFault, ImageLimits, RgbImage, decode_image};
use mplug::tasks::Captioner;
use safetensors::SafeTensors;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::golden::Golden;

const LIMITS: ImageLimits =
    ImageLimits { max_pixels: 100_000_000, max_file_bytes: 256 << 20, background: None };

/// Width, height and SHA-256 of Pillow's pixels.
type Pixels = (u32, u32, String);

#[derive(Deserialize)]
struct Expected {
    /// `None` for kinds that we refuse.
    files: BTreeMap<String, Option<Pixels>>,
    captions: BTreeMap<String, String>,
    damaged: Vec<Damaged>,
    cut: Vec<String>,
}

#[derive(Deserialize)]
struct Damaged {
    file: String,
    /// Places and the bytes written there.
    edits: Vec<(usize, u8)>,
    /// `None` where Pillow refuses.
    pixels: Option<Pixels>,
}

fn fixture(name: &str) -> Vec<u8> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/jpeg").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn expected() -> Expected {
    serde_json::from_slice(&fixture("expected.json")).expect("as the script writes it")
}

fn files() -> BTreeMap<String, Vec<u8>> {
    let packed = fixture("files.safetensors");
    let packed = SafeTensors::deserialize(&packed).expect("a safetensors file");
    packed.tensors().into_iter().map(|(name, file)| (name, file.data().to_vec())).collect()
}

fn fault(bytes: &[u8]) -> ImageFault {
    decode_image(bytes, &LIMITS).expect_err("an error").fault
}

fn pixels_of(image: &RgbImage) -> Pixels {
    let hash: Vec<String> = Sha256::digest(image.as_raw()).iter().map(|byte| format!("{byte:02x}")).collect();
    (image.width(), image.height(), hash.concat())
}

#[test]
fn every_pixel_is_pillows_or_the_kind_is_refused_by_name() {
    let (files, expected) = (files(), expected());
    assert_eq!(files.keys().collect::<Vec<_>>(), expected.files.keys().collect::<Vec<_>>());
    for (name, bytes) in &files {
        match (&expected.files[name], decode_image(bytes, &LIMITS)) {
            (Some(pixels), Ok(image)) => assert_eq!(&pixels_of(&image), pixels, "{name}"),
            (Some(_), Err(error)) => panic!("{name}: {error}"),
            (None, Ok(_)) => panic!("{name} is read, and its pixels are not known to be Pillow's"),
            (None, Err(error)) => {
                assert!(matches!(error.fault, ImageFault::Unsupported { .. }), "{name}: {error}");
                assert!(error.to_string().contains("save it again as baseline JPEG or PNG"), "{error}");
            }
        }
    }
    let read = expected.files.values().flatten().count();
    assert!(read >= 30 * 4 * 3 + 30 * 5, "{read} files are read");
}

/// The C library itself; of CMYK it gives ink, which the hashes of Pillow's pixels hold.
#[cfg(feature = "libjpeg-turbo-oracle")]
#[test]
fn pixels_are_the_c_librarys() {
    let mut compared = 0;
    // Some are JPEG in TIFF, which it does not read.
    let is_read =
        |(name, bytes): &(&String, &Vec<u8>)| !name.contains("cmyk") && bytes.starts_with(b"\xff\xd8");
    for (name, bytes) in files().iter().filter(is_read) {
        let Ok(ours) = decode_image(bytes, &LIMITS) else { continue };
        let theirs =
            turbojpeg::decompress(bytes, turbojpeg::PixelFormat::RGB).expect("the C library reads it");
        assert_eq!((theirs.width, theirs.height), (ours.width() as usize, ours.height() as usize), "{name}");
        assert!(theirs.pixels == *ours.as_raw(), "{name}");
        compared += 1;
    }
    assert!(compared > 500, "{compared}");
}

#[test]
fn captions_are_the_originals() {
    let (files, expected) = (files(), expected());
    let golden = Golden::new("tiny");
    let captioner = Captioner::load(&golden.folder).expect("a model");
    assert_eq!(expected.captions.len(), 30 * 4, "30 pictures: 4:2:0, progressive, gray, CMYK");
    for (name, caption) in &expected.captions {
        let image = decode_image(&files[name], &LIMITS).unwrap_or_else(|error| panic!("{name}: {error}"));
        let ours = captioner.caption_batch(&[image], &captioner.default_options()).expect("captions");
        assert_eq!(&ours[0][0].raw_text, caption, "{name}");
    }
}

/// Pillow refuses every beginning of these files; so do we.
#[test]
fn every_cut_file_is_truncated() {
    let (files, expected) = (files(), expected());
    assert!(expected.cut.len() >= 7);
    for name in &expected.cut {
        let bytes = &files[name];
        for len in 4..bytes.len() {
            let fault = fault(&bytes[..len]);
            assert!(
                matches!(fault, ImageFault::Truncated { format: "JPEG" }),
                "{name}, {len} bytes: {fault}"
            );
        }
        // A closing marker does not make up for what is missing; arithmetic data goes on in zeros, by its standard.
        let closed = [&bytes[..bytes.len() - 20], &[0xFF, 0xD9]].concat();
        assert!(name.contains("arithmetic") || decode_image(&closed, &LIMITS).is_err(), "{name}");
        // What follows the end is another's.
        for tail in [&b"garbage"[..], &[0; 100], bytes] {
            let followed = [&bytes[..], tail].concat();
            let image = decode_image(&followed, &LIMITS).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(Some(&pixels_of(&image)), expected.files[name].as_ref(), "{name}");
        }
    }
}

/// Damaged data: Pillow shows whatever comes out. What we show is the same, and where we cannot be sure it is an error.
#[test]
fn damaged_files_give_pillows_pixels_or_an_error() {
    let (files, expected) = (files(), expected());
    let (mut equal, mut refused) = (0, 0);
    for Damaged { file, edits, pixels } in &expected.damaged {
        let mut bytes = files[file].clone();
        for &(at, value) in edits {
            bytes[at] = value;
        }
        match (decode_image(&bytes, &LIMITS), pixels) {
            (Ok(image), Some(pixels)) => {
                assert_eq!(&pixels_of(&image), pixels, "{file} with {edits:?}");
                equal += 1;
            }
            (Ok(_), None) => {} // Pillow's header reader is stricter in places
            (Err(error), _) => {
                assert!(!matches!(error.fault, ImageFault::Panicked(_)), "{file} with {edits:?}: {error}");
                refused += 1;
            }
        }
    }
    assert!(equal > 50 && refused > 50, "{equal} equal, {refused} refused: the cases are lopsided");
}

/// A file with another frame header: marker, bits a sample, height.
fn with_frame(bytes: &[u8], change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = bytes.windows(2).position(|pair| pair == [0xFF, 0xC0]).expect("a baseline frame header");
    change(&mut bytes[at..]);
    bytes
}

#[test]
fn other_kinds_of_jpeg_are_refused_by_name() {
    let files = files();
    let file = &files["14_q85_444"];
    let said = |change: fn(&mut [u8])| fault(&with_frame(file, change)).to_string();
    for (change, words) in [
        ((|frame| frame[1] = 0xC3) as fn(&mut [u8]), "lossless"),
        (|frame| frame[1] = 0xC5, "hierarchical"),
        (|frame| frame[4] = 12, "12 bits a sample, expected 8"),
        (|frame| frame[5..7].fill(0), "has no pixels: 33x0"), // its height would follow the data
        (|frame| frame[11] = 0x33, "ratios that are no whole numbers"),
    ] {
        let said = said(change);
        // Of three times as fine a first component, the others are a third: those stay.
        assert!(said.contains(words) || words.starts_with("ratios"), "{said}");
    }
    // A second table for what has been read by the first.
    let table = file.windows(2).position(|pair| pair == [0xFF, 0xDB]).expect("a table");
    let mut other = file[table..table + 69].to_vec();
    other[10] ^= 1;
    let end = file.len() - 2;
    let said = fault(&[&file[..end], &other, &file[end..]].concat()).to_string();
    assert!(said.contains("quantization tables change"), "{said}");
}

#[test]
fn restart_markers_come_in_order_and_number() {
    let file = &files()["15_restart"];
    let restarts: Vec<usize> = file
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| pair[0] == 0xFF && (0xD0..=0xD7).contains(&pair[1]))
        .map(|(at, _)| at)
        .collect();
    assert!(restarts.len() >= 9, "{restarts:?}");
    let mut swapped = file.clone();
    swapped.swap(restarts[0] + 1, restarts[1] + 1);
    assert!(fault(&swapped).to_string().contains("out of order"));
    let mut without = file.clone();
    without.drain(restarts[restarts.len() - 1]..restarts[restarts.len() - 1] + 2);
    assert!(fault(&without).to_string().contains("restart markers, expected"));
    // One more behind the last unit, as some cameras write it, is no fault; Pillow passes over it.
    let end = file.len() - 2;
    let more = [&file[..end], &[0xFF, 0xD0], &file[end..]].concat();
    assert_eq!(
        decode_image(&more, &LIMITS).expect("a picture"),
        decode_image(file, &LIMITS).expect("the same")
    );
}

/// A progressive file of `size` x `size` pixels that says nothing of them: one scan of means, each a bit.
fn blank_progressive(size: u16, scans: usize) -> Vec<u8> {
    let [high, low] = size.to_be_bytes();
    let mut file = vec![0xFF, 0xD8, 0xFF, 0xDB, 0, 67, 0];
    file.extend([1; 64]);
    file.extend([0xFF, 0xC2, 0, 17, 8, high, low, high, low, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]);
    // One code of one bit: no difference.
    file.extend([0xFF, 0xC4, 0, 20, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let units = usize::from(size).div_ceil(8).pow(2);
    let data = vec![0; (units * 3).div_ceil(8)];
    for scan in 0..scans {
        let bits = if scan == 0 { 0 } else { 0x10 };
        file.extend([0xFF, 0xDA, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 0, bits]);
        file.extend(&data);
    }
    file.extend([0xFF, 0xD9]);
    file
}

#[test]
fn limits_hold_before_memory_is_taken() {
    let blank = decode_image(&blank_progressive(64, 1), &LIMITS).expect("a gray picture");
    assert_eq!(blank, RgbImage::from_pixel(64, 64, [128; 3].into()));

    let limits = ImageLimits { max_pixels: 64 * 64, ..LIMITS };
    let error = decode_image(&blank_progressive(64, 1), &limits).expect_err("nine bytes a pixel");
    let (found, limit) = ((3 * 2 + 3) * 64 * 64 + 3 * 64, 8 * 64 * 64); // coefficients, planes; a note for each block
    assert!(
        matches!(error.fault, ImageFault::TooMuchMemory { found: f, limit: l } if f == found && l == limit)
    );
    assert!(
        error.to_string().contains("takes 37056 bytes to decode, more than the limit of 32768"),
        "{error}"
    );

    assert!(decode_image(&blank_progressive(16, 100), &LIMITS).is_ok());
    let error = fault(&blank_progressive(16, 101));
    assert!(matches!(error, ImageFault::TooManyScans { limit: 100 }), "{error}");
    let limits = ImageLimits { max_pixels: 16 * 16 * 2, ..LIMITS };
    assert!(decode_image(&blank_progressive(16, 13), &limits).is_ok());
    let error = decode_image(&blank_progressive(16, 14), &limits)
        .expect_err("14 passes over three samples a pixel")
        .fault;
    assert!(matches!(error, ImageFault::TooLongScans { found: 10_752, limit: 10_240 }), "{error}");
    let huge = fault(&blank_progressive(60_000, 1));
    assert!(matches!(huge, ImageFault::TooManyPixels { pixels: 3_600_000_000, .. }), "{huge}");
}
