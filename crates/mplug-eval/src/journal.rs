//! The captions of an evaluation as they are made, in a [`Journal`], so that a run that was stopped goes on from there. Its first
//! line says which model, options and data set they are of: others may not go on with them.

use std::collections::HashMap;
use std::path::Path;

use mplug_data::annotation::PictureId;
use mplug_data::journal::Journal;
use serde::{Deserialize, Serialize};

use crate::error::EvalError;

/// The kind of run.
const KIND: &str = "eval";

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

/// An open journal of captions, locked against other runs.
#[derive(Debug)]
pub struct CaptionJournal {
    journal: Journal,
}

impl CaptionJournal {
    /// Opens or begins the journal `path` of the run that `captions_of` describes; returns it with the captions that it has.
    ///
    /// # Errors
    /// [`EvalError::Journal`] if the file cannot be used, is in use or is no journal of an evaluation, [`EvalError::OtherRun`]
    /// if its captions are of another one.
    pub fn open(path: &Path, captions_of: &str) -> Result<(Self, HashMap<PictureId, String>), EvalError> {
        let (mut journal, found) = Journal::open::<Head>(path, KIND)?;
        let Some(found) = found else {
            journal.begin(&Head { captions_of: captions_of.to_owned() })?;
            return Ok((Self { journal }, HashMap::new()));
        };
        if found.captions_of != captions_of {
            let (path, expected) = (path.to_owned(), captions_of.to_owned());
            return Err(EvalError::OtherRun { path, found: found.captions_of, expected });
        }
        let mut captions = HashMap::new();
        let mut lines = journal.lines()?;
        while let Some(line) = lines.next::<Line>()? {
            captions.insert(line.image_id, line.caption);
        }
        let end = lines.end();
        journal.cut(end)?;
        Ok((Self { journal }, captions))
    }

    /// Adds a caption. [`flush`](Self::flush) hands it to the system.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add(&mut self, id: &PictureId, caption: &str) -> Result<(), EvalError> {
        self.journal.push(&Line { image_id: id.clone(), caption: caption.to_owned() })?;
        Ok(())
    }

    /// Hands what was added to the system.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn flush(&mut self) -> Result<(), EvalError> {
        Ok(self.journal.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use mplug_data::journal::JournalError;

    use super::*;

    #[test]
    fn a_journal_goes_on_where_it_was_torn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("captions.part");
        let (mut journal, captions) = CaptionJournal::open(&path, "a").unwrap();
        assert!(captions.is_empty());
        journal.add(&PictureId::from(7), "一只猫").unwrap();
        journal.add(&PictureId::from("b"), "a \"dog\"\n").unwrap();
        journal.flush().unwrap();
        let other = CaptionJournal::open(&path, "a").unwrap_err();
        assert!(matches!(other, EvalError::Journal(JournalError::InUse { .. })), "{other}");
        drop(journal);

        let whole = fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let (mut journal, captions) = CaptionJournal::open(&path, "a").unwrap();
            let complete = whole[..cut].split(|&byte| byte == b'\n').count() - 1;
            assert_eq!(captions.len(), complete.saturating_sub(1), "cut at {cut}");
            journal.add(&PictureId::from(9), "x").unwrap();
            journal.flush().unwrap();
            drop(journal);
            let (_, captions) = CaptionJournal::open(&path, "a").unwrap();
            assert_eq!(captions[&PictureId::from(9)], "x", "cut at {cut}");
        }
    }

    #[test]
    fn its_lines_are_those_of_earlier_versions() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("captions.part");
        let (mut journal, _) = CaptionJournal::open(&path, "a model").unwrap();
        journal.add(&PictureId::from(7), "猫").unwrap();
        journal.flush().unwrap();
        drop(journal);
        let expected = "{\"mplug_journal\":\"eval\",\"version\":1,\"run\":{\"captions_of\":\"a model\"}}\n\
            {\"image_id\":7,\"caption\":\"猫\"}\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    }

    #[test]
    fn other_runs_and_other_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("captions.part");
        drop(CaptionJournal::open(&path, "a").unwrap());
        let error = CaptionJournal::open(&path, "b").unwrap_err().to_string();
        assert!(error.contains("captions.part") && error.contains("another run"), "{error}");
        fs::write(&path, "some text\n").unwrap();
        let error = CaptionJournal::open(&path, "b").unwrap_err().to_string();
        assert!(error.contains("is not a journal of the kind `eval`"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"some text\n", "what is not ours stays as it is");
    }
}
