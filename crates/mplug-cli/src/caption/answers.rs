//! Pictures through the captioner, batch by batch: opened ahead of it, and each different file captioned once.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use mplug::{
    generate::GenerationOptions,
    preprocess::image::RgbImage,
    tasks::{Caption, Captioner, Captions},
};
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::{
    inputs::Input,
    pictures::{Failure, PictureLoader},
};

/// The captions of a picture, best first, or the reason why there are none.
pub(super) type Answer = Result<Arc<Vec<Caption>>, Failure>;

/// What tells a file's bytes from others': the first half of their SHA-256.
pub(super) type Digest = [u8; 16];

/// Why a picture has no caption though it was opened.
const NO_PLACE: &str =
    "no caption with every word of `--include` was found: more `--beams` or `--max-new-tokens` may help";

/// Different files that are remembered: a few hundred bytes each. Beyond them a file that comes again is captioned again.
const MOST_REMEMBERED: usize = 1 << 20;

/// The captions of files seen before.
#[derive(Default)]
pub(super) struct Memory {
    known: RwLock<HashMap<Digest, Arc<Vec<Caption>>>>,
}

impl Memory {
    fn find(&self, digest: &Digest) -> Option<Arc<Vec<Caption>>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    /// Remembers the captions of a file.
    pub(super) fn add(&self, digest: Digest, captions: &Arc<Vec<Caption>>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MOST_REMEMBERED {
            known.entry(digest).or_insert_with(|| Arc::clone(captions));
        }
    }
}

/// A picture on its way to the captioner.
pub(super) enum Opened {
    /// It has no pixels.
    Failed(Failure),
    /// Its file was captioned before.
    Known(Digest, Arc<Vec<Caption>>),
    /// It is to be captioned.
    Picture(Digest, RgbImage),
}

/// What a picture got, and which file it is.
pub(super) struct Answered {
    pub(super) digest: Option<Digest>,
    pub(super) answer: Answer,
}

/// Opens and captions pictures.
pub(super) struct Pipeline<'a> {
    pub(super) captioner: &'a Captioner,
    pub(super) options: &'a GenerationOptions,
    pub(super) loader: &'a PictureLoader,
    pub(super) memory: &'a Memory,
}

impl Pipeline<'_> {
    /// Captions the inputs `numbers` in batches and hands each batch's answers to `emit`, in order, until it says stop. While one batch is
    /// captioned, the pictures of the next are opened beside it. Returns for how long the model had pictures.
    pub(super) fn run(
        &self,
        inputs: &[Input],
        numbers: &[usize],
        batch_size: usize,
        mut emit: impl FnMut(&[usize], Vec<Answered>) -> anyhow::Result<bool>,
    ) -> anyhow::Result<Duration> {
        let mut busy = Duration::ZERO;
        let open = |batch: &[usize]| -> Vec<Opened> {
            let opened = batch.par_iter().map(|&number| self.open(&inputs[number]));
            opened.map(|opened| opened.unwrap_or_else(Opened::Failed)).collect()
        };
        let mut batches = numbers.chunks(batch_size);
        let mut next = batches.next().map(|batch| (batch, open(batch)));
        while let Some((batch, opened)) = next {
            let following = batches.next();
            let answer = || {
                let started = Instant::now();
                (self.answer(opened), started.elapsed())
            };
            let ((answers, took), prepared) =
                rayon::join(answer, || following.map(|batch| (batch, open(batch))));
            busy += took;
            if !emit(batch, answers?)? {
                break;
            }
            next = prepared;
        }
        Ok(busy)
    }

    fn open(&self, input: &Input) -> Result<Opened, Failure> {
        let bytes = self.loader.read(input)?;
        let digest = digest_of(&bytes);
        if let Some(captions) = self.memory.find(&digest) {
            return Ok(Opened::Known(digest, captions));
        }
        Ok(Opened::Picture(digest, self.loader.decode(&bytes)?))
    }

    fn answer(&self, opened: Vec<Opened>) -> anyhow::Result<Vec<Answered>> {
        let mut images = Vec::new();
        // Where each different file of this batch is among the images.
        let mut places: HashMap<Digest, usize> = HashMap::new();
        let mut pending = Vec::with_capacity(opened.len());
        for picture in opened {
            pending.push(match picture {
                Opened::Failed(failure) => (None, Err(Err(failure))),
                Opened::Known(digest, captions) => (Some(digest), Err(Ok(captions))),
                // The batch before may have captioned it since it was opened.
                Opened::Picture(digest, image) => {
                    if let Some(captions) = self.memory.find(&digest) {
                        (Some(digest), Err(Ok(captions)))
                    } else {
                        let place = *places.entry(digest).or_insert(images.len());
                        if place == images.len() {
                            images.push(image);
                        }
                        (Some(digest), Ok(place))
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
            Ok(captions) if captions.is_empty() => Err(Failure::lasting(NO_PLACE)),
            Ok(captions) => Ok(Arc::new(captions)),
            Err(reason) => Err(Failure::lasting(reason.to_string())),
        };
        let captions: Vec<Answer> = captions.into_iter().map(written).collect();
        for (digest, place) in places {
            if let Ok(captions) = &captions[place] {
                self.memory.add(digest, captions);
            }
        }
        let answered = |(digest, found): (Option<Digest>, Result<usize, Answer>)| Answered {
            digest,
            answer: found.map_or_else(|answer| answer, |place| captions[place].clone()),
        };
        Ok(pending.into_iter().map(answered).collect())
    }
}

fn digest_of(bytes: &[u8]) -> Digest {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    let [first, ..] = hash.as_chunks::<16>().0 else { unreachable!("32 bytes are two halves") };
    *first
}
