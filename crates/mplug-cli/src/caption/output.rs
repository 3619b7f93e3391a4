//! Where captions go and how they look, as it is typed.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use mplug_bulk::{CaptionFormat, OnExisting, OnUnfinished, Output};

use crate::output::{STANDARD_OUTPUT, StandardOutput};

/// How captions are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    /// Lines for people and pipes
    Text,
    /// One JSON array
    Json,
    /// One JSON object a line, in input order
    Jsonl,
    /// A table with a header: path, caption, score, error; language where there are several
    Csv,
    /// A text file for each picture, next to it or below --output DIR
    Sidecar,
    /// A WebDataset shard: each picture with its caption (.txt) and record (.json)
    Tar,
    /// A table with a fixed schema (builds with the feature `parquet`)
    Parquet,
}

/// What happens to a text file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnExistingArg {
    /// Keep it and do not caption its picture
    Skip,
    /// Replace its text
    Overwrite,
    /// Add the caption after its text and a comma
    Append,
    /// Add the caption and a comma before its text
    Prepend,
}

impl From<OnExistingArg> for OnExisting {
    fn from(on_existing: OnExistingArg) -> Self {
        match on_existing {
            OnExistingArg::Skip => Self::Skip,
            OnExistingArg::Overwrite => Self::Overwrite,
            OnExistingArg::Append => Self::Append,
            OnExistingArg::Prepend => Self::Prepend,
        }
    }
}

/// Where captions go and how they look.
#[derive(Args, Debug)]
pub(super) struct CaptionOutputArgs {
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    format: FormatArg,
    /// Write the captions to FILE, which is complete when it appears [default: standard output]. With --format sidecar: write
    /// the text files below DIR, in the same folders as their pictures
    #[arg(long, short, value_name = "FILE|DIR")]
    output: Option<PathBuf>,
    /// What to do with an existing text file (--format sidecar); links are never followed
    #[arg(long, value_enum, default_value = "skip")]
    on_existing: OnExistingArg,
    /// Continue a run that was stopped or had temporary failures; the output is that of an uninterrupted run
    #[arg(long, help_heading = "Bulk")]
    resume: bool,
    /// Discard an unfinished run and start again
    #[arg(long, conflicts_with = "resume", help_heading = "Bulk")]
    force: bool,
}

impl CaptionOutputArgs {
    /// Refuses options that have no meaning for the format.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let is_sidecar = self.format == FormatArg::Sidecar;
        anyhow::ensure!(
            is_sidecar || self.on_existing == OnExistingArg::Skip,
            "`--on-existing` is for `--format sidecar`; an output file is always replaced"
        );
        anyhow::ensure!(
            self.format != FormatArg::Parquet || self.output.is_some(),
            "`--format parquet`: expected `--output FILE`, found none"
        );
        anyhow::ensure!(
            self.format != FormatArg::Tar || self.output.is_some(),
            "`--format tar`: expected `--output FILE`, found none"
        );
        anyhow::ensure!(
            is_sidecar || self.output.is_some() || !(self.resume || self.force),
            "`--resume` and `--force`: expected `--output FILE`, found none: what was written to standard output is gone"
        );
        Ok(())
    }

    /// Where captions go.
    pub(super) fn to_output(&self) -> Output {
        let format = match self.format {
            FormatArg::Text => CaptionFormat::Text,
            FormatArg::Json => CaptionFormat::Json,
            FormatArg::Jsonl => CaptionFormat::Jsonl,
            FormatArg::Csv => CaptionFormat::Csv,
            FormatArg::Tar => CaptionFormat::Tar,
            FormatArg::Parquet => CaptionFormat::Parquet,
            FormatArg::Sidecar => {
                let on_existing = self.on_existing.into();
                return Output::TextFiles { folder: self.output.clone(), on_existing };
            }
        };
        match &self.output {
            Some(path) => Output::File { path: path.clone(), format },
            None => Output::Stream {
                name: STANDARD_OUTPUT.to_owned(),
                writer: Box::new(StandardOutput::default()),
                format,
            },
        }
    }

    /// What happens to an unfinished run.
    pub(super) fn on_unfinished(&self) -> OnUnfinished {
        match (self.resume, self.force) {
            (true, _) => OnUnfinished::Resume,
            (_, true) => OnUnfinished::Discard,
            _ => OnUnfinished::Refuse,
        }
    }
}
