//! What happens in a server, for those who write it down. No event has a text or a picture of a client's.

use std::net::SocketAddr;
use std::time::Duration;

use mplug::Error;

/// What happens.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'e> {
    /// Connections are accepted; the models may not be there yet.
    Listening(SocketAddr),
    /// The models were loaded, and work is accepted.
    Ready {
        /// Their names.
        models: Vec<&'e str>,
        /// How long that took.
        time: Duration,
    },
    /// The models could not be loaded; the server ends.
    NotLoaded(&'e Error),
    /// A request was answered.
    Request(RequestLine<'e>),
    /// The server takes no more work and finishes what it accepted.
    Draining {
        /// Requests that are not answered yet.
        requests: usize,
    },
    /// The server ends.
    Ended {
        /// Requests that were accepted and are not answered: the time was over.
        lost: usize,
    },
}

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub struct RequestLine<'e> {
    /// What the client or the server called it.
    pub id: &'e str,
    /// The method.
    pub method: &'e str,
    /// The route, not the path: a path may be a text of the client's.
    pub route: &'e str,
    /// The status.
    pub status: u16,
    /// What was wrong, if anything.
    pub code: Option<crate::Code>,
    /// From the request's head to its answer.
    pub time: Duration,
}
