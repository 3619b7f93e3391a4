//! Opening a dataset: which file, which format, which split, and where the pictures are.
//!
//! Refuses to know how any format is written.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mplug::preprocess::image::ImageLimits;

use super::{ANNOTATIONS, AnnotatedDataset, Language};
use crate::annotation::{Annotation, Annotations};
use crate::error::DataError;
use crate::format::Format;
use crate::readers::{self, ReadOptions};
use crate::source::{ImageRoot, inside};

/// Extensions of files that are looked at when a folder is opened.
const EXTENSIONS: [&str; 5] = ["json", "jsonl", "csv", "token", "txt"];

/// How a dataset is opened.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// How the annotation file is written; detected by its name and content if `None`.
    pub format: Option<Format>,
    /// Only this split. `train` means COCO's `restval` too.
    pub split: Option<String>,
    /// Where the pictures are: a folder, a zip or tar archive, a table of base64. If `None`, the annotation file's own
    /// folder, and anywhere if the file gives absolute paths; for MUGE the table of the same name beside it.
    pub images: Option<PathBuf>,
    /// The language of captions, where a file has several.
    pub language: Option<Language>,
    /// The columns of a CSV table, or keys of JSON Lines, that are to be called otherwise, old name and new, as
    /// `MsDataset.remap_columns` takes them: `("image:FILE", "image")`. New names are `image`, `caption`, `question`, `answer`,
    /// `language` and `split`.
    pub columns: Vec<(String, String)>,
    /// What a picture may cost.
    pub limits: ImageLimits,
    /// The largest annotation file that is read, in bytes.
    pub max_annotation_bytes: u64,
}

impl Default for OpenOptions {
    /// Everything is detected from the file, of at most 2 GiB.
    fn default() -> Self {
        Self {
            format: None,
            split: None,
            images: None,
            language: None,
            columns: Vec::new(),
            limits: ImageLimits::default(),
            max_annotation_bytes: 2 << 30,
        }
    }
}

/// Opens an annotation file, or a folder that holds `annotations.jsonl` or one other annotation file. Pictures are read
/// when requested.
///
/// # Errors
/// [`DataError::Io`] if a file cannot be read, [`DataError::UnknownFormat`] if no reader knows it (or a folder holds no
/// such file, or several), [`DataError::UnknownSplit`] for a split that it does not have, and what its reader finds
/// wrong: [`DataError::Json`], [`DataError::Annotation`], [`DataError::Duplicate`].
pub fn open(path: &Path, options: &OpenOptions) -> Result<AnnotatedDataset, DataError> {
    let path = annotation_file(path)?;
    let format = match options.format {
        Some(format) => format,
        // Its keys say nothing as long as they are called otherwise.
        None if !options.columns.is_empty() && has_extension(&path, "jsonl") => Format::JsonLines,
        None => Format::detect(&path)?,
    };
    let with_columns = [Format::ModelScopeCsv, Format::JsonLines];
    if !options.columns.is_empty() && !with_columns.contains(&format) {
        let [table, lines] = with_columns;
        let what = format!("columns were renamed, but it is {format}: {table} and {lines} have columns");
        return Err(unknown(&path, what));
    }
    let read_options = ReadOptions {
        language: options.language,
        columns: options.columns.clone(),
        max_bytes: options.max_annotation_bytes,
    };
    let mut annotations = readers::read(&path, format, &read_options)?;
    if let Some(split) = &options.split {
        select_split(&mut annotations, split)?;
    }
    let images = options.images.clone().unwrap_or_else(|| images_beside(&path, format));
    let may_be_anywhere = options.images.is_none();
    stay_inside(&mut annotations, &images, may_be_anywhere)?;
    let root = ImageRoot::open(&images)?;
    let root = if may_be_anywhere { root.with_absolute_paths() } else { root };
    Ok(AnnotatedDataset::new(annotations, Arc::new(root), options.limits))
}

fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(wanted))
}

fn unknown(path: &Path, what: String) -> DataError {
    DataError::UnknownFormat { path: path.to_path_buf(), what, known: Format::names() }
}

/// The annotation file that a path means.
fn annotation_file(path: &Path) -> Result<PathBuf, DataError> {
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let ours = path.join(ANNOTATIONS);
    if ours.exists() {
        return Ok(ours);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(|e| DataError::io(path, e))? {
        let file = entry.map_err(|e| DataError::io(path, e))?.path();
        let is_candidate = file.extension().is_some_and(|e| EXTENSIONS.iter().any(|known| e == *known));
        if is_candidate && file.is_file() && Format::detect(&file).is_ok() {
            found.push(file);
        }
    }
    found.sort();
    match found.len() {
        0 => Err(unknown(path, format!("the folder holds no {ANNOTATIONS} and no other annotation file"))),
        1 => Ok(found.swap_remove(0)),
        _ => {
            let names: Vec<String> = found.iter().map(|file| file.display().to_string()).collect();
            Err(unknown(
                path,
                format!("the folder holds several annotation files, name one: {}", names.join(", ")),
            ))
        }
    }
}

/// Where pictures are if nobody says.
fn images_beside(path: &Path, format: Format) -> PathBuf {
    let table = path.with_extension("tsv");
    if format == Format::Muge && table.is_file() {
        return table;
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Keeps one split.
fn select_split(annotations: &mut Annotations, wanted: &str) -> Result<(), DataError> {
    let is_wanted = |annotation: &Annotation| {
        let split = annotation.split.as_deref();
        split == Some(wanted) || (wanted == "train" && split == Some("restval"))
    };
    if annotations.records.iter().any(is_wanted) {
        annotations.records.retain(is_wanted);
        return Ok(());
    }
    let splits = annotations.records.iter().filter_map(|annotation| annotation.split.clone());
    let known: BTreeSet<String> = splits.collect();
    let (path, wanted) = (annotations.path.clone(), wanted.to_string());
    Err(DataError::UnknownSplit { path, wanted, known: known.into_iter().collect() })
}

/// Refuses file names that lead out of the image root; an absolute one within it becomes relative, others stay as they are if
/// pictures `may_be_anywhere`.
fn stay_inside(annotations: &mut Annotations, images: &Path, may_be_anywhere: bool) -> Result<(), DataError> {
    let root = std::path::absolute(images).map_err(|e| DataError::io(images, e))?;
    for annotation in &mut annotations.records {
        let Some(name) = &annotation.file_name else { continue };
        let relative = Path::new(name).strip_prefix(&root).ok();
        if let Some(relative) = relative.and_then(Path::to_str) {
            annotation.file_name = Some(relative.to_string());
        }
        let name = annotation.picture_name();
        if may_be_anywhere && Path::new(name).is_absolute() && Path::new(name).file_name().is_some() {
            continue;
        }
        if inside(name).is_none_or(|path| path.as_os_str().is_empty()) {
            let what = format!("expected a path inside the folder, found {name:?}");
            return Err(DataError::annotation(&annotations.path, annotation.place, what));
        }
    }
    Ok(())
}
