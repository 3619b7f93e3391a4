//! Pictures through the captioner, batch by batch: opened ahead of it, and each different file captioned once.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use mplug::explain::ExplainOptions;
use mplug::preprocess::image::RgbImage;
use mplug_data::batches::each_batch;
use mplug_data::picture::Failure;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::answer::Answer;
use crate::error::BulkError;
use crate::inputs::Input;
use crate::writer::{Explained, Writers, Written};

/// What identifies a file's bytes: the first half of their SHA-256.
pub(crate) type Digest = [u8; 16];

/// Different files that are remembered: a few hundred bytes each. Beyond them a file that comes again is captioned again.
const MOST_REMEMBERED: usize = 1 << 20;

/// The captions of files seen before.
#[derive(Default)]
pub(crate) struct KnownCaptions {
    known: RwLock<HashMap<Digest, Answer>>,
}

impl KnownCaptions {
    fn find(&self, digest: &Digest) -> Option<Answer> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    /// Remembers the captions of a file, unless some are missing.
    pub(crate) fn add(&self, digest: Digest, answer: &Answer) {
        if answer.is_failed() {
            return;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MOST_REMEMBERED {
            known.entry(digest).or_insert_with(|| answer.clone());
        }
    }
}

/// A picture on its way to the captioner.
pub(crate) enum Opened {
    /// It has no pixels.
    Failed(Failure),
    /// Its file was captioned before.
    Known(Digest, Answer),
    /// It is to be captioned: its pixels in each of the sizes that the models read.
    Picture(Digest, Vec<RgbImage>),
}

/// The answer to a picture, and which file it is.
pub(crate) struct Answered {
    pub(crate) digest: Option<Digest>,
    pub(crate) answer: Answer,
    /// Where captions are explained: the best in each language.
    pub(crate) explained: Vec<Arc<Explained>>,
}

/// Opens and captions pictures.
pub(crate) struct Pipeline<'a> {
    pub(crate) writers: &'a Writers<'a>,
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
        let loaders = self.writers.loaders();
        let bytes = loaders[0].read(input.source.as_ref().map_err(Clone::clone)?)?;
        let digest = digest_of(&bytes);
        if let Some(answer) = self.find_known(&digest) {
            return Ok(Opened::Known(digest, answer));
        }
        let sizes: Result<Vec<RgbImage>, Failure> =
            loaders.iter().map(|loader| loader.decode(&bytes)).collect();
        Ok(Opened::Picture(digest, sizes?))
    }

    fn answer(&self, opened: Vec<Opened>) -> Result<Vec<Answered>, BulkError> {
        // A list for each size.
        let mut images: Vec<Vec<RgbImage>> = self.writers.loaders().iter().map(|_| Vec::new()).collect();
        // The index of each different file of this batch among the images.
        let mut indices: HashMap<Digest, usize> = HashMap::new();
        let mut pending = Vec::with_capacity(opened.len());
        for picture in opened {
            pending.push(match picture {
                Opened::Failed(failure) => (None, Err(Answer::failed(failure))),
                Opened::Known(digest, answer) => (Some(digest), Err(answer)),
                // The batch before may have captioned it since it was opened.
                Opened::Picture(digest, sizes) => {
                    if let Some(answer) = self.find_known(&digest) {
                        (Some(digest), Err(answer))
                    } else {
                        let next = indices.len();
                        let index = *indices.entry(digest).or_insert(next);
                        if index == next {
                            images.iter_mut().zip(sizes).for_each(|(list, image)| list.push(image));
                        }
                        (Some(digest), Ok(index))
                    }
                }
            });
        }
        let written =
            if indices.is_empty() { Vec::new() } else { self.writers.write(&images, self.explain)? };
        for (digest, index) in indices {
            self.known.add(digest, &written[index].answer);
        }
        let answered = |(digest, found): (Option<Digest>, Result<usize, Answer>)| match found {
            Ok(index) => {
                let Written { answer, explained } = written[index].clone();
                Answered { digest, answer, explained }
            }
            Err(answer) => Answered { digest, answer, explained: Vec::new() },
        };
        Ok(pending.into_iter().map(answered).collect())
    }

    /// The captions of a file seen before; where captions are explained, each picture is looked at anew.
    fn find_known(&self, digest: &Digest) -> Option<Answer> {
        if self.explain.is_some() { None } else { self.known.find(digest) }
    }
}

fn digest_of(bytes: &[u8]) -> Digest {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    let [first, ..] = hash.as_chunks::<16>().0 else { unreachable!("32 bytes are two halves") };
    *first
}
