//! The log of a server: a line an event on standard error, with nothing in it that a client wrote.

use std::io::{self, Write};

use mplug_server::Event;

use crate::report;

/// Writes an event down, and reports the state to a service manager.
pub(crate) fn hear(event: &Event<'_>) {
    notify(event);
    match event {
        // The command's error says it.
        Event::NotLoaded(_) => {}
        // A standard error that is closed is not worth a failure.
        event if report::is_json() => drop(writeln!(io::stderr().lock(), "{}", event.to_json())),
        event => report::info(event),
    }
}

/// Reports to systemd that the server is ready or about to end, where systemd wants to know (`Type=notify`).
#[cfg(target_os = "linux")]
fn notify(event: &Event<'_>) {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    let state: &[u8] = match event {
        Event::Ready { .. } => b"READY=1",
        Event::Draining { .. } => b"STOPPING=1",
        _ => return,
    };
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    // A name after an `@` is in no file system.
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    // A manager that cannot be reached is no reason to stop.
    let _ = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(state, &address));
}

#[cfg(not(target_os = "linux"))]
fn notify(_: &Event<'_>) {}
