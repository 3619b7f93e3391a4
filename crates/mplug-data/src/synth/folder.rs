//! Writes drawn pictures to a folder: `images/000000.png` (some as JPEG) and `annotations.jsonl`.
//!
//! One JSON object a line: `{"path", "captions_zh", "captions_en", "scene"}`, the path relative to the folder. Every
//! file appears whole or not at all, the annotations last. This file refuses to know how pictures are drawn.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, RgbImage};
use serde::Serialize;
use tempfile::NamedTempFile;

use super::draw::{SynthExample, draw, draw_at};
use super::scene::Scene;
use crate::dataset::{ANNOTATIONS, DataError};

/// How pictures are written.
#[derive(Debug, Clone)]
pub struct FolderOptions {
    /// Draw at this width and height instead of the natural size.
    pub size: Option<(u32, u32)>,
    /// Of 100 pictures so many are JPEG, the others PNG.
    pub jpeg_percent: u32,
    /// JPEG quality, 1 to 100.
    pub jpeg_quality: u8,
}

impl Default for FolderOptions {
    fn default() -> Self {
        Self { size: None, jpeg_percent: 25, jpeg_quality: 90 }
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
/// [`DataError::Exists`] if the folder holds annotations already; [`DataError::Io`] and
/// [`DataError::Encode`] if a file cannot be written.
pub fn write_folder(
    dir: &Path,
    seed: u64,
    count: u64,
    options: &FolderOptions,
    progress: &mut dyn FnMut(usize),
) -> Result<(), DataError> {
    let annotations_path = dir.join(ANNOTATIONS);
    if annotations_path.exists() {
        return Err(DataError::Exists { path: annotations_path });
    }
    fs::create_dir_all(dir.join("images")).map_err(|e| DataError::io(dir, e))?;
    let mut annotations = BufWriter::new(temporary_beside(&annotations_path)?);
    for index in 0..count {
        let example = match options.size {
            Some((width, height)) => draw_at(seed, index, width, height),
            None => draw(seed, index),
        };
        let line = write_picture(dir, index, &example, options)?;
        annotations.write_all(&line).map_err(|e| DataError::io(&annotations_path, e))?;
        progress(index as usize + 1);
    }
    let file = annotations.into_inner().map_err(|e| DataError::io(&annotations_path, e.into_error()))?;
    keep(file, &annotations_path)
}

/// Writes one picture; returns its line of the annotations.
fn write_picture(
    dir: &Path,
    index: u64,
    example: &SynthExample,
    options: &FolderOptions,
) -> Result<Vec<u8>, DataError> {
    // 37 and 100 share no factor, so the JPEGs are spread evenly.
    let is_jpeg = index * 37 % 100 < u64::from(options.jpeg_percent);
    let path = format!("images/{index:06}.{}", if is_jpeg { "jpg" } else { "png" });
    let full_path = dir.join(&path);
    let bytes = encode(&example.image, is_jpeg.then_some(options.jpeg_quality))
        .map_err(|source| DataError::Encode { path: full_path.clone(), source })?;
    let mut file = temporary_beside(&full_path)?;
    file.write_all(&bytes).map_err(|e| DataError::io(&full_path, e))?;
    keep(file, &full_path)?;
    let annotation = Annotation {
        path: &path,
        captions_zh: &example.captions_zh,
        captions_en: &example.captions_en,
        scene: &example.scene,
    };
    let mut line = serde_json::to_vec(&annotation).map_err(|e| DataError::io(&full_path, e.into()))?;
    line.push(b'\n');
    Ok(line)
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
    builder.tempfile_in(path.parent().unwrap_or(Path::new("."))).map_err(|e| DataError::io(path, e))
}

fn keep(file: NamedTempFile, path: &Path) -> Result<(), DataError> {
    file.persist(path).map(drop).map_err(|e| DataError::io(path, e.error))
}
