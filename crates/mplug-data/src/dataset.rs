//! The one interface through which training sees pictures with captions.
//!
//! [`SynthDataset`] draws on the fly, [`FolderDataset`] reads what [`crate::synth::write_folder`] wrote. An example is
//! a decoded picture and its captions as text: this file refuses to know resizing, tokens and batches.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Component, Path, PathBuf};

use image::RgbImage;
use mplug::preprocess::image::{ImageError, ImageLimits, load_image};
use serde::Deserialize;

use crate::synth::{draw, draw_at};

/// The name of the annotation file in a folder of pictures.
pub const ANNOTATIONS: &str = "annotations.jsonl";
/// The longest line of annotations that is read: 1 MiB.
const MAX_LINE_BYTES: usize = 1 << 20;

/// One annotated picture.
#[derive(Debug, Clone)]
pub struct Example {
    /// The picture at its own size.
    pub image: RgbImage,
    /// Its captions, at least one.
    pub captions: Vec<String>,
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

/// What can go wrong with a dataset.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// An index beyond the end.
    #[error("example {index} does not exist: the dataset has {len}, counted from 0")]
    OutOfRange {
        /// The index asked for.
        index: usize,
        /// The dataset's length.
        len: usize,
    },
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line of annotations that cannot be used.
    #[error("{} line {line}: {what}", path.display())]
    Annotation {
        /// The annotation file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What was expected, and what was found.
        what: String,
    },
    /// A picture that cannot be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A picture that cannot be encoded.
    #[error("{}: {source}", path.display())]
    Encode {
        /// The file to be written.
        path: PathBuf,
        /// What the encoder said.
        source: image::ImageError,
    },
    /// A folder that is in use already.
    #[error("{} exists already: choose an empty folder, or remove it first", path.display())]
    Exists {
        /// The file that is there.
        path: PathBuf,
    },
}

impl DataError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), source }
    }
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
        Ok(Example { image: drawn.image, captions })
    }
}

/// One line of annotations, as far as training needs it.
#[derive(Debug, Deserialize)]
struct Annotation {
    path: PathBuf,
    #[serde(default)]
    captions_zh: Vec<String>,
    #[serde(default)]
    captions_en: Vec<String>,
}

/// Pictures and captions in a folder with an `annotations.jsonl`.
#[derive(Debug, Clone)]
pub struct FolderDataset {
    items: Vec<(PathBuf, Vec<String>)>,
    limits: ImageLimits,
}

impl FolderDataset {
    /// Reads the folder's annotations; pictures are read when asked for.
    ///
    /// # Errors
    /// [`DataError::Io`] if the annotations cannot be read, [`DataError::Annotation`] for a line that is no JSON object
    /// with a `path` inside the folder and at least one caption in `language`.
    pub fn open(dir: &Path, language: Language, limits: ImageLimits) -> Result<Self, DataError> {
        let path = dir.join(ANNOTATIONS);
        let mut reader = BufReader::new(fs::File::open(&path).map_err(|e| DataError::io(&path, e))?);
        let mut items = Vec::new();
        for line in 1.. {
            let Some(bytes) = read_line(&mut reader).map_err(|e| DataError::io(&path, e))? else { break };
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            let item = read_annotation(dir, &bytes, language).map_err(|what| DataError::Annotation {
                path: path.clone(),
                line,
                what,
            })?;
            items.push(item);
        }
        Ok(Self { items, limits })
    }
}

/// The next line without more than [`MAX_LINE_BYTES`] in memory; `None` at the end.
fn read_line(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let limit = MAX_LINE_BYTES as u64 + 1;
    io::Read::take(reader, limit).read_until(b'\n', &mut bytes)?;
    if bytes.len() > MAX_LINE_BYTES {
        let message = format!("a line is longer than {MAX_LINE_BYTES} bytes: not a file of annotations");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok((!bytes.is_empty()).then_some(bytes))
}

fn read_annotation(dir: &Path, line: &[u8], language: Language) -> Result<(PathBuf, Vec<String>), String> {
    let annotation: Annotation = serde_json::from_slice(line).map_err(|e| e.to_string())?;
    let stays_inside = |c: Component<'_>| matches!(c, Component::Normal(_) | Component::CurDir);
    if !annotation.path.components().all(stays_inside) {
        return Err(format!("expected a path inside the folder, found {}", annotation.path.display()));
    }
    let (captions, key) = match language {
        Language::Chinese => (annotation.captions_zh, "captions_zh"),
        Language::English => (annotation.captions_en, "captions_en"),
    };
    if captions.is_empty() {
        return Err(format!("expected at least one caption in {key}, found none"));
    }
    Ok((dir.join(annotation.path), captions))
}

impl Dataset for FolderDataset {
    fn len(&self) -> usize {
        self.items.len()
    }

    fn example(&self, index: usize) -> Result<Example, DataError> {
        let Some((path, captions)) = self.items.get(index) else {
            return Err(DataError::OutOfRange { index, len: self.items.len() });
        };
        Ok(Example { image: load_image(path, &self.limits)?, captions: captions.clone() })
    }
}
