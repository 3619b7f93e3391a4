//! What happens in a server, for those who write it down. No event has a text or a picture of a client's.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mplug::Error;
use serde_json::{Value, json};

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

/// A line for a person.
impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listening(address) => write!(f, "listening at http://{address}"),
            Self::Ready { models, time } => {
                write!(f, "ready after {:.1} s: {}", time.as_secs_f64(), models.join(", "))
            }
            Self::NotLoaded(error) => write!(f, "the models cannot be loaded: {error}"),
            Self::Request(line) => line.fmt(f),
            Self::Draining { requests } => write!(f, "draining: {requests} requests are not answered yet"),
            Self::Ended { lost: 0 } => f.write_str("ended; every accepted request was answered"),
            Self::Ended { lost } => write!(f, "ended; {lost} accepted requests were not answered in time"),
        }
    }
}

impl fmt::Display for RequestLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, method, route, status, code, time } = self;
        let code = json!(code).as_str().map(|code| format!(" {code}")).unwrap_or_default();
        write!(f, "{method} {route} {status}{code} {:.3} s {id}", time.as_secs_f64())
    }
}

/// Seconds, to a thousandth.
fn rounded(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e3).round() / 1e3
}

impl Event<'_> {
    /// An object for programs, with the time in seconds since 1970.
    pub fn to_json(&self) -> Value {
        let mut object = match self {
            Self::Listening(address) => json!({ "event": "listening", "address": address.to_string() }),
            Self::Ready { models, time } => {
                json!({ "event": "ready", "models": models, "seconds": rounded(*time) })
            }
            Self::NotLoaded(error) => json!({ "event": "not_loaded", "error": error.to_string() }),
            Self::Request(RequestLine { id, method, route, status, code, time }) => json!({
                "event": "request", "id": id, "method": method, "route": route, "status": status,
                "code": code, "seconds": rounded(*time),
            }),
            Self::Draining { requests } => json!({ "event": "draining", "requests": requests }),
            Self::Ended { lost } => json!({ "event": "ended", "lost": lost }),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        object["time"] = rounded(now).into();
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_written_for_people_and_programs() {
        let line = RequestLine {
            id: "a1",
            method: "POST",
            route: "/v1/caption",
            status: 429,
            code: Some(crate::Code::Overloaded),
            time: Duration::from_millis(12),
        };
        let event = Event::Request(line);
        assert_eq!(event.to_string(), "POST /v1/caption 429 overloaded 0.012 s a1");
        let object = event.to_json();
        assert_eq!((&object["code"], &object["seconds"]), (&json!("overloaded"), &json!(0.012)));
        assert!(object["time"].as_f64().unwrap() > 1e9);
    }
}
