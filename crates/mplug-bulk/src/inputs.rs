//! From names to an ordered list of pictures: files, folders, zip and tar archives, Parquet tables, patterns that no shell has
//! expanded, web addresses, and `-` (a list, or one picture); or from an annotation file. Knows names, and first bytes where a name
//! says nothing: whether a file holds a picture is found out when it is opened.
//!
//! The order is the order given; within a folder or a zip, by name, within a tar, as it stands there. An input that cannot be
//! listed is an entry with its reason, in its place, so that the others are unharmed.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use image::RgbImage;
use mplug_data::dataset::{self, OpenOptions};
use mplug_data::looks::PassedOver;
use mplug_data::message::about;
use mplug_data::picture::{Failure, PictureLoader};
use mplug_data::source::{HeldPicture, PictureSource};
use rayon::prelude::*;

use crate::error::BulkError;
use crate::expand::{Listing, is_archive, is_pattern};
use crate::list::{Given, read_list};
use crate::shard::Shard;
use crate::{parquet, web};

/// Where a list is read: standard input.
const DASH: &str = "-";

/// One picture to work on, or the reason why there is none.
#[derive(Debug)]
pub struct Input {
    /// The file or folder, as given (inside a folder or an archive: that as given, then the picture's name).
    pub path: PathBuf,
    /// How many of the path's components what was given has, but for its last one where that is a file.
    pub(crate) given: usize,
    /// Where the picture is, or why this input cannot even be opened.
    pub source: Result<PictureSource, Failure>,
    /// The name's exact bytes, where the path is what they were read as.
    pub(crate) exact: Option<Vec<u8>>,
}

impl Input {
    /// A file to open.
    pub fn file(path: PathBuf) -> Self {
        let given = path.components().count().saturating_sub(1);
        Self { source: Ok(PictureSource::File(path.clone())), given, path, exact: None }
    }

    /// A file found in a folder of `given` components.
    pub(crate) fn found(path: PathBuf, given: usize) -> Self {
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
        Self { path, given, source, exact: None }
    }

    pub(crate) fn failed(path: PathBuf, problem: impl Into<String>) -> Self {
        Self::failing(path, Failure::lasting(problem))
    }

    pub(crate) fn failing(path: PathBuf, failure: Failure) -> Self {
        let given = path.components().count().saturating_sub(1);
        Self { path, given, source: Err(failure), exact: None }
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
    /// What was no picture in the folders and archives.
    pub passed_over: PassedOver,
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

    /// Lists what was given. `list` is read where `-` is given: names, one a line, or separated by NUL bytes; or one picture.
    ///
    /// # Errors
    /// When `list` cannot be read, holds no name, or was requested twice.
    pub fn collect(
        names: &[PathBuf],
        options: &CollectOptions,
        mut list: impl Read,
    ) -> Result<Self, BulkError> {
        let dash = Path::new(DASH);
        if names.iter().filter(|path| *path == dash).count() > 1 {
            return Err(BulkError::SecondList);
        }
        let mut found = Listing { is_recursive: options.is_recursive, ..Listing::default() };
        let mut is_picture = false;
        for path in names {
            if path != dash {
                found.expand(path.clone());
                continue;
            }
            match read_list(&mut list)? {
                Given::Names(names) => names.into_iter().for_each(|name| found.expand(name)),
                Given::Picture(bytes) => {
                    let source = PictureSource::Held(HeldPicture::new(DASH, &bytes));
                    found.list.push(Input { source: Ok(source), ..Input::file(path.clone()) });
                    is_picture = true;
                }
            }
        }
        let is_one = |path: &Path| (path != dash || is_picture) && !path.is_dir() && !is_archive(path);
        let is_file = |path: &Path| path.exists() || web::is_address(path) || !is_pattern(path);
        let is_single_file = matches!(names, [path] if is_one(path) && is_file(path));
        let Listing { list, passed_over, .. } = found;
        Ok(parquet::expand(Self { list, is_single_file, passed_over }, options.image_column.as_deref()))
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
            list.push(Input { path, given, source, exact: None });
        }
        Ok(Self { list, is_single_file: false, passed_over: PassedOver::default() })
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io};

    use mplug_data::picture::Remedy;

    use super::*;
    use crate::json_path::JsonPath;
    use crate::list::to_path;

    fn collect(names: &[PathBuf], is_recursive: bool) -> Result<Inputs, BulkError> {
        let options = CollectOptions { is_recursive, ..CollectOptions::default() };
        Inputs::collect(names, &options, io::empty())
    }

    fn names(list: &[Input]) -> Vec<String> {
        list.iter().map(|input| input.path.display().to_string()).collect()
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
        assert_eq!(flat.passed_over.kinds(), [("hidden", 2), (".txt", 1), ("subfolders", 1)]);
        assert!(!flat.is_single_file);
        let deep = collect(&[folder.path().to_owned()], true).unwrap();
        assert_eq!(names(&deep.list), [at("a.jpg"), at("b.PNG"), at("deep.png/c.webp")]);
    }

    /// Case 06: by name or by their first bytes; kinds that cannot be read are inputs too, and say so when they are opened.
    #[test]
    fn no_picture_of_a_folder_is_left_out_without_a_word() {
        let folder = tempfile::tempdir().unwrap();
        let jpeg = b"\xff\xd8\xff\xe0rest";
        for (name, bytes) in [
            ("a.jfif", &jpeg[..]),
            ("b.pjpeg", jpeg),
            ("c", jpeg),
            ("d.jpg_large", jpeg),
            ("e.avif", b""),
            ("f.download", b"\0\0\0\x18ftypheic"),
            ("g.svg", b"<svg/>"),
            ("h.txt", b"a text"),
        ] {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let inputs = collect(&[folder.path().to_owned()], false).unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        assert_eq!(
            names(&inputs.list),
            ["a.jfif", "b.pjpeg", "c", "d.jpg_large", "e.avif", "f.download"].map(at)
        );
        assert_eq!(inputs.passed_over.kinds(), [(".svg", 1), (".txt", 1)]);
        assert_eq!(inputs.passed_over.doubtful(), 1);
    }

    #[test]
    fn a_picture_may_come_by_standard_input() {
        let collect = |names: &[&str], bytes: &[u8]| {
            let names: Vec<PathBuf> = names.iter().map(PathBuf::from).collect();
            Inputs::collect(&names, &CollectOptions::default(), bytes).unwrap()
        };
        let inputs = collect(&["-"], b"GIF89a and so on");
        assert!(inputs.is_single_file && inputs.list.len() == 1);
        assert!(matches!(inputs.list[0].source, Ok(PictureSource::Held(_))), "{inputs:?}");
        assert!(!collect(&["-", "a.png"], b"GIF89a").is_single_file);
        assert!(!collect(&["-"], b"a.png").is_single_file);
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
