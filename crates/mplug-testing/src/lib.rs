//! What the tests of several crates share: golden models, tiny models of drawn weights, and servers on this machine that answer as well or as
//! badly as a test wants. Only ever a development dependency.

#![allow(clippy::missing_panics_doc, reason = "what a test cannot set up ends the test")]

pub mod golden;
#[cfg(feature = "burn")]
pub mod golden_burn;
pub mod hub_server;
pub mod model;
pub mod stepping;
pub mod web_server;
