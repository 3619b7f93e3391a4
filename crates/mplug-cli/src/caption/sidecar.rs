//! A text file for every picture: where it is, and what happens to one that is there already.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::ValueEnum;

use crate::{inputs::Input, output};

/// The ending of the text files.
const ENDING: &str = "txt";
/// What stands between an old text and a new one.
const SEPARATOR: &str = ", ";
/// Longest text file that is added to.
const MAX_OLD_BYTES: u64 = 1 << 20;

/// What happens to a text file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum OnExisting {
    /// It stays, and its picture is not captioned
    Skip,
    /// The caption takes its place
    Overwrite,
    /// The caption is added behind its text, after a comma
    Append,
    /// The caption is added before its text
    Prepend,
}

/// The text files of a run.
pub(super) struct Sidecars {
    /// One for each input.
    paths: Vec<PathBuf>,
    on_existing: OnExisting,
}

impl Sidecars {
    /// The text files of `inputs`: beside them, or below `folder` where they are below what was typed. `a.txt` for `a.jpg`; where
    /// pictures share that name (`a.jpg` and `a.png`), `a.jpg.txt` and `a.png.txt`.
    ///
    /// # Errors
    /// When two pictures would have one file, or a picture of an archive or the web has no folder to put its own in.
    pub(super) fn plan(
        inputs: &[Input],
        folder: Option<&Path>,
        on_existing: OnExisting,
    ) -> anyhow::Result<Self> {
        let mut places = Vec::with_capacity(inputs.len());
        for input in inputs {
            places.push(match folder {
                Some(folder) => folder.join(input.relative()),
                None if has_no_folder(input) => bail!(
                    "{}: is in no folder of this machine; `--format sidecar` wants `--output DIR` for its text",
                    input.path.display()
                ),
                None => input.path.clone(),
            });
        }
        let mut short: HashMap<PathBuf, usize> = HashMap::with_capacity(places.len());
        for place in &places {
            *short.entry(place.with_extension(ENDING)).or_default() += 1;
        }
        let name = |place: &PathBuf| {
            let plain = place.with_extension(ENDING);
            if short[&plain] == 1 { plain } else { longer(place) }
        };
        let paths: Vec<PathBuf> = places.iter().map(name).collect();
        let mut taken = HashSet::with_capacity(paths.len());
        if let Some(place) = (0..paths.len()).find(|place| !taken.insert(&paths[*place])) {
            let first = paths.iter().position(|path| *path == paths[place]).unwrap_or_default();
            bail!(
                "{} and {} would both have the text file {}",
                inputs[first].path.display(),
                inputs[place].path.display(),
                paths[place].display()
            );
        }
        Ok(Self { paths, on_existing })
    }

    /// The inputs and text files that are left to do: with [`OnExisting::Skip`] those without a file; and how many have one.
    pub(super) fn left(self, inputs: Vec<Input>) -> (Self, Vec<Input>, usize) {
        if self.on_existing != OnExisting::Skip {
            return (self, inputs, 0);
        }
        let before = inputs.len();
        let (paths, inputs): (Vec<_>, Vec<_>) =
            self.paths.into_iter().zip(inputs).filter(|(path, _)| !path.exists()).unzip();
        let skipped = before - inputs.len();
        (Self { paths, ..self }, inputs, skipped)
    }

    /// Where the journal of the run belongs, if it needs one: what is skipped when it is there needs none.
    pub(super) fn journal(&self, folder: Option<&Path>) -> Option<PathBuf> {
        if self.on_existing == OnExisting::Skip {
            return None;
        }
        let folder = folder.or_else(|| self.paths.first()?.parent())?;
        Some(folder.join(".mplug-captions"))
    }

    /// The text that the file of input `number` will have.
    ///
    /// # Errors
    /// If an old text cannot be read.
    pub(super) fn text(&self, number: usize, caption: &str) -> anyhow::Result<String> {
        let path = &self.paths[number];
        let old = match self.on_existing {
            OnExisting::Append | OnExisting::Prepend => old_text(path)?,
            OnExisting::Skip | OnExisting::Overwrite => None,
        };
        Ok(match (self.on_existing, old) {
            (OnExisting::Append, Some(old)) => format!("{old}{SEPARATOR}{caption}\n"),
            (OnExisting::Prepend, Some(old)) => format!("{caption}{SEPARATOR}{old}\n"),
            _ => format!("{caption}\n"),
        })
    }

    /// Writes the file of input `number`, whole or not at all.
    pub(super) fn write(&self, number: usize, text: &str) -> anyhow::Result<()> {
        let path = &self.paths[number];
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
        }
        output::write_whole(text.as_bytes(), Some(path))
    }
}

/// Whether there is no place beside a picture: it is in an archive, or on the web.
fn has_no_folder(input: &Input) -> bool {
    !matches!(input.source, Ok(mplug_data::source::PictureSource::File(_)) | Err(_))
}

/// `a.jpg.txt`.
fn longer(place: &Path) -> PathBuf {
    let mut name: OsString = place.as_os_str().to_owned();
    name.push(".");
    name.push(ENDING);
    name.into()
}

/// The text of a file without its end; none if there is no file, or nothing in it.
fn old_text(path: &Path) -> anyhow::Result<Option<String>> {
    let named = || path.display().to_string();
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(named),
    };
    let mut text = String::new();
    file.take(MAX_OLD_BYTES + 1).read_to_string(&mut text).with_context(named)?;
    if text.len() as u64 > MAX_OLD_BYTES {
        bail!(
            "{}: is longer than {MAX_OLD_BYTES} bytes, too long for a caption to be added to",
            path.display()
        );
    }
    let text = text.trim_end();
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(sidecars: &Sidecars) -> Vec<String> {
        sidecars.paths.iter().map(|path| path.display().to_string().replace('\\', "/")).collect()
    }

    fn inputs(names: &[&str]) -> Vec<Input> {
        names.iter().map(|name| Input::file(PathBuf::from(name))).collect()
    }

    #[test]
    fn pictures_that_share_a_name_keep_their_endings() {
        let list = inputs(&["d/a.jpg", "d/a.png", "d/b.jpg", "e/a.jpg", "d/c.tar.gif"]);
        let plan = |folder| Sidecars::plan(&list, folder, OnExisting::Skip);
        let beside = plan(None).unwrap();
        assert_eq!(names(&beside), ["d/a.jpg.txt", "d/a.png.txt", "d/b.txt", "e/a.txt", "d/c.tar.txt"]);
        // Typed one by one they have no common folder: e/a.jpg and d/a.jpg meet.
        let error = plan(Some(Path::new("out"))).err().unwrap().to_string();
        assert!(error.contains("d/a.jpg and e/a.jpg would both have"), "{error}");
        let few = Sidecars::plan(&list[..3], Some(Path::new("out")), OnExisting::Skip).unwrap();
        assert_eq!(names(&few), ["out/a.jpg.txt", "out/a.png.txt", "out/b.txt"]);
    }

    #[test]
    fn old_texts_are_kept_as_told() {
        let folder = tempfile::tempdir().unwrap();
        let list = vec![Input::file(folder.path().join("a.jpg")), Input::file(folder.path().join("b.jpg"))];
        fs::write(folder.path().join("a.txt"), "old\n").unwrap();
        for (on_existing, expected) in [
            (OnExisting::Overwrite, ["new\n", "new\n"]),
            (OnExisting::Append, ["old, new\n", "new\n"]),
            (OnExisting::Prepend, ["new, old\n", "new\n"]),
        ] {
            let plan = Sidecars::plan(&list, None, on_existing).unwrap();
            assert_eq!([0, 1].map(|number| plan.text(number, "new").unwrap()), expected);
        }
        let plan = Sidecars::plan(&list, None, OnExisting::Skip).unwrap();
        let (plan, left, skipped) = plan.left(list);
        assert_eq!((left.len(), skipped), (1, 1));
        plan.write(0, "b\n").unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("b.txt")).unwrap(), "b\n");
    }
}
