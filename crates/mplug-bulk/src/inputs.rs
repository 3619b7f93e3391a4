//! From names to an ordered list of pictures: files, folders, zip and tar archives, Parquet tables, patterns that no shell has
//! expanded, web addresses, and `-` (a list); or from an annotation file. Knows names only: whether a file holds a picture is
//! found out when it is opened.
//!
//! The order is the order given; within a folder or a zip, by name, within a tar, as it stands there. An input that cannot be
//! listed is an entry with its reason, in its place, so that the others are unharmed.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use glob::MatchOptions;
use image::RgbImage;
use mplug::io_error_is_passing;
use mplug_data::dataset::{self, OpenOptions};
use mplug_data::message::about;
use mplug_data::picture::{Failure, PictureLoader, Remedy};
use mplug_data::source::{PictureSource, has_picture_extension, pictures_of_archive};
use rayon::prelude::*;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use walkdir::{DirEntry, WalkDir};

use crate::error::BulkError;
use crate::hex::hex;
use crate::shard::Shard;
use crate::{parquet, web};

/// Longest list of inputs: ten million long names, and no end to a stream that has none.
const MAX_LIST_BYTES: u64 = 1 << 30;

/// One picture to work on, or the reason why there is none.
#[derive(Debug)]
pub struct Input {
    /// The file or folder, as given (inside a folder or an archive: that as given, then the picture's name).
    pub path: PathBuf,
    /// How many of the path's components what was given has, but for its last one where that is a file.
    pub(crate) given: usize,
    /// Where the picture is, or why this input cannot even be opened.
    pub source: Result<PictureSource, Failure>,
}

impl Input {
    /// A file to open.
    pub fn file(path: PathBuf) -> Self {
        let given = path.components().count().saturating_sub(1);
        Self { source: Ok(PictureSource::File(path.clone())), given, path }
    }

    /// A file found in a folder of `given` components.
    fn found(path: PathBuf, given: usize) -> Self {
        Self { given, ..Self::file(path) }
    }

    /// A picture that was given alone: a file, or a web address.
    pub fn alone(path: &Path) -> Self {
        if web::is_address(path) && !path.exists() { web::closed(path) } else { Self::file(path.to_owned()) }
    }

    /// A picture whose file's bytes are at hand, and what it is called in its record; without bytes, one that is missing.
    pub fn in_memory(path: PathBuf, bytes: Option<Vec<u8>>) -> Self {
        let given = path.components().count().saturating_sub(1);
        let source = match bytes {
            Some(bytes) => Ok(PictureSource::InMemory(bytes.into())),
            None => Err(Failure::lasting("cannot be read: the row has no picture (null)")),
        };
        Self { path, given, source }
    }

    fn failed(path: PathBuf, problem: impl Into<String>) -> Self {
        Self::failing(path, Failure::lasting(problem))
    }

    pub(crate) fn failing(path: PathBuf, failure: Failure) -> Self {
        let given = path.components().count().saturating_sub(1);
        Self { path, given, source: Err(failure) }
    }

    /// The picture, resized for the model.
    ///
    /// # Errors
    /// Why it cannot be listed, read or decoded.
    pub fn load(&self, loader: &PictureLoader) -> Result<RgbImage, Failure> {
        loader.load(self.source.as_ref().map_err(Clone::clone)?)
    }

    /// Whether it is a Parquet file that is there.
    pub(crate) fn is_parquet(&self) -> bool {
        let is_named = self.path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("parquet"));
        is_named && matches!(&self.source, Ok(PictureSource::File(path)) if path.is_file())
    }

    /// The part of the path below what was given: the name of a file, a picture's place in a folder, or an archive's name and the
    /// member's; of a web address, a name made of it. Nothing in it leads upwards.
    pub(crate) fn relative(&self) -> PathBuf {
        if let Ok(PictureSource::Remote(_)) = self.source {
            return web::place(&self.path.to_string_lossy());
        }
        let parts = self.path.components().skip(self.given);
        parts.filter(|part| matches!(part, Component::Normal(_))).collect()
    }
}

/// The inputs of a run, and whether one file alone was requested (its answer then needs no name beside it).
#[derive(Debug)]
pub struct Inputs {
    /// In the order of the answers.
    pub list: Vec<Input>,
    /// One file was given: no folder, no list, no second name.
    pub is_single_file: bool,
}

/// How names become pictures.
#[derive(Clone, Debug, Default)]
pub struct CollectOptions {
    /// Whether the subfolders of folders are looked into too.
    pub is_recursive: bool,
    /// The column of Parquet files that holds the pictures; found by its name if absent.
    pub image_column: Option<String>,
}

impl Inputs {
    /// All of them, opened in parallel and resized for the model.
    pub fn load(&self, loader: &PictureLoader) -> Vec<Result<RgbImage, Failure>> {
        self.list.par_iter().map(|input| input.load(loader)).collect()
    }

    /// Refuses a list with an input that could not be listed for a reason that passes: it would make other parts of a run than
    /// the whole list, and could not be gone on with.
    pub(crate) fn require_whole(&self) -> Result<(), BulkError> {
        for Input { path, source, .. } in &self.list {
            if let Err(Failure { reason, is_passing: true, .. }) = source {
                return Err(BulkError::NotWhole { problem: about(path, reason) });
            }
        }
        Ok(())
    }

    /// The inputs of a part, or all.
    pub(crate) fn take(mut self, shard: Option<Shard>) -> Vec<Input> {
        match shard {
            Some(shard) => self.list.drain(shard.range(self.list.len())).collect(),
            None => self.list,
        }
    }

    /// Lists what was given. `list` is read where `-` is given: names, one a line, or separated by NUL bytes.
    ///
    /// # Errors
    /// When `list` cannot be read, holds no name, or was requested twice.
    pub fn collect(
        names: &[PathBuf],
        options: &CollectOptions,
        mut list: impl Read,
    ) -> Result<Self, BulkError> {
        let dash = Path::new("-");
        if names.iter().filter(|path| *path == dash).count() > 1 {
            return Err(BulkError::SecondList);
        }
        let mut found = Vec::new();
        for path in names {
            if path == dash {
                for name in read_list(&mut list)? {
                    expand(name, options.is_recursive, &mut found);
                }
            } else {
                expand(path.clone(), options.is_recursive, &mut found);
            }
        }
        let is_one = |path: &Path| path != dash && !path.is_dir() && !is_archive(path);
        let is_file = |path: &Path| path.exists() || web::is_address(path) || !is_pattern(path);
        let is_single_file = matches!(names, [path] if is_one(path) && is_file(path));
        Ok(parquet::expand(Self { list: found, is_single_file }, options.image_column.as_deref()))
    }

    /// The pictures of an annotation file, each once, in the order in which it first names them. `images` is where they are: a
    /// folder, a zip or a tar; the annotation file's folder if absent.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of_dataset(file: &Path, images: Option<&Path>) -> Result<Self, BulkError> {
        let options = OpenOptions { images: images.map(Path::to_owned), ..OpenOptions::default() };
        let dataset = dataset::open(file, &options)?;
        let root = dataset.images().to_owned();
        let given = root.components().count();
        let mut seen = HashSet::new();
        let mut list = Vec::new();
        for (index, annotation) in dataset.annotations().records.iter().enumerate() {
            let name = annotation.picture_name();
            if !seen.insert(name) {
                continue;
            }
            let source = dataset.picture(index).map_err(Failure::from);
            let path = match &source {
                Ok(PictureSource::File(path)) => path.clone(),
                _ => root.join(name.trim_start_matches('/')),
            };
            list.push(Input { path, given, source });
        }
        Ok(Self { list, is_single_file: false })
    }
}

/// One name: a folder becomes its pictures, anything else stays.
fn expand(path: PathBuf, is_recursive: bool, list: &mut Vec<Input>) {
    // What cannot be looked at now may be a folder or an archive: taken for a picture it would make another list.
    if let Err(error) = fs::metadata(&path)
        && io_error_is_passing(&error)
    {
        let failure = Failure::new(format!("cannot be read: {error}"), true);
        list.push(Input::failing(path, failure));
    } else if path.is_dir() {
        expand_folder(path, is_recursive, list);
    } else if web::is_address(&path) {
        list.push(web::closed(&path));
    } else if is_archive(&path) {
        expand_archive(path, list);
    } else if is_pattern(&path) && !path.exists() {
        expand_pattern(path, is_recursive, list);
    } else {
        list.push(Input::file(path));
    }
}

/// Whether a name has the signs of a pattern. A file that is called so is a file.
fn is_pattern(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().iter().any(|byte| b"*?[".contains(byte))
}

/// What fits a pattern that no shell has expanded, by name. One that nothing fits is a failed input.
fn expand_pattern(pattern: PathBuf, is_recursive: bool, list: &mut Vec<Input>) {
    let options = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::new() };
    let found = match pattern.to_str().map(|text| glob::glob_with(text, options)) {
        Some(Ok(found)) => found,
        Some(Err(error)) => return list.push(Input::failed(pattern, format!("is no pattern: {error}"))),
        None => return list.push(Input::failed(pattern, "is no pattern: it is not UTF-8")),
    };
    let before = list.len();
    for entry in found {
        match entry {
            Ok(path) => expand(path, is_recursive, list),
            Err(error) => {
                list.push(Input::failing(error.path().to_owned(), unreadable(error.error())));
            }
        }
    }
    if list.len() == before {
        list.push(Input::failed(pattern, "no file fits this pattern"));
    }
}

fn is_archive(path: &Path) -> bool {
    let is_named =
        path.extension().is_some_and(|e| ["tar", "zip"].iter().any(|known| e.eq_ignore_ascii_case(known)));
    is_named && path.is_file()
}

/// The pictures of an archive. One without any, or that cannot be read, is a failed input.
fn expand_archive(archive: PathBuf, list: &mut Vec<Input>) {
    let members = match pictures_of_archive(&archive) {
        Ok(members) => members,
        Err(error) => {
            list.push(Input::failing(archive, Failure::from(error)));
            return;
        }
    };
    if members.is_empty() {
        list.push(Input::failed(archive, "no pictures in this archive"));
        return;
    }
    let given = archive.components().count().saturating_sub(1);
    let member = |(name, source): (String, PictureSource)| {
        // `join` would let an absolute name take the archive's place.
        let name = name.trim_start_matches('/');
        Input { path: archive.join(name), given, source: Ok(source) }
    };
    list.extend(members.into_iter().map(member));
}

/// The pictures of a folder by name, those of its subfolders too with `is_recursive`; hidden files are left out, links to
/// folders are not followed (so no loop is possible). A folder without any is a failed input.
fn expand_folder(folder: PathBuf, is_recursive: bool, list: &mut Vec<Input>) {
    let depth = if is_recursive { usize::MAX } else { 1 };
    let walk = WalkDir::new(&folder).min_depth(1).max_depth(depth).sort_by_file_name();
    let (before, given) = (list.len(), folder.components().count());
    let mut subfolders = 0;
    for entry in walk.into_iter().filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry.file_name())) {
        match entry {
            Ok(entry) if entry.file_type().is_dir() => subfolders += 1,
            Ok(entry) if is_picture(&entry) => list.push(Input::found(entry.into_path(), given)),
            Ok(_) => {}
            Err(error) => {
                let path = error.path().unwrap_or(&folder).to_owned();
                list.push(match error.io_error() {
                    Some(error) => Input::failing(path, unreadable(error)),
                    None => Input::failed(path, format!("cannot read this folder: {error}")),
                });
            }
        }
    }
    if list.len() == before {
        let failure = Failure::lasting("no pictures in this folder");
        list.push(Input::failing(
            folder,
            match subfolders {
                1.. if !is_recursive => failure.with_remedy(Remedy::Subfolders),
                _ => failure,
            },
        ));
    }
}

fn unreadable(error: &io::Error) -> Failure {
    Failure::new(format!("cannot read this folder: {error}"), io_error_is_passing(error))
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

fn is_picture(entry: &DirEntry) -> bool {
    // A broken link is kept: its message says more than silence.
    let is_folder_link =
        || entry.path_is_symlink() && fs::metadata(entry.path()).is_ok_and(|found| found.is_dir());
    has_picture_extension(entry.path()) && !is_folder_link()
}

/// The names of a list: separated by NUL bytes where it has any (`find -print0`), by line ends otherwise; empty ones do not count.
fn read_list(source: impl Read) -> Result<Vec<PathBuf>, BulkError> {
    let mut bytes = Vec::new();
    source.take(MAX_LIST_BYTES + 1).read_to_end(&mut bytes).map_err(BulkError::List)?;
    let content = |expected, found: String| Err(BulkError::ListContent { expected, found });
    if bytes.len() as u64 > MAX_LIST_BYTES {
        return content("at most 1 GiB", "more: split it".to_owned());
    }
    let names: Vec<PathBuf> = if bytes.contains(&0) {
        let names = bytes.split(|&byte| byte == 0).filter(|name| !name.is_empty());
        names.map(to_path).collect::<Result<_, _>>()?
    } else {
        let lines = bytes.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        lines.filter(|line| !line.is_empty()).map(to_path).collect::<Result<_, _>>()?
    };
    if names.is_empty() {
        return content("one path a line", "no names".to_owned());
    }
    Ok(names)
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere names can be invalid")]
fn to_path(name: &[u8]) -> Result<PathBuf, BulkError> {
    use std::os::unix::ffi::OsStringExt;
    Ok(OsString::from_vec(name.to_vec()).into())
}

#[cfg(not(unix))]
fn to_path(name: &[u8]) -> Result<PathBuf, BulkError> {
    match std::str::from_utf8(name) {
        Ok(name) => Ok(OsString::from(name).into()),
        Err(_) => Err(BulkError::ListContent {
            expected: "names that are UTF-8",
            found: String::from_utf8_lossy(name).into_owned(),
        }),
    }
}

/// A path as records carry it, to be flattened into one: `path` with U+FFFD for what is not UTF-8, and, only then, `path_bytes`,
/// the exact bytes in hexadecimal.
#[derive(Clone, Debug)]
pub struct JsonPath {
    text: String,
    bytes: Option<Vec<u8>>,
}

impl JsonPath {
    /// The path as text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its exact bytes, where the text is not exact.
    pub fn bytes(&self) -> Option<&[u8]> {
        self.bytes.as_deref()
    }
}

impl From<&Path> for JsonPath {
    fn from(path: &Path) -> Self {
        let bytes = path.to_str().is_none().then(|| path.as_os_str().as_encoded_bytes().to_vec());
        Self { text: path.to_string_lossy().into_owned(), bytes }
    }
}

impl Serialize for JsonPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("path", &self.text)?;
        if let Some(bytes) = &self.bytes {
            map.serialize_entry("path_bytes", &hex(bytes))?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(names: &[PathBuf], is_recursive: bool) -> Result<Inputs, BulkError> {
        let options = CollectOptions { is_recursive, ..CollectOptions::default() };
        Inputs::collect(names, &options, io::empty())
    }

    fn names(list: &[Input]) -> Vec<String> {
        list.iter().map(|input| input.path.display().to_string()).collect()
    }

    #[test]
    fn lists_are_lines_or_nul_separated() {
        let lines = read_list("a.jpg\r\n\n两只猫.png\nc d.gif".as_bytes()).unwrap();
        assert_eq!(lines, ["a.jpg", "两只猫.png", "c d.gif"].map(PathBuf::from));
        let nuls = read_list("a\nb.jpg\0c.png\0".as_bytes()).unwrap();
        assert_eq!(nuls, ["a\nb.jpg", "c.png"].map(PathBuf::from));
    }

    #[test]
    fn an_empty_list_is_an_error() {
        assert!(read_list(&b"\n\n"[..]).unwrap_err().to_string().contains("no names"));
    }

    #[test]
    fn a_folder_becomes_its_pictures_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.PNG", "a.jpg", "notes.txt", ".hidden.png", "._a.jpg"] {
            fs::write(folder.path().join(name), b"").unwrap();
        }
        fs::create_dir(folder.path().join("deep.png")).unwrap();
        fs::write(folder.path().join("deep.png/c.webp"), b"").unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();

        let flat = collect(&[folder.path().to_owned()], false).unwrap();
        assert_eq!(names(&flat.list), [at("a.jpg"), at("b.PNG")]);
        assert!(!flat.is_single_file);
        let deep = collect(&[folder.path().to_owned()], true).unwrap();
        assert_eq!(names(&deep.list), [at("a.jpg"), at("b.PNG"), at("deep.png/c.webp")]);
    }

    #[test]
    fn a_folder_without_pictures_fails_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        let given =
            ["x.jpg".into(), folder.path().to_owned(), "https://example.org/y.jpg".into(), "z.jpg".into()];
        let inputs = collect(&given, false).unwrap();
        assert_eq!(inputs.list.len(), 4);
        assert!(inputs.list[0].source.is_ok() && inputs.list[3].source.is_ok());
        let problem = inputs.list[1].source.as_ref().unwrap_err();
        assert!(problem.reason == "no pictures in this folder", "{problem}");
        assert_eq!(problem.remedy, Some(Remedy::Subfolders));
        assert!(inputs.list[2].source.as_ref().unwrap_err().reason.contains("web address"));
    }

    #[test]
    fn a_second_dash_is_refused() {
        let twice = [PathBuf::from("-"), PathBuf::from("-")];
        assert!(collect(&twice, false).unwrap_err().to_string().contains("once"));
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_not_text_keep_their_bytes() {
        let path = to_path(b"\xff\xfe.jpg").unwrap();
        let json = serde_json::to_string(&JsonPath::from(path.as_path())).unwrap();
        assert_eq!(json, "{\"path\":\"\u{fffd}\u{fffd}.jpg\",\"path_bytes\":\"fffe2e6a7067\"}");
        let plain = serde_json::to_string(&JsonPath::from(Path::new("猫\n.jpg"))).unwrap();
        assert_eq!(plain, "{\"path\":\"猫\\n.jpg\"}");
    }

    #[cfg(unix)]
    #[test]
    fn links_to_folders_are_not_followed_and_links_to_files_are() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.jpg"), b"").unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("loop.png")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("a.jpg"), folder.path().join("b.jpg")).unwrap();
        let inputs = collect(&[folder.path().to_owned()], true).unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        assert_eq!(names(&inputs.list), [at("a.jpg"), at("b.jpg")]);
    }
}
