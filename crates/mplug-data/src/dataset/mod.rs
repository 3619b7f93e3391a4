//! The one interface through which training and evaluation see pictures with captions.
//!
//! [`SynthDataset`] draws on the fly, [`open`] reads what others annotated. An example is a decoded picture and what is
//! said about it as text: this file refuses to know resizing, tokens and batches.

mod open;

use std::path::Path;
use std::sync::Arc;

use image::RgbImage;
pub use mplug::config::Language;
use mplug::preprocess::image::ImageLimits;
pub use open::{OpenOptions, open};

use crate::annotation::{Annotation, Annotations, Answer};
pub use crate::error::DataError;
use crate::source::{ImageRoot, PictureSource};
use crate::synth::{draw, draw_at};

/// The name of the annotation file in a folder of pictures.
pub const ANNOTATIONS: &str = "annotations.jsonl";

/// One annotated picture.
#[derive(Debug, Clone)]
pub struct Example {
    /// The picture at its own size.
    pub image: RgbImage,
    /// Its captions; none if the annotation file has none.
    pub captions: Vec<String>,
    /// What is asked about it.
    pub question: Option<String>,
    /// The answers to the question.
    pub answers: Vec<Answer>,
}

/// Examples by number. Any thread may request any example at any time, and gets the same one each time.
pub trait Dataset: Send + Sync {
    /// How many examples there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Example `index`, from 0 to `len() - 1`.
    ///
    /// # Errors
    /// [`DataError::OutOfRange`] beyond the end; whatever goes wrong in reading.
    fn example(&self, index: usize) -> Result<Example, DataError>;
}

/// Drawn pictures, made when requested; no files.
#[derive(Debug, Clone)]
pub struct SynthDataset {
    /// The generator's seed: [`crate::synth::TRAIN_SEED`] for training, [`crate::synth::EVAL_SEED`] for evaluation.
    pub seed: u64,
    /// How many pictures.
    pub len: usize,
    /// The language of the captions.
    pub language: Language,
    /// Draw straight at this width and height, stretched as a model would stretch the picture; natural size if `None`.
    pub size: Option<(u32, u32)>,
}

impl Dataset for SynthDataset {
    fn len(&self) -> usize {
        self.len
    }

    fn example(&self, index: usize) -> Result<Example, DataError> {
        if index >= self.len {
            return Err(DataError::OutOfRange { index, len: self.len });
        }
        let drawn = match self.size {
            Some((width, height)) => draw_at(self.seed, index as u64, width, height),
            None => draw(self.seed, index as u64),
        };
        let captions = match self.language {
            Language::Chinese => drawn.captions_zh,
            Language::English => drawn.captions_en,
        };
        Ok(Example { image: drawn.image, captions, question: None, answers: Vec::new() })
    }
}

/// The pictures of an annotation file, read when requested.
#[derive(Debug, Clone)]
pub struct AnnotatedDataset {
    annotations: Annotations,
    images: Arc<ImageRoot>,
    limits: ImageLimits,
}

impl AnnotatedDataset {
    /// Joins annotations with the place of their pictures.
    pub fn new(annotations: Annotations, images: Arc<ImageRoot>, limits: ImageLimits) -> Self {
        Self { annotations, images, limits }
    }

    /// What the annotation file says.
    pub fn annotations(&self) -> &Annotations {
        &self.annotations
    }

    /// What a picture may cost.
    pub fn limits(&self) -> &ImageLimits {
        &self.limits
    }

    /// Keeps the examples whose index `keeps` is true of, in their order.
    #[must_use]
    pub fn retain(mut self, keeps: impl Fn(usize) -> bool) -> Self {
        let mut index = 0;
        self.annotations.records.retain(|_| {
            index += 1;
            keeps(index - 1)
        });
        self
    }

    /// The annotation of example `index`.
    ///
    /// # Errors
    /// [`DataError::OutOfRange`] beyond the end.
    pub fn annotation(&self, index: usize) -> Result<&Annotation, DataError> {
        let len = self.annotations.records.len();
        self.annotations.records.get(index).ok_or(DataError::OutOfRange { index, len })
    }

    /// Where the pictures are.
    pub fn images(&self) -> &Path {
        self.images.path()
    }

    /// Where the picture of example `index` is.
    ///
    /// # Errors
    /// [`DataError::OutOfRange`] beyond the end, [`DataError::NoPicture`] and [`DataError::Ambiguous`] if its name fits
    /// no picture or two.
    pub fn picture(&self, index: usize) -> Result<PictureSource, DataError> {
        self.images.find(self.annotation(index)?.picture_name())
    }
}

impl Dataset for AnnotatedDataset {
    fn len(&self) -> usize {
        self.annotations.records.len()
    }

    fn example(&self, index: usize) -> Result<Example, DataError> {
        let annotation = self.annotation(index)?;
        Ok(Example {
            image: self.picture(index)?.decode(&self.limits)?,
            captions: annotation.references.clone(),
            question: annotation.question.clone(),
            answers: annotation.answers.clone(),
        })
    }
}
