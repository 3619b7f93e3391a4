//! A server from its first connection to its end.

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mplug::Error;
use rayon::ThreadPoolBuilder;
use tokio::runtime::Builder;
use tokio::sync::watch;

use crate::connections::Connections;
use crate::event::Event;
use crate::fetch::Fetcher;
use crate::models::{Model, ModelSource, Models};
use crate::options::ServeOptions;
use crate::pictures::Opener;
use crate::routes::router;
use crate::service::{Listener, Service};
use crate::worker::Worker;

/// Threads that hold the clients' ends; the work is done elsewhere.
const CONNECTION_THREADS: usize = 2;
/// Most threads that wait for web addresses.
const BLOCKING_THREADS: usize = 32;
/// How long replies that are written when the last answer is there may take to be sent.
const LAST_REPLIES: Duration = Duration::from_millis(500);

/// Why a server cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address cannot be listened at.
    #[error("cannot listen at {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The limits contradict each other.
    #[error("{field}: expected {expected}, found {found}")]
    Limit {
        /// The field of [`Limits`](crate::Limits).
        field: &'static str,
        /// What would do.
        expected: String,
        /// What was given.
        found: usize,
    },
    /// The system has no threads left, or the listener broke.
    #[error("cannot run: {0}")]
    System(#[from] std::io::Error),
    /// The models cannot be loaded.
    #[error(transparent)]
    Model(#[from] Error),
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Requests that were accepted and not answered: the time for them was over.
    pub lost: usize,
}

/// A server that listens, and does not answer yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    options: ServeOptions,
    handle: ServerHandle,
}

/// Ends a server from any thread.
#[derive(Clone)]
pub struct ServerHandle(Arc<watch::Sender<bool>>);

impl ServerHandle {
    /// Takes no more work; what was accepted is finished, up to the deadline.
    pub fn drain(&self) {
        self.0.send_replace(true);
    }
}

impl Server {
    /// Listens at `address`.
    ///
    /// # Errors
    /// If that is not possible, or the limits contradict each other.
    pub fn bind(address: SocketAddr, options: ServeOptions) -> Result<Self, ServeError> {
        let limits = &options.limits;
        if limits.images == 0 || limits.images > limits.queue {
            let expected = format!("1 to {}, the places of the queue", limits.queue);
            return Err(ServeError::Limit { field: "images", expected, found: limits.images });
        }
        let listen = |source| ServeError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Self { listener, address, options, handle: ServerHandle(Arc::new(watch::Sender::new(false))) })
    }

    /// Where it listens: the port that the system chose, where none was given.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What ends it.
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// Loads the models and serves until [`ServerHandle::drain`]. `listener` hears what happens, on many threads.
    ///
    /// # Errors
    /// If the models cannot be loaded, or the system does not let us serve.
    pub fn run(
        self,
        models: Vec<ModelSource>,
        listener: impl Fn(Event<'_>) + Send + Sync + 'static,
    ) -> Result<Ended, ServeError> {
        let listener: Listener = Arc::new(listener);
        let threads = self.options.threads.unwrap_or_else(rayon::current_num_threads);
        #[cfg(feature = "urls")]
        let fetcher = Fetcher::new(self.options.fetch.clone(), self.options.limits.queue);
        #[cfg(not(feature = "urls"))]
        let fetcher = Fetcher;
        let opener =
            Opener::new(threads, self.options.limits.picture, fetcher).map_err(std::io::Error::other)?;
        let service = Arc::new(Service::new(self.options, opener, Arc::clone(&listener)));
        let runtime = Builder::new_multi_thread()
            .worker_threads(CONNECTION_THREADS)
            .max_blocking_threads(BLOCKING_THREADS)
            .enable_all()
            .build()?;
        // Before the models are loaded: a small one may be ready at once.
        listener(Event::Listening(self.address));
        let failed = Arc::new(Mutex::new(None));
        let model_thread = {
            let (service, failed, handle) = (Arc::clone(&service), Arc::clone(&failed), self.handle.clone());
            let run = move || {
                if let Err(error) = work(&service, models) {
                    service.report(Event::NotLoaded(&error));
                    *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    handle.drain();
                }
            };
            let pool =
                ThreadPoolBuilder::new().num_threads(threads).build().map_err(std::io::Error::other)?;
            std::thread::Builder::new().name("models".to_owned()).spawn(move || pool.install(run))?
        };
        let ended = runtime.block_on(serve(&service, self.listener, self.handle.0.subscribe()));
        runtime.shutdown_background();
        service.end();
        let ended = ended?;
        if ended.lost == 0 {
            // The thread ends when its last sender of jobs is gone.
            let _ = model_thread.join();
        }
        listener(Event::Ended { lost: ended.lost });
        match failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error.into()),
            None => Ok(ended),
        }
    }
}

/// Loads the models and works until the service ends.
fn work(service: &Arc<Service>, sources: Vec<ModelSource>) -> Result<(), Error> {
    let begun = Instant::now();
    let models: Vec<Model> = sources.into_iter().map(Model::load).collect::<Result<_, _>>()?;
    let models = Arc::new(Models::new(models));
    let (sender, jobs) = channel();
    let (queue, metrics) = (Arc::clone(&service.queue), Arc::clone(&service.metrics));
    let texts_at_once = service.options.limits.texts_at_once;
    let worker = Worker::new(Arc::clone(&models), jobs, queue, metrics, texts_at_once);
    service.begin(Arc::clone(&models), sender);
    let names = models.names().collect();
    service.report(Event::Ready { models: names, time: begun.elapsed() });
    worker.run();
    Ok(())
}

/// Serves until the end is requested and what was accepted is answered.
async fn serve(
    service: &Arc<Service>,
    listener: TcpListener,
    mut end: watch::Receiver<bool>,
) -> Result<Ended, ServeError> {
    let limits = &service.options.limits;
    let (most, head_timeout) = (limits.connections, limits.head_timeout);
    let router = router(Arc::clone(service));
    let connections = Connections::new(router, most, head_timeout, Arc::clone(&service.metrics));
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let drain = async {
        // The other half is held by the server for as long as this runs.
        let _ = end.wait_for(|is_over| *is_over).await;
        service.drain();
        service.report(Event::Draining { requests: service.in_progress() });
        let _ = tokio::time::timeout(limits.drain_deadline, service.answered()).await;
        Ended { lost: service.in_progress() }
    };
    let ended = tokio::select! {
        // New connections are still accepted, and their requests refused.
        never = connections.serve(&listener) => match never {},
        ended = drain => ended,
    };
    connections.end(listener, LAST_REPLIES).await;
    Ok(ended)
}
