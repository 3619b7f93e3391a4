//! JSON Lines, and lists of the same objects: one object a line, `{"path": "a.jpg", "captions": ["a cat", …]}`.
//!
//! Our own form, wide enough for what people write by hand. The picture is `path`, `image` or `file_name`; the id
//! `image_id` or `id`, or else the picture's path; the captions `captions`, `caption`, `references` or `text`, one or a
//! list, or `captions_zh` and `captions_en` (what `mplug synth` writes), of which the language chooses; `split` if there
//! are any; `language`, a code, where lines are of several. Lines of one id are about one picture. Other keys can be renamed to
//! these.
//!
//! A line with a `question` is about that question: its `answer` or `answers`, one or a list, weigh as often as they were
//! given, also over several lines. Its id is `question_id`, or the picture's, with a number for its further questions. As in
//! ModelScope's tables an answer is a caption too, where there is no other.
//!
//! Records of `mplug caption` are such lines: of several captions (`captions`, a list of objects) the best, which is `caption` too, is
//! taken; a record with an `error` in place of a caption is left out and counted. Its JSON document is a list of them.
//!
//! Refuses to guess: two keys for one thing are an error, and so are two languages when none is requested.

use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::collect::{Collector, QuestionIds};
use super::columns::{LanguageChoice, check_names};
use super::{OneOrMany, ReadOptions};
use crate::annotation::{Annotation, PictureId};
use crate::dataset::Language;
use crate::error::{DataError, Place};
use crate::text::{Lines, json_error, parse_json, read_text};

#[derive(Deserialize)]
struct Line {
    path: Option<String>,
    image: Option<String>,
    file_name: Option<String>,
    image_id: Option<PictureId>,
    id: Option<PictureId>,
    captions: Option<Listed>,
    caption: Option<OneOrMany>,
    references: Option<OneOrMany>,
    text: Option<OneOrMany>,
    captions_zh: Option<OneOrMany>,
    captions_en: Option<OneOrMany>,
    question: Option<String>,
    question_id: Option<PictureId>,
    answer: Option<OneOrMany>,
    answers: Option<OneOrMany>,
    language: Option<String>,
    split: Option<String>,
    error: Option<String>,
}

/// Captions, as texts or as objects.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a string or a list of strings")]
enum Listed {
    Texts(OneOrMany),
    Objects(Vec<Entry>),
}

/// A caption of a record.
#[derive(Deserialize)]
struct Entry {
    caption: String,
}

/// Reads a file of JSON Lines, or one list of the same objects; returns how many were left out, too, for they say why they have
/// no caption.
pub(super) fn read(
    path: &Path,
    is_list: bool,
    options: &ReadOptions,
) -> Result<(Vec<Annotation>, usize), DataError> {
    let mut renaming =
        Renaming::new(&options.columns).map_err(|what| DataError::annotation(path, Place::Line(1), what))?;
    let mut reading = Reading {
        pictures: Collector::default(),
        questions: QuestionIds::default(),
        languages: LanguageChoice::new(options.language),
        language: options.language,
        failed: 0,
    };
    let mut read = |text: &str, number: usize, place: Place| {
        let named = |what| DataError::annotation(path, place, what);
        let json = |e| json_error(path, number, &e);
        let line: Line = if options.columns.is_empty() {
            serde_json::from_str(text).map_err(json)?
        } else {
            let keys = renaming.rename(serde_json::from_str(text).map_err(json)?).map_err(named)?;
            serde_json::from_value(Value::Object(keys)).map_err(|e| named(e.to_string()))?
        };
        reading.add(line, place).map_err(named)
    };
    if is_list {
        let text = read_text(path, options.max_bytes)?;
        for (index, object) in parse_json::<Vec<&RawValue>>(path, &text)?.into_iter().enumerate() {
            // Where it begins in the file, for errors in it.
            let before = object.get().as_ptr() as usize - text.as_ptr() as usize;
            let line = text[..before].matches('\n').count() + 1;
            read(object.get(), line, Place::Element("", index))?;
        }
    } else {
        let mut lines = Lines::open(path, options.max_bytes)?;
        while let Some((number, text)) = lines.next()? {
            read(&text, number, Place::Line(number))?;
        }
    }
    renaming.check_found().map_err(|what| DataError::annotation(path, Place::Line(1), what))?;
    Ok((reading.pictures.into_records(), reading.failed))
}

/// Keys that are to be called otherwise.
struct Renaming<'a> {
    columns: &'a [(String, String)],
    /// Whether some line had each of them.
    found: Vec<bool>,
    /// The keys of the first line.
    first: Vec<String>,
}

impl<'a> Renaming<'a> {
    fn new(columns: &'a [(String, String)]) -> Result<Self, String> {
        check_names(columns)?;
        Ok(Self { columns, found: vec![false; columns.len()], first: Vec::new() })
    }

    fn rename(&mut self, line: Map<String, Value>) -> Result<Map<String, Value>, String> {
        if self.first.is_empty() {
            self.first = line.keys().cloned().collect();
        }
        let mut renamed = Map::with_capacity(line.len());
        for (key, value) in line {
            let number = self.columns.iter().position(|(old, _)| *old == key);
            let name = number.map_or(key, |number| {
                self.found[number] = true;
                self.columns[number].1.clone()
            });
            if renamed.contains_key(&name) {
                return Err(format!("has {name} twice, once under another name"));
            }
            renamed.insert(name, value);
        }
        Ok(renamed)
    }

    /// No key was renamed that no line has.
    fn check_found(&self) -> Result<(), String> {
        match self.columns.iter().zip(&self.found).find(|(_, found)| !**found) {
            Some(((old, _), _)) => {
                Err(format!("no line has the key {old:?}; here there are {}", self.first.join(", ")))
            }
            None => Ok(()),
        }
    }
}

/// What was read until now.
struct Reading {
    pictures: Collector,
    questions: QuestionIds,
    languages: LanguageChoice,
    language: Option<Language>,
    /// Lines with an error in place of a caption.
    failed: usize,
}

impl Reading {
    fn add(&mut self, mut line: Line, place: Place) -> Result<(), String> {
        if !self.languages.takes(line.language.as_deref())? {
            return Ok(());
        }
        let question = line.question.take().filter(|question| !question.trim().is_empty());
        let answers = at_most_one([("answer", line.answer.take()), ("answers", line.answers.take())])?;
        let answers = answers.map(OneOrMany::into_vec).unwrap_or_default();
        let mut captions = captions(&mut line, self.language)?.unwrap_or_default();
        if captions.is_empty() {
            captions.clone_from(&answers);
        }
        if captions.is_empty() && question.is_none() && line.error.is_some() {
            self.failed += 1;
            return Ok(());
        }
        if captions.is_empty() && question.is_none() {
            return Err(
                "expected at least one caption (captions, caption, references or text), found none".into()
            );
        }
        let file_name =
            at_most_one([("path", line.path), ("image", line.image), ("file_name", line.file_name)])?;
        let id = line.image_id.or(line.id).or_else(|| file_name.clone().map(PictureId::from));
        let id = id.ok_or("expected a picture (path, image or image_id), found none")?;
        let id = match (&question, line.question_id) {
            (Some(_), Some(id)) => id,
            (Some(question), None) => self.questions.of(&id, question),
            (None, _) => id,
        };
        let picture = self.pictures.entry(&id, place);
        if picture.place == place {
            picture.file_name = file_name;
            picture.split = line.split;
            picture.question = question;
        } else if picture.file_name != file_name || picture.split != line.split {
            return Err(format!("{id} was given already with another picture or split, {}", picture.place));
        } else if picture.question != question {
            return Err(format!("{id} was given already with another question, {}", picture.place));
        }
        picture.references.extend(captions);
        if picture.question.is_some() {
            self.pictures.add_answers(&id, answers);
        }
        Ok(())
    }
}

/// The captions of a line, if it has any keys for them.
fn captions(line: &mut Line, language: Option<Language>) -> Result<Option<Vec<String>>, String> {
    let captions = match (line.captions_zh.take(), line.captions_en.take(), language) {
        (None, None, _) => at_most_one([
            ("captions", listed(line)),
            ("caption", line.caption.take()),
            ("references", line.references.take()),
            ("text", line.text.take()),
        ])?,
        (Some(chinese), _, Some(Language::Chinese)) => Some(chinese),
        (_, Some(english), Some(Language::English)) => Some(english),
        (_, _, Some(language)) => {
            let code = language.code();
            return Err(format!("expected at least one caption in captions_{code}, found none"));
        }
        (Some(_), Some(_), None) => {
            return Err("has captions_zh and captions_en: a language must be chosen".into());
        }
        (chinese, english, None) => chinese.or(english),
    };
    Ok(captions.map(OneOrMany::into_vec))
}

/// The captions under `captions`; nothing where they are a record's, whose best is its `caption`.
fn listed(line: &mut Line) -> Option<OneOrMany> {
    match line.captions.take()? {
        Listed::Texts(texts) => Some(texts),
        Listed::Objects(_) if line.caption.is_some() => None,
        Listed::Objects(objects) => {
            Some(OneOrMany::Many(objects.into_iter().map(|object| object.caption).collect()))
        }
    }
}

/// The one value that is there; two are an error that names their keys.
fn at_most_one<T, const N: usize>(values: [(&str, Option<T>); N]) -> Result<Option<T>, String> {
    let mut found: Option<(&str, T)> = None;
    for (key, value) in values {
        match (value, &found) {
            (Some(_), Some((first, _))) => return Err(format!("has both {first} and {key}")),
            (Some(value), None) => found = Some((key, value)),
            (None, _) => {}
        }
    }
    Ok(found.map(|(_, value)| value))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{OPTIONS, fails, read_with, reads};
    use crate::dataset::Language;
    use crate::format::Format;
    use crate::readers::ReadOptions;

    #[test]
    fn keys_by_which_people_call_things() {
        let records = reads(
            Format::JsonLines,
            "\u{feff}{\"path\": \"a.jpg\", \"captions\": [\"a cat\", \"cat\"], \"split\": \"test\"}\r\n\n\
             {\"image\": \"b/c.jpg\", \"caption\": \"a dog\", \"score\": 1e400}\n\
             {\"image_id\": 5, \"text\": [\"a bird\"]}\n{\"image_id\": \"5\", \"text\": \"birds\"}\n\
             {\"id\": \"x\", \"file_name\": \"d.png\", \"references\": [\"a fish\"]}",
        );
        let ids: Vec<_> = records.iter().map(|r| r.id.as_str()).collect();
        assert_eq!(ids, ["a.jpg", "b/c.jpg", "5", "x"]);
        assert_eq!(records[0].split.as_deref(), Some("test"));
        assert_eq!(records[2].references, ["a bird", "birds"]);
        assert_eq!(records[3].file_name.as_deref(), Some("d.png"));
    }

    #[test]
    fn questions_have_answers_that_weigh_as_often_as_they_were_given() {
        let records = reads(
            Format::JsonLines,
            r#"{"image": "a.jpg", "question": "who?", "answers": ["me", "me", "you", " "]}
               {"image": "a.jpg", "question": "what?", "answer": "a hat", "caption": "a man"}
               {"image": "a.jpg", "question": "who?", "answer": "you"}
               {"image": "b.jpg", "question": "who?", "question_id": 7, "answer": "me"}
               {"image": "b.jpg", "question": "and this?", "question_id": 8}"#,
        );
        let ids: Vec<_> = records.iter().map(|r| r.id.as_str()).collect();
        assert_eq!(ids, ["a.jpg", "a.jpg#1", "7", "8"]);
        let answers: Vec<_> = records[0].answers.iter().map(|a| (a.text.as_str(), a.weight)).collect();
        assert_eq!((answers.as_slice(), records[0].answers_given), (&[("me", 0.5), ("you", 0.5)][..], 4));
        assert_eq!(
            (records[1].question.as_deref(), &records[1].references[..]),
            (Some("what?"), &["a man".to_owned()][..])
        );
        assert_eq!(
            (records[2].answers[0].weight.to_bits(), &records[2].references[..]),
            (1f32.to_bits(), &["me".to_owned()][..])
        );
        assert!(records[3].answers.is_empty());
        let twice = "{\"image\": \"a\", \"question\": \"x\", \"question_id\": 1}\n{\"image\": \"a\", \"question\": \"y\", \"question_id\": 1}";
        assert!(
            fails(Format::JsonLines, twice).contains("line 2: 1 was given already with another question")
        );
    }

    #[test]
    fn keys_are_renamed_and_a_language_is_chosen() {
        let columns = [("pic", "image"), ("title", "caption"), ("lang", "language"), ("part", "split")];
        let columns = columns.map(|(old, new)| (old.to_string(), new.to_string())).to_vec();
        let options = ReadOptions { columns, language: Some(Language::English), ..OPTIONS };
        let text = "{\"pic\": \"a.jpg\", \"title\": \"一只猫\", \"lang\": \"zh\", \"part\": \"val\"}\n\
                    {\"pic\": \"a.jpg\", \"title\": \"a cat\", \"lang\": \"en-GB\", \"part\": \"val\"}\n";
        let records = read_with(Format::JsonLines, text.as_bytes(), &options).expect("reads");
        assert_eq!((records.len(), records[0].split.as_deref()), (1, Some("val")));
        assert_eq!(records[0].references, ["a cat"]);
        let any = ReadOptions { language: None, ..options.clone() };
        let error =
            read_with(Format::JsonLines, text.as_bytes(), &any).expect_err("two languages").to_string();
        assert!(
            error.contains("line 2: is in en-GB, and others are in zh: a language must be chosen"),
            "{error}"
        );
        for (line, expected) in [
            (r#"{"pic": "a.jpg", "title": "x", "caption": "y"}"#, "line 1: has caption twice"),
            (r#"{"pic": "a.jpg", "title": "x"}"#, "no line has the key \"lang\"; here there are pic, title"),
            (r#"{"pic": "a.jpg", "title": 5}"#, "line 1: expected a string or a list of strings"),
        ] {
            let error = read_with(Format::JsonLines, line.as_bytes(), &options).expect_err(line).to_string();
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
    }

    #[test]
    fn our_own_records_are_read_back() {
        let lines = [
            r#"{"path":"x/a.jpg","caption":"a cat","score":-0.5,"token_ids":[7],"captions":[{"caption":"a cat","score":-0.5,"token_ids":[7]},{"caption":"cats","score":-0.7,"token_ids":[8]}]}"#,
            r#"{"path":"x/b.jpg","error":"empty file"}"#,
            r#"{"path":"x/c.jpg","caption":"a dog","score":-0.5,"token_ids":[7],"tags":[{"tag":"dog","weight":1.0}]}"#,
        ];
        for (format, text) in [
            (Format::JsonLines, lines.join("\n")),
            (Format::Json, format!("[\n  {}\n]\n", lines.join(",\n  "))),
        ] {
            let records = reads(format, &text);
            let shown: Vec<_> = records.iter().map(|r| (r.picture_name(), &r.references[..])).collect();
            assert_eq!(
                shown,
                [("x/a.jpg", &["a cat".to_owned()][..]), ("x/c.jpg", &["a dog".to_owned()][..])]
            );
        }
        let error = fails(Format::Json, "[\n  {\"path\": \"a.jpg\"},\n {\"path\": 5}]");
        assert!(error.contains("element [0]: expected at least one caption"), "{error}");
        let error = fails(Format::Json, "[\n  {\"path\": 5}]");
        assert!(error.contains("line 2 column"), "{error}");
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let good = r#"{"path": "a.jpg", "caption": "a cat"}"#;
        for (line, expected) in [
            ("{", "line 2 column 1"),
            (r#"{"caption": "a cat"}"#, "line 2: expected a picture"),
            (r#"{"path": "b.jpg"}"#, "line 2: expected at least one caption"),
            (r#"{"path": "b.jpg", "captions": []}"#, "line 2: expected at least one caption"),
            (r#"{"path": "b.jpg", "caption": null}"#, "line 2: expected at least one caption"),
            (r#"{"path": "b.jpg", "caption": "x", "text": "y"}"#, "line 2: has both caption and text"),
            (r#"{"path": "b.jpg", "image": "c.jpg", "text": "y"}"#, "line 2: has both path and image"),
            (r#"{"path": "b.jpg", "caption": 5}"#, "expected a string or a list of strings"),
            (r#"{"path": "b.jpg", "captions_zh": ["x"], "captions_en": ["y"]}"#, "a language must be chosen"),
            (r#"{"path": "a.jpg", "caption": "x", "split": "val"}"#, "line 2: a.jpg was given already"),
        ] {
            let error = fails(Format::JsonLines, &format!("{good}\n{line}\n"));
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
    }
}
