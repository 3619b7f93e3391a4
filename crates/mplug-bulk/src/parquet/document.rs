//! A Parquet file of captions: one schema, whatever was captioned, so that files of many runs are one table. Runs of several languages
//! have a column more.
//!
//! The bytes depend on the answers alone: rows are gathered up to a fixed number and size, then written as a row group.
//! `captions.list.element.…` are Arrow's and Spark's names for what lists hold.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, FloatType, Int32Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use crate::columns::{Kind, record_columns};
use crate::error::BulkError;
use crate::keywords::Keyword;
use crate::record::{CaptionEntry, CaptionRecord, Style};
use crate::records::Destination;

/// Most rows of a row group.
const MOST_ROWS: usize = 1 << 14;
/// A row group ends with the row that brings its values to this number of bytes.
const MOST_BYTES: usize = 8 << 20;

/// A Parquet file in the making.
pub(crate) struct ParquetDocument {
    destination: Destination,
    writer: SerializedFileWriter<Written>,
    written: Written,
    rows: Rows,
    has_language: bool,
}

impl ParquetDocument {
    /// Begins the file.
    pub(crate) fn create(destination: Destination, style: &Style) -> Result<Self, BulkError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_statistics_enabled(EnabledStatistics::Chunk);
        let written = Written::default();
        let has_language = style.languages.are_several();
        let writer = parse_message_type(&schema(has_language))
            .and_then(|schema| {
                SerializedFileWriter::new(written.clone(), Arc::new(schema), Arc::new(properties.build()))
            })
            .map_err(refused(&destination))?;
        Ok(Self { destination, writer, written, rows: Rows::default(), has_language })
    }

    /// Where it goes.
    pub(crate) fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Adds a picture's row.
    pub(crate) fn add(&mut self, record: &CaptionRecord) -> Result<(), BulkError> {
        self.rows.add(record);
        if self.rows.count >= MOST_ROWS || self.rows.bytes >= MOST_BYTES { self.end_group() } else { Ok(()) }
    }

    /// Ends the file; it gets its name now.
    pub(crate) fn finish(mut self) -> Result<(), BulkError> {
        if self.rows.count > 0 {
            self.end_group()?;
        }
        self.writer.finish().map_err(refused(&self.destination))?;
        self.hand_on()?;
        self.destination.finish()
    }

    fn end_group(&mut self) -> Result<(), BulkError> {
        self.write_group().map_err(refused(&self.destination))?;
        self.hand_on()
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        std::mem::take(&mut self.rows).write(&mut group, self.has_language)?;
        group.close().map(drop)
    }

    fn hand_on(&mut self) -> Result<(), BulkError> {
        let bytes = self.written.take();
        self.destination.write_with(|to| to.write_all(&bytes))
    }
}

/// The schema as the format writes it.
fn schema(has_language: bool) -> String {
    let columns = record_columns(has_language);
    let fields = columns.iter().map(|column| field(column.name, column.kind, column.is_nullable));
    format!("message captions {{ {} }}", fields.collect::<String>())
}

fn field(name: &str, kind: Kind, is_nullable: bool) -> String {
    let how = if is_nullable { "optional" } else { "required" };
    match kind {
        Kind::Text => format!("{how} binary {name} (STRING); "),
        Kind::Bytes => format!("{how} binary {name}; "),
        Kind::Float => format!("{how} float {name}; "),
        Kind::Whole => format!("{how} int32 {name} (INTEGER(32,false)); "),
        Kind::List(of) => {
            let element = field("element", *of, false);
            format!("{how} group {name} (LIST) {{ repeated group list {{ {element}}} }} ")
        }
        Kind::Struct(fields) => {
            let fields = fields.iter().map(|column| field(column.name, column.kind, column.is_nullable));
            format!("{how} group {name} {{ {}}} ", fields.collect::<String>())
        }
    }
}

/// What the crate `parquet` says of the file at `destination`.
fn refused(destination: &Destination) -> impl Fn(ParquetError) -> BulkError {
    move |error| BulkError::Parquet { name: destination.name(), what: error.to_string() }
}

/// What the crate `parquet` has written and the destination has not got yet: it wants a stream that can be sent to other threads,
/// which standard output is not.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Rows that are no row group yet, column by column, in the order of the schema.
#[derive(Default)]
struct Rows {
    count: usize,
    bytes: usize,
    path: Column<ByteArrayType>,
    path_bytes: Column<ByteArrayType>,
    language: Column<ByteArrayType>,
    caption: Column<ByteArrayType>,
    score: Column<FloatType>,
    token_ids: Column<Int32Type>,
    captions_caption: Column<ByteArrayType>,
    captions_score: Column<FloatType>,
    captions_token_ids: Column<Int32Type>,
    tags_tag: Column<ByteArrayType>,
    tags_weight: Column<FloatType>,
    error: Column<ByteArrayType>,
}

impl Rows {
    fn add(&mut self, record: &CaptionRecord) {
        let CaptionRecord { path, language, best, captions, keywords, error, .. } = record;
        self.count += 1;
        self.bytes += path.text().len() + error.as_ref().map_or(0, String::len);
        let reported = captions.as_deref().or(best.as_ref().map(std::slice::from_ref));
        for entry in reported.unwrap_or_default() {
            self.bytes += entry.caption.len() + 4 * entry.token_ids.len();
        }
        self.path.push(Some(text(path.text())));
        self.path_bytes.push(path.bytes().map(|bytes| bytes.to_vec().into()));
        self.language.push(language.map(|language| text(language.code())));
        self.caption.push(best.as_ref().map(|best| text(&best.caption)));
        self.score.push(best.as_ref().map(|best| best.score));
        // Levels count what is there: 0 no list, 1 an empty list, 2 an element; then those within.
        match best {
            None => self.token_ids.nothing(0, 0),
            Some(best) => self.token_ids.list(&best.token_ids, 0, 1),
        }
        self.add_captions(captions.as_deref());
        self.add_keywords(keywords.as_deref());
        self.error.push(error.as_ref().map(|reason| text(reason)));
    }

    fn add_captions(&mut self, captions: Option<&[CaptionEntry]>) {
        let level = i16::from(captions.is_some());
        let captions = captions.unwrap_or_default();
        if captions.is_empty() {
            self.captions_caption.nothing(level, 0);
            self.captions_score.nothing(level, 0);
            self.captions_token_ids.nothing(level, 0);
        }
        for (index, entry) in captions.iter().enumerate() {
            let repetition = i16::from(index > 0);
            self.captions_caption.element(text(&entry.caption), 2, repetition);
            self.captions_score.element(entry.score, 2, repetition);
            self.captions_token_ids.list(&entry.token_ids, repetition, 2);
        }
    }

    fn add_keywords(&mut self, keywords: Option<&[Keyword]>) {
        let level = i16::from(keywords.is_some());
        let keywords = keywords.unwrap_or_default();
        if keywords.is_empty() {
            self.tags_tag.nothing(level, 0);
            self.tags_weight.nothing(level, 0);
        }
        for (index, keyword) in keywords.iter().enumerate() {
            let repetition = i16::from(index > 0);
            self.bytes += keyword.word.len() + 4;
            self.tags_tag.element(text(&keyword.word), 2, repetition);
            self.tags_weight.element(keyword.weight, 2, repetition);
        }
    }

    fn write(
        self,
        group: &mut SerializedRowGroupWriter<'_, Written>,
        has_language: bool,
    ) -> Result<(), ParquetError> {
        self.path.write(group)?;
        self.path_bytes.write(group)?;
        if has_language {
            self.language.write(group)?;
        }
        self.caption.write(group)?;
        self.score.write(group)?;
        self.token_ids.write(group)?;
        self.captions_caption.write(group)?;
        self.captions_score.write(group)?;
        self.captions_token_ids.write(group)?;
        self.tags_tag.write(group)?;
        self.tags_weight.write(group)?;
        self.error.write(group)
    }
}

fn text(text: &str) -> ByteArray {
    text.as_bytes().to_vec().into()
}

/// A column's values, and for each place how much of the way to a value is there (definition) and which list goes on
/// (repetition).
struct Column<T: DataType> {
    values: Vec<T::T>,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
}

impl<T: DataType> Default for Column<T> {
    fn default() -> Self {
        Self { values: Vec::new(), definitions: Vec::new(), repetitions: Vec::new() }
    }
}

impl<T: DataType> Column<T> {
    /// A row of a column without lists.
    fn push(&mut self, value: Option<T::T>) {
        match value {
            Some(value) => self.element(value, 1, 0),
            None => self.nothing(0, 0),
        }
    }

    fn nothing(&mut self, definition: i16, repetition: i16) {
        self.definitions.push(definition);
        self.repetitions.push(repetition);
    }

    fn element(&mut self, value: T::T, definition: i16, repetition: i16) {
        self.values.push(value);
        self.nothing(definition, repetition);
    }

    fn write(self, group: &mut SerializedRowGroupWriter<'_, Written>) -> Result<(), ParquetError> {
        let missing = || ParquetError::General("a column that the schema lacks".to_owned());
        let mut column = group.next_column()?.ok_or_else(missing)?;
        // A column that is always there, or without lists, has no levels; the writer passes over them.
        column.typed::<T>().write_batch(&self.values, Some(&self.definitions), Some(&self.repetitions))?;
        column.close()
    }
}

impl Column<Int32Type> {
    /// A list whose first element goes on with `repetition`; an empty one is there up to the level `depth`.
    fn list(&mut self, numbers: &[u32], repetition: i16, depth: i16) {
        if numbers.is_empty() {
            self.nothing(depth, repetition);
        }
        for (number, token_id) in numbers.iter().enumerate() {
            let repetition = if number == 0 { repetition } else { depth };
            self.element(token_id.cast_signed(), depth + 1, repetition);
        }
    }
}
