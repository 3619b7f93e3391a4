//! A run of `mplug caption`: everything is found, opened and checked first; then pictures go through the pipeline and their answers
//! to the output, in order.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use mplug::{checkpoint::ModelFolder, config::Task, generate::GenerationOptions, tasks::Captioner};
use mplug_data::source::PictureSource;

use super::{
    CaptionArgs, OnError,
    answers::{Answer, Answered, Memory, Pipeline},
    journal::{Journal, OnUnfinished},
    output::{CaptionFormat, Document},
    parquet,
    record::Style,
    sidecar::{OnExisting, Sidecars},
};
use crate::{
    inputs::{self, Input, Inputs},
    interrupt::Interrupt,
    model,
    pictures::{Failure, PictureLoader},
    precision,
    progress::Progress,
    report,
    status::Status,
};

/// Different reasons of failures that are counted one by one in the summary.
const MOST_REASONS: usize = 20;
/// A run that takes so long is told how fast it was.
const LONG_RUN: Duration = Duration::from_secs(30);
/// What is said of a failure that passes.
const NOT_TRIED: &str = "not tried to the end";
/// Answers at the end of a journal whose text files may not have been written when the run was stopped: at least a batch.
const UNSURE: usize = 1024;

/// A run as meant.
pub(super) struct CaptionRun {
    inputs: Vec<Input>,
    loader: PictureLoader,
    captioner: Captioner,
    options: GenerationOptions,
    batch_size: usize,
    style: Style,
    sink: Sink,
    memory: Memory,
    failures: Failures,
    on_error: OnError,
}

/// Where answers go.
enum Sink {
    /// A document that is written as answers come.
    Stream(Document),
    /// A journal, of which a file is made at the end.
    File { journal: Journal, path: PathBuf, format: CaptionFormat },
    /// A text file for every picture, and a journal where its text cannot be made twice.
    Sidecars { sidecars: Sidecars, journal: Option<Journal> },
}

/// The inputs that failed, by reason.
#[derive(Default)]
struct Failures {
    count: usize,
    /// Those of them that pass.
    passing: usize,
    reasons: BTreeMap<String, usize>,
}

/// What ended a run before its end.
#[derive(Clone, Copy)]
enum StoppedBy {
    /// A picture that failed, where that ends the run.
    Failure,
    /// Ctrl-C, or a machine that shuts down.
    Signal,
}

impl StoppedBy {
    fn message(self, done: usize, inputs: usize, is_resumable: bool) -> String {
        let why = match self {
            Self::Failure => "stopped at the first failure (`--errors fail`)",
            Self::Signal => "stopped by a signal",
        };
        let resume = if is_resumable { "; the same command with `--resume` goes on from there" } else { "" };
        format!("{why}, {done} of {inputs} inputs done{resume}")
    }

    fn status(self) -> Status {
        match self {
            Self::Failure => Status::SomeFailed,
            Self::Signal => Status::Interrupted,
        }
    }
}

impl CaptionRun {
    pub(super) fn prepare(args: &CaptionArgs) -> anyhow::Result<Self> {
        let inputs = args.all_inputs()?;
        if args.shard.is_some() || args.keeps_answers() {
            inputs.require_whole()?;
        }
        let Inputs { list: mut inputs, is_single_file } = inputs;
        if let Some(shard) = args.shard {
            inputs = inputs.drain(shard.range(inputs.len())).collect();
        }
        let style = Style {
            is_raw: args.raw,
            has_path: !is_single_file && args.output.format != CaptionFormat::Sidecar,
            captions: args.captions,
            tags: args.tags,
        };
        args.web.open(&mut inputs)?;
        // An output that cannot be written is found before the work, not after.
        let unfinished = Unfinished::of(args, &mut inputs, style)?;
        let folder = model::open_or_demo(&args.model, args.engine.image_size, Task::ImageCaptioning)?;
        let captioner =
            Captioner::load_with(&folder, &precision::load_options(&folder, args.engine.precision))?;
        let options = args.options(&folder, captioner.default_options())?;
        let loader = PictureLoader {
            limits: args.limits.limits(),
            image_size: captioner.config().vision.image_size as u32,
        };
        let (memory, mut failures) = (Memory::default(), Failures::default());
        let captions_of = args.describe(&folder, &options)?;
        let sink = unfinished.open(args, &captions_of, &inputs, &memory, &mut failures)?;
        let (batch_size, on_error) = (args.batch.batch_size, args.errors);
        Ok(Self { inputs, loader, captioner, options, batch_size, style, sink, memory, failures, on_error })
    }

    pub(super) fn run(mut self) -> anyhow::Result<Status> {
        let batch_size = self.batch_size;
        let inputs = std::mem::take(&mut self.inputs);
        let numbers = self.sink.left(inputs.len());
        let done = inputs.len() - numbers.len();
        let progress = Progress::new(inputs.len(), "pictures");
        progress.resume_at(done);
        let interrupt = Interrupt::listen()?;
        let Self { loader, captioner, options, style, sink, memory, failures, on_error, .. } = &mut self;
        let pipeline = Pipeline { captioner, options, loader, memory };
        let (mut next, mut stopped_by) = (done, None);
        let started = Instant::now();
        let busy = pipeline.run(&inputs, &numbers, batch_size, |batch, mut answers| {
            sink.refuse(batch, &mut answers);
            let first_failure = answers.iter().position(|answered| answered.answer.is_err());
            if let (OnError::Fail, Some(place)) = (*on_error, first_failure) {
                stopped_by = Some(StoppedBy::Failure);
                failures.tell(&inputs[batch[place]], &answers[place].answer, &progress);
                answers.truncate(place);
            }
            for (&number, answered) in batch.iter().zip(&answers) {
                failures.tell(&inputs[number], &answered.answer, &progress);
            }
            sink.add(&inputs, batch, &answers, *style, loader, &progress)?;
            next += answers.len();
            progress.failed(failures.count);
            progress.advance(answers.len());
            if stopped_by.is_none() && next < inputs.len() && interrupt.came() {
                stopped_by = Some(StoppedBy::Signal);
            }
            Ok(stopped_by.is_none())
        })?;
        let took = started.elapsed();
        if took >= LONG_RUN {
            progress.message(&rate(next - done, took, busy));
        }
        if let Some(stopped_by) = stopped_by {
            let done = next - self.failures.passing;
            progress.message(&stopped_by.message(done, inputs.len(), self.sink.is_resumable()));
            return Ok(stopped_by.status());
        }
        let is_resumable = self.sink.is_resumable();
        self.sink.finish(&inputs, self.style, &self.loader)?;
        self.failures.summarize(inputs.len(), is_resumable, &progress);
        Ok(Status::of_failures(self.failures.count))
    }
}

impl CaptionArgs {
    /// What is to be captioned, by this part and the others.
    fn all_inputs(&self) -> anyhow::Result<Inputs> {
        if let Some(dataset) = &self.dataset {
            return inputs::of_dataset(dataset, self.images.as_deref());
        }
        let inputs = Inputs::collect(&self.inputs, self.recursive)?;
        Ok(parquet::expand(inputs, self.image_column.as_deref()))
    }

    /// Whether answers are kept for a run that goes on.
    fn keeps_answers(&self) -> bool {
        match self.output.format {
            CaptionFormat::Sidecar => self.output.on_existing != OnExisting::Skip,
            _ => self.output.output.is_some(),
        }
    }

    /// What the captions depend on, in words.
    fn describe(&self, folder: &ModelFolder, options: &GenerationOptions) -> anyhow::Result<String> {
        let model = match &self.model.model {
            Some(path) => format!("model {}", model::stamp(&model::find(path)?)?),
            None => "the demo model".to_owned(),
        };
        let precision = self.engine.precision.map_or_else(|| folder.stored_precision(), Into::into);
        let column = self.image_column.as_ref().map(|name| format!(", column {name:?}")).unwrap_or_default();
        Ok(format!(
            "{model} in mplug {} at {precision:?} and {} pixels, {options:?}, {:?}, raw {}, {:?} captions and {:?} keywords told{column}",
            env!("CARGO_PKG_VERSION"),
            folder.config.vision.image_size,
            self.limits.limits(),
            self.raw,
            self.captions,
            self.tags,
        ))
    }
}

/// An output that was found usable, before the model is there.
enum Unfinished {
    Stream(Document),
    File(PathBuf),
    Sidecars(Sidecars, Option<PathBuf>),
}

impl Unfinished {
    fn of(args: &CaptionArgs, inputs: &mut Vec<Input>, style: Style) -> anyhow::Result<Self> {
        let path = args.output.output.as_deref();
        if args.output.format == CaptionFormat::Sidecar {
            let sidecars = Sidecars::plan(inputs, path, args.output.on_existing)?;
            let (sidecars, left, skipped) = sidecars.left(std::mem::take(inputs));
            *inputs = left;
            if skipped > 0 {
                report::message(format!(
                    "{skipped} pictures have a text file already (`--on-existing skip`)"
                ));
            }
            if let Some(folder) = path {
                fs::create_dir_all(folder)
                    .map_err(|error| anyhow::anyhow!("{}: cannot be made: {error}", folder.display()))?;
            }
            // Found before the work, not after.
            for (number, input) in inputs.iter_mut().enumerate() {
                if let (Ok(_), Some(problem)) = (&input.source, sidecars.problem(number)) {
                    input.source = Err(Failure::lasting(problem));
                }
            }
            let journal = sidecars.journal(path);
            return Ok(Self::Sidecars(sidecars, journal));
        }
        let is_remote = |input: &Input| matches!(input.source, Ok(PictureSource::Remote(_)));
        if let Some(input) =
            inputs.iter().find(|input| args.output.format == CaptionFormat::Tar && is_remote(input))
        {
            let name = input.path.display();
            anyhow::bail!(
                "{name}: a web address has no place in a tar, which has the pictures themselves: download it first"
            );
        }
        let document = Document::create(args.output.format, path, style)?;
        // A row of a table would lose its file too, and so would a member of an archive.
        document.refuse_inputs(inputs.iter().flat_map(|input| input.path.ancestors()))?;
        match path {
            Some(path) if document.is_file() => Ok(Self::File(path.to_owned())),
            _ => Ok(Self::Stream(document)),
        }
    }

    /// Opens the journal, if there is one, with what is in it.
    fn open(
        self,
        args: &CaptionArgs,
        captions_of: &str,
        inputs: &[Input],
        memory: &Memory,
        failures: &mut Failures,
    ) -> anyhow::Result<Sink> {
        let on_unfinished = match (args.output.resume, args.output.force) {
            (true, _) => OnUnfinished::Resume,
            (_, true) => OnUnfinished::Discard,
            _ => OnUnfinished::Refuse,
        };
        let mut texts = Vec::new();
        let mut open = |output: &Path| {
            Journal::open(output, captions_of, inputs, on_unfinished, |number, entry| {
                failures.count(&entry.answer);
                if let (Some(digest), Ok(captions)) = (entry.digest, &entry.answer) {
                    memory.add(digest, captions);
                }
                texts.extend(entry.sidecar.map(|text| (number, text)));
                texts.drain(..texts.len().saturating_sub(UNSURE));
            })
        };
        match self {
            Self::Stream(document) => Ok(Sink::Stream(document)),
            Self::File(path) => {
                let journal = open(&path)?;
                report_resumed(&journal, inputs);
                Ok(Sink::File { journal, path, format: args.output.format })
            }
            Self::Sidecars(sidecars, output) => {
                let journal = output.as_deref().map(open).transpose()?;
                if let Some(journal) = &journal {
                    report_resumed(journal, inputs);
                }
                // The run may have been stopped between its journal and these files.
                for (number, text) in texts {
                    if let Some(problem) = sidecars.problem(number) {
                        failures.count(&Err(Failure::lasting(problem.clone())));
                        report::message(report::about(&inputs[number].path, &problem));
                    } else {
                        sidecars.write(number, &text)?;
                    }
                }
                Ok(Sink::Sidecars { sidecars, journal })
            }
        }
    }
}

fn report_resumed(journal: &Journal, inputs: &[Input]) {
    if journal.done() > 0 {
        report::message(format!("{} of {} inputs were done already", journal.done(), inputs.len()));
    }
}

impl Sink {
    /// Whether what was done is kept for a later run.
    fn is_resumable(&self) -> bool {
        !matches!(self, Self::Stream(_) | Self::Sidecars { journal: None, .. })
    }

    /// The numbers of the inputs that are left to do.
    fn left(&self, inputs: usize) -> Vec<usize> {
        match self {
            Self::Stream(_) | Self::Sidecars { journal: None, .. } => (0..inputs).collect(),
            Self::File { journal, .. } | Self::Sidecars { journal: Some(journal), .. } => {
                journal.left(inputs)
            }
        }
    }

    /// Makes failures of the answers whose text files may not be written: something stands there that did not when the run began.
    fn refuse(&self, batch: &[usize], answers: &mut [Answered]) {
        let Self::Sidecars { sidecars, .. } = self else { return };
        for (&number, answered) in batch.iter().zip(answers) {
            if let (Ok(_), Some(problem)) = (&answered.answer, sidecars.problem(number)) {
                answered.answer = Err(Failure::lasting(problem));
            }
        }
    }

    /// Adds the answers of the inputs of those numbers.
    fn add(
        &mut self,
        inputs: &[Input],
        batch: &[usize],
        answers: &[Answered],
        style: Style,
        loader: &PictureLoader,
        progress: &Progress,
    ) -> anyhow::Result<()> {
        let pairs = || batch.iter().copied().zip(answers);
        match self {
            Self::Stream(document) => progress.aside(document.is_terminal(), || {
                for (number, answered) in pairs() {
                    document.add(&inputs[number], &answered.answer, style, loader)?;
                }
                document.flush()
            }),
            Self::File { journal, .. } => {
                for (number, answered) in pairs() {
                    journal.add(number, &inputs[number], answered, None)?;
                }
                journal.flush()
            }
            Self::Sidecars { sidecars, journal } => {
                let mut texts = Vec::with_capacity(answers.len());
                for (number, answered) in pairs() {
                    let text = sidecar_text(sidecars, number, &answered.answer, style)?;
                    if let Some(journal) = journal {
                        journal.add(number, &inputs[number], answered, text.clone())?;
                    }
                    texts.extend(text.map(|text| (number, text)));
                }
                // What a file will hold is on record before it changes: to write it again harms nothing.
                if let Some(journal) = journal {
                    journal.flush()?;
                }
                texts.into_iter().try_for_each(|(number, text)| sidecars.write(number, &text))
            }
        }
    }

    /// Makes the output of what was kept. The journal stays where there is something to try again.
    fn finish(self, inputs: &[Input], style: Style, loader: &PictureLoader) -> anyhow::Result<()> {
        match self {
            Self::Stream(document) => document.finish(),
            Self::File { mut journal, path, format } => {
                let mut document = Document::create(format, Some(&path), style)?;
                journal
                    .replay(|number, entry| document.add(&inputs[number], &entry.answer, style, loader))?;
                document.finish()?;
                remove_if_done(journal)
            }
            Self::Sidecars { journal, .. } => journal.map_or(Ok(()), remove_if_done),
        }
    }
}

fn remove_if_done(journal: Journal) -> anyhow::Result<()> {
    if journal.is_passing() { Ok(()) } else { journal.remove() }
}

/// How fast a run was, and whether the model waited for pictures.
fn rate(pictures: usize, took: Duration, busy: Duration) -> String {
    format!(
        "{pictures} pictures in {:.0} s, {:.1}/s; the model had pictures {:.0} % of the time",
        took.as_secs_f64(),
        pictures as f64 / took.as_secs_f64(),
        100.0 * busy.as_secs_f64() / took.as_secs_f64()
    )
}

/// The text of a picture's file: its captions, one a line.
fn sidecar_text(
    sidecars: &Sidecars,
    number: usize,
    answer: &Answer,
    style: Style,
) -> anyhow::Result<Option<String>> {
    let Ok(captions) = answer else { return Ok(None) };
    sidecars.text(number, &style.lines(captions)).map(Some)
}

impl Failures {
    /// Names a picture that failed, and counts it.
    fn tell(&mut self, input: &Input, answer: &Answer, progress: &Progress) {
        if let Err(Failure { reason, is_passing }) = answer {
            let message = report::about(&input.path, reason);
            progress.message(&if *is_passing { format!("{message} ({NOT_TRIED})") } else { message });
        }
        self.count(answer);
    }

    fn count(&mut self, answer: &Answer) {
        let Err(Failure { reason, is_passing }) = answer else { return };
        self.count += 1;
        self.passing += usize::from(*is_passing);
        let is_new = !self.reasons.contains_key(reason);
        let reason = if is_new && self.reasons.len() == MOST_REASONS { "other reasons" } else { reason };
        *self.reasons.entry(report::one_line(reason)).or_default() += 1;
    }

    /// How many failed, the reasons of more than one, the most frequent first, and what is to be tried again.
    fn summarize(&self, inputs: usize, is_resumable: bool, progress: &Progress) {
        if self.count > 0 && inputs > 1 {
            self.tell_reasons(inputs, progress);
        }
        if self.passing > 0 {
            let how = if is_resumable { "run again with `--resume`" } else { "run again" };
            progress.message(&format!("{} of {inputs} inputs {NOT_TRIED}; {how}", self.passing));
        }
    }

    fn tell_reasons(&self, inputs: usize, progress: &Progress) {
        progress.message(&format!("{} of {inputs} inputs failed", self.count));
        let mut reasons: Vec<(&String, &usize)> =
            self.reasons.iter().filter(|(_, count)| **count > 1).collect();
        reasons.sort_by(|one, other| other.1.cmp(one.1).then(one.0.cmp(other.0)));
        for (reason, count) in reasons {
            progress.message(&format!("{count} x {reason}"));
        }
    }
}
