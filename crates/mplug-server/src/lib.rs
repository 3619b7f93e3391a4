//! mPLUG over HTTP: captions, answers, matching and maps for many clients at once, and a page for people.
//!
//! ```text
//! connection ──gate──> route: accept, receive, read, take places ──opener──> pixels ──worker──> answers
//! ```
//!
//! `connections` holds the clients' ends; `routes` has a file for each thing that can be requested; `pictures` opens pictures on
//! threads of its own; `worker` is the one thread on which all models run. `docs/server.md` says what clients see.
//!
//! ```no_run
//! use mplug_server::{ModelSource, ServeOptions, Server};
//! # fn models() -> Vec<ModelSource> { Vec::new() }
//!
//! let server = Server::bind(([127, 0, 0, 1], 8080).into(), ServeOptions::default())?;
//! let handle = server.handle(); // `handle.drain()` ends it from another thread
//! server.run(models(), |event| { /* write it down */ })?;
//! # Ok::<(), mplug_server::ServeError>(())
//! ```

mod asked;
mod body;
mod connections;
mod error;
mod event;
mod fetch;
mod metrics;
mod models;
mod options;
mod pictures;
mod probe;
mod queue;
mod recent;
mod routes;
mod server;
mod service;
mod stream;
mod work;
mod worker;

pub use error::Code;
pub use event::{Event, RequestLine};
pub use models::ModelSource;
pub use options::{Limits, ServeOptions};
pub use probe::is_ready;
pub use server::{Ended, ServeError, Server, ServerHandle};
