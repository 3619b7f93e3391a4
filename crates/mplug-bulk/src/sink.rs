//! Where the answers of a run go, batch by batch, and what of them is kept for a run that goes on.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use mplug_data::picture::{Failure, PictureLoader};
use mplug_data::source::PictureSource;

use crate::answer::Answer;
use crate::document::{CaptionFormat, Document};
use crate::error::BulkError;
use crate::failures::Failures;
use crate::inputs::Input;
use crate::journal::{self, CaptionJournal, OnUnfinished};
use crate::metadata;
use crate::pipeline::{Answered, KnownCaptions};
use crate::record::Style;
use crate::records::Destination;
use crate::sidecar::{OnExisting, Sidecars, Text};

/// Answers at the end of a journal whose text files may not have been written when the run was stopped: at least a batch.
const UNSURE: usize = 1024;

/// Where captions go.
pub enum Output {
    /// A stream, written as captions come; messages call it `name`.
    Stream {
        /// What messages call it: `standard output`.
        name: String,
        /// The stream.
        writer: Box<dyn Write>,
        /// How they are written.
        format: CaptionFormat,
    },
    /// A file, written at the end: it appears whole or not at all. Until then answers are kept beside it, in `PATH.part`.
    File {
        /// The file; a device or a named pipe is written as captions come.
        path: PathBuf,
        /// How they are written.
        format: CaptionFormat,
    },
    /// A text file for every picture, or one for each of its languages.
    TextFiles {
        /// They are below this folder, in the folders of their pictures; beside the pictures if absent.
        folder: Option<PathBuf>,
        /// What happens to a text file that is there. A link is never followed.
        on_existing: OnExisting,
        /// How they end, `caption` say; `txt` if absent.
        ending: Option<String>,
    },
}

impl Output {
    /// Whether answers are kept for a run that goes on.
    pub fn keeps_answers(&self) -> bool {
        match self {
            Self::Stream { .. } => false,
            Self::File { .. } => true,
            Self::TextFiles { on_existing, .. } => *on_existing != OnExisting::Skip,
        }
    }
}

/// An output that was found usable, before the model is there.
pub(crate) enum Prepared {
    Stream(Document),
    File { path: PathBuf, format: CaptionFormat },
    TextFiles { sidecars: Sidecars, journal: Option<PathBuf> },
}

impl Prepared {
    /// Checks that `output` can be written; inputs that have a text file already are taken out of `inputs`. Returns also how
    /// many were.
    pub(crate) fn of(
        output: Output,
        inputs: &mut Vec<Input>,
        style: &Style,
        on_unfinished: OnUnfinished,
    ) -> Result<(Self, usize), BulkError> {
        let (document, path, format) = match output {
            Output::TextFiles { folder, on_existing, ending } => {
                let languages = style.languages;
                let sidecars =
                    Sidecars::plan(inputs, folder.as_deref(), on_existing, ending.as_deref(), languages)?;
                return Self::text_files(folder.as_deref(), sidecars, inputs);
            }
            Output::Stream { name, writer, format } => {
                refuse_addresses(format, inputs)?;
                let destination = Destination::stream(name, writer);
                (Document::begin(destination, format, style)?, None, format)
            }
            Output::File { path, format } => {
                refuse_addresses(format, inputs)?;
                let destination = Destination::file(&path)?;
                (Document::begin(destination, format, style)?, Some(path), format)
            }
        };
        // A row of a table would lose its file too, and so would a member of an archive.
        document.refuse_inputs(inputs.iter().flat_map(|input| input.path.ancestors()))?;
        if let Some(path) = &path
            && document.is_file()
        {
            refuse_existing(path, on_unfinished)?;
            if format == CaptionFormat::Metadata {
                metadata::check(inputs.iter(), path)?;
            }
        }
        Ok(match path {
            Some(path) if document.is_file() => (Self::File { path, format }, 0),
            _ => (Self::Stream(document), 0),
        })
    }

    fn text_files(
        folder: Option<&Path>,
        sidecars: Sidecars,
        inputs: &mut Vec<Input>,
    ) -> Result<(Self, usize), BulkError> {
        let (sidecars, left, skipped) = sidecars.left(std::mem::take(inputs));
        *inputs = left;
        if let Some(folder) = folder {
            fs::create_dir_all(folder).map_err(BulkError::io(folder, "cannot be made"))?;
        }
        for (index, input) in inputs.iter_mut().enumerate() {
            if let (Ok(_), Some(problem)) = (&input.source, sidecars.problem(index)) {
                input.source = Err(problem);
            }
        }
        let journal = sidecars.journal(folder);
        Ok((Self::TextFiles { sidecars, journal }, skipped))
    }

    /// Opens the journal, if there is one, and takes in what it has. `report` gets the inputs whose text files cannot be
    /// written any more.
    pub(crate) fn open(
        self,
        captions_of: &str,
        inputs: &[Input],
        on_unfinished: OnUnfinished,
        known: &KnownCaptions,
        failures: &mut Failures,
        report: &mut dyn FnMut(&Input, &Failure),
    ) -> Result<Sink, BulkError> {
        let mut texts: Vec<(usize, Vec<Text>)> = Vec::new();
        let mut open = |output: PathBuf| {
            CaptionJournal::open(&output, captions_of, inputs, on_unfinished, |index, entry| {
                failures.count(&entry.answer);
                if let Some(digest) = entry.digest {
                    known.add(digest, &entry.answer);
                }
                if !entry.sidecars.is_empty() {
                    texts.push((index, entry.sidecars));
                }
                texts.drain(..texts.len().saturating_sub(UNSURE));
            })
        };
        match self {
            Self::Stream(document) => Ok(Sink::Stream(document)),
            Self::File { path, format } => {
                let journal = open(path.clone())?;
                Ok(Sink::File { journal, path, format })
            }
            Self::TextFiles { sidecars, journal } => {
                let journal = journal.map(&mut open).transpose()?;
                // The run may have been stopped between its journal and these files.
                for (index, texts) in texts {
                    if let Some(problem) = sidecars.problem(index) {
                        report(&inputs[index], &problem);
                        failures.count(&Answer::failed(problem));
                    } else {
                        texts.iter().try_for_each(|text| sidecars.write(index, text))?;
                    }
                }
                Ok(Sink::TextFiles { sidecars, journal })
            }
        }
    }
}

/// Refuses to replace a file that is there, unless that was requested or a run that was stopped goes on into it.
fn refuse_existing(path: &Path, on_unfinished: OnUnfinished) -> Result<(), BulkError> {
    let has_bytes = fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() > 0);
    if !has_bytes || on_unfinished == OnUnfinished::Discard || journal::has_answers(path) {
        return Ok(());
    }
    Err(BulkError::OutputExists { path: path.to_owned() })
}

/// A tar has the pictures themselves, and those of the web may be others when they are read again.
fn refuse_addresses(format: CaptionFormat, inputs: &[Input]) -> Result<(), BulkError> {
    let is_remote = |input: &&Input| matches!(input.source, Ok(PictureSource::Remote(_)));
    match inputs.iter().find(is_remote) {
        Some(input) if format == CaptionFormat::Tar => {
            Err(BulkError::AddressInTar { path: input.path.clone() })
        }
        _ => Ok(()),
    }
}

/// Where answers go.
pub(crate) enum Sink {
    /// A document that is written as answers come.
    Stream(Document),
    /// A journal, of which a file is made at the end.
    File { journal: CaptionJournal, path: PathBuf, format: CaptionFormat },
    /// A text file for every picture, and a journal where its text cannot be made twice.
    TextFiles { sidecars: Sidecars, journal: Option<CaptionJournal> },
}

impl Sink {
    fn journal(&self) -> Option<&CaptionJournal> {
        match self {
            Self::Stream(_) => None,
            Self::File { journal, .. } => Some(journal),
            Self::TextFiles { journal, .. } => journal.as_ref(),
        }
    }

    /// Whether what was done is kept for a later run.
    pub(crate) fn is_resumable(&self) -> bool {
        self.journal().is_some()
    }

    /// How many inputs an earlier run has done.
    pub(crate) fn done(&self) -> usize {
        self.journal().map_or(0, CaptionJournal::done)
    }

    /// The indices of the inputs that are left to do.
    pub(crate) fn left(&self, inputs: usize) -> Vec<usize> {
        self.journal().map_or_else(|| (0..inputs).collect(), |journal| journal.left(inputs))
    }

    /// Makes failures of the answers whose text files may not be written: something stands there that did not when the run began,
    /// or the old text cannot be read.
    pub(crate) fn refuse(&self, batch: &[usize], answers: &mut [Answered]) {
        let Self::TextFiles { sidecars, .. } = self else { return };
        for (&index, answered) in batch.iter().zip(answers) {
            if !answered.answer.has_captions() {
                continue;
            }
            let problem = sidecars.problem(index).or_else(|| sidecars.old_text_problem(index));
            if let Some(problem) = problem {
                answered.answer = Answer::failed(problem);
            }
        }
    }

    /// Adds the answers of the inputs of those indices.
    pub(crate) fn add(
        &mut self,
        inputs: &[Input],
        batch: &[usize],
        answers: &[Answered],
        style: &Style,
        loader: &PictureLoader,
    ) -> Result<(), BulkError> {
        let pairs = || batch.iter().copied().zip(answers);
        match self {
            Self::Stream(document) => {
                for (index, answered) in pairs() {
                    document.add(&inputs[index], &answered.answer, style, loader)?;
                }
                document.flush()
            }
            Self::File { journal, .. } => {
                for (index, answered) in pairs() {
                    journal.add(index, &inputs[index], answered, &[])?;
                }
                journal.flush()
            }
            Self::TextFiles { sidecars, journal } => {
                let mut written = Vec::with_capacity(answers.len());
                for (index, answered) in pairs() {
                    let texts = sidecars.texts(index, &answered.answer, style)?;
                    if let Some(journal) = journal {
                        journal.add(index, &inputs[index], answered, &texts)?;
                    }
                    written.extend(texts.into_iter().map(|text| (index, text)));
                }
                // What a file will hold is on record before it changes: to write it again harms nothing.
                if let Some(journal) = journal {
                    journal.flush()?;
                }
                written.iter().try_for_each(|(index, text)| sidecars.write(*index, text))
            }
        }
    }

    /// Makes the output of what was kept. The journal stays where there is something to try again.
    pub(crate) fn finish(
        self,
        inputs: &[Input],
        style: &Style,
        loader: &PictureLoader,
    ) -> Result<(), BulkError> {
        match self {
            Self::Stream(document) => document.finish(),
            Self::File { mut journal, path, format } => {
                let mut document = Document::begin(Destination::file(&path)?, format, style)?;
                journal.replay(|index, entry| document.add(&inputs[index], &entry.answer, style, loader))?;
                document.finish()?;
                remove_if_done(journal)
            }
            Self::TextFiles { journal, .. } => journal.map_or(Ok(()), remove_if_done),
        }
    }
}

fn remove_if_done(journal: CaptionJournal) -> Result<(), BulkError> {
    if journal.is_passing() { Ok(()) } else { journal.remove() }
}
