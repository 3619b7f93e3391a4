//! The end of a Parquet file: its columns and where they are.
//!
//! Source: <https://github.com/apache/parquet-format> (`parquet.thrift`, `FileMetaData`). The crate `parquet` reads the footer, but for the
//! schema: it takes memory for as many children as an element claims, and descends as deep as they go. The schema is read here,
//! held to what is there, and handed to it.
//!
//! Refuses to know rows, and files whose footer is encrypted.

use std::io::{self, Read};
use std::sync::Arc;

use parquet::basic::{ConvertedType, Repetition, Type as PhysicalType};
use parquet::file::metadata::{
    ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader, ParquetStatisticsPolicy,
};
use parquet::schema::types::{SchemaDescriptor, Type};

use super::super::invalid;
use super::super::shared_file::{FileCursor, SharedFile};
use super::guarded;
use super::thrift::{Compact, kind};

/// Longest footer: 64 MiB, hundreds of thousands of row groups.
const MAX_FOOTER_BYTES: u64 = 64 << 20;
/// How deep columns may lie in each other.
const MAX_DEPTH: usize = 32;
/// Most bytes of the columns' full names together.
const MAX_NAMES_BYTES: usize = 64 << 20;
/// What ends a file, and its length before it.
const TAIL_BYTES: u64 = 8;

/// The footer of a file.
pub(super) fn read(file: &Arc<SharedFile>) -> io::Result<ParquetMetaData> {
    let mut tail = [0; TAIL_BYTES as usize];
    let tail_start =
        file.len.checked_sub(TAIL_BYTES).ok_or_else(|| invalid("is no Parquet file: it is too short"))?;
    FileCursor::at(file, tail_start).read_exact(&mut tail)?;
    let [a, b, c, d, magic @ ..] = tail;
    match &magic {
        b"PAR1" => {}
        b"PARE" => return Err(invalid("is encrypted, which mplug does not read")),
        _ => return Err(invalid("is no Parquet file, or cut short: it does not end with `PAR1`")),
    }
    let len = u64::from(u32::from_le_bytes([a, b, c, d]));
    if len > MAX_FOOTER_BYTES || len > tail_start {
        let most = MAX_FOOTER_BYTES.min(tail_start);
        return Err(invalid(format!("is damaged: its footer claims {len} bytes, and can have {most}")));
    }
    let mut footer = vec![0; len as usize];
    FileCursor::at(file, tail_start - len).read_exact(&mut footer)?;
    let damaged = |error: io::Error| invalid(format!("is damaged: its footer: {error}"));
    guarded(|| {
        let options = ParquetMetaDataOptions::new()
            .with_schema(Arc::new(SchemaDescriptor::new(Arc::new(schema(&footer)?))))
            .with_column_stats_policy(ParquetStatisticsPolicy::SkipAll)
            .with_encoding_stats_policy(ParquetStatisticsPolicy::SkipAll)
            .with_size_stats_policy(ParquetStatisticsPolicy::SkipAll);
        Ok(ParquetMetaDataReader::decode_metadata_with_options(&footer, Some(&options))?)
    })
    .map_err(damaged)
}

/// A `SchemaElement`: a column, or a group with the number of children behind it.
#[derive(Default)]
struct Element<'a> {
    physical_type: Option<i32>,
    len: i32,
    repetition: Option<i32>,
    name: &'a str,
    children: i32,
    is_text: bool,
}

/// The schema, after a walk over the whole footer that finds lists longer than the file.
fn schema(footer: &[u8]) -> io::Result<Type> {
    let mut reader = Compact::new(footer);
    let (mut last, mut elements) = (0, None);
    while let Some((number, found)) = reader.field(last)? {
        if (number, found) == (2, kind::LIST) && elements.is_none() {
            let (kind, size) = reader.list()?;
            if kind != kind::STRUCT {
                return Err(invalid("its schema is no list of columns"));
            }
            elements = Some((0..size).map(|_| element(&mut reader)).collect::<io::Result<Vec<_>>>()?);
        } else {
            reader.skip(found)?;
        }
        last = number;
    }
    let elements = elements.ok_or_else(|| invalid("has no schema"))?;
    let mut elements = elements.into_iter();
    let root = elements.next().ok_or_else(|| invalid("its schema is empty"))?;
    let mut tree = Tree { elements, names_bytes: 0 };
    let fields = tree.fields(root.children, 0, 0)?;
    if tree.elements.next().is_some() {
        return Err(invalid("its schema has columns that belong nowhere"));
    }
    Ok(Type::group_type_builder(root.name).with_fields(fields).build()?)
}

fn element<'a>(reader: &mut Compact<'a>) -> io::Result<Element<'a>> {
    let (mut last, mut element) = (0, Element::default());
    while let Some((number, found)) = reader.field(last)? {
        match (number, found) {
            (1, kind::I32) => element.physical_type = Some(reader.i32()?),
            (2, kind::I32) => element.len = reader.i32()?,
            (3, kind::I32) => element.repetition = Some(reader.i32()?),
            (4, kind::BINARY) => element.name = reader.text()?,
            (5, kind::I32) => element.children = reader.i32()?,
            (6, kind::I32) => element.is_text |= reader.i32()? == 0, // UTF8
            (10, kind::STRUCT) => {
                let mut last = 0;
                while let Some((number, found)) = reader.field(last)? {
                    element.is_text |= number == 1; // STRING
                    reader.skip(found)?;
                    last = number;
                }
            }
            _ => reader.skip(found)?,
        }
        last = number;
    }
    Ok(element)
}

/// Makes a tree of a list.
struct Tree<'a> {
    elements: std::vec::IntoIter<Element<'a>>,
    names_bytes: usize,
}

impl Tree<'_> {
    /// The next `count` columns, below a group whose full name has `path_bytes`.
    fn fields(&mut self, count: i32, path_bytes: usize, depth: usize) -> io::Result<Vec<Arc<Type>>> {
        if depth == MAX_DEPTH {
            return Err(invalid(format!("its columns are nested deeper than {MAX_DEPTH}")));
        }
        // Not collected with a claimed size: elements run out where it lies.
        let mut fields = Vec::new();
        for _ in 0..count {
            let element = self.elements.next().ok_or_else(|| invalid("its schema is cut short"))?;
            fields.push(Arc::new(self.field(&element, path_bytes + element.name.len(), depth)?));
        }
        Ok(fields)
    }

    fn field(&mut self, element: &Element<'_>, path_bytes: usize, depth: usize) -> io::Result<Type> {
        let named = |what: &str| invalid(format!("column {:?} has no {what}", element.name));
        let repetition = match element.repetition {
            Some(0) => Repetition::REQUIRED,
            Some(1) => Repetition::OPTIONAL,
            Some(2) => Repetition::REPEATED,
            _ => return Err(named("repetition")),
        };
        if element.children > 0 {
            let fields = self.fields(element.children, path_bytes, depth + 1)?;
            let group = Type::group_type_builder(element.name).with_repetition(repetition);
            return Ok(group.with_fields(fields).build()?);
        }
        self.names_bytes += path_bytes;
        if self.names_bytes > MAX_NAMES_BYTES {
            return Err(invalid(format!("its columns' names take more than {MAX_NAMES_BYTES} bytes")));
        }
        let Some(number) = element.physical_type else {
            return Ok(Type::group_type_builder(element.name).with_repetition(repetition).build()?);
        };
        let physical_type = physical_type(number).ok_or_else(|| named("type that is known"))?;
        let is_text = element.is_text && physical_type == PhysicalType::BYTE_ARRAY;
        let column = Type::primitive_type_builder(element.name, physical_type)
            .with_repetition(repetition)
            .with_length(element.len)
            .with_converted_type(if is_text { ConvertedType::UTF8 } else { ConvertedType::NONE });
        Ok(column.build()?)
    }
}

fn physical_type(number: i32) -> Option<PhysicalType> {
    Some(match number {
        0 => PhysicalType::BOOLEAN,
        1 => PhysicalType::INT32,
        2 => PhysicalType::INT64,
        3 => PhysicalType::INT96,
        4 => PhysicalType::FLOAT,
        5 => PhysicalType::DOUBLE,
        6 => PhysicalType::BYTE_ARRAY,
        7 => PhysicalType::FIXED_LEN_BYTE_ARRAY,
        _ => return None,
    })
}
