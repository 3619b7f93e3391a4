//! What all requests share: the phase of the server, the models, the queue, and the way of a picture through them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mplug::RgbImage;
use tokio::sync::Notify;

use crate::body::Budget;
use crate::error::{ApiError, Code};
use crate::event::Event;
use crate::metrics::Metrics;
use crate::models::{ModelIndex, Models};
use crate::options::ServeOptions;
use crate::pictures::Opener;
use crate::queue::{Place, Queue};
use crate::work::{Done, Job, Ticket, Work};

/// Who hears what happens.
pub(crate) type Listener = Arc<dyn Fn(Event<'_>) + Send + Sync>;

/// A server's state.
pub(crate) struct Service {
    pub(crate) options: ServeOptions,
    pub(crate) queue: Arc<Queue>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) bodies: Arc<Budget>,
    pub(crate) opener: Opener,
    listener: Listener,
    /// Once the models are loaded, until the end.
    serving: Mutex<Option<Serving>>,
    is_draining: AtomicBool,
    /// Requests that were accepted and are not answered yet.
    in_progress: AtomicUsize,
    /// Somebody is to look at `in_progress` again.
    one_less: Notify,
}

/// The models and the way to their thread.
#[derive(Clone)]
pub(crate) struct Serving {
    pub(crate) models: Arc<Models>,
    jobs: Sender<Job>,
}

/// A request that was accepted.
pub(crate) struct Accepted {
    service: Arc<Service>,
    pub(crate) models: Arc<Models>,
    jobs: Sender<Job>,
}

impl Service {
    pub(crate) fn new(options: ServeOptions, opener: Opener, listener: Listener) -> Self {
        Self {
            queue: Arc::new(Queue::new(options.limits.queue)),
            metrics: Metrics::new(),
            bodies: Budget::new(options.limits.all_body_bytes),
            opener,
            options,
            listener,
            serving: Mutex::new(None),
            is_draining: AtomicBool::new(false),
            in_progress: AtomicUsize::new(0),
            one_less: Notify::new(),
        }
    }

    pub(crate) fn report(&self, event: Event<'_>) {
        (self.listener)(event);
    }

    fn serving(&self) -> Option<Serving> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The models are there.
    pub(crate) fn begin(&self, models: Arc<Models>, jobs: Sender<Job>) {
        *self.serving.lock().unwrap_or_else(PoisonError::into_inner) = Some(Serving { models, jobs });
    }

    /// Lets the model thread end when its work is done.
    pub(crate) fn end(&self) {
        *self.serving.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Accepts no more work from now on.
    pub(crate) fn drain(&self) {
        self.is_draining.store(true, Ordering::SeqCst);
    }

    /// Whether no more work is accepted.
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::SeqCst)
    }

    /// Requests that are not answered yet.
    pub(crate) fn in_progress(&self) -> usize {
        self.in_progress.load(Ordering::SeqCst)
    }

    /// Waits until everything that was accepted is answered.
    pub(crate) async fn answered(&self) {
        loop {
            let one_less = self.one_less.notified();
            if self.in_progress() == 0 {
                return;
            }
            one_less.await;
        }
    }

    /// The models, if requests can be answered now.
    ///
    /// # Errors
    /// While models are being loaded, and once the server is about to end.
    pub(crate) fn ready(&self) -> Result<Serving, ApiError> {
        if self.is_draining() {
            let message = "the server is about to end and takes no more work";
            return Err(ApiError::new(Code::Draining, message).after(Duration::from_secs(1)));
        }
        self.serving().ok_or_else(|| {
            let message = "the models are being loaded";
            ApiError::new(Code::Loading, message).after(Duration::from_secs(1))
        })
    }

    /// Accepts a request.
    ///
    /// # Errors
    /// As [`ready`](Self::ready), and where the queue is full.
    pub(crate) fn accept(self: &Arc<Self>) -> Result<Accepted, ApiError> {
        // Counted before the phase is looked at: who drains sees either the request or its refusal.
        self.in_progress.fetch_add(1, Ordering::SeqCst);
        let accepted = self.ready().map(|serving| (serving.models, serving.jobs));
        match accepted.and_then(|accepted| self.queue.check().map(|()| accepted)) {
            Ok((models, jobs)) => Ok(Accepted { service: Arc::clone(self), models, jobs }),
            Err(error) => {
                self.leave();
                Err(error)
            }
        }
    }

    fn leave(&self) {
        self.in_progress.fetch_sub(1, Ordering::SeqCst);
        self.one_less.notify_waiters();
    }
}

impl Accepted {
    /// Gives work to a model and waits for its answer. Who stops waiting gives it up.
    ///
    /// # Errors
    /// What the model could not do.
    pub(crate) async fn run(
        &self,
        place: Place,
        model: ModelIndex,
        image: Arc<RgbImage>,
        work: Work,
    ) -> Result<Done, ApiError> {
        let task = self.models.get(model).task_name();
        let (ticket, answer) = Ticket::new(place);
        let fault = || ApiError::new(Code::Internal, "the model thread has ended");
        self.jobs.send(Job { model, image, work, ticket }).map_err(|_| fault())?;
        let outcome = answer.await.map_err(|_| fault())?;
        self.service.metrics.picture(task, outcome.is_ok());
        let done = outcome.map_err(|error| {
            let code = match error {
                crate::work::WorkError::Panicked => Code::Internal,
                _ => Code::UnreadablePicture,
            };
            ApiError::new(code, error.to_string())
        })?;
        self.service.metrics.answered(done.times);
        Ok(done)
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        self.service.leave();
    }
}
