//! The answers of a run as they are made, one JSON object a line in the order of the inputs, in a file beside the output: a run
//! that was stopped goes on from there, and the output is made of it at the end. The first line says what the run is of:
//! another model, option or list of inputs may not go on with it. A failure that passes has its place in the order, marked as what is
//! to be tried again; the line of a later attempt stands at the end, with the input's number.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use mplug::tasks::Caption;
use serde::{Deserialize, Serialize};

use super::answers::{Answer, Answered, Digest};
use crate::{inputs::Input, journal_file::JournalFile, pictures::Failure};

/// What a path's journal is called: the path with this behind it.
const ENDING: &str = ".part";
/// Longest line: the captions of one picture, many times over.
const MAX_LINE_BYTES: u64 = 16 << 20;

/// What to do with a journal that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnUnfinished {
    /// Go on with it.
    Resume,
    /// Begin anew.
    Discard,
    /// Ask.
    Refuse,
}

/// What the first line says of the run.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    /// What made the captions, in words that change with it.
    captions_of: String,
    inputs: usize,
}

/// Any other line.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    path: String,
    /// The input's number, where it has a line before this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    captions: Option<Vec<Kept>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Whether the error passes: it is no answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_passing: bool,
    /// The whole text of a sidecar file, where that is more than the caption.
    #[serde(skip_serializing_if = "Option::is_none")]
    sidecar: Option<String>,
}

/// A caption.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    text: String,
    raw_text: String,
    score: f32,
    token_ids: Vec<u32>,
}

/// An answer read back.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) digest: Option<Digest>,
    pub(super) answer: Answer,
    pub(super) sidecar: Option<String>,
}

/// An open journal, locked against other runs.
pub(super) struct Journal {
    file: JournalFile,
    /// Lines that the system does not have yet.
    pending: Vec<u8>,
    index: Index,
}

/// What a journal holds, and where.
#[derive(Default)]
struct Index {
    /// Where the last line ends.
    end: u64,
    /// Inputs that it has a line of: the first ones.
    len: usize,
    /// Those of them whose failure passes: they are to be tried again.
    passing: BTreeSet<usize>,
    /// Where the last line of an input that was tried again begins.
    later: BTreeMap<usize, u64>,
}

impl Index {
    /// Takes in a line at the end, of the next input or of one that is tried again.
    fn note(&mut self, number: usize, is_passing: bool, line: &[u8]) {
        if number == self.len {
            self.len += 1;
        } else {
            self.later.insert(number, self.end);
        }
        if is_passing {
            self.passing.insert(number);
        } else {
            self.passing.remove(&number);
        }
        self.end += line.len() as u64;
    }
}

impl Journal {
    /// Opens or begins the journal of `output`, for the run over `inputs` that `captions_of` describes; `read` gets every answer
    /// that it has, failures that pass left out.
    ///
    /// A last line without its end is one that was being written when the run was stopped: it is dropped.
    ///
    /// # Errors
    /// If the file cannot be used, is in use, is no journal, is of another run, or is there and nobody said what to do with it.
    pub(super) fn open(
        output: &Path,
        captions_of: &str,
        inputs: &[Input],
        on_unfinished: OnUnfinished,
        mut read: impl FnMut(usize, Entry),
    ) -> anyhow::Result<Self> {
        let path = journal_path(output);
        let named = || path.display().to_string();
        let (file, found) = JournalFile::open(&path, "caption")?;
        let head = Head { captions_of: captions_of.to_owned(), inputs: inputs.len() };
        let mut journal = Self { file, pending: Vec::new(), index: Index::default() };
        match found.filter(|_| on_unfinished != OnUnfinished::Discard) {
            None => {
                journal.file.begin(&head)?;
                journal.index.end = journal.file.file().stream_position().with_context(named)?;
            }
            Some(found) => {
                check_head(&found, &head).with_context(named)?;
                journal.read_back(inputs, &mut read).with_context(named)?;
                if journal.index.len > 0 && on_unfinished == OnUnfinished::Refuse {
                    bail!(
                        "{}: holds an unfinished run ({} of {} inputs done): `--resume` goes on with it, `--force` begins anew",
                        path.display(),
                        journal.done(),
                        inputs.len()
                    );
                }
                journal.file.cut(journal.index.end)?;
            }
        }
        Ok(journal)
    }

    /// How many inputs are done.
    pub(super) fn done(&self) -> usize {
        self.index.len - self.index.passing.len()
    }

    /// The numbers of those that are left of `inputs`: first what was not tried, then what may have passed.
    pub(super) fn left(&self, inputs: usize) -> Vec<usize> {
        (self.index.len..inputs).chain(self.index.passing.iter().copied()).collect()
    }

    /// Whether some inputs have a failure that passes in place of an answer.
    pub(super) fn is_passing(&self) -> bool {
        !self.index.passing.is_empty()
    }

    /// Adds the answer of input `number`, the next one or one that is tried again; `sidecar` is the text that its file will have.
    pub(super) fn add(
        &mut self,
        number: usize,
        input: &Input,
        answered: &Answered,
        sidecar: Option<String>,
    ) -> anyhow::Result<()> {
        let (captions, failure) = match &answered.answer {
            Ok(captions) => (Some(captions.iter().map(Kept::from).collect()), None),
            Err(failure) => (None, Some(failure)),
        };
        let is_passing = failure.is_some_and(|failure| failure.is_passing);
        let mut line = serde_json::to_vec(&Line {
            path: shown(input),
            number: (number != self.index.len).then_some(number),
            digest: answered.digest.map(|digest| hex(&digest)),
            captions,
            error: failure.map(|failure| failure.reason.clone()),
            is_passing,
            sidecar,
        })?;
        line.push(b'\n');
        self.index.note(number, is_passing, &line);
        self.pending.extend(line);
        Ok(())
    }

    /// Hands what was added to the system.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        let written = self.file.file().write_all(&self.pending);
        written.with_context(|| self.file.path().display().to_string())?;
        self.pending.clear();
        Ok(())
    }

    /// Hands the last answer of every input to `each`, in order, with its number.
    pub(super) fn replay(
        &mut self,
        mut each: impl FnMut(usize, Entry) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.flush()?;
        let named = format!("{}", self.file.path().display());
        let mut lines = Lines::of(&mut self.file).with_context(|| named.clone())?;
        for number in 0..self.index.len {
            let line = match self.index.later.get(&number) {
                Some(&place) => lines.next_in_order().and_then(|_| lines.at(place)),
                None => lines.next_in_order(),
            };
            each(number, line.with_context(|| named.clone())?.into())?;
        }
        Ok(())
    }

    /// Removes the file: the output is there.
    pub(super) fn remove(self) -> anyhow::Result<()> {
        self.file.remove()
    }

    /// Reads whole lines, up to the last.
    fn read_back(&mut self, inputs: &[Input], read: &mut dyn FnMut(usize, Entry)) -> anyhow::Result<()> {
        let Self { file, index, .. } = self;
        let mut lines = Lines::of(file)?;
        index.end = lines.line.len() as u64;
        while let Some(found) = lines.next().with_context(|| format!("answer {}", index.len + 1))? {
            let number = found.number.unwrap_or(index.len);
            anyhow::ensure!(
                found.number.is_none() || index.passing.contains(&number),
                "is damaged: input {number} is answered twice; `--force` begins anew"
            );
            let input = inputs.get(number).map(shown);
            if input.as_deref() != Some(found.path.as_str()) {
                bail!(
                    "is of other inputs: number {} was {}, and is {} now; `--force` begins anew",
                    number + 1,
                    found.path,
                    input.unwrap_or_else(|| "missing".to_owned())
                );
            }
            index.note(number, found.is_passing, &lines.line);
            if !found.is_passing {
                read(number, found.into());
            }
        }
        Ok(())
    }
}

/// Reads the lines behind the first.
struct Lines<'a> {
    reader: BufReader<&'a mut File>,
    /// The one that was read last.
    line: Vec<u8>,
}

impl<'a> Lines<'a> {
    /// From the first answer on.
    fn of(file: &'a mut JournalFile) -> anyhow::Result<Self> {
        let mut lines = Self { reader: BufReader::new(file.file()), line: Vec::new() };
        lines.reader.rewind()?;
        lines.read()?;
        Ok(lines)
    }

    /// Whether there is another whole line.
    fn read(&mut self) -> anyhow::Result<bool> {
        self.line.clear();
        (&mut self.reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut self.line)?;
        anyhow::ensure!(
            (self.line.len() as u64) < MAX_LINE_BYTES,
            "is damaged: a line is longer than any answer"
        );
        Ok(self.line.last() == Some(&b'\n'))
    }

    fn next(&mut self) -> anyhow::Result<Option<Line>> {
        Ok(if self.read()? { Some(serde_json::from_slice(&self.line)?) } else { None })
    }

    /// The first line of the input that comes next.
    fn next_in_order(&mut self) -> anyhow::Result<Line> {
        loop {
            let line = self.next()?.context("has fewer answers than before")?;
            if line.number.is_none() {
                return Ok(line);
            }
        }
    }

    /// The line at a place, after which reading goes on where it was.
    fn at(&mut self, place: u64) -> anyhow::Result<Line> {
        let back = self.reader.stream_position()?;
        self.reader.seek(io::SeekFrom::Start(place))?;
        let line = self.next()?.context("has fewer answers than before")?;
        self.reader.seek(io::SeekFrom::Start(back))?;
        Ok(line)
    }
}

/// Where the journal of an output is.
pub(super) fn journal_path(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(ENDING);
    name.into()
}

impl From<&Caption> for Kept {
    fn from(caption: &Caption) -> Self {
        Self {
            text: caption.text.clone(),
            raw_text: caption.raw_text.clone(),
            score: caption.score,
            token_ids: caption.token_ids.clone(),
        }
    }
}

impl From<Kept> for Caption {
    fn from(kept: Kept) -> Self {
        let Kept { text, raw_text, score, token_ids } = kept;
        Self { text, raw_text, score, token_ids }
    }
}

impl From<Line> for Entry {
    fn from(line: Line) -> Self {
        let answer = match (line.captions, line.error) {
            (Some(captions), _) => Ok(Arc::new(captions.into_iter().map(Caption::from).collect())),
            (None, error) => Err(Failure { reason: error.unwrap_or_default(), is_passing: line.is_passing }),
        };
        Self { digest: line.digest.as_deref().and_then(unhex), answer, sidecar: line.sidecar }
    }
}

fn check_head(found: &Head, expected: &Head) -> anyhow::Result<()> {
    if found != expected {
        bail!(
            "is of another run; `--force` begins anew (it has {} of {} inputs; this is {} of {})",
            found.captions_of,
            found.inputs,
            expected.captions_of,
            expected.inputs
        );
    }
    Ok(())
}

fn shown(input: &Input) -> String {
    input.path.to_string_lossy().into_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

fn unhex(text: &str) -> Option<Digest> {
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn answered(text: &str, is_passing: bool) -> Answered {
        let caption =
            Caption { text: text.to_owned(), raw_text: text.to_owned(), score: -0.5, token_ids: vec![7] };
        let answer = if text.is_empty() {
            Err(Failure { reason: "no".to_owned(), is_passing })
        } else {
            Ok(Arc::new(vec![caption]))
        };
        Answered { digest: None, answer }
    }

    fn told(entry: &Entry) -> String {
        entry
            .answer
            .as_ref()
            .map_or_else(|failure| format!("({failure})"), |captions| captions[0].text.clone())
    }

    /// Opens it as `--resume` does; with it the numbers that it has answers of.
    fn resumed(output: &Path, inputs: &[Input]) -> (Journal, Vec<usize>) {
        let mut numbers = Vec::new();
        let journal =
            Journal::open(output, "a", inputs, OnUnfinished::Resume, |number, _| numbers.push(number));
        (journal.unwrap(), numbers)
    }

    #[test]
    fn what_passes_is_tried_again_and_told_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("out");
        let inputs: Vec<Input> = ["a", "b", "c", "d"].map(|name| Input::file(name.into())).into();
        let (mut journal, _) = resumed(&output, &inputs);
        assert_eq!(journal.left(4), [0, 1, 2, 3]);
        for (number, (text, is_passing)) in [("A", false), ("", true), ("", false)].into_iter().enumerate() {
            journal.add(number, &inputs[number], &answered(text, is_passing), None).unwrap();
        }
        journal.flush().unwrap();
        drop(journal);
        let (mut journal, numbers) = resumed(&output, &inputs);
        assert_eq!((numbers, journal.done(), journal.left(4)), (vec![0, 2], 2, vec![3, 1]));
        journal.add(3, &inputs[3], &answered("", true), None).unwrap();
        journal.add(1, &inputs[1], &answered("", true), None).unwrap();
        journal.flush().unwrap();
        drop(journal);
        let (mut journal, _) = resumed(&output, &inputs);
        assert_eq!((journal.left(4), journal.is_passing()), (vec![1, 3], true));
        journal.add(1, &inputs[1], &answered("B", false), None).unwrap();
        let tell = |journal: &mut Journal| {
            let mut texts = Vec::new();
            let each = |number, entry: Entry| {
                texts.push(format!("{number} {}", told(&entry)));
                Ok(())
            };
            journal.replay(each).unwrap();
            texts
        };
        assert_eq!(tell(&mut journal), ["0 A", "1 B", "2 (no)", "3 (no)"]);
        drop(journal);
        let (mut journal, numbers) = resumed(&output, &inputs);
        assert_eq!((numbers, journal.left(4)), (vec![0, 2, 1], vec![3]));
        journal.add(3, &inputs[3], &answered("D", false), None).unwrap();
        assert_eq!(tell(&mut journal), ["0 A", "1 B", "2 (no)", "3 D"]);
        assert!(!journal.is_passing() && journal.left(4).is_empty());
        drop(journal);

        // Torn anywhere it goes on with what was whole.
        let path = journal_path(&output);
        let whole = fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let (journal, numbers) = resumed(&output, &inputs);
            let lines = whole[..cut].split(|byte| *byte == b'\n').count().saturating_sub(2);
            assert_eq!(numbers.len(), journal.done());
            assert_eq!(numbers, [0, 2, 1, 3][..[0, 1, 1, 2, 2, 2, 3, 4][lines]], "cut at {cut}");
        }
    }
}
