//! Connections: no more than a number, each with a time for its requests' heads that begins with the connection, and an end that
//! waits for what is being answered and for nothing else.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tower::ServiceExt as _;

use crate::metrics::Metrics;
use crate::stream::PatientStream;

/// The pause after the system had no connection for us, for lack of files, say.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a reply may wait for a client that reads none of it.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a connection without a request has for its first one, when the server ends.
const FIRST_REQUEST: Duration = Duration::from_millis(100);
/// Most bytes of a request's head.
const HEAD_BYTES: usize = 64 << 10;

/// Accepts connections and serves them.
pub(crate) struct Connections {
    router: Router,
    places: Arc<Semaphore>,
    most: usize,
    head_timeout: Duration,
    metrics: Arc<Metrics>,
    open: Arc<AtomicUsize>,
    /// Becomes true when the connections are to end.
    end: watch::Sender<bool>,
}

impl Connections {
    pub(crate) fn new(router: Router, most: usize, head_timeout: Duration, metrics: Arc<Metrics>) -> Self {
        let places = Arc::new(Semaphore::new(most));
        let (open, end) = (Arc::default(), watch::Sender::new(false));
        Self { router, places, most, head_timeout, metrics, open, end }
    }

    /// Serves connections of `listener` until dropped.
    pub(crate) async fn serve(&self, listener: &TcpListener) -> Infallible {
        loop {
            // A semaphore that nobody closes has a place sooner or later.
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
                std::future::pending().await
            };
            match listener.accept().await {
                Ok((stream, _)) => self.spawn(stream, place),
                // A client that is gone already, or no files left: others may go away.
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    fn spawn(&self, stream: TcpStream, place: OwnedSemaphorePermit) {
        // Small replies are sent at once.
        let _ = stream.set_nodelay(true);
        let router = self.router.clone();
        let first_request = Arc::new(Notify::new());
        let came = Arc::clone(&first_request);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            came.notify_one();
            router.clone().oneshot(request.map(Body::new))
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.head_timeout)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(PatientStream::new(stream, PATIENCE)), service);
        let mut end = self.end.subscribe();
        let (open, metrics) = (Arc::clone(&self.open), Arc::clone(&self.metrics));
        metrics.connections(open.fetch_add(1, Ordering::Relaxed) + 1);
        tokio::spawn(async move {
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                // A client's mistakes are the client's.
                _ = connection.as_mut() => {}
                // Nothing else is ever said than that the end has come.
                _ = end.changed() => {
                    // On a new connection a request may be on its way: it is refused, not dropped.
                    let is_over = tokio::select! {
                        _ = connection.as_mut() => true,
                        _ = tokio::time::timeout(FIRST_REQUEST, first_request.notified()) => false,
                    };
                    if !is_over {
                        connection.as_mut().graceful_shutdown();
                        let _ = connection.await;
                    }
                }
            }
            metrics.connections(open.fetch_sub(1, Ordering::Relaxed) - 1);
            drop(place);
        });
    }

    /// Ends idle connections at once and the others when they are answered; waits for `at_most`. Who has connected already is answered.
    pub(crate) async fn end(&self, listener: TcpListener, at_most: Duration) {
        // The system knows at once who has connected, the runtime only when it has looked.
        if let Ok(listener) = listener.into_std() {
            while let Ok(place) = Arc::clone(&self.places).try_acquire_owned()
                && let Ok((stream, _)) = listener.accept()
            {
                if stream.set_nonblocking(true).is_ok()
                    && let Ok(stream) = TcpStream::from_std(stream)
                {
                    self.spawn(stream, place);
                }
            }
        }
        self.end.send_replace(true);
        let all = self.places.acquire_many(self.most as u32);
        let _ = tokio::time::timeout(at_most, all).await;
    }
}
