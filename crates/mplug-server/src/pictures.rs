//! From what a client sent to pixels: base64, web addresses where they are allowed, decoding. On threads of their own, no more than
//! the models have, so that pictures that take long to decode hold up nothing but each other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use mplug::RgbImage;
use mplug::preprocess::image::{ImageError, ImageFault, ImageLimits, decode_image, resize_bicubic};
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use tokio::sync::oneshot;

use crate::error::{ApiError, Code};
use crate::fetch::{Fetched, Fetcher};

/// Base64 as clients write it, with its padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A picture as a client sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// An encoded picture.
    Bytes(Vec<u8>),
    /// A web address.
    Address(String),
}

impl Sent {
    /// Reads what JSON holds: base64, a `data:` URL, or a web address.
    ///
    /// # Errors
    /// If it is none of these.
    pub(crate) fn from_text(text: &str) -> Result<Self, ApiError> {
        let is =
            |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        if is("http://") || is("https://") {
            return Ok(Self::Address(text.to_owned()));
        }
        if is("data:") {
            let (head, data) = text.split_once(',').unwrap_or((text, ""));
            if !head.to_ascii_lowercase().ends_with(";base64") {
                return Err(unreadable("expected a data URL in base64, found another one"));
            }
            return Self::from_base64(data);
        }
        Self::from_base64(text)
    }

    fn from_base64(text: &str) -> Result<Self, ApiError> {
        // Line breaks are common in what programs of mail and shells write.
        let plain: String;
        let text = if text.contains(char::is_whitespace) {
            plain = text.split_whitespace().collect();
            &plain
        } else {
            text
        };
        let bytes = BASE64.decode(text);
        let expected = "expected a picture in base64, a data URL or a web address";
        bytes
            .map(Self::Bytes)
            .map_err(|error| unreadable(format!("{expected}, found text that is none: {error}")))
    }
}

/// A picture that was decoded, at each of the sizes that models read.
pub(crate) struct Opened {
    sizes: Vec<Arc<RgbImage>>,
    /// From the bytes to the pixels.
    pub(crate) time: Duration,
}

impl Opened {
    /// The picture as a square of `size` pixels a side.
    ///
    /// # Panics
    /// If it was not opened for that size.
    pub(crate) fn of_size(&self, size: u32) -> Arc<RgbImage> {
        let found = self.sizes.iter().find(|image| image.width() == size);
        Arc::clone(found.expect("a picture is opened for the sizes of all models that read it"))
    }
}

/// Opens pictures.
pub(crate) struct Opener {
    pool: ThreadPool,
    limits: ImageLimits,
    fetcher: Fetcher,
}

impl Opener {
    /// An opener of `threads` threads.
    ///
    /// # Errors
    /// If the system has no threads left.
    pub(crate) fn new(
        threads: usize,
        limits: ImageLimits,
        fetcher: Fetcher,
    ) -> Result<Self, ThreadPoolBuildError> {
        let name = |index| format!("pictures-{index}");
        let pool = ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build()?;
        Ok(Self { pool, limits, fetcher })
    }

    /// The bytes of a picture.
    ///
    /// # Errors
    /// If it cannot be fetched.
    pub(crate) async fn bytes(&self, sent: Sent) -> Result<Fetched, ApiError> {
        match sent {
            Sent::Bytes(bytes) => Ok(Fetched { bytes, place: None }),
            Sent::Address(address) => self.fetcher.fetch(address, self.limits.max_file_bytes).await,
        }
    }

    /// Opens a picture at each of `sizes`, in pixels a side.
    ///
    /// # Errors
    /// If it cannot be decoded.
    pub(crate) async fn open(&self, bytes: Vec<u8>, sizes: &[u32]) -> Result<Opened, ApiError> {
        let (reply, opened) = oneshot::channel();
        let (limits, sizes) = (self.limits, sizes.to_vec());
        self.pool.spawn(move || {
            // Who hung up meanwhile needs no picture.
            if !reply.is_closed() {
                let _ = reply.send(decode(&bytes, &limits, &sizes));
            }
        });
        opened.await.map_err(|_| ApiError::new(Code::Internal, "the picture's thread has ended"))?
    }
}

fn decode(bytes: &[u8], limits: &ImageLimits, sizes: &[u32]) -> Result<Opened, ApiError> {
    let begun = Instant::now();
    let image = decode_image(bytes, limits).map_err(|error| of_image(&error))?;
    let sizes = sizes.iter().map(|&size| Arc::new(resize_bicubic(&image, size, size))).collect();
    Ok(Opened { sizes, time: begun.elapsed() })
}

fn of_image(error: &ImageError) -> ApiError {
    let code = match &error.fault {
        ImageFault::TooManyBytes { .. }
        | ImageFault::TooManyPixels { .. }
        | ImageFault::TooManyDecodedBytes { .. }
        | ImageFault::TooMuchMemory { .. } => Code::TooLarge,
        ImageFault::OtherFormat { .. } => Code::UnsupportedMediaType,
        _ => Code::UnreadablePicture,
    };
    ApiError::new(code, error.to_string())
}

fn unreadable(message: impl Into<String>) -> ApiError {
    ApiError::new(Code::UnreadablePicture, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_in_text_are_read() {
        let bytes = |text: &str| match Sent::from_text(text) {
            Ok(Sent::Bytes(bytes)) => Some(bytes),
            _ => None,
        };
        for good in
            ["aGVsbG8=", "aGVsbG8", "aGVs\nbG8=\n", "data:image/png;base64,aGVsbG8=", "DATA:;BASE64,aGVsbG8"]
        {
            assert_eq!(bytes(good).as_deref(), Some(&b"hello"[..]), "{good}");
        }
        for bad in ["data:image/png,hello", "data:", "aGVs*bG8=", "file:///etc/passwd", "a"] {
            let error = Sent::from_text(bad).unwrap_err();
            assert!(error.message.starts_with("expected "), "{bad}: {}", error.message);
        }
        assert_eq!(Sent::from_text("HTTPS://a/b"), Ok(Sent::Address("HTTPS://a/b".to_owned())));
    }

    #[test]
    fn faults_have_their_codes() {
        let error = |bytes: &[u8]| match decode(bytes, &ImageLimits::default(), &[8]) {
            Ok(_) => panic!("opened"),
            Err(error) => error,
        };
        assert_eq!(error(b"").message, "picture: is empty (0 bytes)");
        assert_eq!(error(b"hello").code, Code::UnreadablePicture);
        assert_eq!(error(b"\0\0\0\x18ftypheic\0\0\0\0").code, Code::UnsupportedMediaType);
    }
}
