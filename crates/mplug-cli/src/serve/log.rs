//! The log of a server: a line an event on standard error, with nothing in it that a client wrote.

use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mplug_server::{Event, RequestLine};
use serde_json::{Value, json};

use crate::report;

/// Writes events down.
pub(crate) struct Log {
    is_json: bool,
}

impl Log {
    /// A log of JSON objects, or of lines for a person.
    pub(crate) fn new(is_json: bool) -> Self {
        Self { is_json }
    }

    /// Writes an event down, and reports the state to a service manager.
    pub(crate) fn hear(&self, event: &Event<'_>) {
        notify(event);
        if self.is_json {
            let Some(mut line) = object(event) else { return };
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            line["time"] = rounded(now).into();
            // A standard error that is closed is not worth a failure.
            let _ = writeln!(io::stderr().lock(), "{line}");
        } else if let Some(text) = words(event) {
            report::message(text);
        }
    }
}

/// Seconds, to a thousandth.
fn rounded(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e3).round() / 1e3
}

fn words(event: &Event<'_>) -> Option<String> {
    Some(match event {
        Event::Listening(address) => format!("listening at http://{address}"),
        Event::Ready { models, time } => {
            format!("ready after {:.1} s: {}", time.as_secs_f64(), models.join(", "))
        }
        Event::Request(RequestLine { id, method, route, status, code, time }) => {
            let code = code.map(|code| format!(" {}", code_name(code))).unwrap_or_default();
            format!("{method} {route} {status}{code} {:.3} s {id}", time.as_secs_f64())
        }
        Event::Draining { requests } => format!("draining: {requests} requests are not answered yet"),
        Event::Ended { lost: 0 } => "ended; every accepted request was answered".to_owned(),
        Event::Ended { lost } => format!("ended; {lost} accepted requests were not answered in time"),
        // The command's error says it.
        _ => return None,
    })
}

fn code_name(code: mplug_server::Code) -> String {
    json!(code).as_str().unwrap_or_default().to_owned()
}

fn object(event: &Event<'_>) -> Option<Value> {
    Some(match event {
        Event::Listening(address) => json!({ "event": "listening", "address": address.to_string() }),
        Event::Ready { models, time } => {
            json!({ "event": "ready", "models": models, "seconds": rounded(*time) })
        }
        Event::Request(RequestLine { id, method, route, status, code, time }) => json!({
            "event": "request", "id": id, "method": method, "route": route, "status": status, "code": code,
            "seconds": rounded(*time),
        }),
        Event::Draining { requests } => json!({ "event": "draining", "requests": requests }),
        Event::Ended { lost } => json!({ "event": "ended", "lost": lost }),
        _ => return None,
    })
}

/// Tells systemd that the server is ready or about to end, where systemd wants to know (`Type=notify`).
#[cfg(target_os = "linux")]
fn notify(event: &Event<'_>) {
    use std::os::unix::net::UnixDatagram;
    use std::path::PathBuf;

    let state: &[u8] = match event {
        Event::Ready { .. } => b"READY=1",
        Event::Draining { .. } => b"STOPPING=1",
        _ => return,
    };
    let Some(path) = std::env::var_os("NOTIFY_SOCKET").map(PathBuf::from) else { return };
    // A manager that cannot be reached is no reason to stop.
    let _ = UnixDatagram::unbound().and_then(|socket| socket.send_to(state, path));
}

#[cfg(not(target_os = "linux"))]
fn notify(_: &Event<'_>) {}
