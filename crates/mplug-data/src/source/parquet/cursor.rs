//! A position in a Parquet file from which rows are read one after the other.
//!
//! Rows are requested in about the order in which they stand, by several threads at once. A page can only be read from its beginning, so
//! that rows which are passed over are kept for a while, a bounded number of them and of their bytes; what is requested later than
//! that is read anew, which costs time and changes nothing.
//!
//! Refuses to know what a row's values mean.

use std::collections::VecDeque;
use std::io;

use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{ByteArray, ByteArrayType};

use super::super::invalid;
use super::{Group, Table, Value, pages};

/// Rows that are read rather than skipped on the way to one, and kept.
const MOST_PASSED: u64 = 256;
/// Most of their bytes: 64 MiB.
const MOST_PASSED_BYTES: usize = 64 << 20;

/// Where reading goes on, and rows that it came by.
#[derive(Default)]
pub(super) struct Cursor {
    open: Option<OpenGroup>,
    passed: VecDeque<(u64, Value)>,
    passed_bytes: usize,
}

/// A row group being read.
struct OpenGroup {
    number: usize,
    /// The row that comes next.
    next: u64,
    bytes: Option<Leaf>,
    path: Option<Leaf>,
}

impl Cursor {
    /// Whether it holds a page.
    #[cfg(test)]
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The value of a row; one of more bytes than `limit` is not kept.
    pub(super) fn find(&mut self, table: &Table, row: u64, limit: u64) -> io::Result<Value> {
        if let Some(index) = self.passed.iter().position(|(passed, _)| *passed == row)
            && let Some((_, value)) = self.passed.remove(index)
        {
            self.passed_bytes -= value.len();
            return Ok(value);
        }
        let number = table.groups.partition_point(|group| group.first_row <= row).saturating_sub(1);
        let group = table.groups.get(number).filter(|group| row - group.first_row < group.rows);
        let group = group.ok_or_else(|| invalid("has no such row"))?;
        let open = self.open.take().filter(|open| open.number == number && open.next <= row);
        let open = open.map_or_else(|| OpenGroup::at(table, group, number), Ok)?;
        if row - open.next <= MOST_PASSED
            && let Ok(value) = self.walk(open, row, limit)
        {
            return Ok(value);
        }
        // A page between that cannot be decoded is no reason against the row.
        let mut open = OpenGroup::at(table, group, number)?;
        open.skip(row)?;
        let value = open.read(limit)?;
        self.open = Some(open);
        Ok(value)
    }

    /// Reads up to a row, and keeps what is before it.
    fn walk(&mut self, mut open: OpenGroup, row: u64, limit: u64) -> io::Result<Value> {
        while open.next < row {
            let (number, value) = (open.next, open.read(limit)?);
            self.keep(number, value);
        }
        let value = open.read(limit)?;
        self.open = Some(open);
        Ok(value)
    }

    fn keep(&mut self, row: u64, value: Value) {
        self.passed_bytes += value.len();
        self.passed.push_back((row, value));
        while self.passed.len() as u64 > MOST_PASSED || self.passed_bytes > MOST_PASSED_BYTES {
            let Some((_, value)) = self.passed.pop_front() else { break };
            self.passed_bytes -= value.len();
        }
    }
}

impl OpenGroup {
    /// At the beginning of a group.
    fn at(table: &Table, group: &Group, number: usize) -> io::Result<Self> {
        let leaf = |chunk| Leaf::open(table, group, chunk);
        let bytes = group.bytes.as_ref().map(leaf).transpose()?;
        let path = group.path.as_ref().map(leaf).transpose()?;
        Ok(Self { number, next: group.first_row, bytes, path })
    }

    fn skip(&mut self, row: u64) -> io::Result<()> {
        let count = (row - self.next) as usize;
        self.next = row;
        [&mut self.bytes, &mut self.path].into_iter().flatten().try_for_each(|leaf| leaf.skip(count))
    }

    /// The value of the next row.
    fn read(&mut self, limit: u64) -> io::Result<Value> {
        self.next += 1;
        let bytes = self.bytes.as_mut().map(Leaf::read).transpose()?.flatten();
        let path = self.path.as_mut().map(Leaf::read).transpose()?.flatten();
        Ok(match (bytes, path) {
            (Some(bytes), _) | (None, Some(bytes)) if bytes.len() as u64 > limit => {
                Value::TooManyBytes(bytes.len() as u64)
            }
            (Some(bytes), _) => Value::Bytes(bytes.data().to_vec()),
            (None, Some(path)) => Value::Path(String::from_utf8_lossy(path.data()).into_owned()),
            (None, None) => Value::Null,
        })
    }
}

/// A column of a row group.
struct Leaf {
    reader: ColumnReaderImpl<ByteArrayType>,
    levels: Vec<i16>,
    values: Vec<ByteArray>,
}

impl Leaf {
    fn open(table: &Table, group: &Group, chunk: &super::ColumnChunkMetaData) -> io::Result<Self> {
        let pages = pages::of_chunk(&table.file, chunk, group.rows)?;
        let reader = ColumnReaderImpl::new(chunk.column_descr_ptr(), pages);
        Ok(Self { reader, levels: Vec::new(), values: Vec::new() })
    }

    fn skip(&mut self, count: usize) -> io::Result<()> {
        if self.reader.skip_records(count)? < count { Err(cut_short()) } else { Ok(()) }
    }

    /// The next row's value, if it has one.
    fn read(&mut self) -> io::Result<Option<ByteArray>> {
        self.levels.clear();
        self.values.clear();
        let (rows, ..) = self.reader.read_records(1, Some(&mut self.levels), None, &mut self.values)?;
        if rows == 0 { Err(cut_short()) } else { Ok(self.values.pop()) }
    }
}

fn cut_short() -> io::Error {
    invalid("is damaged: a column has fewer rows than the footer says")
}
