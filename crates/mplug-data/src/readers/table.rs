//! Tables of text: a row a line, a column for the picture and one for a caption.
//!
//! Read are tables of ModelScope's hub, whose columns say their kind (`image:FILE,answer:Value`, the meta files that `MsDataset`
//! reads); our own (`path,caption,score,error`, with `language` and `caption_1` where there are several); `metadata.csv` of
//! Hugging Face's image folders (`file_name,text`); Kaggle's Flickr8k (`captions.txt`: `image,caption`) and Flickr30k
//! (`results.csv`: `image_name| comment_number| comment`); open_clip's (`filepath`, a tab, `title`). Commas separate cells, else
//! tabs, else bars. Our own tables are read without their first line too.
//!
//! A column is called by its whole heading where columns are renamed (`MsDataset.remap_columns`), and by the part before the
//! colon otherwise. Cells between commas are quoted as RFC 4180 has it; between tabs, a cell that is quoted as a whole is read
//! without its quotes; between bars, nothing is quoted.
//!
//! Refuses other columns silently, as `MsDataset` does, but not a renaming of a column that is not there, and two columns that
//! may both be meant.

use std::borrow::Cow;
use std::path::Path;

use csv::{ReaderBuilder, StringRecord};

use super::ReadOptions;
use super::columns::check_names;
use super::row::Row;
use crate::annotation::PictureId;
use crate::error::{DataError, Place};
use crate::names::has_picture_extension;
use crate::text::{Lines, read_text};

/// What stands between two cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Separator {
    Comma,
    Tab,
    Bar,
}

impl Separator {
    const ALL: [Self; 3] = [Self::Comma, Self::Tab, Self::Bar];

    fn character(self) -> char {
        match self {
            Self::Comma => ',',
            Self::Tab => '\t',
            Self::Bar => '|',
        }
    }
}

/// What the columns may be called; the first name of each is taken before the others.
const IMAGE: [&str; 9] = [
    "image",
    "path",
    "file_name",
    "filename",
    "filepath",
    "image_path",
    "image_name",
    "image_file",
    "image_filename",
];
const ID: [&str; 3] = ["image_id", "question_id", "id"];
const CAPTION: [&str; 8] =
    ["caption", "caption_1", "captions", "text", "title", "comment", "sentence", "description"];

/// Where the columns are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Columns {
    pub(crate) image: Option<usize>,
    pub(crate) id: Option<usize>,
    pub(crate) caption: Option<usize>,
    pub(crate) answer: Option<usize>,
    pub(crate) question: Option<usize>,
    pub(crate) language: Option<usize>,
    pub(crate) split: Option<usize>,
    pub(crate) error: Option<usize>,
}

impl Columns {
    /// Finds the columns of a heading, under their new names.
    pub(crate) fn find(headings: &[&str], renamed: &[(String, String)]) -> Result<Self, String> {
        check_names(renamed)?;
        let shown = || headings.join(", ");
        let absent = renamed.iter().find(|(old, _)| !headings.contains(&old.as_str()));
        if let Some((old, _)) = absent {
            return Err(format!("there is no column {old:?}; there are {}", shown()));
        }
        let names: Vec<String> = headings
            .iter()
            .map(|heading| {
                let new_name = renamed.iter().find(|(old, _)| old == heading).map(|(_, new)| new.clone());
                new_name.unwrap_or_else(|| name_of(heading))
            })
            .collect();
        let find = |wanted: &str| {
            let mut found = (0..names.len()).filter(|index| names[*index] == wanted);
            match (found.next(), found.next()) {
                (Some(_), Some(_)) => Err(format!("two columns are called {wanted}; there are {}", shown())),
                (index, _) => Ok(index),
            }
        };
        let any_of = |wanted: &[&str]| {
            if let Some(column) = find(wanted[0])? {
                return Ok(Some(column));
            }
            let mut found = Vec::new();
            for name in &wanted[1..] {
                found.extend(find(name)?);
            }
            match found[..] {
                [] => Ok(None),
                [column] => Ok(Some(column)),
                [first, second, ..] => Err(format!(
                    "has both the columns {:?} and {:?}: rename the one that is meant to {}",
                    headings[first], headings[second], wanted[0]
                )),
            }
        };
        let (image, answer) = (any_of(&IMAGE)?, find("answer")?);
        let id = if image.is_some() { None } else { any_of(&ID)? };
        if image.is_none() && id.is_none() {
            return Err(format!(
                "expected a column image (or path, file_name, filepath, image_name …), found {}: rename one",
                shown()
            ));
        }
        Ok(Self {
            image,
            id,
            caption: if answer.is_some() { find(CAPTION[0])? } else { any_of(&CAPTION)? },
            answer,
            question: find("question")?,
            language: find("language")?,
            split: find("split")?,
            error: find("error")?,
        })
    }

    /// The columns of a table that does not name them: a picture and a caption, or ours.
    fn of_width(width: usize) -> Option<Self> {
        let pair = Self { image: Some(0), caption: Some(1), ..Self::default() };
        match width {
            2 => Some(pair),
            4 => Some(Self { error: Some(3), ..pair }),
            _ => None,
        }
    }
}

/// How a table is written, by its first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    separator: Separator,
    has_head: bool,
}

/// The layout that the first line shows: it names a column of pictures and one of texts, or it begins with the name of a
/// picture and has the width of a table of ours.
pub(crate) fn layout(line: &str) -> Option<Layout> {
    let named = |separator: Separator| {
        is_head(&cells(line, separator)).then_some(Layout { separator, has_head: true })
    };
    Separator::ALL.into_iter().find_map(named).or_else(|| {
        let cells = cells(line, Separator::Comma);
        let is_row = has_picture_extension(Path::new(cells[0].as_ref())) && is_ours(&cells);
        is_row.then_some(Layout { separator: Separator::Comma, has_head: false })
    })
}

/// Whether cells name a column of pictures and one of texts.
fn is_head(cells: &[Cow<'_, str>]) -> bool {
    let names: Vec<String> = cells.iter().map(|cell| name_of(cell)).collect();
    let has = |known: &[&str]| names.iter().any(|name| known.contains(&name.as_str()));
    (has(&IMAGE) || has(&ID)) && (has(&CAPTION) || has(&["answer", "question"]))
}

/// What a column is called, by its heading.
fn name_of(heading: &str) -> String {
    let name = heading.split(':').next().unwrap_or_default().trim();
    name.trim_start_matches('\u{feff}').to_lowercase()
}

/// Whether a row without headings is a picture and a caption, or a picture, a caption, a score and an error.
fn is_ours(cells: &[Cow<'_, str>]) -> bool {
    match cells {
        [_, _] => true,
        [_, _, score, _] => score.is_empty() || score.parse::<f64>().is_ok(),
        _ => false,
    }
}

/// The first cell of a line that commas separate, if there is another.
pub(crate) fn first_cell(line: &str) -> Option<String> {
    let cells = cells(line, Separator::Comma);
    (cells.len() > 1).then(|| cells[0].trim().to_owned())
}

/// The cells of one line.
fn cells(line: &str, separator: Separator) -> Vec<Cow<'_, str>> {
    match separator {
        Separator::Comma => {
            let mut reader = ReaderBuilder::new().has_headers(false).from_reader(line.as_bytes());
            let row = reader.records().next().and_then(Result::ok).unwrap_or_default();
            if row.is_empty() {
                return vec![Cow::Borrowed(line)];
            }
            row.iter().map(|cell| Cow::Owned(cell.to_owned())).collect()
        }
        Separator::Tab => line.split('\t').map(unquoted).collect(),
        Separator::Bar => line.split('|').map(|cell| Cow::Borrowed(cell.trim())).collect(),
    }
}

/// A cell without the quotes around it, if they are its own.
fn unquoted(cell: &str) -> Cow<'_, str> {
    let within = cell.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match within {
        Some(within) if !within.replace("\"\"", "").contains('"') => Cow::Owned(within.replace("\"\"", "\"")),
        _ => Cow::Borrowed(cell),
    }
}

/// Reads a table whose first line says how it is written. One that names no columns we know is taken for commas with a head,
/// whose error says what is missing; so is one whose columns are renamed.
pub(super) fn each_row(
    path: &Path,
    options: &ReadOptions,
    each: &mut dyn FnMut(Row) -> Result<(), String>,
) -> Result<(), DataError> {
    let first = Lines::open(path, options.max_bytes)?.next()?.map(|(_, line)| line).unwrap_or_default();
    let renamed_separator = || {
        let has = |separator: &Separator| cells(&first, *separator).len() > 1;
        Separator::ALL.into_iter().find(has).unwrap_or(Separator::Comma)
    };
    if options.has_no_head {
        return each_csv_row(path, options, false, each);
    }
    let layout = if options.columns.is_empty() { layout(&first) } else { None };
    let layout = layout.unwrap_or_else(|| Layout { separator: renamed_separator(), has_head: true });
    match layout.separator {
        Separator::Comma => each_csv_row(path, options, layout.has_head, each),
        separator => each_line(path, options, separator, each),
    }
}

/// Reads a table of lines: no cell goes on in the next.
fn each_line(
    path: &Path,
    options: &ReadOptions,
    separator: Separator,
    each: &mut dyn FnMut(Row) -> Result<(), String>,
) -> Result<(), DataError> {
    let mut lines = Lines::open(path, options.max_bytes)?;
    let named = |number: usize| move |what: String| DataError::annotation(path, Place::Line(number), what);
    let Some((number, head)) = lines.next()? else { return Ok(()) };
    let headings = cells(&head, separator);
    let headings: Vec<&str> = headings.iter().map(AsRef::as_ref).collect();
    let columns = Columns::find(&headings, &options.columns).map_err(named(number))?;
    while let Some((number, line)) = lines.next()? {
        let mut found = cells(&line, separator);
        if separator == Separator::Bar {
            mend(&mut found, headings.len());
        }
        if found.len() != headings.len() {
            let character = separator.character();
            let what =
                format!("expected {} columns (between {character:?}), found {}", headings.len(), found.len());
            return Err(named(number)(what));
        }
        let row: StringRecord = found.iter().map(AsRef::as_ref).collect();
        row_of(&columns, &row, Place::Line(number)).and_then(&mut *each).map_err(named(number))?;
    }
    Ok(())
}

/// Flickr30k's table has a row (of 2199200615.jpg) whose number and comment have no bar between them; captions with a bar of
/// their own are joined again.
fn mend(cells: &mut Vec<Cow<'_, str>>, width: usize) {
    if width != 3 {
        return;
    }
    if cells.len() == 2 {
        let digits = cells[1].len() - cells[1].trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, comment) = cells[1].split_at(digits);
        if digits > 0 && comment.starts_with(' ') {
            let mended = [number, comment.trim()].map(|cell| Cow::Owned(cell.to_owned()));
            cells.truncate(1);
            cells.extend(mended);
        }
    } else if cells.len() > 3 && cells[1].chars().all(|c| c.is_ascii_digit()) {
        let comment = Cow::Owned(cells[2..].join(" | "));
        cells.truncate(2);
        cells.push(comment);
    }
}

/// Reads a table of commas.
fn each_csv_row(
    path: &Path,
    options: &ReadOptions,
    has_head: bool,
    each: &mut dyn FnMut(Row) -> Result<(), String>,
) -> Result<(), DataError> {
    let text = read_text(path, options.max_bytes)?;
    let mut reader = ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    let mut lines = LineCounter { text: text.as_bytes(), line: 1, at: 0 };
    let mut columns = None;
    let mut last = 0;
    for row in reader.records() {
        let row = row.map_err(|e| csv_error(path, &mut lines, &e))?;
        last = row.position().map_or(last, |position| position.byte() as usize);
        let place = lines.place(row.position());
        let named = |what: String| DataError::annotation(path, place, what);
        let Some(columns) = &columns else {
            if has_head {
                let headings: Vec<&str> = row.iter().collect();
                columns = Some(Columns::find(&headings, &options.columns).map_err(named)?);
                continue;
            }
            let found = Columns::of_width(row.len());
            let found = found.ok_or_else(|| named("expected a picture and a caption".into()))?;
            row_of(&found, &row, place).and_then(&mut *each).map_err(named)?;
            columns = Some(found);
            continue;
        };
        if !has_head && !options.has_no_head && !has_picture_extension(Path::new(&row[0])) {
            let what = format!("expected the name of a picture, as in the first line, found {:?}", &row[0]);
            return Err(named(what));
        }
        row_of(columns, &row, place).and_then(&mut *each).map_err(named)?;
    }
    if columns.is_none() {
        let what = "expected a column image (or path, file_name, filepath, image_name …), found nothing";
        return Err(DataError::annotation(path, Place::Line(1), what));
    }
    check_quotes(path, &text, last)
}

/// Refuses a last row that a quote without its end swallowed: the rows behind it would be missing.
fn check_quotes(path: &Path, text: &str, last: usize) -> Result<(), DataError> {
    let row = text.get(last..).unwrap_or_default().trim_start_matches(['\r', '\n']);
    if row.trim_end().contains('\n') && !row.matches('"').count().is_multiple_of(2) {
        let line = text[..text.len() - row.len()].matches('\n').count() + 1;
        let what = "expected the end of a quoted cell (\"), found the end of the file";
        return Err(DataError::annotation(path, Place::Line(line), what));
    }
    Ok(())
}

/// Line numbers by position: the reader's own are one behind where lines end with CR LF.
struct LineCounter<'a> {
    text: &'a [u8],
    line: usize,
    at: usize,
}

impl LineCounter<'_> {
    /// The line of the row at a position, which must not go backwards.
    fn place(&mut self, position: Option<&csv::Position>) -> Place {
        let position = position.map_or(self.at, |position| position.byte() as usize);
        while self.at < self.text.len() && (self.at < position || b"\r\n".contains(&self.text[self.at])) {
            self.line += usize::from(self.text[self.at] == b'\n');
            self.at += 1;
        }
        Place::Line(self.line)
    }
}

fn csv_error(path: &Path, lines: &mut LineCounter<'_>, error: &csv::Error) -> DataError {
    let what = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("expected {expected_len} columns, found {len}: a caption with commas stands in quotes")
        }
        _ => error.to_string(),
    };
    DataError::annotation(path, lines.place(error.position()), what)
}

/// What the cells of a row say.
fn row_of(columns: &Columns, row: &StringRecord, place: Place) -> Result<Row, String> {
    let cell = |column: Option<usize>| column.and_then(|column| row.get(column)).map(ToOwned::to_owned);
    let filled = |column| cell(column).filter(|text| !text.trim().is_empty());
    let file_name = cell(columns.image).filter(|image| !image.is_empty());
    let id = filled(columns.id).map(|id| PictureId::from(id.trim()));
    if file_name.is_none() && id.is_none() {
        let column = if columns.image.is_some() { "image" } else { "image_id" };
        return Err(format!("expected a path in the column {column}, found none"));
    }
    Ok(Row {
        file_name,
        id,
        captions: cell(columns.caption).into_iter().collect(),
        question: filled(columns.question),
        answer: cell(columns.answer),
        language: cell(columns.language),
        split: filled(columns.split),
        error: filled(columns.error),
        ..Row::new(place)
    })
}

#[cfg(test)]
mod tests;
