//! Parquet files of captions: our own (`path`, `caption`, `error` …), and Hugging Face's of pictures with their captions (`image`,
//! `caption` or `text`, one or a list).
//!
//! Where the pictures themselves are in a column, rows are called by their numbers. Columns are found as in tables of text.
//!
//! Refuses captions that are no text.

use std::path::Path;

use super::ReadOptions;
use super::row::Row;
use super::table::Columns;
use crate::error::{DataError, Place};
use crate::source::TextTable;

/// The old name of the column that is to be called `image`.
pub(crate) fn image_column(renamed: &[(String, String)]) -> Option<&str> {
    renamed.iter().find(|(_, new)| new == "image").map(|(old, _)| old.as_str())
}

/// Reads the rows of a Parquet file.
pub(super) fn each_row(
    path: &Path,
    options: &ReadOptions,
    each: &mut dyn FnMut(Row) -> Result<(), String>,
) -> Result<(), DataError> {
    let table = TextTable::open(path)?;
    let has_pictures = table.has_pictures(image_column(&options.columns));
    let named = |what: String| DataError::annotation(path, Place::Element("rows", 0), what);
    let texts = table.names();
    let image_path =
        texts.iter().position(|name| name.split_once('.').is_some_and(|(_, part)| part == "path"));
    // The pictures' own column is no text: a heading without one stands for it.
    let is_heading = |(_, name): &(usize, &&str)| !(has_pictures && **name == "image");
    let own = has_pictures.then_some(("image", None));
    let headings: Vec<(&str, Option<usize>)> = texts
        .iter()
        .enumerate()
        .filter(is_heading)
        .map(|(index, name)| (*name, Some(index)))
        .chain(own)
        .collect();
    let names: Vec<&str> = headings.iter().map(|(name, _)| *name).collect();
    let is_of_texts =
        |(old, new): &&(String, String)| names.contains(&old.as_str()) || !(has_pictures && new == "image");
    let renamed: Vec<(String, String)> = options.columns.iter().filter(is_of_texts).cloned().collect();
    let columns = Columns::find(&names, &renamed).map_err(named)?;
    let text = |column: Option<usize>| column.and_then(|column| headings[column].1);
    let wanted = [
        text(columns.caption),
        text(columns.answer),
        text(columns.question),
        text(columns.language),
        text(columns.split),
        text(columns.error),
        if has_pictures { image_path } else { text(columns.image).or(text(columns.id)) },
    ];
    if wanted[..3].iter().all(Option::is_none) {
        let known = table.all_names().join(", ");
        return Err(named(format!("expected a column caption (or text), found {known}: rename one")));
    }
    let present: Vec<usize> = wanted.iter().flatten().copied().collect();
    let mut left = options.max_bytes;
    let rows = table.each_row(&present, &mut |number, texts| {
        let place = Place::Element("rows", number as usize);
        let named = |what: String| DataError::annotation(path, place, what);
        let bytes: u64 = texts.iter().flatten().map(|text| text.len() as u64).sum();
        left = left.checked_sub(bytes).ok_or_else(|| DataError::TooLarge {
            path: path.to_path_buf(),
            found: options.max_bytes + bytes,
            limit: options.max_bytes,
        })?;
        let mut texts = texts.into_iter();
        let [captions, answer, question, language, split, error, name] =
            wanted.map(|column| column.and_then(|_| texts.next()).unwrap_or_default());
        let first = |texts: Vec<String>| texts.into_iter().next();
        let filled = |texts: Vec<String>| first(texts).filter(|text| !text.trim().is_empty());
        let name = first(name).filter(|name| !name.is_empty());
        let row = Row { captions, answer: first(answer), language: first(language), ..Row::new(place) };
        let row = Row { question: filled(question), split: filled(split), error: filled(error), ..row };
        let row = if has_pictures {
            Row { file_name: Some(number.to_string()), original: name, ..row }
        } else {
            let name = name.ok_or_else(|| named("expected a picture's path, found none (null)".into()))?;
            Row { file_name: Some(name), ..row }
        };
        each(row).map_err(named)
    });
    rows.map_err(|error| DataError::io(path, error))?
}
