//! The pages of a column, each looked at before memory is taken for what it claims.
//!
//! The crate `parquet` reads pages; it trusts their headers for two sizes, that of the page when it is decompressed and the number of words
//! of a dictionary. Both are held here to the bytes that are there.
//!
//! Refuses codecs and encodings whose decoders trust more than that (gzip, the delta encodings): hardly a column of pictures has them.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{ChunkReader, Length, SerializedPageReader};

use super::super::invalid;
use super::super::shared_file::{FileCursor, SharedFile};
use super::thrift::{Compact, kind};

/// Longest page, decompressed: 1 GiB, a thousand pictures of a megabyte.
const MAX_PAGE_BYTES: u64 = 1 << 30;
/// A page longer than this must not have more than [`MAX_PAGE_RATIO`] bytes for each compressed one.
const FREE_PAGE_BYTES: u64 = 16 << 20;
const MAX_PAGE_RATIO: u64 = 512;
/// What is read at once for a page's header.
const HEADER_BYTES: usize = 1024;

/// The pages of a chunk of `rows` rows, each of one value.
pub(super) fn of_chunk(
    file: &Arc<SharedFile>,
    chunk: &ColumnChunkMetaData,
    rows: u64,
) -> io::Result<Box<dyn PageReader>> {
    if u64::try_from(chunk.num_values()) != Ok(rows) {
        return Err(misplaced(chunk));
    }
    of_list_chunk(file, chunk, rows)
}

fn misplaced(chunk: &ColumnChunkMetaData) -> io::Error {
    invalid(format!("is damaged: {} is not where the footer says", chunk.column_path()))
}

/// The pages of a chunk of `rows` rows, each of any number of values.
pub(super) fn of_list_chunk(
    file: &Arc<SharedFile>,
    chunk: &ColumnChunkMetaData,
    rows: u64,
) -> io::Result<Box<dyn PageReader>> {
    match chunk.compression() {
        Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_) => {}
        other => {
            let what = format!(
                "is compressed with {other}, which mplug does not read; write it with snappy or zstd"
            );
            return Err(invalid(what));
        }
    }
    let start = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
    let end = u64::try_from(start).ok().zip(u64::try_from(chunk.compressed_size()).ok());
    let end = end.and_then(|(start, len)| start.checked_add(len));
    if end.is_none_or(|end| end > file.len) {
        return Err(misplaced(chunk));
    }
    let file = Arc::new(PageFile(Arc::clone(file)));
    Ok(Box::new(Pages(SerializedPageReader::new(file, chunk, rows as usize, None)?)))
}

/// The file, as the crate `parquet` reads it: [`ChunkReader::get_read`] for headers, [`ChunkReader::get_bytes`] for what follows.
struct PageFile(Arc<SharedFile>);

impl Length for PageFile {
    fn len(&self) -> u64 {
        self.0.len
    }
}

impl ChunkReader for PageFile {
    type T = HeaderReader;

    fn get_read(&self, start: u64) -> Result<HeaderReader> {
        let reader = BufReader::with_capacity(HEADER_BYTES, FileCursor::at(&self.0, start));
        Ok(HeaderReader { reader, is_checked: false })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        if start.checked_add(length as u64).is_none_or(|end| end > self.0.len) {
            return Err(ParquetError::EOF(format!(
                "{length} bytes from {start} on are beyond the file's end"
            )));
        }
        let mut bytes = vec![0; length];
        FileCursor::at(&self.0, start).read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// Reads a page's header, whose sizes are checked with the first byte that is requested: not before, as readers are made where
/// there is no header, and not read.
struct HeaderReader {
    reader: BufReader<FileCursor>,
    is_checked: bool,
}

impl Read for HeaderReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.is_checked {
            self.is_checked = true;
            check_sizes(self.reader.fill_buf()?)?;
        }
        self.reader.read(buffer)
    }
}

/// A header's first fields are the page's type, its bytes decompressed, its bytes compressed; every writer writes them in this order.
fn check_sizes(header: &[u8]) -> io::Result<()> {
    let mut reader = Compact::new(header);
    let mut sizes = [0; 3];
    for (number, size) in (1..).zip(&mut sizes) {
        if reader.field(number - 1)? != Some((number, kind::I32)) {
            return Err(invalid("a page's header does not begin with its sizes"));
        }
        *size = reader.i32()?;
    }
    let [_, decompressed, compressed] = sizes.map(|size| u64::try_from(size).unwrap_or(u64::MAX));
    let most = compressed.saturating_mul(MAX_PAGE_RATIO).clamp(FREE_PAGE_BYTES, MAX_PAGE_BYTES);
    if decompressed > most {
        let claim = format!("a page of {compressed} bytes claims {decompressed} when decompressed");
        return Err(invalid(format!("{claim}, more than the limit of {most}")));
    }
    Ok(())
}

/// Hands pages on, but for those whose decoding would take their word.
struct Pages(SerializedPageReader<PageFile>);

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        self.0.get_next_page()?.map(checked).transpose()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.0.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.0.skip_next_page()
    }

    fn supports_deferred_dictionary(&self) -> bool {
        self.0.supports_deferred_dictionary()
    }

    fn take_deferred_dictionary(&mut self) -> Result<Option<Page>> {
        self.0.take_deferred_dictionary()?.map(checked).transpose()
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

fn checked(page: Page) -> Result<Page> {
    let encoding = match &page {
        Page::DictionaryPage { buf, num_values, encoding, .. } => {
            // Every word has four bytes of length.
            if *num_values as usize > buf.len() / 4 {
                let claim = format!("a dictionary of {} bytes claims {num_values} words", buf.len());
                return Err(ParquetError::General(claim));
            }
            *encoding
        }
        Page::DataPage { encoding, .. } => *encoding,
        Page::DataPageV2 { buf, encoding, def_levels_byte_len, rep_levels_byte_len, .. } => {
            if u64::from(*def_levels_byte_len) + u64::from(*rep_levels_byte_len) > buf.len() as u64 {
                return Err(ParquetError::General("a page's levels are longer than the page".into()));
            }
            *encoding
        }
    };
    match encoding {
        Encoding::PLAIN | Encoding::PLAIN_DICTIONARY | Encoding::RLE_DICTIONARY => Ok(page),
        other => {
            let what = format!(
                "is encoded as {other}, which mplug does not read; write it plain or as a dictionary"
            );
            Err(ParquetError::General(what))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_claims_too_much_is_refused() {
        let header = |decompressed: &[u8]| [&[0x15, 0, 0x15], decompressed, &[0x15, 0x08, 0x2c]].concat();
        check_sizes(&header(&[0x10])).unwrap();
        let error = check_sizes(&header(&[0xfe, 0xff, 0xff, 0xff, 0x0f])).unwrap_err().to_string();
        assert!(error.contains("a page of 4 bytes claims 2147483647"), "{error}");
        assert!(check_sizes(&[0x25, 0x10, 0x15, 0x08]).is_err());
        let dictionary = |num_values| {
            let (buf, encoding) = (vec![0; 8].into(), Encoding::PLAIN);
            checked(Page::DictionaryPage { buf, num_values, encoding, is_sorted: false })
        };
        assert!(dictionary(2).is_ok() && dictionary(3).is_err());
    }
}
