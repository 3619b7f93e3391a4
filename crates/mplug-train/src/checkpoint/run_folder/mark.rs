//! The run's number in `run.json` and in each checkpoint's `checkpoint.json`, by which the run knows what is its own.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{RunFolder, foreign};
use crate::error::TrainError;

/// The file with the run's number.
pub(super) const RECORD: &str = "run.json";
/// The file with the number of the run that wrote a checkpoint, and with what that should hold.
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
    step: u64,
    /// Bytes of the run's log that were written when it was saved.
    log: u64,
    /// The other files and their sizes.
    files: BTreeMap<String, u64>,
}

/// What a checkpoint is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The step whose weights it holds.
    pub step: u64,
    /// Bytes of the run's log that were written when it was saved.
    pub log: u64,
}

impl RunFolder {
    pub(super) fn mark_file(&self, mark: Mark, folder: &Path) -> std::io::Result<String> {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            files.insert(entry.file_name().to_string_lossy().into_owned(), entry.metadata()?.len());
        }
        let (program, run) = (PROGRAM.to_owned(), self.run.clone());
        let Mark { step, log } = mark;
        let text = serde_json::to_string_pretty(&MarkFile { program, run, step, log, files })?;
        Ok(text + "\n")
    }

    /// What a folder is of, if this run wrote it and all of it is there.
    pub(super) fn whole(&self, folder: &Path) -> Option<Mark> {
        let mark = mark_in(folder, &self.run)?;
        let is_there = |(name, len): (&String, &u64)| {
            folder.join(name).symlink_metadata().is_ok_and(|found| found.is_file() && found.len() == *len)
        };
        mark.files.iter().all(is_there).then_some(Mark { step: mark.step, log: mark.log })
    }

    /// Nothing has the name that this run did not make.
    ///
    /// # Errors
    /// [`TrainError::Content`] where something has.
    pub fn check_place(&self, name: &str) -> Result<(), TrainError> {
        let path = self.path.join(name);
        if self.may_replace(&path)? { Ok(()) } else { Err(foreign(path)) }
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

/// The mark of a folder of the run `run`.
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
