//! The answers of a captioning run as they are made, in the order of the inputs, in a file beside the output: a run that was
//! stopped goes on from there, and the output is made of it at the end. The first line says what the run is of: another model,
//! option or list of inputs may not go on with it. A failure that passes has its place in the order, marked as what is to be
//! tried again; the line of a later attempt stands at the end, with the input's number.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use mplug::config::Language;
use mplug::tasks::Caption;
use mplug_data::journal::{Journal, JournalError, Lines};
use mplug_data::picture::Failure;
use serde::{Deserialize, Serialize};

use crate::answer::{Answer, Found};
use crate::error::BulkError;
use crate::hex::hex;
use crate::inputs::Input;
use crate::pipeline::{Answered, Digest};
use crate::sidecar::Text;

/// The kind of run.
const KIND: &str = "caption";
/// What a path's journal is called: the path with this behind it.
const ENDING: &str = ".part";
/// Longest beginning of a journal that is looked at to see whether it has answers.
const MAX_HEAD_BYTES: u64 = 16 << 20;
/// What to do with the journal of a run that was stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnfinished {
    /// Go on with it.
    Resume,
    /// Begin anew, and replace an output that is there.
    Discard,
    /// Neither: [`BulkError::Unfinished`]; an output that is there without a run that goes on is [`BulkError::OutputExists`].
    #[default]
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
    /// The answer, but for that of a run of several languages.
    #[serde(flatten)]
    said: Said,
    /// The answer in each language of a run of several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    languages: Vec<Said>,
}

/// What was found.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Said {
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<Language>,
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
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    is_finished: bool,
}

/// What is not said of a caption that ended.
fn yes() -> bool {
    true
}

/// An answer read back.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) digest: Option<Digest>,
    pub(crate) answer: Answer,
    pub(crate) sidecars: Vec<Text>,
}

/// An open journal, locked against other runs.
pub(crate) struct CaptionJournal {
    file: Journal,
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
    /// Takes in a line that begins at `begin`, of the next input or of one that is tried again.
    fn note(&mut self, number: usize, is_passing: bool, begin: u64) {
        if number == self.len {
            self.len += 1;
        } else {
            self.later.insert(number, begin);
        }
        if is_passing {
            self.passing.insert(number);
        } else {
            self.passing.remove(&number);
        }
    }
}

impl CaptionJournal {
    /// Opens or begins the journal of `output`, for the run over `inputs` that `captions_of` describes; `read` gets every answer
    /// that it has, failures that pass left out.
    ///
    /// # Errors
    /// If the file cannot be used, is in use, is no journal, is of another run, or is there and nobody said what to do with it.
    pub(crate) fn open(
        output: &Path,
        captions_of: &str,
        inputs: &[Input],
        on_unfinished: OnUnfinished,
        mut read: impl FnMut(usize, Entry),
    ) -> Result<Self, BulkError> {
        let (file, found) = Journal::open(&journal_path(output), KIND)?;
        let head = Head { captions_of: captions_of.to_owned(), inputs: inputs.len() };
        let mut journal = Self { file, index: Index::default() };
        match found.filter(|_| on_unfinished != OnUnfinished::Discard) {
            None => journal.file.begin(&head)?,
            Some(found) => {
                journal.check_head(&found, &head)?;
                journal.read_back(inputs, &mut read)?;
                if journal.index.len > 0 && on_unfinished == OnUnfinished::Refuse {
                    let (path, done) = (journal.file.path().to_owned(), journal.done());
                    return Err(BulkError::Unfinished { path, done, inputs: inputs.len() });
                }
                journal.file.cut(journal.index.end)?;
            }
        }
        Ok(journal)
    }

    /// How many inputs are done.
    pub(crate) fn done(&self) -> usize {
        self.index.len - self.index.passing.len()
    }

    /// The indices of those that are left of `inputs`: first what was not tried, then what may have passed.
    pub(crate) fn left(&self, inputs: usize) -> Vec<usize> {
        (self.index.len..inputs).chain(self.index.passing.iter().copied()).collect()
    }

    /// Whether some inputs have a failure that passes in place of an answer.
    pub(crate) fn is_passing(&self) -> bool {
        !self.index.passing.is_empty()
    }

    /// Adds the answer of input `number`, the next one or one that is tried again; `sidecars` are the texts that its files will have.
    pub(crate) fn add(
        &mut self,
        number: usize,
        input: &Input,
        answered: &Answered,
        sidecars: &[Text],
    ) -> Result<(), BulkError> {
        let mut languages: Vec<Said> =
            answered.answer.iter().map(|found| Said::new(found, sidecars)).collect();
        let said = match &languages[..] {
            [Said { language: None, .. }] => languages.remove(0),
            _ => Said::default(),
        };
        let is_passing = answered.answer.is_passing();
        let begin = self.file.push(&Line {
            path: shown(input),
            number: (number != self.index.len).then_some(number),
            digest: answered.digest.map(|digest| hex(&digest)),
            said,
            languages,
        })?;
        self.index.note(number, is_passing, begin);
        Ok(())
    }

    /// Hands what was added to the system.
    pub(crate) fn flush(&mut self) -> Result<(), BulkError> {
        Ok(self.file.flush()?)
    }

    /// Hands the last answer of every input to `each`, in order, with its number.
    pub(crate) fn replay(
        &mut self,
        mut each: impl FnMut(usize, Entry) -> Result<(), BulkError>,
    ) -> Result<(), BulkError> {
        self.flush()?;
        let (path, what) = (self.file.path().to_owned(), "has fewer answers than before".to_owned());
        let mut lines = self.file.lines()?;
        for number in 0..self.index.len {
            let Some(first) = next_in_order(&mut lines)? else {
                return Err(JournalError::Damaged { path, what }.into());
            };
            let line = match self.index.later.get(&number) {
                Some(&begin) => lines.at(begin)?,
                None => first,
            };
            each(number, line.into())?;
        }
        Ok(())
    }

    /// Removes the file: the output is there.
    pub(crate) fn remove(self) -> Result<(), BulkError> {
        Ok(self.file.remove()?)
    }

    /// Reads whole lines, up to the last.
    fn read_back(&mut self, inputs: &[Input], read: &mut dyn FnMut(usize, Entry)) -> Result<(), BulkError> {
        let path = self.file.path().to_owned();
        let other_run = |what: String| BulkError::OtherRun { path: path.clone(), what };
        let index = &mut self.index;
        let mut lines = self.file.lines()?;
        while let Some(found) = lines.next::<Line>()? {
            let number = found.number.unwrap_or(index.len);
            if found.number.is_some() && !index.passing.contains(&number) {
                return Err(other_run(format!("is damaged: input {number} is answered twice")));
            }
            let input = inputs.get(number).map(shown);
            if input.as_deref() != Some(found.path.as_str()) {
                let now = input.unwrap_or_else(|| "missing".to_owned());
                let number = number + 1;
                return Err(other_run(format!(
                    "is of other inputs: number {number} was {}, and is {now} now",
                    found.path
                )));
            }
            let entry = Entry::from(found);
            let is_passing = entry.answer.is_passing();
            index.note(number, is_passing, lines.begin());
            if !is_passing {
                read(number, entry);
            }
        }
        index.end = lines.end();
        Ok(())
    }

    fn check_head(&self, found: &Head, expected: &Head) -> Result<(), BulkError> {
        if found == expected {
            return Ok(());
        }
        let what = format!(
            "is of another run: expected {} of {} inputs, found {} of {}",
            expected.captions_of, expected.inputs, found.captions_of, found.inputs
        );
        Err(BulkError::OtherRun { path: self.file.path().to_owned(), what })
    }
}

/// The first line of the input that comes next.
fn next_in_order(lines: &mut Lines<'_>) -> Result<Option<Line>, JournalError> {
    loop {
        match lines.next::<Line>()? {
            Some(line) if line.number.is_some() => {}
            line => return Ok(line),
        }
    }
}

/// Where the journal of an output is.
pub(crate) fn journal_path(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(ENDING);
    name.into()
}

/// Whether the journal of an output has a line behind its first, so that a run goes on.
pub(crate) fn has_answers(output: &Path) -> bool {
    let path = journal_path(output);
    if !fs::symlink_metadata(&path).is_ok_and(|found| found.is_file()) {
        return false;
    }
    let Ok(file) = File::open(path) else { return false };
    let mut lines = BufReader::new(file.take(MAX_HEAD_BYTES)).split(b'\n');
    lines.next().is_some_and(|head| head.is_ok()) && lines.next().is_some_and(|line| line.is_ok())
}

impl From<&Caption> for Kept {
    fn from(caption: &Caption) -> Self {
        Self {
            text: caption.text.clone(),
            raw_text: caption.raw_text.clone(),
            score: caption.score,
            token_ids: caption.token_ids.clone(),
            is_finished: caption.is_finished,
        }
    }
}

impl From<Kept> for Caption {
    fn from(kept: Kept) -> Self {
        let Kept { text, raw_text, score, token_ids, is_finished } = kept;
        Self { text, raw_text, score, token_ids, is_finished }
    }
}

impl From<Line> for Entry {
    fn from(line: Line) -> Self {
        let mut languages = line.languages;
        if languages.is_empty() {
            languages.push(line.said);
        }
        let mut sidecars = Vec::new();
        for said in &mut languages {
            let (language, text) = (said.language, said.sidecar.take());
            sidecars.extend(text.map(|text| Text { language, text }));
        }
        let answer = Answer::new(languages.into_iter().map(Found::from).collect());
        Self { digest: line.digest.as_deref().and_then(unhex), answer, sidecars }
    }
}

impl Said {
    /// What was found, with the one of the texts that is of its language.
    fn new(found: &Found, sidecars: &[Text]) -> Self {
        let failure = found.captions.as_ref().err();
        let sidecar = sidecars.iter().find(|text| text.language == found.language);
        Self {
            language: found.language,
            captions: found.captions.as_ref().ok().map(|captions| captions.iter().map(Kept::from).collect()),
            error: failure.map(|failure| failure.reason.clone()),
            is_passing: failure.is_some_and(|failure| failure.is_passing),
            sidecar: sidecar.map(|text| text.text.clone()),
        }
    }
}

impl From<Said> for Found {
    fn from(said: Said) -> Self {
        let captions = match (said.captions, said.error) {
            (Some(captions), _) => Ok(captions.into_iter().map(Caption::from).collect()),
            (None, error) => Err(Failure::new(error.unwrap_or_default(), said.is_passing)),
        };
        Self { language: said.language, captions }
    }
}

fn shown(input: &Input) -> String {
    input.path.to_string_lossy().into_owned()
}

fn unhex(text: &str) -> Option<Digest> {
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(text: &str, is_passing: bool) -> Answered {
        let (raw_text, is_finished) = (text.to_owned(), true);
        let caption =
            Caption { text: text.to_owned(), raw_text, score: -0.5, token_ids: vec![7], is_finished };
        let captions = if text.is_empty() { Err(Failure::new("no", is_passing)) } else { Ok(vec![caption]) };
        let answer = Answer::new(vec![Found { language: None, captions }]);
        Answered { digest: None, answer, explained: Vec::new() }
    }

    fn reported(entry: &Entry) -> String {
        let in_words = |found: &Found| match &found.captions {
            Ok(captions) => captions[0].text.clone(),
            Err(failure) => format!("({failure})"),
        };
        entry.answer.iter().map(in_words).collect::<Vec<_>>().join(" ")
    }

    /// Opens it as `--resume` does; with it the numbers that it has answers of.
    fn resumed(output: &Path, inputs: &[Input]) -> (CaptionJournal, Vec<usize>) {
        let mut numbers = Vec::new();
        let journal =
            CaptionJournal::open(output, "a", inputs, OnUnfinished::Resume, |number, _| numbers.push(number));
        (journal.unwrap(), numbers)
    }

    #[test]
    fn what_passes_is_tried_again_and_reported_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("out");
        let inputs: Vec<Input> = ["a", "b", "c", "d"].map(|name| Input::file(name.into())).into();
        let (mut journal, _) = resumed(&output, &inputs);
        assert_eq!(journal.left(4), [0, 1, 2, 3]);
        for (number, (text, is_passing)) in [("A", false), ("", true), ("", false)].into_iter().enumerate() {
            journal.add(number, &inputs[number], &answered(text, is_passing), &[]).unwrap();
        }
        journal.flush().unwrap();
        drop(journal);
        let (mut journal, numbers) = resumed(&output, &inputs);
        assert_eq!((numbers, journal.done(), journal.left(4)), (vec![0, 2], 2, vec![3, 1]));
        journal.add(3, &inputs[3], &answered("", true), &[]).unwrap();
        journal.add(1, &inputs[1], &answered("", true), &[]).unwrap();
        journal.flush().unwrap();
        drop(journal);
        let (mut journal, _) = resumed(&output, &inputs);
        assert_eq!((journal.left(4), journal.is_passing()), (vec![1, 3], true));
        journal.add(1, &inputs[1], &answered("B", false), &[]).unwrap();
        let all = |journal: &mut CaptionJournal| {
            let mut texts = Vec::new();
            let each = |number, entry: Entry| {
                texts.push(format!("{number} {}", reported(&entry)));
                Ok(())
            };
            journal.replay(each).unwrap();
            texts
        };
        assert_eq!(all(&mut journal), ["0 A", "1 B", "2 (no)", "3 (no)"]);
        drop(journal);
        let (mut journal, numbers) = resumed(&output, &inputs);
        assert_eq!((numbers, journal.left(4)), (vec![0, 2, 1], vec![3]));
        journal.add(3, &inputs[3], &answered("D", false), &[]).unwrap();
        assert_eq!(all(&mut journal), ["0 A", "1 B", "2 (no)", "3 D"]);
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

    /// Journals of one language have the lines that they always had; those of several have what was found in each.
    #[test]
    fn a_line_has_what_was_found_in_each_language() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("out");
        let inputs: Vec<Input> = ["a", "b", "c", "d"].map(|name| Input::file(name.into())).into();
        let (mut journal, _) = resumed(&output, &inputs);
        let text = |language, text: &str| Text { language, text: text.to_owned() };
        journal.add(0, &inputs[0], &answered("A", false), &[text(None, "x, A")]).unwrap();
        journal.add(1, &inputs[1], &answered("", true), &[]).unwrap();
        let mut found: Vec<Found> = Vec::new();
        for (language, said) in [(Language::English, "B"), (Language::Chinese, "")] {
            let answer = answered(said, false).answer;
            found.extend(answer.iter().cloned().map(|found| Found { language: Some(language), ..found }));
        }
        let several = Answered { digest: Some([1; 16]), answer: Answer::new(found), explained: Vec::new() };
        let english = Some(Language::English);
        journal.add(2, &inputs[2], &several, &[text(english, "x, B")]).unwrap();
        journal.flush().unwrap();
        drop(journal);
        let lines = fs::read_to_string(journal_path(&output)).unwrap();
        let lines: Vec<&str> = lines.lines().skip(1).collect();
        let captions = |text: &str| {
            format!(r#""captions":[{{"text":"{text}","raw_text":"{text}","score":-0.5,"token_ids":[7]}}]"#)
        };
        assert_eq!(lines[0], format!(r#"{{"path":"a",{},"sidecar":"x, A"}}"#, captions("A")));
        assert_eq!(lines[1], r#"{"path":"b","error":"no","is_passing":true}"#);
        let (digest, b) = ("01".repeat(16), captions("B"));
        let languages =
            format!(r#"[{{"language":"en",{b},"sidecar":"x, B"}},{{"language":"zh","error":"no"}}]"#);
        assert_eq!(lines[2], format!(r#"{{"path":"c","digest":"{digest}","languages":{languages}}}"#));
        let (mut journal, numbers) = resumed(&output, &inputs);
        assert_eq!((numbers, journal.left(4)), (vec![0, 2], vec![3, 1]));
        let mut entries = Vec::new();
        let each = |_, entry| {
            entries.push(entry);
            Ok(())
        };
        journal.replay(each).unwrap();
        assert_eq!(reported(&entries[2]), "B (no)");
        assert_eq!(entries[2].sidecars, [text(english, "x, B")]);
        assert_eq!((entries[2].digest, entries[0].sidecars.len()), (Some([1; 16]), 1));
    }
}
