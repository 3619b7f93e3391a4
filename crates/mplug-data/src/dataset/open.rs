//! Opening a dataset: which file, which format, which split, and where the pictures are.
//!
//! Refuses to know how any format is written.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mplug::preprocess::image::ImageLimits;

use super::{ANNOTATIONS, AnnotatedDataset, Language};
use crate::annotation::{Annotation, Annotations};
use crate::error::DataError;
use crate::format::Format;
use crate::names::has_picture_extension;
use crate::readers::beside::has_captions;
#[cfg(feature = "parquet")]
use crate::readers::parquet::image_column;
use crate::readers::{self, ReadOptions};
#[cfg(feature = "parquet")]
use crate::source::TextTable;
use crate::source::{ImageRoot, inside};

/// Extensions of files that are looked at when a folder is opened.
const EXTENSIONS: [&str; 8] = ["json", "jsonl", "csv", "token", "tsv", "txt", "parquet", "tar"];

/// How a dataset is opened.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// How the annotation file is written; detected by its name and content if `None`.
    pub format: Option<Format>,
    /// Only this split. `train` means COCO's `restval` too.
    pub split: Option<String>,
    /// Where the pictures are: a folder, a zip or tar archive, a table of base64. If `None`, the annotation file's own
    /// folder, and anywhere if the file gives absolute paths; for MUGE the table of the same name beside it; an archive or a
    /// Parquet file with pictures in it has its own.
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

/// Opens an annotation file, or a folder that holds `annotations.jsonl`, one other annotation file, or pictures with their captions
/// in text files beside them; an archive of such pictures; a Parquet file. Pictures are read when requested.
///
/// # Errors
/// [`DataError::Io`] if a file cannot be read, [`DataError::UnknownFormat`] if no reader knows it (or a folder holds no
/// such file, or several), [`DataError::UnknownSplit`] for a split that it does not have, [`DataError::NoParquet`] in a build without,
/// and what its reader finds wrong: [`DataError::Json`], [`DataError::Annotation`], [`DataError::Duplicate`].
pub fn open(path: &Path, options: &OpenOptions) -> Result<AnnotatedDataset, DataError> {
    let (path, format) = find(path, options)?;
    let renamed = !options.columns.is_empty();
    if renamed && !WITH_COLUMNS.contains(&format) {
        let names = WITH_COLUMNS.map(Format::name).join(", ");
        let what =
            format!("columns were renamed, but it is {format}: expected one of {names}, which have columns");
        return Err(unknown(&path, what));
    }
    let mut annotations = readers::read(&path, format, &read_options(options))?;
    if let Some(split) = &options.split {
        select_split(&mut annotations, split)?;
    }
    let (root, images) = match &options.images {
        Some(images) => (ImageRoot::open(images)?, images.clone()),
        None => root_of(&path, format, options)?,
    };
    let may_be_anywhere = options.images.is_none();
    stay_inside(&mut annotations, &images, may_be_anywhere)?;
    let root = if may_be_anywhere { root.with_absolute_paths() } else { root };
    Ok(AnnotatedDataset::new(annotations, Arc::new(root), options.limits))
}

/// Formats whose columns, or keys, can be renamed.
const WITH_COLUMNS: [Format; 5] =
    [Format::ModelScopeCsv, Format::Table, Format::JsonLines, Format::Json, Format::Parquet];

fn read_options(options: &OpenOptions) -> ReadOptions {
    ReadOptions {
        language: options.language,
        columns: options.columns.clone(),
        has_no_head: false,
        max_bytes: options.max_annotation_bytes,
    }
}

/// The file or folder that is read, and its format.
fn find(path: &Path, options: &OpenOptions) -> Result<(PathBuf, Format), DataError> {
    if path.is_dir() && options.format == Some(Format::Sidecars) {
        return Ok((path.to_path_buf(), Format::Sidecars));
    }
    let found = annotation_file(path)?;
    let format = match options.format {
        Some(format) => format,
        None if found.is_dir() && has_captions(&found)? => Format::Sidecars,
        None if found.is_dir() => Format::WebDataset,
        None if options.columns.is_empty() => Format::detect(&found)?,
        // Its columns and keys say nothing as long as they are called otherwise.
        None => renamed_format(&found)?,
    };
    let is_folder = found.is_dir();
    let may_be = match format {
        Format::Sidecars => is_folder,
        Format::WebDataset => true,
        _ => !is_folder,
    };
    if !may_be {
        let kind = if is_folder { "a folder without an annotation file" } else { "a file" };
        return Err(unknown(&found, format!("it is {kind}, which cannot be {format}")));
    }
    Ok((found, format))
}

/// The format of a file whose columns are called otherwise.
fn renamed_format(path: &Path) -> Result<Format, DataError> {
    let by_extension = [("jsonl", Format::JsonLines), ("csv", Format::Table), ("tsv", Format::Table)];
    let named = by_extension.into_iter().find(|(extension, _)| has_extension(path, extension));
    match (named, Format::detect(path)) {
        (Some((_, format)), Err(_) | Ok(Format::ModelScopeCsv | Format::Muge | Format::Table)) => Ok(format),
        (_, found) => found,
    }
}

fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(wanted))
}

fn unknown(path: &Path, what: String) -> DataError {
    DataError::UnknownFormat { path: path.to_path_buf(), what, known: Format::names() }
}

/// Formats of files that may be something else's beside an annotation file of another format.
const COMPANIONS: [Format; 6] =
    [Format::WebDataset, Format::Parquet, Format::Table, Format::Text, Format::Json, Format::Dictionary];

/// The annotation file that a path means; a folder if its pictures have captions beside them, or if it holds archives of such
/// pictures.
fn annotation_file(path: &Path) -> Result<PathBuf, DataError> {
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let ours = path.join(ANNOTATIONS);
    if ours.exists() {
        return Ok(ours);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(|e| DataError::io(path, e))? {
        files.push(entry.map_err(|e| DataError::io(path, e))?.path());
    }
    files.sort();
    // What lies beside a picture and has its name is the picture's own.
    let stem = |file: &Path| file.file_stem().map(ToOwned::to_owned);
    let pictures = files.iter().filter(|file| has_picture_extension(file));
    let pictures: HashSet<_> =
        pictures.flat_map(|file| [stem(file), file.file_name().map(ToOwned::to_owned)]).collect();
    let is_named = |file: &&PathBuf| {
        EXTENSIONS.iter().any(|known| has_extension(file, known))
            && !pictures.contains(&stem(file))
            && file.is_file()
    };
    let formats = files.iter().filter(is_named).filter_map(|file| Some((file, Format::detect(file).ok()?)));
    let formats: Vec<(&PathBuf, Format)> = formats.collect();
    // Pictures in an archive and lists of captions lie beside annotation files too.
    let has_annotations = formats.iter().any(|(_, format)| !COMPANIONS.contains(format));
    let meant = formats.iter().filter(|(_, format)| !has_annotations || !COMPANIONS.contains(format));
    let mut found: Vec<PathBuf> = meant.map(|(file, _)| (*file).clone()).collect();
    let is_tar = |file: &PathBuf| has_extension(file, "tar");
    // img2dataset writes a table beside each archive.
    let is_of_a_shard = |file: &PathBuf| is_tar(file) || found.contains(&file.with_extension("tar"));
    let are_shards = found.iter().any(is_tar) && found.iter().all(is_of_a_shard);
    match found.len() {
        1 => Ok(found.swap_remove(0)),
        0 if has_captions(path)? => Ok(path.to_path_buf()),
        _ if are_shards => Ok(path.to_path_buf()),
        0 => Err(unknown(
            path,
            format!(
                "the folder holds no {ANNOTATIONS}, no other annotation file, and no pictures with captions beside them \
                 (a.jpg and a.txt)"
            ),
        )),
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
fn root_of(path: &Path, format: Format, options: &OpenOptions) -> Result<(ImageRoot, PathBuf), DataError> {
    #[cfg(feature = "parquet")]
    if format == Format::Parquet {
        let column = image_column(&options.columns);
        if TextTable::open(path)?.has_pictures(column) {
            return Ok((ImageRoot::of_parquet(path, column)?, path.to_path_buf()));
        }
    }
    #[cfg(not(feature = "parquet"))]
    let _ = options;
    let images = images_beside(path, format);
    if format == Format::WebDataset && images.is_dir() {
        return Ok((ImageRoot::of_shards(&images)?, images));
    }
    Ok((ImageRoot::open(&images)?, images))
}

/// Where pictures are that no column of the file holds.
fn images_beside(path: &Path, format: Format) -> PathBuf {
    let table = path.with_extension("tsv");
    if format == Format::Muge && table.is_file() {
        return table;
    }
    if matches!(format, Format::Sidecars | Format::WebDataset) {
        return path.to_path_buf();
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
