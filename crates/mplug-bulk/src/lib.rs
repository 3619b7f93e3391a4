//! Captions for many pictures: files, folders, archives, tables and web addresses in; text, JSON, CSV, Parquet, a tar or a text
//! file beside each picture out. A run that was stopped goes on where it was, and its output is that of an unbroken run.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//!
//! use mplug::Captioner;
//! use mplug_bulk::{BulkPlan, CaptionFormat, CollectOptions, Inputs, Output, Writer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let inputs = Inputs::collect(&["photos/".into()], &CollectOptions::default(), std::io::stdin())?;
//! let output = Output::File { path: "captions.jsonl".into(), format: CaptionFormat::Jsonl };
//! let run = BulkPlan::new(inputs, None, output)?.prepare(&mut |_| ControlFlow::Continue(()))?;
//!
//! let captioner = Captioner::open("path/to/model")?;
//! let writer = Writer::new(&captioner, captioner.default_options(), "path/to/model");
//! let summary = run.run(&[writer], &mut |event| {
//!     println!("{event:?}");
//!     ControlFlow::Continue(())
//! })?;
//! println!("{} of {} pictures have captions", summary.done - summary.failed, summary.inputs);
//! # Ok(())
//! # }
//! ```
//!
//! The way of a picture through the modules: `inputs` lists it (`list` reads names, `expand` looks into folders and archives, `web` is for
//! web addresses, `parquet` for rows of a table), `run` plans and drives, `pipeline` opens it and captions each different file once, `writer` has the models and
//! their languages, `answer` is what they found, `journal` keeps it, `record` says what is reported of it in which `wording`, `columns` what a table of
//! records has, and `document` or `sidecar` writes that. `in_memory` gives records to programs with files of their own. Nothing here prints,
//! reads the command line or opens a network connection that was not handed in.

mod answer;
mod columns;
mod document;
mod error;
mod expand;
mod failures;
mod hex;
mod in_memory;
mod inputs;
mod journal;
mod json_path;
#[cfg(not(feature = "keywords"))]
#[path = "no_keywords.rs"]
mod keywords;
mod list;
mod metadata;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(not(feature = "parquet"))]
#[path = "no_parquet.rs"]
mod parquet;
mod pipeline;
mod record;
mod records;
mod run;
mod shard;
mod sidecar;
mod sink;
mod web;
mod wording;
mod writer;

pub use columns::{Column, Kind, record_columns};
pub use document::CaptionFormat;
pub use error::BulkError;
pub use in_memory::{RecordOptions, caption_records};
pub use inputs::{CollectOptions, Input, Inputs};
pub use journal::OnUnfinished;
pub use json_path::JsonPath;
#[cfg(feature = "keywords")]
use mplug::keywords;
pub use record::{CaptionRecord, Style};
pub use records::{Destination, Record, RecordFormat, RecordWriter, write_whole};
pub use run::{BulkPlan, BulkRun, Event, OnEvent, StoppedBy, Summary};
pub use shard::Shard;
pub use sidecar::OnExisting;
pub use sink::Output;
#[cfg(feature = "urls")]
pub use web::HubFetcher;
pub use web::{is_address, open_addresses};
pub use wording::{KeywordsPlace, Replacement, Separator, Separators, Wording};
pub use writer::{Explained, Writer};
