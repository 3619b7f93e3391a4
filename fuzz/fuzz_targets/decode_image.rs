//! Whatever the bytes, decoding a picture returns: no memory fault, and no panic but one that is caught and is an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mplug::preprocess::image::{ImageLimits, decode_image};

const LIMITS: ImageLimits = ImageLimits { max_pixels: 256 * 256, max_file_bytes: 1 << 16, background: None };

fuzz_target!(|bytes: &[u8]| {
    if let Ok(image) = decode_image(bytes, &LIMITS) {
        let pixels = u64::from(image.width()) * u64::from(image.height());
        assert!(pixels <= LIMITS.max_pixels && image.as_raw().len() as u64 == pixels * 3);
    }
});
