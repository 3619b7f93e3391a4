//! Where captions go: standard output or a device as they are made; a file (lines, JSON, a table, a tar) that is written from the
//! journal at the end and appears whole or not at all; or a small text file for every picture.

use std::{
    collections::HashSet,
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};

use super::{
    answers::Answer,
    parquet::{self, ParquetDocument},
    record::{CaptionRecord, Style},
    sidecar::OnExisting,
};
use crate::{
    inputs::Input,
    output::{Destination, Format, RecordWriter},
    pictures::PictureLoader,
};

/// How captions are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum CaptionFormat {
    /// Lines for people and pipes
    Text,
    /// One JSON array
    Json,
    /// One JSON object a line, in input order
    Jsonl,
    /// A table with a head line: path, caption, score, error
    Csv,
    /// A text file for every picture, beside it or below --output DIR
    Sidecar,
    /// A WebDataset shard: every picture with its caption (.txt) and record (.json)
    Tar,
    /// A table of a fixed schema (builds with the feature parquet)
    Parquet,
}

/// Where captions go and how they look.
#[derive(Args, Debug)]
pub(super) struct CaptionOutputArgs {
    /// How captions are written
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: CaptionFormat,
    /// Write the captions to FILE, which appears whole at the end or not at all [default: standard output];
    /// with --format sidecar: write the text files below DIR, in the folders of their pictures
    #[arg(long, short, value_name = "FILE|DIR")]
    pub(super) output: Option<PathBuf>,
    /// What happens to a picture's text file that is there (--format sidecar); a link is never followed
    #[arg(long, value_enum, default_value = "skip")]
    pub(super) on_existing: OnExisting,
    /// Go on with a run that was stopped, or had failures that pass; the output is that of an unbroken run
    #[arg(long, help_heading = "Bulk")]
    pub(super) resume: bool,
    /// Begin anew where an unfinished run is
    #[arg(long, conflicts_with = "resume", help_heading = "Bulk")]
    pub(super) force: bool,
}

impl CaptionOutputArgs {
    /// Refuses options that have no meaning for the format.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let is_sidecar = self.format == CaptionFormat::Sidecar;
        anyhow::ensure!(
            is_sidecar || self.on_existing == OnExisting::Skip,
            "`--on-existing` is for `--format sidecar`; an output file is always replaced"
        );
        if self.format == CaptionFormat::Parquet {
            parquet::check()?;
            anyhow::ensure!(self.output.is_some(), "`--format parquet` wants `--output FILE`");
        }
        anyhow::ensure!(
            self.format != CaptionFormat::Tar || self.output.is_some(),
            "`--format tar` wants `--output FILE`"
        );
        anyhow::ensure!(
            is_sidecar || self.output.is_some() || !(self.resume || self.force),
            "`--resume` and `--force` want `--output FILE`: what was written to standard output is gone"
        );
        Ok(())
    }
}

/// Writes one document.
pub(super) enum Document {
    Records(RecordWriter),
    Table(Destination),
    Tar(Box<TarDocument>),
    Parquet(Box<ParquetDocument>),
}

/// A tar in the making.
pub(super) struct TarDocument {
    builder: tar::Builder<Destination>,
    keys: HashSet<String>,
}

impl Document {
    /// Begins the document.
    pub(super) fn create(format: CaptionFormat, path: Option<&Path>, style: Style) -> anyhow::Result<Self> {
        let destination = Destination::create(path)?;
        Ok(match format {
            CaptionFormat::Csv => {
                let mut table = destination;
                let head = csv_row(&CaptionRecord::columns(style))?;
                table.write_with(|to| to.write_all(&head))?;
                Self::Table(table)
            }
            CaptionFormat::Tar => {
                let builder = tar::Builder::new(destination);
                Self::Tar(Box::new(TarDocument { builder, keys: HashSet::new() }))
            }
            CaptionFormat::Parquet => Self::Parquet(Box::new(ParquetDocument::create(destination)?)),
            CaptionFormat::Json => Self::Records(RecordWriter::to(destination, Format::Json)),
            CaptionFormat::Jsonl => Self::Records(RecordWriter::to(destination, Format::Jsonl)),
            CaptionFormat::Text | CaptionFormat::Sidecar => {
                Self::Records(RecordWriter::to(destination, Format::Text))
            }
        })
    }

    /// Adds a picture's answer; a tar takes the picture too.
    pub(super) fn add(
        &mut self,
        input: &Input,
        answer: &Answer,
        style: Style,
        loader: &PictureLoader,
    ) -> anyhow::Result<()> {
        let record = || CaptionRecord::new(&input.path, answer, style);
        match self {
            Self::Records(writer) => writer.write(&record()),
            Self::Table(table) => {
                let row = csv_row(&record().row(style))?;
                table.write_with(|to| to.write_all(&row))
            }
            Self::Tar(tar) => tar.add(input, answer, &record(), style, loader),
            Self::Parquet(parquet) => parquet.add(input, answer, style),
        }
    }

    /// An error where it is one of the inputs.
    pub(super) fn refuse_inputs<'a>(&self, inputs: impl Iterator<Item = &'a Path>) -> anyhow::Result<()> {
        self.destination().refuse_inputs(inputs)
    }

    /// Whether it is a file, which appears at the end.
    pub(super) fn is_file(&self) -> bool {
        self.destination().is_file()
    }

    fn destination(&self) -> &Destination {
        match self {
            Self::Records(writer) => writer.destination(),
            Self::Table(table) => table,
            Self::Tar(tar) => tar.builder.get_ref(),
            Self::Parquet(parquet) => parquet.destination(),
        }
    }

    /// Whether people see it on the same terminal as the progress bar.
    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Self::Records(writer) if writer.is_terminal())
    }

    /// Hands what was written so far to the reader of a pipe or terminal.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Records(writer) => writer.flush(),
            Self::Table(table) => table.write_with(|to| to.flush()),
            Self::Tar(_) | Self::Parquet(_) => Ok(()),
        }
    }

    /// Ends the document; a file gets its name now.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Records(writer) => writer.finish(),
            Self::Table(table) => table.finish(),
            Self::Tar(tar) => tar.builder.into_inner()?.finish(),
            Self::Parquet(parquet) => parquet.finish(),
        }
    }
}

impl TarDocument {
    /// A picture's members: its bytes, its caption and its record. A picture without captions has its record alone.
    fn add(
        &mut self,
        input: &Input,
        answer: &Answer,
        record: &CaptionRecord,
        style: Style,
        loader: &PictureLoader,
    ) -> anyhow::Result<()> {
        let (key, extension) = self.key(&input.relative());
        if let Ok(captions) = answer {
            match loader.read(input) {
                Ok(bytes) => {
                    let ending = ending_of(&bytes).filter(|_| input.path.extension().is_none());
                    self.member(&format!("{key}.{}", ending.unwrap_or(&extension)), &bytes)?;
                }
                Err(failure) if failure.is_passing => anyhow::bail!(
                    "{}: cannot be read again for the tar: {failure}; the same command with `--resume` goes on",
                    input.path.display()
                ),
                // It was read once already; that it is gone since is no reason to lose the others.
                Err(_) => {}
            }
            let best = Style { captions: None, ..style };
            self.member(&format!("{key}.txt"), best.lines(captions).as_bytes())?;
        }
        self.member(&format!("{key}.json"), &serde_json::to_vec(record)?)
    }

    /// What the members of a picture are called before their endings. WebDataset takes all up to the first full stop of a name for
    /// its key, so that a full stop within becomes `_`; a key that is taken gets its picture's ending, then a number.
    fn key(&mut self, path: &Path) -> (String, String) {
        let extension = path.extension().map_or("img".into(), |e| e.to_string_lossy().to_lowercase());
        let stem = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().replace('.', "_"));
        let folder = path.parent().map(|folder| folder.to_string_lossy().replace('\\', "/"));
        let plain = match folder.filter(|folder| !folder.is_empty()) {
            Some(folder) => format!("{folder}/{stem}"),
            None => stem,
        };
        let others = std::iter::once(format!("{plain}_{extension}"))
            .chain((2_u64..).map(|number| format!("{plain}_{extension}_{number}")));
        let mut candidates = std::iter::once(plain.clone()).chain(others);
        let key = candidates.find(|key| self.keys.insert(key.clone())).unwrap_or_default();
        (key, extension)
    }

    fn member(&mut self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        // The same bytes whenever it is made.
        header.set_mtime(0);
        self.builder.append_data(&mut header, name, bytes)?;
        Ok(())
    }
}

/// How files of a picture's format end; the row of a table has no name that says it.
fn ending_of(bytes: &[u8]) -> Option<&'static str> {
    image::guess_format(bytes).ok()?.extensions_str().first().copied()
}

fn csv_row(cells: &[String]) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
    writer.write_record(cells)?;
    Ok(writer.into_inner().map_err(|error| io::Error::other(error.to_string()))?)
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer().flush()
    }
}
