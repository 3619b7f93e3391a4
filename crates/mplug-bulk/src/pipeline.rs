//! Pictures through the captioner, batch by batch: opened ahead of it, and each different file captioned once.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use mplug::EncodedPicture;
use mplug::explain::{ExplainOptions, Explanation};
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
    /// Where captions are explained and the picture has one.
    pub(crate) explained: MaybeExplained,
}

/// What explains a picture's caption, where it is wanted and the picture has one.
pub(crate) type MaybeExplained = Option<Arc<Explained>>;

/// A picture whose best caption was explained.
#[derive(Clone, Debug)]
pub struct Explained {
    /// Its pixels, as they were opened.
    pub image: RgbImage,
    /// The best caption.
    pub caption: Caption,
    /// Which part of the picture each of the caption's words stands on.
    pub explanation: Explanation,
}

/// Opens and captions pictures.
pub(crate) struct Pipeline<'a> {
    pub(crate) captioner: &'a Captioner,
    pub(crate) options: &'a GenerationOptions,
    pub(crate) loader: &'a PictureLoader,
    pub(crate) known: &'a KnownCaptions,
    /// How the best captions are explained, where they are.
    pub(crate) explain: Option<&'a ExplainOptions>,
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
        if let Some(captions) = self.find_known(&digest) {
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
                    if let Some(captions) = self.find_known(&digest) {
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
        let pictures = self.captioner.encode(&images);
        let captions = self.captions_of(&pictures)?;
        for (digest, index) in indices {
            if let Ok(captions) = &captions[index] {
                self.known.add(digest, captions);
            }
        }
        let explained = self.explained(images, &pictures, &captions)?;
        let answered = |(digest, found): (Option<Digest>, Result<usize, Answer>)| match found {
            Ok(index) => {
                let (answer, explained) = explained[index].clone();
                Answered { digest, answer, explained }
            }
            Err(answer) => Answered { digest, answer, explained: None },
        };
        Ok(pending.into_iter().map(answered).collect())
    }

    /// The captions of a file seen before; where captions are explained, each picture is looked at anew.
    fn find_known(&self, digest: &Digest) -> Option<Arc<Vec<Caption>>> {
        if self.explain.is_some() { None } else { self.known.find(digest) }
    }

    fn captions_of(&self, pictures: &[EncodedPicture]) -> Result<Vec<Answer>, BulkError> {
        if pictures.is_empty() {
            return Ok(Vec::new());
        }
        let written = |captions: Captions| match captions {
            Ok(captions) if captions.is_empty() => {
                Err(Failure::lasting(NO_CAPTION).with_remedy(Remedy::WiderSearch))
            }
            Ok(captions) => Ok(Arc::new(captions)),
            Err(reason) => Err(Failure::lasting(reason.to_string())),
        };
        Ok(self.captioner.caption_encoded(pictures, self.options)?.into_iter().map(written).collect())
    }

    /// The answers with their explanations, where these are wanted. A caption that cannot be explained fails.
    fn explained(
        &self,
        images: Vec<RgbImage>,
        pictures: &[EncodedPicture],
        answers: &[Answer],
    ) -> Result<Vec<(Answer, MaybeExplained)>, BulkError> {
        let Some(options) = self.explain else {
            return Ok(answers.iter().map(|answer| (answer.clone(), None)).collect());
        };
        let resolved = self.captioner.resolve(self.options)?;
        let explain = |((image, picture), answer): ((RgbImage, &EncodedPicture), &Answer)| match answer {
            Ok(captions) => match self.captioner.explain(picture, &captions[0], &resolved, options) {
                Ok(explanation) => {
                    let caption = captions[0].clone();
                    (answer.clone(), Some(Arc::new(Explained { image, caption, explanation })))
                }
                Err(reason) => (Err(Failure::lasting(reason.to_string())), None),
            },
            Err(_) => (answer.clone(), None),
        };
        Ok(images.into_iter().zip(pictures).zip(answers).map(explain).collect())
    }
}

fn digest_of(bytes: &[u8]) -> Digest {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    let [first, ..] = hash.as_chunks::<16>().0 else { unreachable!("32 bytes are two halves") };
    *first
}
