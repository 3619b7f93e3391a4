//! A text file for every picture: where it is, and what happens to one that is there already.
//!
//! Folders may come from strangers: a link is neither followed nor replaced, neither in a text file's place nor in that of a folder below
//! what was typed. Its picture fails, and the others go on.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use mplug::config::{Language, Languages};
use mplug::io_error_is_passing;
use mplug_data::looks::is_named_as_picture as judge_name;
use mplug_data::picture::{Failure, Remedy};
use mplug_data::source::PictureSource;

use crate::answer::Answer;
use crate::error::BulkError;
use crate::inputs::Input;
use crate::record::Style;
use crate::records::write_whole;

/// The ending of the text files where none was given.
const ENDING: &str = "txt";
/// Longest text file that is added to.
const MAX_OLD_BYTES: u64 = 1 << 20;

/// What happens to a text file that is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExisting {
    /// It stays, and its picture is not captioned.
    #[default]
    Skip,
    /// The caption takes its place.
    Overwrite,
    /// The caption is added behind its text, after a comma.
    Append,
    /// The caption is added before its text.
    Prepend,
}

/// What the text file of a picture says, or the one of a language where there are several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) language: Option<Language>,
    pub(crate) text: String,
}

/// The text files of a run.
pub(crate) struct Sidecars {
    /// Those of each input: one, or one for each language.
    places: Vec<Vec<Place>>,
    on_existing: OnExisting,
}

/// Where a text file is.
struct Place {
    /// The language, where there are several.
    language: Option<Language>,
    path: PathBuf,
    /// How many of its components were given. Those may be links: whoever gave them knows them.
    given: usize,
}

impl Place {
    /// Why nothing may be written there; nothing if the place is free or has a file.
    fn problem(&self) -> Option<Failure> {
        let count = self.path.components().count();
        let mut place = PathBuf::new();
        for (number, part) in (1..).zip(self.path.components()) {
            place.push(part);
            if number <= self.given && number < count {
                continue;
            }
            // What is not there will be made; what cannot be looked at says so when it is opened.
            let Ok(found) = fs::symlink_metadata(&place) else { return None };
            let what = if found.is_symlink() {
                "is a link, which is neither followed nor replaced"
            } else if !found.is_file() && !found.is_dir() {
                "is no regular file"
            } else {
                continue;
            };
            let whose = if number == count { "its text file" } else { "the folder of its text file" };
            let reason = format!("{whose} {} {what}", place.display());
            return Some(Failure::lasting(reason).with_remedy(Remedy::OtherFolder));
        }
        None
    }
}

impl Sidecars {
    /// The text files of `inputs`: beside them, or below `folder` where they are below what was given. `a.txt` for `a.jpg`; where
    /// pictures share that name (`a.jpg` and `a.png`), `a.jpg.txt` and `a.png.txt`. Of several languages each has its own: `a.zh.txt`.
    ///
    /// # Errors
    /// When two pictures would have one file, or a picture of an archive or the web has no folder to put its own in.
    pub(crate) fn plan(
        inputs: &[Input],
        folder: Option<&Path>,
        on_existing: OnExisting,
        ending: Option<&str>,
        languages: Languages,
    ) -> Result<Self, BulkError> {
        let ending = &checked_ending(ending.unwrap_or(ENDING))?;
        let mut places = Vec::with_capacity(inputs.len());
        for input in inputs {
            places.push(match folder {
                Some(folder) => folder.join(input.relative()),
                None if has_no_folder(input) => {
                    return Err(BulkError::NoFolder { path: input.path.clone() });
                }
                None => input.path.clone(),
            });
        }
        let given = |input: &Input| folder.map_or(input.given, |folder| folder.components().count());
        let mut short: HashMap<PathBuf, usize> = HashMap::with_capacity(places.len());
        for place in &places {
            *short.entry(place.with_extension(ending)).or_default() += 1;
        }
        let name = |place: &PathBuf| {
            let plain = place.with_extension(ending);
            // A picture may be called as its own text file would be.
            if short[&plain] == 1 && plain != *place { plain } else { longer(place, ending) }
        };
        let paths: Vec<PathBuf> = places.iter().map(name).collect();
        let mut taken = HashSet::with_capacity(paths.len());
        if let Some(index) = (0..paths.len()).find(|index| !taken.insert(&paths[*index])) {
            let first = paths.iter().position(|path| *path == paths[index]).unwrap_or_default();
            let [first, second] = [first, index].map(|index| inputs[index].path.clone());
            return Err(BulkError::SameTextFile { first, second, text_file: paths[index].clone() });
        }
        let files = |(path, input): (PathBuf, &Input)| -> Vec<Place> {
            let given = given(input);
            if !languages.are_several() {
                return vec![Place { language: None, path, given }];
            }
            let file = |language: Language| Place {
                language: Some(language),
                path: of_language(&path, language, ending),
                given,
            };
            languages.iter().map(file).collect()
        };
        Ok(Self { places: paths.into_iter().zip(inputs).map(files).collect(), on_existing })
    }

    /// The inputs and text files that are left to do: with [`OnExisting::Skip`] the files that are not there, and the inputs that lack
    /// one; and how many inputs lack none.
    pub(crate) fn left(mut self, inputs: Vec<Input>) -> (Self, Vec<Input>, usize) {
        if self.on_existing != OnExisting::Skip {
            return (self, inputs, 0);
        }
        let before = inputs.len();
        for places in &mut self.places {
            places.retain(|place| !place.path.exists());
        }
        let (places, inputs): (Vec<_>, Vec<_>) =
            self.places.into_iter().zip(inputs).filter(|(places, _)| !places.is_empty()).unzip();
        let skipped = before - inputs.len();
        (Self { places, ..self }, inputs, skipped)
    }

    /// Why a text of input `number` may not be written, if one may not.
    pub(crate) fn problem(&self, number: usize) -> Option<Failure> {
        self.places[number].iter().find_map(Place::problem)
    }

    /// Why nothing can be added to an old text of input `index`, if nothing can.
    pub(crate) fn old_text_problem(&self, index: usize) -> Option<Failure> {
        let is_passing = |error: &BulkError| match error {
            BulkError::Io { source, .. } => io_error_is_passing(source),
            _ => false,
        };
        let error = self.places[index].iter().find_map(|place| self.old_text(place).err())?;
        let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
        Some(Failure::new(format!("its text file {error}{cause}"), is_passing(&error)))
    }

    /// Where the journal of the run belongs, if it needs one: what is skipped when it is there needs none.
    pub(crate) fn journal(&self, folder: Option<&Path>) -> Option<PathBuf> {
        if self.on_existing == OnExisting::Skip {
            return None;
        }
        let folder = folder.or_else(|| self.places.first()?.first()?.path.parent())?;
        Some(folder.join(".mplug-captions"))
    }

    /// The texts that the files of input `number` will have: its captions, one a line. A file that stays gets none.
    ///
    /// # Errors
    /// If an old text cannot be read.
    pub(crate) fn texts(
        &self,
        number: usize,
        answer: &Answer,
        style: &Style,
    ) -> Result<Vec<Text>, BulkError> {
        let mut texts = Vec::new();
        for found in answer.iter() {
            let place = self.places[number].iter().find(|place| place.language == found.language);
            if let (Some(place), Ok(captions)) = (place, &found.captions) {
                let text = self.text(place, &style.lines(captions), style)?;
                texts.push(Text { language: found.language, text });
            }
        }
        Ok(texts)
    }

    /// The text that a file will have.
    fn text(&self, place: &Place, caption: &str, style: &Style) -> Result<String, BulkError> {
        let separator = style.wording.separators.of(caption);
        Ok(match (self.on_existing, self.old_text(place)?) {
            (OnExisting::Append, Some(old)) => format!("{old}{separator}{caption}\n"),
            (OnExisting::Prepend, Some(old)) => format!("{caption}{separator}{old}\n"),
            _ => format!("{caption}\n"),
        })
    }

    /// The text to which a caption is added, if it is added to one.
    fn old_text(&self, Place { path, .. }: &Place) -> Result<Option<String>, BulkError> {
        match self.on_existing {
            OnExisting::Append | OnExisting::Prepend => old_text(path),
            OnExisting::Skip | OnExisting::Overwrite => Ok(None),
        }
    }

    /// Writes a file of input `number`, whole or not at all.
    pub(crate) fn write(&self, number: usize, Text { language, text }: &Text) -> Result<(), BulkError> {
        let place = self.places[number].iter().find(|place| place.language == *language);
        let Some(place) = place else { return Ok(()) };
        let Place { path, .. } = place;
        // It was looked at before: this is what appeared meanwhile.
        if let Some(problem) = place.problem() {
            return Err(BulkError::TextFile { problem: problem.reason });
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(BulkError::io(folder, "cannot be made"))?;
        }
        write_whole(text.as_bytes(), path)
    }
}

/// Whether there is no place beside a picture: it is in an archive, or on the web.
fn has_no_folder(input: &Input) -> bool {
    !matches!(input.source, Ok(PictureSource::File(_)) | Err(_))
}

/// `a.jpg.txt`.
fn longer(place: &Path, ending: &str) -> PathBuf {
    let mut name: OsString = place.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

/// `a.zh.txt` for `a.txt`, whatever stops are in the ending.
fn of_language(path: &Path, language: Language, ending: &str) -> PathBuf {
    let stops = ending.matches('.').count();
    let stem = (0..=stops).fold(path.to_owned(), |path, _| path.with_extension(""));
    longer(&stem, &format!("{language}.{ending}"))
}

/// An ending of text files, without its first stop: no picture's, for it would take the picture's place, and none that leads elsewhere.
fn checked_ending(ending: &str) -> Result<String, BulkError> {
    let plain = ending.strip_prefix('.').unwrap_or(ending);
    let is_name = !plain.is_empty() && !plain.ends_with('.') && !plain.contains(['/', '\\', ':', '\0']);
    if !is_name || judge_name(Path::new(&format!("a.{plain}"))) {
        return Err(BulkError::TextEnding { found: ending.to_owned() });
    }
    Ok(plain.to_owned())
}

/// The text of a file without its end; none if there is no file, or nothing in it.
fn old_text(path: &Path) -> Result<Option<String>, BulkError> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(BulkError::io(path, "")(error)),
    };
    let mut text = String::new();
    file.take(MAX_OLD_BYTES + 1).read_to_string(&mut text).map_err(BulkError::io(path, ""))?;
    if text.len() as u64 > MAX_OLD_BYTES {
        let problem = "is longer than 1 MiB, too long for a caption to be added to";
        return Err(BulkError::Unwritable { path: path.to_owned(), problem });
    }
    let text = text.trim_end();
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(sidecars: &Sidecars) -> Vec<String> {
        sidecars
            .places
            .iter()
            .flatten()
            .map(|place| place.path.display().to_string().replace('\\', "/"))
            .collect()
    }

    fn inputs(names: &[&str]) -> Vec<Input> {
        names.iter().map(|name| Input::file(PathBuf::from(name))).collect()
    }

    fn planned(
        list: &[Input],
        folder: Option<&Path>,
        on_existing: OnExisting,
    ) -> Result<Sidecars, BulkError> {
        Sidecars::plan(list, folder, on_existing, None, Languages::default())
    }

    fn text(text: &str) -> Text {
        Text { language: None, text: text.to_owned() }
    }

    #[test]
    fn pictures_that_share_a_name_keep_their_endings() {
        let list = inputs(&["d/a.jpg", "d/a.png", "d/b.jpg", "e/a.jpg", "d/c.tar.gif"]);
        let beside = planned(&list, None, OnExisting::Skip).unwrap();
        assert_eq!(names(&beside), ["d/a.jpg.txt", "d/a.png.txt", "d/b.txt", "e/a.txt", "d/c.tar.txt"]);
        // Typed one by one they have no common folder: e/a.jpg and d/a.jpg meet.
        let error = planned(&list, Some(Path::new("out")), OnExisting::Skip).err().unwrap().to_string();
        assert!(error.contains("d/a.jpg and e/a.jpg would both have"), "{error}");
        let few = planned(&list[..3], Some(Path::new("out")), OnExisting::Skip).unwrap();
        assert_eq!(names(&few), ["out/a.jpg.txt", "out/a.png.txt", "out/b.txt"]);
        let both = "zh,en".parse().unwrap();
        let several = Sidecars::plan(&list[1..3], None, OnExisting::Skip, None, both).unwrap();
        assert_eq!(names(&several), ["d/a.zh.txt", "d/a.en.txt", "d/b.zh.txt", "d/b.en.txt"]);
        let several = Sidecars::plan(&list[..2], None, OnExisting::Skip, None, both).unwrap();
        assert_eq!(names(&several)[..2], ["d/a.jpg.zh.txt", "d/a.jpg.en.txt"]);
    }

    #[test]
    fn text_files_may_end_otherwise() {
        let list = inputs(&["d/a.jpg", "d/a.png", "d/b.c.jpg"]);
        let planned = |ending, languages: &str| {
            let languages = languages.parse().unwrap_or_default();
            Sidecars::plan(&list, None, OnExisting::Skip, Some(ending), languages)
        };
        let caption = ["d/a.jpg.caption", "d/a.png.caption", "d/b.c.caption"];
        assert_eq!(names(&planned(".caption", "").unwrap()), caption);
        assert_eq!(names(&planned("caption", "").unwrap()), caption);
        assert_eq!(names(&planned("my.txt", "").unwrap())[2], "d/b.c.my.txt");
        assert_eq!(names(&planned("my.txt", "zh,en").unwrap())[4..], ["d/b.c.zh.my.txt", "d/b.c.en.my.txt"]);
        for bad in ["", ".", ".png", "HEIC", "../x", "a/b", "x."] {
            let error = planned(bad, "").err().unwrap().to_string();
            assert!(error.contains("expected an ending"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_picture_is_left_while_a_language_lacks_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let list = ["a.jpg", "b.jpg", "c.jpg"].map(|name| Input::file(at(name)));
        for name in ["a.zh.txt", "b.zh.txt", "b.en.txt"] {
            fs::write(at(name), "old").unwrap();
        }
        let plan = Sidecars::plan(&list, None, OnExisting::Skip, None, "zh,en".parse().unwrap()).unwrap();
        let (plan, left, skipped) = plan.left(list.into());
        assert_eq!((left.len(), skipped), (2, 1));
        for language in Language::ALL {
            plan.write(0, &Text { language: Some(language), text: "new".to_owned() }).unwrap();
        }
        let read = |name: &str| fs::read_to_string(at(name)).unwrap();
        assert_eq!((read("a.zh.txt").as_str(), read("a.en.txt").as_str()), ("old", "new"));
    }

    #[test]
    fn old_texts_are_kept_as_requested() {
        let folder = tempfile::tempdir().unwrap();
        let list = vec![Input::file(folder.path().join("a.jpg")), Input::file(folder.path().join("b.jpg"))];
        fs::write(folder.path().join("a.txt"), "old\n").unwrap();
        for (on_existing, expected) in [
            (OnExisting::Overwrite, ["new\n", "new\n"]),
            (OnExisting::Append, ["old, new\n", "new\n"]),
            (OnExisting::Prepend, ["new, old\n", "new\n"]),
        ] {
            let plan = planned(&list, None, on_existing).unwrap();
            assert_eq!(
                [0, 1].map(|number| plan.text(&plan.places[number][0], "new", &Style::default()).unwrap()),
                expected
            );
        }
        let plan = planned(&list, None, OnExisting::Skip).unwrap();
        let (plan, left, skipped) = plan.left(list);
        assert_eq!((left.len(), skipped), (1, 1));
        plan.write(0, &text("b\n")).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("b.txt")).unwrap(), "b\n");
    }
    /// What stands there that no run made, also where it appears after the run began.
    #[cfg(unix)]
    #[test]
    fn links_are_neither_followed_nor_replaced() {
        use std::os::unix::fs::symlink;

        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("p/sub")).unwrap();
        fs::create_dir(at("elsewhere")).unwrap();
        fs::write(at("victim"), "precious").unwrap();
        let list = vec![Input::file(at("p/a.jpg")), Input::file(at("p/b.jpg"))];
        let plan = planned(&list, None, OnExisting::Append).unwrap();
        assert_eq!((plan.problem(0), plan.problem(1)), (None, None));
        symlink("../victim", at("p/a.txt")).unwrap();
        symlink("nothing", at("p/b.txt")).unwrap();
        for number in [0, 1] {
            assert!(plan.problem(number).unwrap().reason.contains(".txt is a link"));
            assert!(plan.write(number, &text("x")).unwrap_err().to_string().contains("is a link"));
        }
        assert_eq!(fs::read_to_string(at("victim")).unwrap(), "precious");
        assert!(at("p/a.txt").is_symlink() && at("p/b.txt").is_symlink() && !at("p/nothing").exists());

        // A folder that was given may be a link, one below it may not.
        symlink("p", at("typed")).unwrap();
        let typed = vec![Input::file(at("typed/c.jpg"))];
        planned(&typed, None, OnExisting::Overwrite).unwrap().write(0, &text("c\n")).unwrap();
        assert_eq!(fs::read_to_string(at("p/c.txt")).unwrap(), "c\n");
        fs::create_dir(at("out")).unwrap();
        symlink("../elsewhere", at("out/sub")).unwrap();
        let below = vec![Input { given: at("p").components().count(), ..Input::file(at("p/sub/d.jpg")) }];
        let plan = planned(&below, Some(&at("out")), OnExisting::Overwrite).unwrap();
        assert!(plan.write(0, &text("x")).unwrap_err().to_string().contains("out/sub is a link"));
        assert_eq!(fs::read_dir(at("elsewhere")).unwrap().count(), 0);
    }
}
