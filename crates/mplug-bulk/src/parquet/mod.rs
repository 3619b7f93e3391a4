//! Parquet of both ends: files whose rows are pictures (`rows`), and a file of captions (`document`). In a build without the
//! feature `parquet`, `no_parquet` stands here.

mod document;
mod rows;

pub(crate) use self::document::ParquetDocument;
pub(crate) use self::rows::expand;

/// Whether this build knows Parquet.
pub(crate) const IS_KNOWN: bool = true;
