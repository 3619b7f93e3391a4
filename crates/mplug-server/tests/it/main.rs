//! The server as a client meets it: one binary for all of it, each test with a server of its own on a port of this machine.

mod chat;
mod draining;
mod hostile;
mod overload;
mod packaging;
mod parity;
mod support;
