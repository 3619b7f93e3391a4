//! Writes drawn pictures to a folder: `images/000000.png` (some as JPEG) and `annotations.jsonl`; if requested, also
//! questions, `questions_zh.json` and `questions_en.json`.
//!
//! Annotations are one JSON object a line: `{"path", "captions_zh", "captions_en", "scene"}`, the path relative to the
//! folder. Questions are a list in the form of the research code ([`crate::format::Format::Vqa`]): `{"dataset",
//! "question_id", "image", "question", "answer"}`, where `answer` is a list of the one that is learnt, and for those who
//! judge `kind` and `accepted`, all that are right. Every file appears whole or not at all, the annotations last. This
//! file refuses to know how pictures are drawn and what is asked.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, RgbImage};
use serde::Serialize;
use tempfile::NamedTempFile;

use super::draw::{SynthExample, draw, draw_at};
use super::question::{QuestionKind, questions};
use super::scene::Scene;
use crate::dataset::{ANNOTATIONS, DataError, Language};

/// How pictures are written.
#[derive(Debug, Clone)]
pub struct FolderOptions {
    /// Draw at this width and height instead of the natural size.
    pub size: Option<(u32, u32)>,
    /// How many of 100 pictures are JPEG; the others are PNG.
    pub jpeg_percent: u32,
    /// JPEG quality, 1 to 100.
    pub jpeg_quality: u8,
    /// Write questions and their answers in these languages, too.
    pub questions: Vec<Language>,
}

impl Default for FolderOptions {
    fn default() -> Self {
        Self { size: None, jpeg_percent: 25, jpeg_quality: 90, questions: Vec::new() }
    }
}

#[derive(Serialize)]
struct Annotation<'a> {
    path: &'a str,
    captions_zh: &'a [String],
    captions_en: &'a [String],
    scene: &'a Scene,
}

/// Draws pictures 0 to `count - 1` under `seed` into `dir`, made if it does not exist; `progress` hears how many are
/// done.
///
/// # Errors
/// [`DataError::Exists`] if the folder holds annotations or questions already; [`DataError::Io`] and
/// [`DataError::Encode`] if a file cannot be written.
pub fn write_folder(
    dir: &Path,
    seed: u64,
    count: u64,
    options: &FolderOptions,
    progress: &mut dyn FnMut(usize),
) -> Result<(), DataError> {
    let annotations_path = dir.join(ANNOTATIONS);
    let questions_paths = options.questions.iter().map(|language| dir.join(questions_name(*language)));
    if let Some(path) = questions_paths.chain([annotations_path.clone()]).find(|path| path.exists()) {
        return Err(DataError::Exists { path });
    }
    fs::create_dir_all(dir.join("images")).map_err(|e| DataError::io(dir, e))?;
    let mut annotations = BufWriter::new(temporary_beside(&annotations_path)?);
    let mut asked = Vec::new();
    for language in &options.questions {
        asked.push(QuestionFile::create(dir, *language)?);
    }
    for index in 0..count {
        let example = match options.size {
            Some((width, height)) => draw_at(seed, index, width, height),
            None => draw(seed, index),
        };
        let path = write_picture(dir, index, &example, options)?;
        let annotation = Annotation {
            path: &path,
            captions_zh: &example.captions_zh,
            captions_en: &example.captions_en,
            scene: &example.scene,
        };
        write_json(&mut annotations, &annotation, "\n").map_err(|e| DataError::io(&annotations_path, e))?;
        for file in &mut asked {
            file.ask(index, &path, &example.scene)?;
        }
        progress(index as usize + 1);
    }
    for file in asked {
        file.finish()?;
    }
    finish(annotations, &annotations_path)
}

/// The file of a folder's questions.
fn questions_name(language: Language) -> &'static str {
    match language {
        Language::Chinese => "questions_zh.json",
        Language::English => "questions_en.json",
    }
}

/// A list of questions that is being written.
struct QuestionFile {
    path: PathBuf,
    language: Language,
    file: BufWriter<NamedTempFile>,
    count: u64,
}

/// A question in the research code's form.
#[derive(Serialize)]
struct AskedQuestion<'a> {
    dataset: &'static str,
    question_id: u64,
    image: &'a str,
    question: &'a str,
    answer: [&'a str; 1],
    accepted: &'a [String],
    kind: QuestionKind,
}

impl QuestionFile {
    fn create(dir: &Path, language: Language) -> Result<Self, DataError> {
        let path = dir.join(questions_name(language));
        let file = BufWriter::new(temporary_beside(&path)?);
        Ok(Self { path, language, file, count: 0 })
    }

    /// Adds the questions about picture `index`.
    fn ask(&mut self, index: u64, image: &str, scene: &Scene) -> Result<(), DataError> {
        for question in questions(scene, self.language, index) {
            let asked = AskedQuestion {
                dataset: "synth",
                question_id: self.count,
                image,
                question: &question.question,
                answer: [&question.answers[0]],
                accepted: &question.answers,
                kind: question.kind,
            };
            let before = if self.count == 0 { "[\n" } else { ",\n" };
            let written = self.file.write_all(before.as_bytes());
            written
                .and_then(|()| write_json(&mut self.file, &asked, ""))
                .map_err(|e| DataError::io(&self.path, e))?;
            self.count += 1;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), DataError> {
        let end = if self.count == 0 { "[]\n" } else { "\n]\n" };
        self.file.write_all(end.as_bytes()).map_err(|e| DataError::io(&self.path, e))?;
        finish(self.file, &self.path)
    }
}

fn write_json(file: &mut impl Write, value: &impl Serialize, end: &str) -> std::io::Result<()> {
    serde_json::to_writer(&mut *file, value)?;
    file.write_all(end.as_bytes())
}

fn finish(file: BufWriter<NamedTempFile>, path: &Path) -> Result<(), DataError> {
    keep(file.into_inner().map_err(|e| DataError::io(path, e.into_error()))?, path)
}

/// Writes one picture; returns its path relative to the folder.
fn write_picture(
    dir: &Path,
    index: u64,
    example: &SynthExample,
    options: &FolderOptions,
) -> Result<String, DataError> {
    // 37 and 100 share no factor, so the JPEGs are spread evenly.
    let is_jpeg = index * 37 % 100 < u64::from(options.jpeg_percent);
    let path = format!("images/{index:06}.{}", if is_jpeg { "jpg" } else { "png" });
    let full_path = dir.join(&path);
    let bytes = encode(&example.image, is_jpeg.then_some(options.jpeg_quality))
        .map_err(|source| DataError::Encode { path: full_path.clone(), source })?;
    let mut file = temporary_beside(&full_path)?;
    file.write_all(&bytes).map_err(|e| DataError::io(&full_path, e))?;
    keep(file, &full_path)?;
    Ok(path)
}

fn encode(image: &RgbImage, jpeg_quality: Option<u8>) -> Result<Vec<u8>, image::ImageError> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    match jpeg_quality {
        Some(quality) => {
            image.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, quality.clamp(1, 100)))?;
        }
        None => image.write_to(&mut bytes, ImageFormat::Png)?,
    }
    Ok(bytes.into_inner())
}

/// A temporary file in the folder of `path`, readable by whom the umask allows.
fn temporary_beside(path: &Path) -> Result<NamedTempFile, DataError> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder
        .tempfile_in(path.parent().unwrap_or(Path::new(".")))
        .map_err(|e| DataError::io(path, mplug::plain_io_error(e)))
}

fn keep(file: NamedTempFile, path: &Path) -> Result<(), DataError> {
    file.persist(path).map(drop).map_err(|e| DataError::io(path, e.error))
}
