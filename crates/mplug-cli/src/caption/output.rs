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
    /// Lines {file_name, text}: the metadata.jsonl of Hugging Face's image folders
    Metadata,
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
    /// Output format [default: that of the ending of --output, else text]
    #[arg(long, value_enum)]
    format: Option<FormatArg>,
    /// Write the captions to FILE, which is complete when it appears and must not exist without --force [default: standard
    /// output]. With --format sidecar: write the text files below DIR, in the same folders as their pictures
    #[arg(long, short, value_name = "FILE|DIR")]
    output: Option<PathBuf>,
    /// What to do with an existing text file (--format sidecar); links are never followed
    #[arg(long, value_enum, default_value = "skip")]
    on_existing: OnExistingArg,
    /// Ending of the text files (--format sidecar) [default: .txt]
    #[arg(long, value_name = ".EXT", allow_hyphen_values = true)]
    extension: Option<String>,
    /// Begin the table (--format csv) with a byte order mark, without which Excel may misread Chinese
    #[arg(long)]
    bom: bool,
    /// Continue a run that was stopped or had temporary failures; the output is that of an uninterrupted run
    #[arg(long, help_heading = "Bulk")]
    resume: bool,
    /// Replace an existing output file; discard an unfinished run and start again
    #[arg(long, conflicts_with = "resume", help_heading = "Bulk")]
    force: bool,
}

impl CaptionOutputArgs {
    /// Refuses options that have no meaning for the format.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let format = self.format();
        let is_sidecar = format.is_none();
        anyhow::ensure!(
            is_sidecar || self.on_existing == OnExistingArg::Skip,
            "`--on-existing` is for `--format sidecar`; `--force` replaces an output file"
        );
        anyhow::ensure!(is_sidecar || self.extension.is_none(), "`--extension` is for `--format sidecar`");
        anyhow::ensure!(format == Some(CaptionFormat::Csv) || !self.bom, "`--bom` is for `--format csv`");
        for (named, kind) in [("parquet", CaptionFormat::Parquet), ("tar", CaptionFormat::Tar)] {
            anyhow::ensure!(
                format != Some(kind) || self.output.is_some(),
                "`--format {named}`: expected `--output FILE`, found none"
            );
        }
        anyhow::ensure!(
            is_sidecar || self.output.is_some() || !(self.resume || self.force),
            "`--resume` and `--force`: expected `--output FILE`, found none: what was written to standard output is gone"
        );
        Ok(())
    }

    /// Whether a table begins with a byte order mark.
    pub(super) fn has_byte_order_mark(&self) -> bool {
        self.bom
    }

    /// Whether captions are added to old texts.
    pub(super) fn adds_to_texts(&self) -> bool {
        matches!(self.on_existing, OnExistingArg::Append | OnExistingArg::Prepend)
    }

    /// Where captions are to be found, in words; nothing where they are on standard output.
    pub(super) fn place(&self) -> Option<String> {
        match (&self.output, self.format()) {
            (Some(path), _) => Some(path.display().to_string()),
            (None, None) => Some("text files beside the pictures".to_owned()),
            (None, Some(_)) => None,
        }
    }

    /// The format that was typed, or that the output's name says; nothing for text files.
    fn format(&self) -> Option<CaptionFormat> {
        let Some(format) = self.format else {
            let by_name = self.output.as_deref().and_then(CaptionFormat::of_name);
            return Some(by_name.unwrap_or(CaptionFormat::Text));
        };
        Some(match format {
            FormatArg::Text => CaptionFormat::Text,
            FormatArg::Json => CaptionFormat::Json,
            FormatArg::Jsonl => CaptionFormat::Jsonl,
            FormatArg::Metadata => CaptionFormat::Metadata,
            FormatArg::Csv => CaptionFormat::Csv,
            FormatArg::Tar => CaptionFormat::Tar,
            FormatArg::Parquet => CaptionFormat::Parquet,
            FormatArg::Sidecar => return None,
        })
    }

    /// Where captions go.
    pub(super) fn to_output(&self) -> Output {
        let Some(format) = self.format() else {
            let (folder, on_existing) = (self.output.clone(), self.on_existing.into());
            return Output::TextFiles { folder, on_existing, ending: self.extension.clone() };
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
