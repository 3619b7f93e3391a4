//! From the INPUT… of a command to an ordered list of pictures: files, folders, zip and tar archives, patterns that no shell has
//! expanded, and `-` (a list on standard input); or from an annotation file. Knows names only: whether a file holds a picture is found out when it is opened.
//!
//! The order is the order typed; within a folder or a zip, by name, within a tar, as it stands there. An input that cannot be listed is an entry with its reason, in its
//! place, so that the others are unharmed.

use std::{
    collections::HashSet,
    ffi::{OsStr, OsString},
    fs,
    io::{self, Read},
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, bail};
use glob::MatchOptions;
use mplug::io_error_is_passing;
use mplug_data::{
    dataset::{self, OpenOptions},
    source::{PictureSource, pictures_of_archive},
};
use serde::Serialize;
use walkdir::{DirEntry, WalkDir};

use crate::{pictures::Failure, report, web};

/// Endings that make a file of a folder a picture. A file that is named itself may end as it likes.
const PICTURE_ENDINGS: [&str; 9] = ["jpg", "jpeg", "jpe", "png", "webp", "gif", "bmp", "tif", "tiff"];

/// Longest list accepted on standard input: ten million long names, and no end to a stream that has none.
const MAX_LIST_BYTES: u64 = 1 << 30;

/// One picture to work on, or the reason why there is none.
#[derive(Debug)]
pub(crate) struct Input {
    /// The file or folder, as typed (inside a folder or an archive: that as typed, then the picture's name).
    pub(crate) path: PathBuf,
    /// How many of the path's components what was typed has, but for its last one where that is a file.
    pub(crate) typed: usize,
    /// Where the picture is, or why this input cannot even be opened.
    pub(crate) source: Result<PictureSource, Failure>,
}

impl Input {
    /// A file to open.
    pub(crate) fn file(path: PathBuf) -> Self {
        let typed = path.components().count().saturating_sub(1);
        Self { source: Ok(PictureSource::File(path.clone())), typed, path }
    }

    /// A file found in a folder of so many components.
    fn found(path: PathBuf, typed: usize) -> Self {
        Self { typed, ..Self::file(path) }
    }

    pub(crate) fn failed(path: PathBuf, problem: impl Into<String>) -> Self {
        Self::failing(path, Failure::lasting(problem))
    }

    fn failing(path: PathBuf, failure: Failure) -> Self {
        let typed = path.components().count().saturating_sub(1);
        Self { path, typed, source: Err(failure) }
    }

    /// Whether it is a Parquet file that is there.
    pub(crate) fn is_parquet(&self) -> bool {
        let is_named = self.path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("parquet"));
        is_named && matches!(&self.source, Ok(PictureSource::File(path)) if path.is_file())
    }

    /// The part of the path below what was typed: the name of a file, a picture's place in a folder, or an archive's name and the
    /// member's; of a web address, a name made of it. Nothing in it leads upwards.
    pub(crate) fn relative(&self) -> PathBuf {
        if let Ok(PictureSource::Remote(_)) = self.source {
            return web::place(&self.path.to_string_lossy());
        }
        let parts = self.path.components().skip(self.typed);
        parts.filter(|part| matches!(part, Component::Normal(_))).collect()
    }
}

/// The inputs of a run, and whether one file alone was asked for (its answer then needs no name beside it).
#[derive(Debug)]
pub(crate) struct Inputs {
    /// In the order of the answers.
    pub(crate) list: Vec<Input>,
    /// One file was typed: no folder, no list, no second name.
    pub(crate) is_single_file: bool,
}

impl Inputs {
    /// An error where an input could not be listed for a reason that passes: a list without its pictures would make other parts of a
    /// run than the whole list, and could not be gone on with.
    pub(crate) fn require_whole(&self) -> anyhow::Result<()> {
        for Input { path, source, .. } in &self.list {
            if let Err(failure) = source
                && failure.is_passing
            {
                bail!(
                    "{}; so the list of inputs is not whole: run again when it can be listed, or leave it out",
                    report::about(path, &failure.reason)
                );
            }
        }
        Ok(())
    }

    /// Lists what was typed. Reads standard input where `-` was typed.
    ///
    /// # Errors
    /// When standard input cannot be read, holds no name, or was asked for twice.
    pub(crate) fn collect(typed: &[PathBuf], is_recursive: bool) -> anyhow::Result<Self> {
        let dash = Path::new("-");
        if typed.iter().filter(|path| *path == dash).count() > 1 {
            bail!("`-` can be given once: standard input has one list (a file named `-` is `./-`)");
        }
        let mut list = Vec::new();
        for path in typed {
            if path == dash {
                let names = read_list(io::stdin().lock()).context("the list on standard input")?;
                for name in names {
                    expand(name, is_recursive, &mut list);
                }
            } else {
                expand(path.clone(), is_recursive, &mut list);
            }
        }
        let is_one = |path: &Path| path != dash && !path.is_dir() && !is_archive(path);
        let is_file = |path: &Path| path.exists() || web::is_address(path) || !is_pattern(path);
        let is_single_file = matches!(typed, [path] if is_one(path) && is_file(path));
        Ok(Self { list, is_single_file })
    }
}

/// The pictures of an annotation file, each once, in the order in which it first names them.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn of_dataset(file: &Path, images: Option<&Path>) -> anyhow::Result<Inputs> {
    let options = OpenOptions { images: images.map(Path::to_owned), ..OpenOptions::default() };
    let dataset = dataset::open(file, &options)?;
    let root = dataset.images().to_owned();
    let typed = root.components().count();
    let mut seen = HashSet::new();
    let mut list = Vec::new();
    for (number, annotation) in dataset.annotations().records.iter().enumerate() {
        let name = annotation.picture_name();
        if !seen.insert(name) {
            continue;
        }
        let source = dataset.picture(number).map_err(|error| Failure::of_data(&error));
        let path = match &source {
            Ok(PictureSource::File(path)) => path.clone(),
            _ => root.join(name.trim_start_matches('/')),
        };
        list.push(Input { path, typed, source });
    }
    Ok(Inputs { list, is_single_file: false })
}

/// One name of the command line or of the list: a folder becomes its pictures, anything else stays.
fn expand(path: PathBuf, is_recursive: bool, list: &mut Vec<Input>) {
    // What cannot be looked at now may be a folder or an archive: taken for a picture it would make another list.
    if let Err(error) = fs::metadata(&path)
        && io_error_is_passing(&error)
    {
        let failure = Failure { reason: format!("cannot be read: {error}"), is_passing: true };
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
            list.push(Input::failing(archive, Failure::of_data(&error)));
            return;
        }
    };
    if members.is_empty() {
        list.push(Input::failed(archive, "no pictures in this archive"));
        return;
    }
    let typed = archive.components().count().saturating_sub(1);
    let member = |(name, source): (String, PictureSource)| {
        // `join` would let an absolute name take the archive's place.
        let name = name.trim_start_matches('/');
        Input { path: archive.join(name), typed, source: Ok(source) }
    };
    list.extend(members.into_iter().map(member));
}

/// The pictures of a folder by name, those of its subfolders too with `is_recursive`; hidden files are left out, links to
/// folders are not followed (so no loop is possible). A folder without any is a failed input.
fn expand_folder(folder: PathBuf, is_recursive: bool, list: &mut Vec<Input>) {
    let depth = if is_recursive { usize::MAX } else { 1 };
    let walk = WalkDir::new(&folder).min_depth(1).max_depth(depth).sort_by_file_name();
    let (before, typed) = (list.len(), folder.components().count());
    let mut subfolders = 0;
    for entry in walk.into_iter().filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry.file_name())) {
        match entry {
            Ok(entry) if entry.file_type().is_dir() => subfolders += 1,
            Ok(entry) if is_picture(&entry) => list.push(Input::found(entry.into_path(), typed)),
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
        let hint = match subfolders {
            1.. if !is_recursive => "; `--recursive` looks into its subfolders",
            _ => "",
        };
        list.push(Input::failed(folder, format!("no pictures in this folder{hint}")));
    }
}

fn unreadable(error: &io::Error) -> Failure {
    Failure { reason: format!("cannot read this folder: {error}"), is_passing: io_error_is_passing(error) }
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

fn is_picture(entry: &DirEntry) -> bool {
    let has_ending = entry
        .path()
        .extension()
        .is_some_and(|ending| PICTURE_ENDINGS.iter().any(|picture| ending.eq_ignore_ascii_case(picture)));
    // A broken link is kept: its message says more than silence.
    let is_folder_link =
        || entry.path_is_symlink() && fs::metadata(entry.path()).is_ok_and(|found| found.is_dir());
    has_ending && !is_folder_link()
}

/// The names of a list: separated by NUL bytes where it has any (`find -print0`), by line ends otherwise; empty ones do not count.
fn read_list(source: impl Read) -> anyhow::Result<Vec<PathBuf>> {
    let mut bytes = Vec::new();
    source.take(MAX_LIST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_LIST_BYTES {
        bail!("longer than {MAX_LIST_BYTES} bytes; split it");
    }
    let names: Vec<PathBuf> = if bytes.contains(&0) {
        bytes
            .split(|&byte| byte == 0)
            .filter(|name| !name.is_empty())
            .map(to_path)
            .collect::<Result<_, _>>()?
    } else {
        let lines = bytes.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        lines.filter(|line| !line.is_empty()).map(to_path).collect::<Result<_, _>>()?
    };
    if names.is_empty() {
        bail!("no names; one path per line is wanted");
    }
    Ok(names)
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere names can be invalid")]
fn to_path(name: &[u8]) -> anyhow::Result<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    Ok(OsString::from_vec(name.to_vec()).into())
}

#[cfg(not(unix))]
fn to_path(name: &[u8]) -> anyhow::Result<PathBuf> {
    let name = std::str::from_utf8(name).context("a name that is not UTF-8")?;
    Ok(OsString::from(name).into())
}

/// A path as JSON carries it, to be flattened into a record: `path` with U+FFFD for what is not UTF-8, and, only then,
/// `path_bytes`, the exact bytes in hexadecimal.
#[derive(Debug, Serialize)]
pub(crate) struct JsonPath {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
}

impl JsonPath {
    /// The path as text.
    pub(crate) fn text(&self) -> &str {
        &self.path
    }
}

impl From<&Path> for JsonPath {
    fn from(path: &Path) -> Self {
        use std::fmt::Write;
        let path_bytes = path.to_str().is_none().then(|| {
            path.as_os_str().as_encoded_bytes().iter().fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            })
        });
        Self { path: path.to_string_lossy().into_owned(), path_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

        let flat = Inputs::collect(&[folder.path().to_owned()], false).unwrap();
        assert_eq!(names(&flat.list), [at("a.jpg"), at("b.PNG")]);
        assert!(!flat.is_single_file);
        let deep = Inputs::collect(&[folder.path().to_owned()], true).unwrap();
        assert_eq!(names(&deep.list), [at("a.jpg"), at("b.PNG"), at("deep.png/c.webp")]);
    }

    #[test]
    fn a_folder_without_pictures_fails_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        let typed =
            ["x.jpg".into(), folder.path().to_owned(), "https://example.org/y.jpg".into(), "z.jpg".into()];
        let inputs = Inputs::collect(&typed, false).unwrap();
        assert_eq!(inputs.list.len(), 4);
        assert!(inputs.list[0].source.is_ok() && inputs.list[3].source.is_ok());
        let problem = inputs.list[1].source.as_ref().unwrap_err();
        assert!(problem.reason.contains("no pictures in this folder; `--recursive`"), "{problem}");
        assert!(inputs.list[2].source.as_ref().unwrap_err().reason.contains("web address"));
    }

    #[test]
    fn a_second_dash_is_refused() {
        let twice = [PathBuf::from("-"), PathBuf::from("-")];
        assert!(Inputs::collect(&twice, false).unwrap_err().to_string().contains("once"));
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
        let inputs = Inputs::collect(&[folder.path().to_owned()], true).unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        assert_eq!(names(&inputs.list), [at("a.jpg"), at("b.jpg")]);
    }
}
