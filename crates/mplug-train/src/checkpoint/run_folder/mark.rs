//! The run's number in `run.json` and in each model folder's `checkpoint.json`, by which the run knows what is its own.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{RunFolder, foreign, found_at};
use crate::error::TrainError;

/// The file with the run's number.
pub(super) const RECORD: &str = "run.json";
/// The file with the number of the run that wrote a model folder, and with what that should hold.
pub(super) const MARK: &str = "checkpoint.json";
/// Who writes both.
const PROGRAM: &str = "mplug train";

/// What `run.json` holds.
#[derive(Serialize, Deserialize)]
struct Record {
    program: String,
    run: String,
}

/// What `checkpoint.json` holds.
#[derive(Serialize, Deserialize)]
pub(super) struct MarkFile {
    program: String,
    run: String,
    pub(super) step: u64,
    /// The evaluation's score and loss as text, for every digit counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    best: Option<[String; 2]>,
    /// The other files and their sizes.
    files: BTreeMap<String, u64>,
}

/// What a model folder is of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mark {
    /// The step whose weights it holds.
    pub step: u64,
    /// For the best: its score and its loss.
    pub best: Option<[f64; 2]>,
}

impl RunFolder {
    pub(super) fn mark_file(&self, mark: Mark, folder: &Path) -> std::io::Result<String> {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            files.insert(entry.file_name().to_string_lossy().into_owned(), entry.metadata()?.len());
        }
        let best = mark.best.map(|numbers| numbers.map(|number| number.to_string()));
        let (program, run) = (PROGRAM.to_owned(), self.run.clone());
        let text = serde_json::to_string_pretty(&MarkFile { program, run, step: mark.step, best, files })?;
        Ok(text + "\n")
    }

    /// What the model folder `name` is of, if this run wrote it and all of it is there.
    pub fn model(&self, name: &str) -> Option<Mark> {
        self.whole(&self.path.join(name))
    }

    pub(super) fn whole(&self, folder: &Path) -> Option<Mark> {
        let mark = mark_in(folder, &self.run)?;
        let is_there = |(name, len): (&String, &u64)| {
            folder.join(name).symlink_metadata().is_ok_and(|found| found.is_file() && found.len() == *len)
        };
        let best = mark.best.and_then(|[score, loss]| Some([score.parse().ok()?, loss.parse().ok()?]));
        mark.files.iter().all(is_there).then_some(Mark { step: mark.step, best })
    }

    /// Whether nothing has the name, or a model folder of this run.
    pub fn may_write(&self, name: &str) -> bool {
        let path = self.path.join(name);
        self.owns(&path) || found_at(&path).is_ok_and(|found| found.is_none())
    }

    /// Nothing has the name that this run did not make.
    ///
    /// # Errors
    /// [`TrainError::Content`] where something has.
    pub fn check_place(&self, name: &str) -> Result<(), TrainError> {
        let path = self.path.join(name);
        if found_at(&path)?.is_none() || self.owns(&path) { Ok(()) } else { Err(foreign(path)) }
    }

    pub(super) fn owns(&self, folder: &Path) -> bool {
        mark_in(folder, &self.run).is_some()
    }
}

pub(super) fn record(run: &str) -> String {
    let record = Record { program: PROGRAM.to_owned(), run: run.to_owned() };
    serde_json::to_string(&record).expect("strings are plain data") + "\n"
}

/// The run's number in a file; part of a name, so nothing but digits is one.
pub(super) fn recorded_in(path: &Path) -> Option<String> {
    let Record { program, run } = serde_json::from_slice(&small_file(path)?).ok()?;
    let is_number = run.len() == 16 && run.bytes().all(|byte| byte.is_ascii_hexdigit());
    (program == PROGRAM && is_number).then_some(run)
}

/// Whether a folder holds a file for the run's number, without the number yet, and nothing else.
pub(super) fn holds_an_empty_record_alone(folder: &Path) -> bool {
    let is_empty = |found: Metadata| found.is_file() && found.len() == 0;
    let mut entries = std::fs::read_dir(folder).into_iter().flatten();
    let is_record = entries.next().is_some_and(|entry| entry.is_ok_and(|entry| entry.file_name() == RECORD));
    let is_alone = is_record && entries.next().is_none();
    is_alone && folder.join(RECORD).symlink_metadata().is_ok_and(is_empty)
}

/// The mark of a model folder of the run `run`.
pub(super) fn mark_in(folder: &Path, run: &str) -> Option<MarkFile> {
    if !folder.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        return None;
    }
    let mark: MarkFile = serde_json::from_slice(&small_file(&folder.join(MARK))?).ok()?;
    (mark.program == PROGRAM && mark.run == run).then_some(mark)
}

/// The content of a file that is no link and no larger than what we write.
fn small_file(path: &Path) -> Option<Vec<u8>> {
    let found = path.symlink_metadata().ok()?;
    if found.is_file() && found.len() <= 1 << 16 { std::fs::read(path).ok() } else { None }
}
