//! The captions of an evaluation as they are made, one JSON object a line, so that a run that was stopped goes on from there.
//! The first line says which model, options and dataset they are of: others may not go on with them.

use std::{
    collections::HashMap,
    io::{Read, Write},
    path::Path,
};

use anyhow::{Context, bail};
use mplug_data::annotation::PictureId;
use serde::{Deserialize, Serialize};

use crate::journal_file::JournalFile;

/// What the first line says of the run.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    /// What made the captions, in words that change with it.
    captions_of: String,
}

/// Any other line.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    image_id: PictureId,
    caption: String,
}

/// An open journal, locked against other runs.
pub(super) struct Journal {
    file: JournalFile,
    /// Lines that the system does not have yet.
    pending: Vec<u8>,
}

impl Journal {
    /// Opens or begins the journal `path` of the run that `captions_of` describes; returns it with the captions that it has.
    ///
    /// A last line without its end is one that was being written when the run was stopped: it is dropped.
    ///
    /// # Errors
    /// If the file cannot be used, is in use, is no journal, or is of another run.
    pub(super) fn open(path: &Path, captions_of: &str) -> anyhow::Result<(Self, HashMap<PictureId, String>)> {
        let named = || path.display().to_string();
        let (file, found) = JournalFile::open::<Head>(path, "eval")?;
        let mut journal = Self { file, pending: Vec::new() };
        let Some(found) = found else {
            journal.file.begin(&Head { captions_of: captions_of.to_owned() })?;
            return Ok((journal, HashMap::new()));
        };
        if found.captions_of != captions_of {
            bail!(
                "{}: has the captions of another run; remove it or choose another file (it has {}; this is {captions_of})",
                path.display(),
                found.captions_of
            );
        }
        let mut bytes = Vec::new();
        journal.file.file().read_to_end(&mut bytes).with_context(named)?;
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let captions = read(&bytes[..whole]).with_context(named)?;
        journal.file.cut(whole as u64)?;
        Ok((journal, captions))
    }

    /// Adds a caption.
    pub(super) fn add(&mut self, id: &PictureId, caption: &str) -> anyhow::Result<()> {
        serde_json::to_writer(
            &mut self.pending,
            &Line { image_id: id.clone(), caption: caption.to_owned() },
        )?;
        self.pending.push(b'\n');
        Ok(())
    }

    /// Hands what was added to the system.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        let written = self.file.file().write_all(&self.pending);
        written.with_context(|| self.file.path().display().to_string())?;
        self.pending.clear();
        Ok(())
    }
}

/// The captions of a journal's whole lines.
fn read(bytes: &[u8]) -> anyhow::Result<HashMap<PictureId, String>> {
    let lines = bytes.split_inclusive(|&byte| byte == b'\n').enumerate().skip(1);
    lines
        .map(|(number, line)| {
            let line: Line = serde_json::from_slice(line).with_context(|| format!("line {}", number + 1))?;
            Ok((line.image_id, line.caption))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_journal_goes_on_where_it_was_torn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("captions.part");
        let (mut journal, captions) = Journal::open(&path, "a").unwrap();
        assert!(captions.is_empty());
        journal.add(&PictureId::from(7), "一只猫").unwrap();
        journal.add(&PictureId::from("b"), "a \"dog\"\n").unwrap();
        journal.flush().unwrap();
        assert!(Journal::open(&path, "a").err().unwrap().to_string().contains("another run is using it"));
        drop(journal);

        let whole = fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let (mut journal, captions) = Journal::open(&path, "a").unwrap();
            let complete = whole[..cut].split(|&byte| byte == b'\n').count() - 1;
            assert_eq!(captions.len(), complete.saturating_sub(1), "cut at {cut}");
            journal.add(&PictureId::from(9), "x").unwrap();
            journal.flush().unwrap();
            drop(journal);
            let (_, captions) = Journal::open(&path, "a").unwrap();
            assert_eq!(captions[&PictureId::from(9)], "x", "cut at {cut}");
        }
    }

    #[test]
    fn other_runs_and_other_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("captions.part");
        drop(Journal::open(&path, "a").unwrap());
        let error = format!("{:#}", Journal::open(&path, "b").err().unwrap());
        assert!(error.contains("captions.part") && error.contains("another run"), "{error}");
        fs::write(&path, "some text\n").unwrap();
        let error = format!("{:#}", Journal::open(&path, "b").err().unwrap());
        assert!(error.contains("is not a journal of `mplug eval`"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"some text\n", "what is not ours stays as it is");
    }
}
