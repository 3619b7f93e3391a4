//! The one interface through which training and evaluation see pictures with captions.
//!
//! [`SynthDataset`] draws on the fly, [`open`] reads what others annotated. An example is a decoded picture and what is
//! said about it as text: this file refuses to know resizing, tokens and batches.

use std::path::{Component, Path, PathBuf};

use image::RgbImage;
use mplug::preprocess::image::{ImageLimits, load_image};

use crate::annotation::{Annotation, Annotations, Answer};
pub use crate::error::DataError;
use crate::format::Format;
use crate::readers::{self, ReadOptions};
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

/// Examples by number. Any thread may ask for any example at any time, and gets the same one each time.
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

/// The language of captions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    /// Chinese, joined.
    Chinese,
    /// English, lower case.
    English,
}

/// Drawn pictures, made when asked for; no files.
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

/// The pictures of an annotation file, read when asked for.
#[derive(Debug, Clone)]
pub struct AnnotatedDataset {
    annotations: Annotations,
    root: PathBuf,
    limits: ImageLimits,
}

impl AnnotatedDataset {
    /// What the annotation file says.
    pub fn annotations(&self) -> &Annotations {
        &self.annotations
    }

    /// The annotation of example `index`.
    ///
    /// # Errors
    /// [`DataError::OutOfRange`] beyond the end.
    pub fn annotation(&self, index: usize) -> Result<&Annotation, DataError> {
        let len = self.annotations.records.len();
        self.annotations.records.get(index).ok_or(DataError::OutOfRange { index, len })
    }
}

impl Dataset for AnnotatedDataset {
    fn len(&self) -> usize {
        self.annotations.records.len()
    }

    fn example(&self, index: usize) -> Result<Example, DataError> {
        let annotation = self.annotation(index)?;
        let image = load_image(&self.root.join(annotation.picture_name()), &self.limits)?;
        Ok(Example {
            image,
            captions: annotation.references.clone(),
            question: annotation.question.clone(),
            answers: annotation.answers.clone(),
        })
    }
}

/// How a dataset is opened.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// How the annotation file is written; told by its name and content if `None`.
    pub format: Option<Format>,
    /// Only this split. `train` means COCO's `restval` too.
    pub split: Option<String>,
    /// Where the pictures are: a folder. The annotation file's own folder if `None`.
    pub images: Option<PathBuf>,
    /// The language of captions, where a file has several.
    pub language: Option<Language>,
    /// What a picture may cost.
    pub limits: ImageLimits,
    /// The largest annotation file that is read as a whole, in bytes.
    pub max_annotation_bytes: u64,
}

impl Default for OpenOptions {
    /// Everything told by the file; at most 2 GiB of it.
    fn default() -> Self {
        Self {
            format: None,
            split: None,
            images: None,
            language: None,
            limits: ImageLimits::default(),
            max_annotation_bytes: 2 << 30,
        }
    }
}

/// Opens an annotation file, or the folder of one; pictures are read when asked for.
///
/// # Errors
/// [`DataError::Io`] if the file cannot be read, [`DataError::UnknownFormat`] if no reader knows it,
/// [`DataError::UnknownSplit`] for a split that it does not have, and what its reader finds wrong.
pub fn open(path: &Path, options: &OpenOptions) -> Result<AnnotatedDataset, DataError> {
    let path = if path.is_dir() { path.join(ANNOTATIONS) } else { path.to_path_buf() };
    let format = match options.format {
        Some(format) => format,
        None => Format::detect(&path)?,
    };
    let read_options = ReadOptions { language: options.language, max_bytes: options.max_annotation_bytes };
    let mut annotations = readers::read(&path, format, &read_options)?;
    if let Some(split) = &options.split {
        select_split(&mut annotations, split)?;
    }
    stay_inside(&annotations)?;
    let beside = || path.parent().map(Path::to_path_buf).unwrap_or_default();
    let root = options.images.clone().unwrap_or_else(beside);
    Ok(AnnotatedDataset { annotations, root, limits: options.limits })
}

/// Keeps one split.
fn select_split(annotations: &mut Annotations, wanted: &str) -> Result<(), DataError> {
    let is_wanted = |split: &Option<String>| {
        split.as_deref().is_some_and(|split| split == wanted || (wanted, split) == ("train", "restval"))
    };
    if annotations.records.iter().any(|annotation| is_wanted(&annotation.split)) {
        annotations.records.retain(|annotation| is_wanted(&annotation.split));
        return Ok(());
    }
    let splits = annotations.records.iter().filter_map(|annotation| annotation.split.clone());
    let known: std::collections::BTreeSet<String> = splits.collect();
    let (path, wanted) = (annotations.path.clone(), wanted.to_string());
    Err(DataError::UnknownSplit { path, wanted, known: known.into_iter().collect() })
}

/// Refuses names that lead out of the image root.
fn stay_inside(annotations: &Annotations) -> Result<(), DataError> {
    let stays_inside = |c: Component<'_>| matches!(c, Component::Normal(_) | Component::CurDir);
    for annotation in &annotations.records {
        let name = annotation.picture_name();
        if !Path::new(name).components().all(stays_inside) {
            let what = format!("expected a path inside the folder, found {name}");
            return Err(DataError::annotation(&annotations.path, annotation.place, what));
        }
    }
    Ok(())
}
