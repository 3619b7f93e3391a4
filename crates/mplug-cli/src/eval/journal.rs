//! The captions of an evaluation as they are made, one JSON object a line, so that a run that was stopped goes on from there.
//! The first line says which model, options and dataset they are of: others may not go on with them.

use std::{
    collections::HashMap,
    fs::{File, TryLockError},
    io::{self, BufWriter, Read, Seek, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use mplug_data::annotation::PictureId;
use serde::{Deserialize, Serialize};

/// The first line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    path: PathBuf,
    writer: BufWriter<File>,
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
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .with_context(named)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("{}: another run is using it", path.display()),
            Err(TryLockError::Error(error)) => return Err(error).with_context(named),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).with_context(named)?;
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let head = Head { captions_of: captions_of.to_owned() };
        let captions = read(&bytes[..whole], &head).with_context(named)?;
        file.set_len(whole as u64).with_context(named)?;
        file.seek(io::SeekFrom::End(0)).with_context(named)?;
        let mut journal = Self { path: path.to_owned(), writer: BufWriter::new(file) };
        if whole == 0 {
            journal.write(&head)?;
        }
        Ok((journal, captions))
    }

    /// Adds a caption.
    pub(super) fn add(&mut self, id: &PictureId, caption: &str) -> anyhow::Result<()> {
        self.write(&Line { image_id: id.clone(), caption: caption.to_owned() })
    }

    /// Hands what was added to the system.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        self.writer.flush().with_context(|| self.path.display().to_string())
    }

    fn write(&mut self, line: &impl Serialize) -> anyhow::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.writer.write_all(&bytes).with_context(|| self.path.display().to_string())
    }
}

/// The captions of a journal's whole lines.
fn read(bytes: &[u8], expected: &Head) -> anyhow::Result<HashMap<PictureId, String>> {
    let mut lines = bytes.split_inclusive(|&byte| byte == b'\n').enumerate();
    let Some((_, head)) = lines.next() else { return Ok(HashMap::new()) };
    let head: Head = serde_json::from_slice(head).context("is not a file that `--resume` wrote")?;
    if head != *expected {
        bail!(
            "has the captions of another run; remove it or choose another file (it has {}; this is {})",
            head.captions_of,
            expected.captions_of
        );
    }
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
        assert!(error.contains("is not a file that `--resume` wrote"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"some text\n", "what is not ours stays as it is");
    }
}
