//! Pictures through the captioner, batch by batch: opened ahead of it, and each different file captioned once.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use mplug::generate::GenerationOptions;
use mplug::preprocess::image::RgbImage;
use mplug::tasks::{Caption, Captioner, Captions};
use mplug_data::batches::each_batch;
use mplug_data::picture::{Failure, PictureLoader, Remedy};
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::error::BulkError;
use crate::inputs::Input;

/// The captions of a picture, best first, or the reason why there are none.
pub(crate) type Answer = Result<Arc<Vec<Caption>>, Failure>;

/// What identifies a file's bytes: the first half of their SHA-256.
pub(crate) type Digest = [u8; 16];

/// Why a picture has no caption though it was opened.
const NO_CAPTION: &str = "no caption with every required word was found";

/// Different files that are remembered: a few hundred bytes each. Beyond them a file that comes again is captioned again.
const MOST_REMEMBERED: usize = 1 << 20;

/// The captions of files seen before.
#[derive(Default)]
pub(crate) struct KnownCaptions {
    known: RwLock<HashMap<Digest, Arc<Vec<Caption>>>>,
}

impl KnownCaptions {
    fn find(&self, digest: &Digest) -> Option<Arc<Vec<Caption>>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    /// Remembers the captions of a file.
    pub(crate) fn add(&self, digest: Digest, captions: &Arc<Vec<Caption>>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MOST_REMEMBERED {
            known.entry(digest).or_insert_with(|| Arc::clone(captions));
        }
    }
}

/// A picture on its way to the captioner.
pub(crate) enum Opened {
    /// It has no pixels.
    Failed(Failure),
    /// Its file was captioned before.
    Known(Digest, Arc<Vec<Caption>>),
    /// It is to be captioned.
    Picture(Digest, RgbImage),
}

/// The answer to a picture, and which file it is.
pub(crate) struct Answered {
    pub(crate) digest: Option<Digest>,
    pub(crate) answer: Answer,
}

/// Opens and captions pictures.
pub(crate) struct Pipeline<'a> {
    pub(crate) captioner: &'a Captioner,
    pub(crate) options: &'a GenerationOptions,
    pub(crate) loader: &'a PictureLoader,
    pub(crate) known: &'a KnownCaptions,
}

impl Pipeline<'_> {
    /// Captions the inputs `indices` in batches and hands each batch's answers to `done`, in order, until it breaks. While one
    /// batch is captioned, the pictures of the next are opened beside it. Returns for how long the model had pictures.
    pub(crate) fn run(
        &self,
        inputs: &[Input],
        indices: &[usize],
        batch_size: usize,
        done: impl FnMut(&[usize], Vec<Answered>) -> Result<ControlFlow<()>, BulkError>,
    ) -> Result<Duration, BulkError> {
        let open = |batch: &[usize]| -> Vec<Opened> {
            let opened = batch.par_iter().map(|&index| self.open(&inputs[index]));
            opened.map(|opened| opened.unwrap_or_else(Opened::Failed)).collect()
        };
        each_batch(indices, batch_size, open, |_, opened| self.answer(opened), done)
    }

    fn open(&self, input: &Input) -> Result<Opened, Failure> {
        let bytes = self.loader.read(input.source.as_ref().map_err(Clone::clone)?)?;
        let digest = digest_of(&bytes);
        if let Some(captions) = self.known.find(&digest) {
            return Ok(Opened::Known(digest, captions));
        }
        Ok(Opened::Picture(digest, self.loader.decode(&bytes)?))
    }

    fn answer(&self, opened: Vec<Opened>) -> Result<Vec<Answered>, BulkError> {
        let mut images = Vec::new();
        // The index of each different file of this batch among the images.
        let mut indices: HashMap<Digest, usize> = HashMap::new();
        let mut pending = Vec::with_capacity(opened.len());
        for picture in opened {
            pending.push(match picture {
                Opened::Failed(failure) => (None, Err(Err(failure))),
                Opened::Known(digest, captions) => (Some(digest), Err(Ok(captions))),
                // The batch before may have captioned it since it was opened.
                Opened::Picture(digest, image) => {
                    if let Some(captions) = self.known.find(&digest) {
                        (Some(digest), Err(Ok(captions)))
                    } else {
                        let index = *indices.entry(digest).or_insert(images.len());
                        if index == images.len() {
                            images.push(image);
                        }
                        (Some(digest), Ok(index))
                    }
                }
            });
        }
        let captions = if images.is_empty() {
            Vec::new()
        } else {
            self.captioner.caption_each(&images, self.options)?
        };
        let written = |captions: Captions| match captions {
            Ok(captions) if captions.is_empty() => {
                Err(Failure::lasting(NO_CAPTION).with_remedy(Remedy::WiderSearch))
            }
            Ok(captions) => Ok(Arc::new(captions)),
            Err(reason) => Err(Failure::lasting(reason.to_string())),
        };
        let captions: Vec<Answer> = captions.into_iter().map(written).collect();
        for (digest, index) in indices {
            if let Ok(captions) = &captions[index] {
                self.known.add(digest, captions);
            }
        }
        let answered = |(digest, found): (Option<Digest>, Result<usize, Answer>)| Answered {
            digest,
            answer: found.map_or_else(|answer| answer, |index| captions[index].clone()),
        };
        Ok(pending.into_iter().map(answered).collect())
    }
}

fn digest_of(bytes: &[u8]) -> Digest {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    let [first, ..] = hash.as_chunks::<16>().0 else { unreachable!("32 bytes are two halves") };
    *first
}
