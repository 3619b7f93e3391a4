//! The answers of a run as they are made, one JSON object a line in the order of the inputs, in a file beside the output: a run
//! that was stopped goes on from there, and the output is made of it at the end. The first line says what the run is of:
//! another model, option or list of inputs may not go on with it.

use std::{
    fs::{self, File, TryLockError},
    io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use mplug::tasks::Caption;
use serde::{Deserialize, Serialize};

use super::answers::{Answer, Answered, Digest};
use crate::inputs::Input;

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

/// The first line.
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
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    captions: Option<Vec<Kept>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
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
    path: PathBuf,
    writer: BufWriter<File>,
    /// Answers that it holds.
    len: usize,
}

impl Journal {
    /// Opens or begins the journal of `output`, for the run over `inputs` that `captions_of` describes; `read` gets every answer
    /// that it has.
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
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).with_context(named)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => bail!("{}: another run is using it", path.display()),
            Err(TryLockError::Error(error)) if error.kind() != io::ErrorKind::Unsupported => {
                return Err(error).with_context(named);
            }
            _ => {}
        }
        if on_unfinished == OnUnfinished::Discard {
            file.set_len(0).with_context(named)?;
        }
        let head = Head { captions_of: captions_of.to_owned(), inputs: inputs.len() };
        let (whole, len) = read_lines(&mut file, &head, inputs, &mut read).with_context(named)?;
        if len > 0 && on_unfinished == OnUnfinished::Refuse {
            bail!(
                "{}: holds an unfinished run ({len} of {} inputs done): `--resume` goes on with it, `--force` begins anew",
                path.display(),
                inputs.len()
            );
        }
        file.set_len(whole).with_context(named)?;
        file.seek(io::SeekFrom::End(0)).with_context(named)?;
        let mut journal = Self { path: path.clone(), writer: BufWriter::new(file), len };
        if whole == 0 {
            journal.write(&head)?;
        }
        Ok(journal)
    }

    /// Answers that it holds: those of the first inputs.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds the answer of the next input; `sidecar` is the text that its file will have.
    pub(super) fn add(
        &mut self,
        input: &Input,
        answered: &Answered,
        sidecar: Option<String>,
    ) -> anyhow::Result<()> {
        let (captions, error) = match &answered.answer {
            Ok(captions) => (Some(captions.iter().map(Kept::from).collect()), None),
            Err(reason) => (None, Some(reason.clone())),
        };
        let digest = answered.digest.map(|digest| hex(&digest));
        self.len += 1;
        self.write(&Line { path: shown(input), digest, captions, error, sidecar })
    }

    /// Hands what was added to the system.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        self.writer.flush().with_context(|| self.path.display().to_string())
    }

    /// Hands every answer to `each`, in order, with its number.
    pub(super) fn replay(
        &mut self,
        inputs: &[Input],
        mut each: impl FnMut(usize, Entry) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.flush()?;
        let mut outcome = Ok(());
        let mut file = File::open(&self.path).with_context(|| self.path.display().to_string())?;
        let mut read = |number: usize, entry: Entry| {
            if outcome.is_ok() {
                outcome = each(number, entry);
            }
        };
        let head = read_head(&mut BufReader::new(&mut file))?;
        file.rewind()?;
        read_lines(&mut file, &head, inputs, &mut read).with_context(|| self.path.display().to_string())?;
        outcome
    }

    /// Removes the file: the output is there.
    pub(super) fn remove(self) -> anyhow::Result<()> {
        fs::remove_file(&self.path).with_context(|| self.path.display().to_string())
    }

    fn write(&mut self, line: &impl Serialize) -> anyhow::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.writer.write_all(&bytes).with_context(|| self.path.display().to_string())
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
            (None, error) => Err(error.unwrap_or_default()),
        };
        Self { digest: line.digest.as_deref().and_then(unhex), answer, sidecar: line.sidecar }
    }
}

fn read_head(reader: &mut impl BufRead) -> anyhow::Result<Head> {
    let mut line = Vec::new();
    reader.take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
    serde_json::from_slice(&line).context("is not a file that an unfinished run left; remove it")
}

/// Reads whole lines: where the last of them ends, and how many answers there are.
fn read_lines(
    file: &mut File,
    expected: &Head,
    inputs: &[Input],
    read: &mut dyn FnMut(usize, Entry),
) -> anyhow::Result<(u64, usize)> {
    let mut reader = BufReader::new(file);
    let (mut whole, mut number) = (0, 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Ok((whole, number));
        }
        if whole == 0 {
            check_head(&line, expected)?;
        } else {
            let found: Line =
                serde_json::from_slice(&line).with_context(|| format!("answer {}", number + 1))?;
            let input = inputs.get(number).map(shown);
            if input.as_deref() != Some(found.path.as_str()) {
                bail!(
                    "is of other inputs: number {} was {}, and is {} now; `--force` begins anew",
                    number + 1,
                    found.path,
                    input.unwrap_or_else(|| "missing".to_owned())
                );
            }
            read(number, found.into());
            number += 1;
        }
        whole += line.len() as u64;
    }
}

fn check_head(line: &[u8], expected: &Head) -> anyhow::Result<()> {
    let head = read_head(&mut &line[..])?;
    if head != *expected {
        bail!(
            "is of another run; `--force` begins anew (it has {} of {} inputs; this is {} of {})",
            head.captions_of,
            head.inputs,
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
