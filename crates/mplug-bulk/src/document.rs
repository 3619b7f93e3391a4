//! A document of captions: text, JSON, a table, a tar or Parquet, written record by record to a stream or to a file that appears
//! whole at the end.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use mplug_data::picture::{Failure, PictureLoader};

use crate::answer::Answer;
use crate::error::BulkError;
use crate::inputs::Input;
use crate::metadata::{self, MetadataRow};
use crate::parquet::ParquetDocument;
use crate::record::{CaptionRecord, Style};
use crate::records::{Destination, RecordFormat, RecordWriter};

/// How the captions of many pictures are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CaptionFormat {
    /// Lines for people and pipes.
    Text,
    /// One JSON array.
    Json,
    /// One JSON object a line, in the order of the inputs.
    Jsonl,
    /// Lines of `file_name` and `text`: the `metadata.jsonl` of Hugging Face's image folders.
    Metadata,
    /// A table with a head line: path, language where there are several, caption, score, error.
    Csv,
    /// A WebDataset shard: every picture with its caption (`.txt`) and record (`.json`); of several languages `.zh.txt` and so on.
    Tar,
    /// A table of a fixed schema, with a column more for several languages; builds with the feature `parquet`.
    Parquet,
}

impl CaptionFormat {
    /// The format that a file's name says by its ending, if it says one.
    pub fn of_name(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_ascii_lowercase();
        Some(match extension.to_str()? {
            "txt" => Self::Text,
            "json" => Self::Json,
            "jsonl" | "ndjson" => Self::Jsonl,
            "csv" => Self::Csv,
            "tar" => Self::Tar,
            "parquet" => Self::Parquet,
            _ => return None,
        })
    }
}

/// What says that a text is UTF-8 where readers would take it for another encoding.
const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// Writes one document.
pub(crate) enum Document {
    Records(RecordWriter),
    Table(Destination),
    /// With the folder of the file.
    Metadata(RecordWriter, Option<PathBuf>),
    Tar(Box<TarDocument>),
    Parquet(Box<ParquetDocument>),
}

/// A tar in the making.
pub(crate) struct TarDocument {
    builder: tar::Builder<Destination>,
    keys: HashSet<String>,
}

impl Document {
    /// Begins the document.
    pub(crate) fn begin(
        destination: Destination,
        format: CaptionFormat,
        style: &Style,
    ) -> Result<Self, BulkError> {
        Ok(match format {
            CaptionFormat::Csv => {
                let mut table = destination;
                let mut head = csv_row(&table, &CaptionRecord::columns(style))?;
                if style.has_byte_order_mark {
                    head.splice(..0, BYTE_ORDER_MARK);
                }
                table.write_with(|to| to.write_all(&head))?;
                Self::Table(table)
            }
            CaptionFormat::Tar => {
                let builder = tar::Builder::new(destination);
                Self::Tar(Box::new(TarDocument { builder, keys: HashSet::new() }))
            }
            CaptionFormat::Parquet => Self::Parquet(Box::new(ParquetDocument::create(destination, style)?)),
            CaptionFormat::Metadata => {
                let folder = destination.path().map(metadata::folder_of);
                Self::Metadata(RecordWriter::new(destination, RecordFormat::Jsonl), folder)
            }
            CaptionFormat::Json => Self::Records(RecordWriter::new(destination, RecordFormat::Json)),
            CaptionFormat::Jsonl => Self::Records(RecordWriter::new(destination, RecordFormat::Jsonl)),
            CaptionFormat::Text => Self::Records(RecordWriter::new(destination, RecordFormat::Text)),
        })
    }

    /// Adds a picture's answer, a record for each of its languages; a tar takes the picture too.
    pub(crate) fn add(
        &mut self,
        input: &Input,
        answer: &Answer,
        style: &Style,
        loader: &PictureLoader,
    ) -> Result<(), BulkError> {
        let mut records = answer.iter().map(|found| CaptionRecord::new(input, found, style));
        match self {
            Self::Records(writer) => records.try_for_each(|record| writer.write(&record)),
            Self::Table(table) => records.try_for_each(|record| {
                let row = csv_row(table, &record.row(style))?;
                table.write_with(|to| to.write_all(&row))
            }),
            Self::Metadata(writer, folder) => records.try_for_each(|record| {
                let row = MetadataRow::new(input, &record, folder.as_deref());
                row.map_or(Ok(()), |row| writer.write_line(&row))
            }),
            Self::Tar(tar) => tar.add(input, answer, style, loader),
            Self::Parquet(parquet) => records.try_for_each(|record| parquet.add(&record)),
        }
    }

    /// An error where it is one of the inputs.
    pub(crate) fn refuse_inputs<'a>(&self, inputs: impl Iterator<Item = &'a Path>) -> Result<(), BulkError> {
        self.destination().refuse_inputs(inputs)
    }

    /// Whether it is a file, which appears at the end.
    pub(crate) fn is_file(&self) -> bool {
        self.destination().is_file()
    }

    fn destination(&self) -> &Destination {
        match self {
            Self::Records(writer) | Self::Metadata(writer, _) => writer.destination(),
            Self::Table(table) => table,
            Self::Tar(tar) => tar.builder.get_ref(),
            Self::Parquet(parquet) => parquet.destination(),
        }
    }

    /// Hands what was written so far to the reader of a pipe or terminal.
    pub(crate) fn flush(&mut self) -> Result<(), BulkError> {
        match self {
            Self::Records(writer) | Self::Metadata(writer, _) => writer.flush(),
            Self::Table(table) => table.write_with(|to| to.flush()),
            Self::Tar(_) | Self::Parquet(_) => Ok(()),
        }
    }

    /// Ends the document; a file gets its name now.
    pub(crate) fn finish(self) -> Result<(), BulkError> {
        match self {
            Self::Records(writer) | Self::Metadata(writer, _) => writer.finish(),
            Self::Table(table) => table.finish(),
            Self::Tar(tar) => tar.finish(),
            Self::Parquet(parquet) => parquet.finish(),
        }
    }
}

impl TarDocument {
    /// A picture's members: its bytes, and its caption and its record in each language. A picture without captions has its record alone.
    fn add(
        &mut self,
        input: &Input,
        answer: &Answer,
        style: &Style,
        loader: &PictureLoader,
    ) -> Result<(), BulkError> {
        let (key, extension) = self.key(&input.relative());
        if answer.has_captions() {
            let bytes = input.source.as_ref().map_err(Clone::clone).and_then(|source| loader.read(source));
            match bytes {
                Ok(bytes) => {
                    let ending = ending_of(&bytes).filter(|_| input.path.extension().is_none());
                    self.member(&format!("{key}.{}", ending.unwrap_or(&extension)), &bytes)?;
                }
                Err(Failure { reason, is_passing: true, .. }) => {
                    return Err(BulkError::GoneForTar { path: input.path.clone(), reason });
                }
                // It was read once already; that it is gone since is no reason to lose the others.
                Err(_) => {}
            }
        }
        let best = Style { captions: None, ..style.clone() };
        for found in answer.iter() {
            let key = found.language.map_or_else(|| key.clone(), |language| format!("{key}.{language}"));
            if let Ok(captions) = &found.captions {
                self.member(&format!("{key}.txt"), best.lines(captions).as_bytes())?;
            }
            let record = CaptionRecord::new(input, found, style);
            let json = serde_json::to_vec(&record).map_err(|error| self.io(error.into()))?;
            self.member(&format!("{key}.json"), &json)?;
        }
        Ok(())
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

    fn member(&mut self, name: &str, bytes: &[u8]) -> Result<(), BulkError> {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        // The same bytes whenever it is made.
        header.set_mtime(0);
        self.builder.append_data(&mut header, name, bytes).map_err(|source| self.io(source))
    }

    fn finish(self) -> Result<(), BulkError> {
        let name = self.builder.get_ref().name();
        let destination =
            self.builder.into_inner().map_err(|source| BulkError::Io { name, doing: "", source })?;
        destination.finish()
    }

    fn io(&self, source: io::Error) -> BulkError {
        BulkError::Io { name: self.builder.get_ref().name(), doing: "", source }
    }
}

/// How files of a picture's format end; the row of a table has no name that says it.
fn ending_of(bytes: &[u8]) -> Option<&'static str> {
    image::guess_format(bytes).ok()?.extensions_str().first().copied()
}

fn csv_row(table: &Destination, cells: &[String]) -> Result<Vec<u8>, BulkError> {
    let io = |source| BulkError::Io { name: table.name(), doing: "", source };
    let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
    writer.write_record(cells).map_err(|error| io(error.into()))?;
    writer.into_inner().map_err(|error| io(io::Error::other(error.to_string())))
}
