//! Tables of ModelScope's hub: CSV whose columns say their kind, `image:FILE,answer:Value`.
//!
//! Source: the meta files that `MsDataset` reads, for example `coco_captions_small_slice`. A column is called by its
//! whole heading where columns are renamed (`MsDataset.remap_columns`), and by the part before the colon otherwise. Used
//! are `image` (a path, relative to the table), `answer` or `caption`, `question`, and where they are `language` (a code)
//! and `split`. Rows of one image and one question are one annotation, with the image's path as its id. An answer is a
//! caption, unless there is a column of captions; where there is a question it is an answer to it too, and weighs as often as
//! it was given.
//!
//! Refuses other columns silently, as `MsDataset` does, but not a renaming of a column that is not there.

use std::path::Path;

use csv::{ReaderBuilder, StringRecord};

use super::ReadOptions;
use super::collect::{Collector, QuestionIds};
use super::columns::{LanguageChoice, check_names};
use crate::annotation::{Annotation, PictureId};
use crate::error::{DataError, Place};
use crate::text::read_text;

/// Where the columns are.
struct Columns {
    image: usize,
    caption: Option<usize>,
    answer: Option<usize>,
    question: Option<usize>,
    language: Option<usize>,
    split: Option<usize>,
}

/// Reads a table.
pub(super) fn read(path: &Path, options: &ReadOptions) -> Result<Vec<Annotation>, DataError> {
    let text = read_text(path, options.max_bytes)?;
    let mut reader = ReaderBuilder::new().from_reader(text.as_bytes());
    let header =
        reader.headers().map_err(|e| DataError::annotation(path, Place::Line(1), e.to_string()))?.clone();
    let columns = columns(&header, &options.columns)
        .map_err(|what| DataError::annotation(path, Place::Line(1), what))?;
    let mut rows = Rows {
        pictures: Collector::default(),
        questions: QuestionIds::default(),
        languages: LanguageChoice::new(options.language),
    };
    let mut lines = LineCounter { text: text.as_bytes(), line: 1, at: 0 };
    for row in reader.records() {
        let row = row.map_err(|e| csv_error(path, &mut lines, &e))?;
        let place = lines.place(row.position());
        rows.add(&columns, &row, place).map_err(|what| DataError::annotation(path, place, what))?;
    }
    Ok(rows.pictures.into_records())
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
            format!("expected {expected_len} columns, found {len}")
        }
        _ => error.to_string(),
    };
    DataError::annotation(path, lines.place(error.position()), what)
}

/// Finds the columns under their new names.
fn columns(header: &StringRecord, renamed: &[(String, String)]) -> Result<Columns, String> {
    check_names(renamed)?;
    let headings = || header.iter().collect::<Vec<_>>().join(", ");
    let absent = renamed.iter().find(|(old, _)| !header.iter().any(|heading| heading == old));
    if let Some((old, _)) = absent {
        return Err(format!("there is no column {old:?}; there are {}", headings()));
    }
    let name_of = |heading: &str| {
        let new_name = renamed.iter().find(|(old, _)| old == heading).map(|(_, new)| new.clone());
        new_name.unwrap_or_else(|| heading.split(':').next().unwrap_or_default().trim().to_string())
    };
    let names: Vec<String> = header.iter().map(name_of).collect();
    let find = |wanted: &str| {
        let mut found = (0..names.len()).filter(|index| names[*index] == wanted);
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Err(format!("two columns are called {wanted}; there are {}", headings())),
            (index, _) => Ok(index),
        }
    };
    let image = find("image")?;
    let image = image.ok_or_else(|| format!("expected a column image, found {}: rename one", headings()))?;
    Ok(Columns {
        image,
        caption: find("caption")?,
        answer: find("answer")?,
        question: find("question")?,
        language: find("language")?,
        split: find("split")?,
    })
}

/// The annotations of a table, and the ids of its images and questions.
struct Rows {
    pictures: Collector,
    questions: QuestionIds,
    languages: LanguageChoice,
}

impl Rows {
    fn add(&mut self, columns: &Columns, row: &StringRecord, place: Place) -> Result<(), String> {
        let cell = |column: Option<usize>| column.and_then(|column| row.get(column));
        let filled = |column| cell(column).filter(|text| !text.trim().is_empty());
        if !self.languages.takes(cell(columns.language))? {
            return Ok(());
        }
        let image = row.get(columns.image).filter(|image| !image.is_empty());
        let image = image.ok_or("expected a path in the column image, found none")?;
        let question = filled(columns.question);
        let id = self.questions.of(&PictureId::from(image), question.unwrap_or_default());
        let picture = self.pictures.entry(&id, place);
        let split = filled(columns.split);
        if picture.place != place && picture.split.as_deref() != split {
            return Err(format!("{id} was given already in another split, {}", picture.place));
        }
        picture.file_name = Some(image.to_string());
        picture.question = question.map(String::from);
        picture.split = split.map(String::from);
        if let Some(caption) = cell(columns.caption.or(columns.answer)) {
            picture.references.push(caption.to_string());
        }
        if let (Some(_), Some(answer)) = (question, cell(columns.answer)) {
            self.pictures.add_answers(&id, vec![answer.to_string()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{OPTIONS, fails, read_with, reads};
    use crate::dataset::Language;
    use crate::format::Format;
    use crate::readers::ReadOptions;

    #[test]
    fn columns_by_heading() {
        let text = "id,image:FILE,answer:Value\r\n1,img/a.jpg,\"a \"\"cat\"\",\nred\"\r\n2,b.jpg,dog\r\n3,img/a.jpg,cats\r\n";
        let records = reads(Format::ModelScopeCsv, text);
        assert_eq!(records.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["img/a.jpg", "b.jpg"]);
        assert_eq!(records[0].references, ["a \"cat\",\nred", "cats"]);
        assert_eq!(records[1].place.to_string(), "line 4");
    }

    #[test]
    fn columns_are_renamed_and_questions_told_apart() {
        let columns = [("pic:FILE", "image"), ("text", "answer"), ("q", "question")];
        let columns = columns.map(|(old, new)| (old.to_string(), new.to_string())).to_vec();
        let options = ReadOptions { columns, ..OPTIONS };
        let text = "pic:FILE,text,q\na.jpg,x,who?\na.jpg,y,what?\na.jpg,z,who?\n";
        let records = read_with(Format::ModelScopeCsv, text.as_bytes(), &options).expect("reads");
        assert_eq!(records.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["a.jpg", "a.jpg#1"]);
        assert_eq!(records[0].references, ["x", "z"]);
        assert_eq!(records[1].question.as_deref(), Some("what?"));
        let answers: Vec<_> = records[0].answers.iter().map(|a| (a.text.as_str(), a.weight)).collect();
        assert_eq!(answers, [("x", 0.5), ("z", 0.5)]);
        let error =
            read_with(Format::ModelScopeCsv, b"image\na.jpg\n", &options).expect_err("no such column");
        assert!(error.to_string().contains("no column \"pic:FILE\"; there are image"), "{error}");
    }

    #[test]
    fn captions_languages_and_splits_have_columns() {
        let text = "image:FILE,caption,question,answer,language,split\n\
                    a.jpg,a cat,who?,Tom,en,train\na.jpg,一只猫,谁？,汤姆,zh,train\nb.jpg,a dog, ,,en,test\n";
        let options = ReadOptions { language: Some(Language::English), ..OPTIONS };
        let records = read_with(Format::ModelScopeCsv, text.as_bytes(), &options).expect("reads");
        let splits: Vec<_> = records.iter().map(|r| r.split.as_deref()).collect();
        assert_eq!(splits, [Some("train"), Some("test")]);
        assert_eq!((&records[0].references[..], records[0].answers.len()), (&["a cat".to_owned()][..], 1));
        assert_eq!((records[1].question.as_deref(), records[1].answers.len()), (None, 0));
        let error = read_with(Format::ModelScopeCsv, text.as_bytes(), &OPTIONS).expect_err("two languages");
        assert!(error.to_string().contains("line 3: is in zh"), "{error}");
        let columns = |old: &str, new: &str| vec![(old.to_string(), new.to_string())];
        let renamed = ReadOptions { columns: columns("caption", "text"), ..OPTIONS };
        let error = read_with(Format::ModelScopeCsv, text.as_bytes(), &renamed).expect_err("no such name");
        assert!(error.to_string().contains("expected one of image, caption, question"), "{error}");
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (text, expected) in [
            ("img:FILE,answer\na,b\n", "line 1: expected a column image, found img:FILE, answer"),
            ("image:FILE,image\na,b\n", "line 1: two columns are called image"),
            ("image,answer\na.jpg\n", "line 2: expected 2 columns, found 1"),
            ("image,answer\na.jpg,b\n,c\n", "line 3: expected a path"),
            ("", "line 1: expected a column image"),
        ] {
            let error = fails(Format::ModelScopeCsv, text);
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
    }
}
