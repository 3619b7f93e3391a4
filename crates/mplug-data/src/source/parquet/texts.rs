//! Columns of text in a Parquet file, read from the first row to the last.
//!
//! A column holds one text a row, or a list of them. Columns of other kinds are known by name alone.
//!
//! Refuses to know what the texts mean.

use std::io;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{ConvertedType, Type as PhysicalType};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

use super::super::shared_file::SharedFile;
use super::{MAX_MEMBERS, find_column, footer, guarded, invalid, pages};
use crate::error::DataError;

/// The texts of a Parquet file.
pub(crate) struct TextTable {
    file: Arc<SharedFile>,
    metadata: ParquetMetaData,
    columns: Vec<TextColumn>,
}

/// A column of texts.
struct TextColumn {
    name: String,
    leaf: usize,
    is_list: bool,
}

impl TextTable {
    /// Opens a file and finds its columns of text.
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        let io = |error| DataError::io(path, error);
        let file = SharedFile::open(path).map_err(io)?;
        let metadata = footer::read(&file).map_err(io)?;
        let columns = text_columns(&metadata);
        Ok(Self { file, metadata, columns })
    }

    /// The names of the columns of text. That of a picture's path within `{bytes, path}` is `image.path`.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.columns.iter().map(|column| column.name.as_str()).collect()
    }

    /// The names of all columns, for messages.
    pub(crate) fn all_names(&self) -> Vec<String> {
        let schema = self.metadata.file_metadata().schema_descr();
        schema.root_schema().get_fields().iter().map(|field| field.name().into()).collect()
    }

    /// Whether pictures are in the file: their bytes, in the column of that name or one with a usual name.
    pub(crate) fn has_pictures(&self, column: Option<&str>) -> bool {
        let schema = self.metadata.file_metadata().schema_descr();
        find_column(schema, column).is_ok_and(|place| place.bytes.is_some())
    }

    /// Hands on every row: its number, and the texts of the columns of those numbers. Stops with the first error.
    ///
    /// # Errors
    /// What is wrong with the file; the inner one is `each`'s.
    pub(crate) fn each_row<E>(
        &self,
        columns: &[usize],
        each: &mut dyn FnMut(u64, Vec<Vec<String>>) -> Result<(), E>,
    ) -> io::Result<Result<(), E>> {
        let mut number = 0;
        for group in self.metadata.row_groups() {
            let rows =
                u64::try_from(group.num_rows()).ok().filter(|rows| number + rows <= MAX_MEMBERS as u64);
            let rows = rows.ok_or_else(|| invalid(format!("claims more than {MAX_MEMBERS} rows")))?;
            let mut leaves = guarded(|| {
                columns
                    .iter()
                    .map(|column| self.leaf(group, &self.columns[*column], rows))
                    .collect::<io::Result<Vec<_>>>()
            })?;
            for _ in 0..rows {
                let texts = guarded(|| leaves.iter_mut().map(Leaf::read).collect::<io::Result<Vec<_>>>())?;
                if let Err(error) = each(number, texts) {
                    return Ok(Err(error));
                }
                number += 1;
            }
        }
        Ok(Ok(()))
    }

    fn leaf(&self, group: &RowGroupMetaData, column: &TextColumn, rows: u64) -> io::Result<Leaf> {
        let chunk =
            group.columns().get(column.leaf).ok_or_else(|| invalid("is damaged: a column has no values"))?;
        let pages = if column.is_list {
            pages::of_list_chunk(&self.file, chunk, rows)?
        } else {
            pages::of_chunk(&self.file, chunk, rows)?
        };
        let reader = ColumnReaderImpl::new(chunk.column_descr_ptr(), pages);
        let name = column.name.clone();
        Ok(Leaf { name, reader, levels: Vec::new(), repetitions: Vec::new(), values: Vec::new() })
    }
}

/// A column of a row group.
struct Leaf {
    name: String,
    reader: ColumnReaderImpl<ByteArrayType>,
    levels: Vec<i16>,
    repetitions: Vec<i16>,
    values: Vec<ByteArray>,
}

impl Leaf {
    /// The next row's texts.
    fn read(&mut self) -> io::Result<Vec<String>> {
        self.levels.clear();
        self.repetitions.clear();
        self.values.clear();
        let (levels, repetitions) = (&mut self.levels, &mut self.repetitions);
        let (rows, ..) = self.reader.read_records(1, Some(levels), Some(repetitions), &mut self.values)?;
        if rows == 0 {
            return Err(invalid("is damaged: a column has fewer rows than the footer says"));
        }
        let text = |value: &ByteArray| {
            let text = std::str::from_utf8(value.data()).map(ToOwned::to_owned);
            text.map_err(|_| invalid(format!("column {:?}: expected UTF-8, found other bytes", self.name)))
        };
        self.values.iter().map(text).collect()
    }
}

fn text_columns(metadata: &ParquetMetaData) -> Vec<TextColumn> {
    let leaves = metadata.file_metadata().schema_descr().columns();
    let mut found = Vec::new();
    for (leaf, column) in leaves.iter().enumerate() {
        let is_text = column.physical_type() == PhysicalType::BYTE_ARRAY
            && column.converted_type() == ConvertedType::UTF8;
        let parts: Vec<&str> = column.path().parts().iter().map(String::as_str).collect();
        let (name, is_list) = match (&parts[..], column.max_rep_level()) {
            ([name], 0) => ((*name).to_owned(), false),
            ([name, "path"], 0) => (format!("{name}.path"), false),
            // Lists as Arrow, Spark, Hive and older Arrow write them, and a repeated column.
            ([name] | [name, _, _], 1) => ((*name).to_owned(), true),
            _ => continue,
        };
        if is_text {
            found.push(TextColumn { name, leaf, is_list });
        }
    }
    found
}
