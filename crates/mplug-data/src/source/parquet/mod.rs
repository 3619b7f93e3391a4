//! Pictures in the rows of a Parquet file: in a column of files' bytes, of paths, or of both (Hugging Face's `{bytes, path}`).
//!
//! The format is the crate `parquet`'s affair; what a file claims of itself is held to its bytes before memory is taken for it. Rows are
//! read one by one as they are requested: the footer and a page at a time are all that is held of a file.
//!
//! Refuses to know lists of pictures, columns that are encrypted, and paths that lead out of the file's folder.

mod cursor;
mod footer;
mod pages;
mod texts;
mod thrift;

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::{fmt, io};

use mplug::preprocess::image::ImageFault;
use parquet::basic::{ConvertedType, Repetition, Type as PhysicalType};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::schema::types::{SchemaDescriptor, Type};

use self::cursor::Cursor;
pub(crate) use self::texts::TextTable;
use super::shared_file::SharedFile;
use super::{MAX_MEMBERS, PictureSource, inside, invalid, read_file};
use crate::error::{DataError, nearest};
use crate::names::PICTURE_COLUMNS;

/// A row of a Parquet file, whose picture is in one of its columns.
#[derive(Debug, Clone)]
pub struct ParquetRow {
    table: Arc<Table>,
    row: u64,
}

/// A file, and the column that its pictures are in.
struct Table {
    file: Arc<SharedFile>,
    groups: Vec<Group>,
    cursor: Mutex<Cursor>,
}

/// Tables that keep a page and passed rows for what is read next.
const MOST_IN_USE: usize = 4;

/// The tables that were read last.
static IN_USE: Mutex<VecDeque<Weak<Table>>> = Mutex::new(VecDeque::new());

/// Remembers that a table is read, and lets the one go that was not read for longest: of many tables that are read one after the
/// other, few pages are held.
fn note_use(table: &Arc<Table>) {
    let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
    in_use.retain(|other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(table)));
    in_use.push_back(Arc::downgrade(table));
    if in_use.len() > MOST_IN_USE
        && let Some(oldest) = in_use.pop_front().and_then(|oldest| oldest.upgrade())
        // One that is being read at this moment keeps its place; it is let go when it is the oldest again.
        && let Ok(mut cursor) = oldest.cursor.try_lock()
    {
        *cursor = Cursor::default();
    }
}

/// Some rows that stand together.
struct Group {
    first_row: u64,
    rows: u64,
    /// Where their pictures are, if the column has any.
    bytes: Option<ColumnChunkMetaData>,
    /// Where their paths are, if the column has any.
    path: Option<ColumnChunkMetaData>,
}

/// What a row has.
enum Value {
    Null,
    /// A picture.
    Bytes(Vec<u8>),
    /// The bytes of a picture or a path that has more than was allowed.
    TooManyBytes(u64),
    /// A picture's file.
    Path(String),
}

impl Value {
    /// The bytes that it holds.
    fn len(&self) -> usize {
        match self {
            Self::Null | Self::TooManyBytes(_) => 0,
            Self::Bytes(bytes) => bytes.len(),
            Self::Path(path) => path.len(),
        }
    }
}

impl ParquetRow {
    pub(super) fn file(&self) -> &SharedFile {
        &self.table.file
    }

    pub(super) fn read(&self, limit: u64) -> Result<Vec<u8>, ImageFault> {
        note_use(&self.table);
        let mut cursor = self.table.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        let found = guarded(|| cursor.find(&self.table, self.row, limit));
        if found.is_err() {
            *cursor = Cursor::default();
        }
        drop(cursor);
        match found.map_err(ImageFault::Read)? {
            Value::Null => Err(ImageFault::Read(invalid("the row has no picture (null)"))),
            Value::Bytes(bytes) => Ok(bytes),
            Value::TooManyBytes(found) => Err(ImageFault::TooManyBytes { found, limit }),
            Value::Path(name) => self.read_path(&name, limit),
        }
    }

    /// A file in the Parquet file's folder, or below it.
    fn read_path(&self, name: &str, limit: u64) -> Result<Vec<u8>, ImageFault> {
        let refused = |what: &str| Err(ImageFault::Read(invalid(format!("the row's path {name:?} {what}"))));
        if name.starts_with("http://") || name.starts_with("https://") {
            return refused("is a web address; a row's picture is its bytes or a file");
        }
        let Some(name) = inside(name) else {
            return refused("leads out of the Parquet file's folder; expected a relative path below it");
        };
        let folder = self.table.file.path.parent().unwrap_or(Path::new(""));
        read_file(&folder.join(name), limit)
    }
}

impl fmt::Display for ParquetRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: row {}", self.table.file.path.display(), self.row)
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("path", &self.file.path).finish_non_exhaustive()
    }
}

/// The rows of a Parquet file, in order. `column` is the one with the pictures; if it is not given, one with a usual name is taken
/// (`image`, `jpg`, `png`, `image_path`, …).
///
/// # Errors
/// [`DataError::Io`] if the file cannot be read or is damaged, [`DataError::NoColumn`] if the column is not there or holds no
/// pictures.
pub fn rows_of_parquet(path: &Path, column: Option<&str>) -> Result<Vec<PictureSource>, DataError> {
    let io = |error| DataError::io(path, error);
    let file = SharedFile::open(path).map_err(io)?;
    let metadata = footer::read(&file).map_err(io)?;
    let schema = metadata.file_metadata().schema_descr();
    let place = find_column(schema, column).map_err(|(what, nearest)| DataError::NoColumn {
        path: path.to_path_buf(),
        what,
        nearest,
        known: schema.root_schema().get_fields().iter().map(|field| field.name().into()).collect(),
    })?;
    let mut first_row = 0;
    let mut groups = Vec::with_capacity(metadata.num_row_groups());
    for group in metadata.row_groups() {
        let group = self::group(group, &place, first_row).map_err(io)?;
        first_row += group.rows;
        groups.push(group);
    }
    let table = Arc::new(Table { file, groups, cursor: Mutex::default() });
    let row = |row| PictureSource::ParquetRow(ParquetRow { table: Arc::clone(&table), row });
    Ok((0..first_row).map(row).collect())
}

fn group(metadata: &RowGroupMetaData, place: &Place, first_row: u64) -> io::Result<Group> {
    let rows = u64::try_from(metadata.num_rows()).ok().filter(|rows| first_row + rows <= MAX_MEMBERS as u64);
    let rows = rows.ok_or_else(|| {
        invalid(format!(
            "claims {} rows in a row group; {MAX_MEMBERS} in all are the limit",
            metadata.num_rows()
        ))
    })?;
    let chunk = |leaf: Option<usize>| leaf.and_then(|leaf| metadata.columns().get(leaf).cloned());
    Ok(Group { first_row, rows, bytes: chunk(place.bytes), path: chunk(place.path) })
}

/// The leaves of a column: those of bytes and of paths, by their numbers in the schema.
#[derive(Debug, Default)]
struct Place {
    bytes: Option<usize>,
    path: Option<usize>,
}

/// The column of that name, or the first with a usual name that holds pictures; else what is wrong, and the nearest name.
fn find_column(schema: &SchemaDescriptor, wanted: Option<&str>) -> Result<Place, (String, Option<String>)> {
    let fields = schema.root_schema().get_fields();
    let field = |name: &str| fields.iter().find(|field| field.name() == name);
    let Some(name) = wanted else {
        let mut usual = PICTURE_COLUMNS.iter().filter_map(|name| place_of(schema, field(name)?));
        return usual.next().ok_or_else(|| ("has no column of pictures with a usual name".into(), None));
    };
    let Some(field) = field(name) else {
        let nearest = nearest(name, fields.iter().map(|field| field.name()));
        return Err((format!("has no column {name:?}"), nearest.map(Into::into)));
    };
    place_of(schema, field).ok_or_else(|| {
        let kinds = "expected bytes, text (a path), or {bytes, path}";
        (format!("column {name:?} holds no pictures: it is {}; {kinds}", shown(field)), None)
    })
}

/// Where a column's pictures are, if it has a form that can hold one.
fn place_of(schema: &SchemaDescriptor, field: &Type) -> Option<Place> {
    let mut place = Place::default();
    for (number, leaf) in schema.columns().iter().enumerate() {
        let parts = leaf.path().parts();
        let is_usable = leaf.physical_type() == PhysicalType::BYTE_ARRAY && leaf.max_rep_level() == 0;
        if !is_usable || parts.first().map(String::as_str) != Some(field.name()) {
            continue;
        }
        let is_text = leaf.converted_type() == ConvertedType::UTF8;
        let slot = match (parts.get(1).map(String::as_str), parts.len(), is_text) {
            (None, 1, false) | (Some("bytes"), 2, false) => &mut place.bytes,
            (None, 1, true) | (Some("path"), 2, true) => &mut place.path,
            _ => continue,
        };
        *slot = slot.or(Some(number));
    }
    (place.bytes.is_some() || place.path.is_some()).then_some(place)
}

/// A column's form in words.
fn shown(field: &Type) -> String {
    if field.get_basic_info().has_repetition() && field.get_basic_info().repetition() == Repetition::REPEATED
    {
        return "a list".into();
    }
    match field {
        Type::PrimitiveType { physical_type, .. } => physical_type.to_string(),
        Type::GroupType { fields, .. } => {
            let names: Vec<&str> = fields.iter().map(|field| field.name()).collect();
            format!("a group {{{}}}", names.join(", "))
        }
    }
}

/// Runs what the crate `parquet` does; a panic of it is an error. Nothing outlives one but what the caller drops.
fn guarded<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
}

fn panicked(panic: &(dyn Any + Send)) -> io::Error {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    invalid(format!("is damaged: {text}"))
}

#[cfg(test)]
mod tests;
