//! Evaluation of models: on data sets and on drawn pictures, with figures, reports and pages.
//!
//! The way of the data, which is also the order to read in:
//!
//! 1. What is evaluated. [`captions`] has captions beside their references, of a file or of a model that captions a data set
//!    ([`captioning`], which keeps what is made in a [`journal`]); [`answers`] asks a data set's questions; [`pairs`] has the
//!    pictures and texts of a search; [`drawn`] draws pictures for all three tasks ([`drawn_captions`], [`drawn_answers`],
//!    [`drawn_pairs`]), and [`drawn_maps`] has what explanations of their captions find.
//! 2. Figures. [`figures`] says which figures of captions are computed, and with which files; [`agreement`] has two of them, as
//!    training reports them; [`retrieval`] ranks pictures and texts.
//! 3. What is shown. [`report`], [`answers_report`] and [`pairs_report`] are forms with a schema; [`page`] is one HTML file;
//!    [`thumbnail`] makes pictures small enough for it. [`explanation_page`] and [`explanation_sheet`] show which part of a picture each
//!    word of its caption stands on.
//! 4. What is compared. [`compare`] has two results on the same pictures, or two runs of training, which [`run_history`] reads from
//!    their logs. [`sheet`] and [`chart`] are what pages about runs are made of.
//!
//! A run returns a value; nothing is printed, and no file is written but the journal. While it runs it hands [`Event`]s to its
//! caller, who can stop it. The errors are [`EvalError`]. Nothing here knows options of a command, or how models are trained.

#![cfg_attr(test, allow(clippy::float_cmp, reason = "many a share is exact by its construction"))]

pub mod agreement;
pub mod answers;
pub mod answers_report;
mod candidate_file;
pub mod captioning;
pub mod captions;
pub mod chart;
pub mod compare;
pub mod drawn;
pub mod drawn_answers;
pub mod drawn_captions;
pub mod drawn_maps;
pub mod drawn_pairs;
mod error;
mod event;
pub mod explanation_page;
pub mod explanation_sheet;
pub mod figures;
mod heat;
pub mod journal;
pub mod page;
pub mod pairs;
pub mod pairs_report;
pub mod report;
pub mod retrieval;
pub mod run_history;
mod search;
pub mod sheet;
pub mod thumbnail;

pub use error::{DatasetProblem, EvalError};
pub use event::{Event, OnEvent};
