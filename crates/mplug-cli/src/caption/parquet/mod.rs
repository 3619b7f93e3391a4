//! Parquet of both ends: files whose rows are pictures (`rows`), and a file of captions (`document`). In a build without the
//! feature `parquet`, `no_parquet` stands here.

mod document;
mod rows;

pub(super) use self::{document::ParquetDocument, rows::expand};

/// Whether this build knows Parquet: it does.
#[expect(clippy::unnecessary_wraps, reason = "a build without the feature refuses")]
pub(super) fn check() -> anyhow::Result<()> {
    Ok(())
}
