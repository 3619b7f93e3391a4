//! What is requested about a picture, and what was found: what goes to the model thread and what comes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mplug::RgbImage;
use mplug::explain::{ExplainOptions, Explanation};
use mplug::generate::Resolved;
use mplug::tasks::Caption;
use tokio::sync::oneshot;

use crate::models::ModelIndex;
use crate::queue::Place;

/// What is requested of a model about one picture.
pub(crate) enum Work {
    /// A text, or several captions, for each of these: in several languages, say.
    Caption(Vec<Arc<Resolved>>),
    /// An answer to a question.
    Answer { question: String, resolved: Arc<Resolved> },
    /// How well each text fits.
    Match(Vec<String>),
    /// Which part of the picture each word of a caption stands on: of the given one, or of the best that the model writes.
    Explain { resolved: Arc<Resolved>, given: Option<Caption>, options: ExplainOptions },
}

/// What was found.
#[derive(Debug)]
pub(crate) enum Found {
    /// For each of the texts that were requested, the captions or answers, best first.
    Texts(Vec<Vec<Caption>>),
    /// A probability for each text.
    Scores(Vec<f32>),
    /// A caption and its maps.
    Explained { caption: Caption, explanation: Explanation },
}

/// Why nothing was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WorkError {
    /// The model computed no numbers.
    #[error("the model's output is not a number for this picture")]
    NotANumber,
    /// No caption has all required words.
    #[error("no text with every required word was found: expected fewer words, or more beams")]
    NothingFound,
    /// A fault of the program.
    #[error("the model failed on this picture; the fault is the server's")]
    Panicked,
}

/// What was found, and the time that it took.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) found: Found,
    pub(crate) times: Times,
}

/// Where the time of an answer went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times {
    /// Until the model began.
    pub(crate) queue: Duration,
    /// From there on.
    pub(crate) model: Duration,
}

/// What the model thread answers.
pub(crate) type Outcome = Result<Done, WorkError>;

/// Work on one picture by one model.
pub(crate) struct Job {
    pub(crate) model: ModelIndex,
    /// Of the model's own size.
    pub(crate) image: Arc<RgbImage>,
    pub(crate) work: Work,
    pub(crate) ticket: Ticket,
}

/// Who waits for a piece of work. Dropped when it is answered or given up, which frees its place.
pub(crate) struct Ticket {
    reply: oneshot::Sender<Outcome>,
    place: Place,
    accepted_at: Instant,
    begun_at: Option<Instant>,
}

impl Ticket {
    /// A ticket that holds a place, and where its answer will come.
    pub(crate) fn new(place: Place) -> (Self, oneshot::Receiver<Outcome>) {
        let (reply, answer) = oneshot::channel();
        (Self { reply, place, accepted_at: Instant::now(), begun_at: None }, answer)
    }

    /// Whether nobody waits any more: the client hung up, or its time is over.
    pub(crate) fn is_given_up(&self) -> bool {
        self.reply.is_closed()
    }

    /// The model begins.
    pub(crate) fn begin(&mut self) {
        self.begun_at = Some(Instant::now());
    }

    /// Answers.
    pub(crate) fn answer(self, found: Result<Found, WorkError>) {
        let now = Instant::now();
        let begun_at = self.begun_at.unwrap_or(now);
        let times = Times { queue: begun_at - self.accepted_at, model: now - begun_at };
        // Before the answer: who has it may send the next request at once.
        drop(self.place);
        // Who hung up meanwhile needs no answer.
        let _ = self.reply.send(found.map(|found| Done { found, times }));
    }
}
