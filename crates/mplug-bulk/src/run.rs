//! A run over many pictures: everything is found and checked first; then pictures go through the pipeline and their answers to
//! the output, in order, while events say how far it is.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use mplug::config::Language;
use mplug::explain::ExplainOptions;
use mplug::preprocess::image::ImageLimits;
use mplug_data::looks::PassedOver;
use mplug_data::picture::{Failure, PictureLoader};

use crate::document::CaptionFormat;
use crate::error::BulkError;
use crate::failures::Failures;
use crate::inputs::{Input, Inputs};
use crate::journal::OnUnfinished;
use crate::parquet;
use crate::pipeline::{Answered, KnownCaptions, Pipeline};
use crate::record::Style;
use crate::shard::Shard;
use crate::sink::{Output, Prepared, Sink};
use crate::wording::Wording;
use crate::writer::{Explained, Writer, Writers};

/// What is to be captioned, and where the captions go.
pub struct BulkPlan {
    inputs: Vec<Input>,
    passed_over: PassedOver,
    output: Output,
    /// Pictures that pass through the model together. Changes speed and memory, never a result.
    pub batch_size: usize,
    /// What a picture may cost.
    pub limits: ImageLimits,
    /// What of a picture's captions is reported.
    pub style: Style,
    /// What happens to the journal of a run that was stopped.
    pub on_unfinished: OnUnfinished,
    /// Whether the run ends at the first picture that fails.
    pub stops_at_failure: bool,
    /// How the best caption of each picture is explained, if it is: an [`Event::Explained`] each, of the pictures that this run captions.
    pub explain: Option<ExplainOptions>,
}

/// What happens in a run.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'e> {
    /// Some pictures are left out: they have a text file already.
    Skipped {
        /// How many.
        pictures: usize,
    },
    /// An earlier run's answers are kept.
    Resumed {
        /// Inputs that it has done.
        done: usize,
        /// All inputs.
        inputs: usize,
    },
    /// The work begins.
    Started {
        /// Inputs that are done.
        done: usize,
        /// All inputs.
        inputs: usize,
    },
    /// An input failed.
    Failed {
        /// Its name.
        path: &'e Path,
        /// The language in which there are no captions; none where that is so whatever the language.
        language: Option<Language>,
        /// Why.
        failure: &'e Failure,
    },
    /// The best caption of an input, in one of its languages, is explained. Comes before the batch is written.
    Explained {
        /// The input's name.
        path: &'e Path,
        /// The picture, its caption and the maps.
        explained: &'e Explained,
    },
    /// A batch is written.
    Advanced {
        /// Inputs in it.
        by: usize,
        /// Inputs that have failed until now, those of an earlier run included.
        failed: usize,
    },
}

/// Gets the events of a run. A break ends the run after the batch at hand, or before the first; what was done is kept where the output keeps it.
pub type OnEvent<'a> = dyn FnMut(Event<'_>) -> ControlFlow<()> + 'a;

/// How a run ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// All inputs.
    pub inputs: usize,
    /// Pictures that were left out because they have a text file already.
    pub skipped: usize,
    /// Files that were no inputs when folders and archives were listed.
    pub passed_over: PassedOver,
    /// Inputs that have an answer, or a failure that stays; those of an earlier run included.
    pub done: usize,
    /// Inputs that failed, those of an earlier run included. One without captions in one of its languages is one of them.
    pub failed: usize,
    /// Those of them whose failure passes: they are tried again when the run is resumed.
    pub passing: usize,
    /// Why inputs failed, each reason with its number of inputs, the most frequent first.
    pub reasons: Vec<(String, usize)>,
    /// What ended the run before its end.
    pub stopped_by: Option<StoppedBy>,
    /// Whether what was done is kept for a run that goes on.
    pub is_resumable: bool,
    /// Inputs of this run alone.
    pub advanced: usize,
    /// How long this run took.
    pub took: Duration,
    /// For how much of that the model had pictures.
    pub busy: Duration,
}

/// What ended a run before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoppedBy {
    /// A picture that failed, where that ends the run.
    Failure,
    /// The caller, by breaking at an event.
    Caller,
}

impl BulkPlan {
    /// Captions `inputs`, or their part `shard`, into `output`.
    ///
    /// # Errors
    /// [`BulkError::NotWhole`] where an input cannot be listed now and the run needs the whole list, because it takes a part or
    /// keeps answers; [`BulkError::NoParquet`] in a build without Parquet.
    pub fn new(inputs: Inputs, shard: Option<Shard>, output: Output) -> Result<Self, BulkError> {
        if shard.is_some() || output.keeps_answers() {
            inputs.require_whole()?;
        }
        let format = match output {
            Output::Stream { format, .. } | Output::File { format, .. } => Some(format),
            Output::TextFiles { .. } => None,
        };
        if format == Some(CaptionFormat::Parquet) && !parquet::IS_KNOWN {
            return Err(BulkError::NoParquet);
        }
        let style = Style { has_path: !inputs.is_single_file && format.is_some(), ..Style::default() };
        Ok(Self {
            passed_over: inputs.passed_over.clone(),
            inputs: inputs.take(shard),
            output,
            batch_size: 4,
            limits: ImageLimits::default(),
            style,
            on_unfinished: OnUnfinished::default(),
            stops_at_failure: false,
            explain: None,
        })
    }

    /// What is to be captioned; web addresses among it may be [opened](crate::open_addresses).
    pub fn inputs_mut(&mut self) -> &mut [Input] {
        &mut self.inputs
    }

    /// Checks that the output can be written, before a model is loaded.
    ///
    /// # Errors
    /// Why it cannot be; [`BulkError::NoKeywords`] in a build without keywords where some are requested.
    pub fn prepare(self, on_event: &mut OnEvent<'_>) -> Result<BulkRun, BulkError> {
        if self.style.keywords.is_some() && cfg!(not(feature = "keywords")) {
            return Err(BulkError::NoKeywords);
        }
        let Self {
            mut inputs,
            passed_over,
            output,
            batch_size,
            limits,
            style,
            on_unfinished,
            stops_at_failure,
            explain,
        } = self;
        let (output, skipped) = Prepared::of(output, &mut inputs, &style, on_unfinished)?;
        let is_ended = skipped > 0 && on_event(Event::Skipped { pictures: skipped }).is_break();
        Ok(BulkRun {
            inputs,
            passed_over,
            skipped,
            output,
            batch_size,
            limits,
            style,
            on_unfinished,
            stops_at_failure,
            explain,
            is_ended,
        })
    }
}

/// A run whose output was found usable.
pub struct BulkRun {
    inputs: Vec<Input>,
    passed_over: PassedOver,
    skipped: usize,
    output: Prepared,
    batch_size: usize,
    limits: ImageLimits,
    style: Style,
    on_unfinished: OnUnfinished,
    stops_at_failure: bool,
    explain: Option<ExplainOptions>,
    /// Whether the caller broke already.
    is_ended: bool,
}

impl BulkRun {
    /// Captions the pictures: each model looks at a picture once and writes its texts together. Only a run with the same models,
    /// options and inputs goes on where this one was stopped. Runs on rayon's current thread pool.
    ///
    /// # Errors
    /// What ends the run: the output, the journal or the models' options; [`BulkError::Writers`] where the models do not write the
    /// languages of [`Style`] (one text where it has none). A picture that fails harms no other; it is an [`Event::Failed`] and a
    /// record with its reason.
    pub fn run(self, writers: &[Writer<'_>], on_event: &mut OnEvent<'_>) -> Result<Summary, BulkError> {
        let writers = &Writers::new(writers, self.style.languages, self.limits)?;
        let captions_of = self.describe(writers);
        let Self {
            inputs,
            passed_over,
            skipped,
            output,
            batch_size,
            style,
            on_unfinished,
            stops_at_failure,
            explain,
            mut is_ended,
            ..
        } = self;
        let loader = writers.loaders()[0];
        let (known, mut failures) = (KnownCaptions::default(), Failures::default());
        let sink = {
            let report = &mut |input: &Input, failure: &Failure| {
                is_ended |= on_event(Event::Failed { path: &input.path, language: None, failure }).is_break();
            };
            output.open(&captions_of, &inputs, on_unfinished, &known, &mut failures, report)?
        };
        if sink.done() > 0 {
            is_ended |= on_event(Event::Resumed { done: sink.done(), inputs: inputs.len() }).is_break();
        }
        let indices = sink.left(inputs.len());
        let earlier = inputs.len() - indices.len();
        let pipeline = Pipeline { writers, known: &known, explain: explain.as_ref() };
        let mut work = Work {
            inputs: &inputs,
            sink,
            failures,
            style: &style,
            stops_at_failure,
            advanced: 0,
            passing: 0,
            is_ended,
            stopped_by: None,
        };
        let (took, busy) = work.run(&pipeline, &loader, &indices, batch_size, on_event)?;
        let Work { sink, failures, advanced, passing, stopped_by, .. } = work;
        let is_resumable = sink.is_resumable();
        if stopped_by.is_none() {
            sink.finish(&inputs, &style, &loader)?;
        }
        Ok(Summary {
            inputs: inputs.len(),
            skipped,
            passed_over,
            done: earlier + advanced - passing,
            failed: failures.count,
            passing,
            reasons: failures.reasons(),
            stopped_by,
            is_resumable,
            advanced,
            took,
            busy,
        })
    }

    /// What the captions depend on, in words.
    fn describe(&self, writers: &Writers<'_>) -> String {
        let Style { is_raw, captions, keywords, wording, .. } = &self.style;
        let wording = if *wording == Wording::default() { String::new() } else { format!(", {wording:?}") };
        format!(
            "{}, {:?}, raw {is_raw}, {captions:?} captions and {keywords:?} keywords reported{wording}",
            writers.describe(),
            self.limits,
        )
    }
}

/// A run between its first batch and its last.
struct Work<'r> {
    inputs: &'r [Input],
    sink: Sink,
    failures: Failures,
    style: &'r Style,
    stops_at_failure: bool,
    /// Inputs of this run that have an answer or a failure.
    advanced: usize,
    /// Those of them whose failure passes.
    passing: usize,
    /// Whether the caller broke.
    is_ended: bool,
    stopped_by: Option<StoppedBy>,
}

impl Work<'_> {
    /// Captions the inputs `indices`. Returns how long it took, and for how much of that the model had pictures.
    fn run(
        &mut self,
        pipeline: &Pipeline<'_>,
        loader: &PictureLoader,
        indices: &[usize],
        batch_size: usize,
        on_event: &mut OnEvent<'_>,
    ) -> Result<(Duration, Duration), BulkError> {
        let inputs = self.inputs;
        let started = Event::Started { done: inputs.len() - indices.len(), inputs: inputs.len() };
        self.is_ended |= on_event(started).is_break();
        if self.is_ended && !indices.is_empty() {
            self.stopped_by = Some(StoppedBy::Caller);
            return Ok((Duration::ZERO, Duration::ZERO));
        }
        let started = Instant::now();
        let busy = pipeline.run(inputs, indices, batch_size, |batch, mut answers| {
            self.sink.refuse(batch, &mut answers);
            self.report(batch, &mut answers, on_event);
            self.sink.add(inputs, batch, &answers, self.style, loader)?;
            self.advanced += answers.len();
            self.passing += answers.iter().filter(|answered| answered.answer.is_passing()).count();
            let advanced = Event::Advanced { by: answers.len(), failed: self.failures.count };
            self.is_ended |= on_event(advanced).is_break();
            if self.is_ended && self.stopped_by.is_none() && self.advanced < indices.len() {
                self.stopped_by = Some(StoppedBy::Caller);
            }
            Ok(if self.stopped_by.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok((started.elapsed(), busy))
    }

    /// Reports the explanations of a batch, and reports and counts its failures. Where the first one ends the run, it and what follows it are left out of
    /// `answers`: they are not done.
    fn report(&mut self, batch: &[usize], answers: &mut Vec<Answered>, on_event: &mut OnEvent<'_>) {
        for (place, &index) in batch.iter().enumerate() {
            let Answered { answer, explained, .. } = &answers[place];
            let path = &self.inputs[index].path;
            for explained in explained {
                self.is_ended |= on_event(Event::Explained { path, explained }).is_break();
            }
            if !answer.is_failed() {
                continue;
            }
            for (language, failure) in answer.failures() {
                self.is_ended |= on_event(Event::Failed { path, language, failure }).is_break();
            }
            self.failures.count(answer);
            if self.stops_at_failure {
                self.stopped_by = Some(StoppedBy::Failure);
                answers.truncate(place);
                break;
            }
        }
    }
}
