//! The one thread on which all models run.
//!
//! ```text
//! jobs ──> waiting ── begin: one picture encoded ──> writing ── step: a token for all texts of all pictures ──> answers
//!                                              └──> scoring ── a few texts ──> answers
//! ```
//!
//! Pictures of different requests, tasks, options and languages join between steps and leave when they are finished; who hung up leaves
//! at the next step. The encoder takes most of the time, unlike in language-model servers, so that no more than one picture, the
//! oldest, is encoded between two steps. The shape is that of the batching of TEI and vLLM; what a text becomes depends on nothing
//! else ([`GenerationEngine`]).

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Instant;

use mplug::EncodedPicture;
use mplug::explain::ExplainOptions;
use mplug::generate::{GenerationEngine, Hypotheses, Id, Resolved, Update};
use mplug::tasks::{Caption, Captions, Matcher};

use crate::metrics::Metrics;
use crate::models::{Kind, Model, ModelIndex, Models};
use crate::queue::Queue;
use crate::recent::Recent;
use crate::work::{Found, Job, Ticket, Work, WorkError};

/// Texts that are scored between two steps of the decoders.
const SCORED_AT_ONCE: usize = 4;

/// Runs the models until nobody can send work any more.
pub(crate) struct Worker {
    models: Arc<Models>,
    jobs: Receiver<Job>,
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    /// One for each model that writes.
    engines: Vec<Option<GenerationEngine>>,
    /// Oldest first.
    waiting: VecDeque<Job>,
    writing: Vec<Writing>,
    scoring: VecDeque<Scoring>,
    recent: Recent,
    texts_at_once: usize,
    /// When the models were last idle, or answered last.
    busy_since: Instant,
}

/// A picture about which texts are being written.
struct Writing {
    ticket: Ticket,
    model: ModelIndex,
    picture: EncodedPicture,
    texts: Vec<Text>,
    explain: Option<ExplainOptions>,
}

/// A text about a picture.
struct Text {
    id: Id,
    resolved: Arc<Resolved>,
    /// Once it is finished.
    captions: Option<Captions>,
}

/// A picture against which texts are being scored.
struct Scoring {
    ticket: Ticket,
    model: ModelIndex,
    picture: EncodedPicture,
    texts: Vec<String>,
    scores: Vec<f32>,
}

impl Worker {
    pub(crate) fn new(
        models: Arc<Models>,
        jobs: Receiver<Job>,
        queue: Arc<Queue>,
        metrics: Arc<Metrics>,
        texts_at_once: usize,
    ) -> Self {
        let engines = (0..models.len()).map(|index| engine_of(models.get(index))).collect();
        Self {
            engines,
            models,
            jobs,
            queue,
            metrics,
            texts_at_once,
            waiting: VecDeque::new(),
            writing: Vec::new(),
            scoring: VecDeque::new(),
            recent: Recent::default(),
            busy_since: Instant::now(),
        }
    }

    /// Works until every sender of jobs is gone and what they sent is answered.
    pub(crate) fn run(mut self) {
        while self.receive() {
            self.leave_out_given_up();
            self.begin_next();
            self.score_some();
            self.step();
            self.metrics.texts(self.writing.iter().map(|writing| writing.texts.len()).sum());
        }
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.writing.is_empty() && self.scoring.is_empty()
    }

    /// Takes what was sent; waits for it where there is nothing else to do. `false` at the end.
    fn receive(&mut self) -> bool {
        if self.is_idle() {
            let Ok(job) = self.jobs.recv() else { return false };
            self.busy_since = Instant::now();
            self.waiting.push_back(job);
        }
        loop {
            match self.jobs.try_recv() {
                Ok(job) => self.waiting.push_back(job),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return !self.is_idle(),
            }
        }
    }

    /// Frees the places of those who hung up.
    fn leave_out_given_up(&mut self) {
        let before = self.waiting.len() + self.writing.len() + self.scoring.len();
        self.waiting.retain(|job| !job.ticket.is_given_up());
        self.scoring.retain(|scoring| !scoring.ticket.is_given_up());
        let engines = &mut self.engines;
        self.writing.retain(|writing| {
            let is_given_up = writing.ticket.is_given_up();
            if let (true, Some(engine)) = (is_given_up, &mut engines[writing.model]) {
                writing.texts.iter().for_each(|text| {
                    engine.abort(text.id);
                });
            }
            !is_given_up
        });
        let after = self.waiting.len() + self.writing.len() + self.scoring.len();
        self.metrics.given_up(before - after);
    }

    /// Begins the oldest job, if there is room for it: its picture is encoded.
    fn begin_next(&mut self) {
        let has_room = self.writing.len() + self.scoring.len() < self.texts_at_once;
        let Some(job) = self.waiting.pop_front_if(|_| has_room) else { return };
        let Job { model, image, work, mut ticket } = job;
        ticket.begin();
        let models = Arc::clone(&self.models);
        let encoded = catch_unwind(AssertUnwindSafe(|| {
            let picture = self.recent.get_or(model, &image, || encode(&models.get(model).kind, &image));
            match (&models.get(model).kind, &work) {
                (Kind::Answerer(answerer), Work::Answer { question, .. }) => {
                    answerer.read_question(&picture, question).ok()
                }
                _ => Some(picture),
            }
        }));
        match encoded {
            Ok(Some(picture)) => self.begin(model, picture, work, ticket),
            // The question was checked when it came.
            Ok(None) | Err(_) => self.answer(ticket, Err(WorkError::Panicked)),
        }
    }

    fn begin(&mut self, model: ModelIndex, picture: EncodedPicture, work: Work, ticket: Ticket) {
        let (resolved, explain) = match work {
            Work::Match(texts) => {
                let scores = Vec::with_capacity(texts.len());
                self.scoring.push_back(Scoring { ticket, model, picture, texts, scores });
                return;
            }
            Work::Explain { resolved, given: Some(caption), options } => {
                let found = self.explained(model, &picture, caption, &resolved, &options);
                self.answer(ticket, found);
                return;
            }
            Work::Caption(resolved) => (resolved, None),
            Work::Answer { resolved, .. } => (vec![resolved], None),
            Work::Explain { resolved, given: None, options } => (vec![resolved], Some(options)),
        };
        let engine = self.engines[model].as_mut().expect("a model that writes has an engine");
        let add = |resolved: Arc<Resolved>| Text {
            id: engine.add(picture.clone(), Arc::clone(&resolved)),
            resolved,
            captions: None,
        };
        let texts = resolved.into_iter().map(add).collect();
        self.writing.push(Writing { ticket, model, picture, texts, explain });
    }

    /// Scores a few texts of the oldest picture.
    fn score_some(&mut self) {
        let Some(scoring) = self.scoring.front_mut() else { return };
        let models = Arc::clone(&self.models);
        let Kind::Matcher(matcher) = &models.get(scoring.model).kind else {
            unreachable!("texts are scored by a matcher")
        };
        let scored = catch_unwind(AssertUnwindSafe(|| score(matcher, scoring)));
        let is_finished = scoring.scores.len() == scoring.texts.len();
        if scored.is_ok() && !is_finished {
            return;
        }
        let Some(Scoring { ticket, scores, .. }) = self.scoring.pop_front() else { return };
        let is_good = scores.iter().all(|score| score.is_finite());
        self.answer(
            ticket,
            match scored {
                Err(_) => Err(WorkError::Panicked),
                Ok(()) if !is_good => Err(WorkError::NotANumber),
                Ok(()) => Ok(Found::Scores(scores)),
            },
        );
    }

    /// Adds a token to every text of every model, and answers those that are finished.
    fn step(&mut self) {
        for model in 0..self.engines.len() {
            let Some(engine) = self.engines[model].as_mut().filter(|engine| !engine.is_empty()) else {
                continue;
            };
            match catch_unwind(AssertUnwindSafe(|| engine.step())) {
                Ok(updates) => {
                    for update in updates {
                        self.take(model, update);
                    }
                }
                Err(_) => self.fail_all(model),
            }
        }
    }

    /// Takes a text that is finished.
    fn take(&mut self, model: ModelIndex, update: Update) {
        let Update { id, hypotheses } = update;
        let has_it = |writing: &Writing| writing.texts.iter().any(|text| text.id == id);
        let is_its = |writing: &Writing| writing.model == model && has_it(writing);
        let Some(index) = self.writing.iter().position(is_its) else { return };
        let writing = &mut self.writing[index];
        let kind = &self.models.get(model).kind;
        if let Some(text) = writing.texts.iter_mut().find(|text| text.id == id) {
            text.captions = Some(read(kind, &text.resolved, hypotheses));
        }
        if writing.texts.iter().all(|text| text.captions.is_some()) {
            let writing = self.writing.remove(index);
            self.finish(writing);
        }
    }

    fn finish(&mut self, writing: Writing) {
        let Writing { ticket, model, picture, texts, explain } = writing;
        let resolved = texts.first().map(|text| Arc::clone(&text.resolved));
        let texts: Result<Vec<Vec<Caption>>, WorkError> =
            texts.into_iter().map(|text| judged(text.captions)).collect();
        let found = match (texts, explain, resolved) {
            (Ok(texts), Some(options), Some(resolved)) => {
                let caption = texts.into_iter().flatten().next().unwrap_or_default();
                self.explained(model, &picture, caption, &resolved, &options)
            }
            (texts, ..) => texts.map(Found::Texts),
        };
        self.answer(ticket, found);
    }

    fn explained(
        &self,
        model: ModelIndex,
        picture: &EncodedPicture,
        caption: Caption,
        resolved: &Resolved,
        options: &ExplainOptions,
    ) -> Result<Found, WorkError> {
        let captioner = self.models.get(model).captioner().expect("a captioner explains captions");
        let explain = || captioner.explain(picture, &caption, resolved, options);
        let explanation = catch_unwind(AssertUnwindSafe(explain)).map_err(|_| WorkError::Panicked)?;
        let explanation = explanation.map_err(|_| WorkError::NotANumber)?;
        Ok(Found::Explained { caption, explanation })
    }

    /// After a panic nothing that the engine holds can be relied upon.
    fn fail_all(&mut self, model: ModelIndex) {
        self.engines[model] = engine_of(self.models.get(model));
        let (failed, others) = std::mem::take(&mut self.writing)
            .into_iter()
            .partition(|writing: &Writing| writing.model == model);
        self.writing = others;
        for Writing { ticket, .. } in failed {
            self.answer(ticket, Err(WorkError::Panicked));
        }
    }

    fn answer(&mut self, ticket: Ticket, found: Result<Found, WorkError>) {
        let now = Instant::now();
        self.queue.measured(now - self.busy_since);
        self.busy_since = now;
        ticket.answer(found);
    }
}

fn engine_of(model: &Model) -> Option<GenerationEngine> {
    match &model.kind {
        Kind::Captioner(captioner) => Some(captioner.engine()),
        Kind::Answerer(answerer) => Some(answerer.engine()),
        Kind::Matcher(_) => None,
    }
}

fn encode(kind: &Kind, image: &mplug::RgbImage) -> EncodedPicture {
    let image = std::slice::from_ref(image);
    let mut encoded = match kind {
        Kind::Captioner(captioner) => captioner.encode(image),
        Kind::Answerer(answerer) => answerer.encode(image),
        Kind::Matcher(matcher) => matcher.encode(image),
    };
    encoded.remove(0)
}

fn read(kind: &Kind, resolved: &Resolved, hypotheses: Hypotheses) -> Captions {
    match kind {
        Kind::Captioner(captioner) => captioner.read(resolved, hypotheses),
        Kind::Answerer(answerer) => answerer.read(resolved, hypotheses),
        Kind::Matcher(_) => unreachable!("a matcher writes nothing"),
    }
}

/// Scores the next texts.
fn score(matcher: &Matcher, scoring: &mut Scoring) {
    let next = scoring.texts.iter().skip(scoring.scores.len()).take(SCORED_AT_ONCE);
    // The texts were checked when they came; what cannot be read has no number.
    let scores: Vec<f32> =
        next.map(|text| matcher.score(&scoring.picture, text).unwrap_or(f32::NAN)).collect();
    scoring.scores.extend(scores);
}

/// The captions of a text, where none is a fault too.
fn judged(captions: Option<Captions>) -> Result<Vec<Caption>, WorkError> {
    match captions {
        Some(Ok(captions)) if captions.is_empty() => Err(WorkError::NothingFound),
        Some(Ok(captions)) => Ok(captions),
        Some(Err(_)) | None => Err(WorkError::NotANumber),
    }
}
