//! Where results go: standard output, or a file that appears whole or not at all.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use mplug_bulk::{BulkError, Destination, RecordFormat, RecordWriter};

use crate::{hint, progress};

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Lines for people and pipes
    Text,
    /// One JSON array
    Json,
    /// One JSON object a line, in input order
    Jsonl,
}

/// Where results go and how they look.
#[derive(Args, Debug)]
pub(crate) struct OutputArgs {
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
    /// Write the results to FILE, which is complete when it appears [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl OutputArgs {
    /// Opens the output at once, so that one that cannot be written is found before the work, not after.
    ///
    /// # Errors
    /// When it cannot be written, or is the input that it would replace.
    pub(crate) fn create(&self, input: Option<&Path>) -> anyhow::Result<RecordWriter> {
        let format = match self.format {
            Format::Text => RecordFormat::Text,
            Format::Json => RecordFormat::Json,
            Format::Jsonl => RecordFormat::Jsonl,
        };
        let create = || -> Result<RecordWriter, BulkError> {
            let writer = RecordWriter::new(destination(self.output.as_deref())?, format);
            writer.refuse_inputs(input.into_iter())?;
            Ok(writer)
        };
        create().map_err(hint::of_bulk)
    }
}

/// Standard output, or a file.
fn destination(path: Option<&Path>) -> Result<Destination, BulkError> {
    match path {
        Some(path) => Destination::file(path),
        None => Ok(Destination::stream(STANDARD_OUTPUT, Box::new(StandardOutput::default()))),
    }
}

/// What messages call it.
pub(crate) const STANDARD_OUTPUT: &str = "standard output";

/// Standard output. What is written appears when it is flushed, with the progress bar of the same terminal out of the way.
#[derive(Default)]
pub(crate) struct StandardOutput {
    pending: Vec<u8>,
}

/// The most bytes that are kept; more are written at once, flushed or not.
const MOST_PENDING: usize = 1 << 20;

impl Write for StandardOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend(bytes);
        if self.pending.len() >= MOST_PENDING {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let pending = std::mem::take(&mut self.pending);
        progress::aside(|| {
            let mut stdout = io::stdout().lock();
            stdout.write_all(&pending).and_then(|()| stdout.flush())
        })
    }
}

/// Writes `bytes` to `path` whole or not at all, or to standard output.
///
/// # Errors
/// When they cannot be written.
pub(crate) fn write_whole(bytes: &[u8], path: Option<&Path>) -> anyhow::Result<()> {
    let write = || -> Result<(), BulkError> {
        let mut destination = destination(path)?;
        destination.write_with(|to| to.write_all(bytes))?;
        destination.finish()
    };
    write().map_err(hint::of_bulk)
}
