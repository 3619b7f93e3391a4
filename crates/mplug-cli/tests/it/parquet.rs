//! Parquet in and out: rows are pictures, captions are a table of one schema, and a run that was killed ends in the same bytes.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::record::{Field, Row};
use parquet::schema::parser::parse_message_type;
use parquet::schema::printer::print_schema;
use serde_json::Value;

use crate::support::{Desk, Outcome};

/// How much of the way to a value is there, and the value.
type Cell = (i16, Option<Vec<u8>>);

/// Hugging Face's form of pictures, beside a column of another kind.
const PICTURES: &str = "message schema { optional group image { optional binary bytes; optional binary path (STRING); } optional binary text (STRING); }";

fn write(path: &Path, schema: &str, columns: &[Vec<Cell>]) {
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer =
        SerializedFileWriter::new(File::create(path).unwrap(), schema, Arc::new(properties)).unwrap();
    for start in (0..columns[0].len()).step_by(50) {
        let mut group = writer.next_row_group().unwrap();
        for column in columns {
            let cells = &column[start..column.len().min(start + 50)];
            let values: Vec<ByteArray> =
                cells.iter().filter_map(|(_, value)| value.clone().map(Into::into)).collect();
            let levels: Vec<i16> = cells.iter().map(|(level, _)| *level).collect();
            let mut out = group.next_column().unwrap().unwrap();
            out.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
            out.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
}

/// in.parquet: red.png's bytes, blue.jpg's path, nothing, bytes that are no picture.
fn four_rows(desk: &Desk) {
    let red = fs::read(desk.join("red.png")).unwrap();
    let bytes = vec![(2, Some(red)), (1, None), (0, None), (2, Some(b"no picture".to_vec()))];
    let paths = vec![(2, Some(b"red.png".to_vec())), (2, Some(b"blue.jpg".to_vec())), (0, None), (1, None)];
    let texts = vec![(0, None), (0, None), (1, Some(b"text".to_vec())), (0, None)];
    write(&desk.join("in.parquet"), PICTURES, &[bytes, paths, texts]);
}

fn caption(desk: &Desk, args: &[&str]) -> Outcome {
    desk.caption(&[args, &["--max-new-tokens", "6"]].concat())
}

fn reader(path: impl AsRef<Path>) -> SerializedFileReader<File> {
    SerializedFileReader::new(File::open(path).unwrap()).unwrap()
}

fn rows(path: impl AsRef<Path>) -> Vec<Row> {
    reader(path).get_row_iter(None).unwrap().map(Result::unwrap).collect()
}

fn schema(path: impl AsRef<Path>) -> String {
    let mut text = Vec::new();
    print_schema(&mut text, reader(path).metadata().file_metadata().schema());
    String::from_utf8(text).unwrap()
}

/// A row as the JSON record of the same answer, without what is null.
fn record(row: &Row) -> Value {
    let fields = row.get_column_iter().filter(|(_, field)| !matches!(field, Field::Null));
    fields.map(|(name, field)| (name.clone(), json(field))).collect()
}

fn json(field: &Field) -> Value {
    match field {
        Field::Str(text) => Value::from(text.as_str()),
        Field::Float(score) => serde_json::from_str(&score.to_string()).unwrap(),
        Field::UInt(number) => Value::from(*number),
        Field::ListInternal(list) => list.elements().iter().map(json).collect(),
        Field::Group(row) => record(row),
        other => panic!("a field that the schema has not: {other:?}"),
    }
}

/// A record of JSON without what the table does not have: marks of captions that never ended.
fn without_marks(record: &Value) -> Value {
    let mut record = record.clone();
    for caption in record.get_mut("captions").and_then(Value::as_array_mut).into_iter().flatten() {
        caption.as_object_mut().unwrap().remove("is_finished");
    }
    record
}

#[test]
fn rows_in_are_rows_out() {
    let desk = Desk::new();
    four_rows(&desk);
    let files =
        caption(&desk, &["red.png", "blue.jpg", "--format", "jsonl", "--captions", "2", "--beams", "3"]);
    let args = ["in.parquet", "green.png", "--format", "jsonl", "--captions", "2", "--beams", "3"];
    let inside = caption(&desk, &args);
    assert_eq!(inside.code, 1, "{}", inside.stderr);
    let records = inside.jsonl();
    let names: Vec<&str> = records.iter().map(|record| record["path"].as_str().unwrap()).collect();
    assert_eq!(names, ["in.parquet/0", "in.parquet/1", "in.parquet/2", "in.parquet/3", "green.png"]);
    for (found, expected) in records.iter().zip(files.jsonl()) {
        assert_eq!((&found["caption"], &found["captions"]), (&expected["caption"], &expected["captions"]));
    }
    assert!(records[2]["error"].as_str().unwrap().contains("null"), "{:?}", records[2]);
    assert!(inside.check_messages().stderr.contains("in.parquet/3: not a picture"), "{}", inside.stderr);

    let table = caption(
        &desk,
        &[&args[..2], &args[4..], &["--format", "parquet", "--output", "out.parquet"]].concat(),
    );
    assert_eq!((table.code, table.stdout.as_str()), (1, ""), "{}", table.stderr);
    let found: Vec<Value> = rows(desk.join("out.parquet")).iter().map(record).collect();
    assert_eq!(found, records.iter().map(without_marks).collect::<Vec<_>>());
    assert!(!desk.join("out.parquet.part").exists());
}

#[test]
fn one_schema_whatever_was_captioned() {
    let desk = Desk::new();
    desk.write("empty.png", b"");
    let runs: [(&str, &[&str]); 4] = [
        ("best", &["red.png"]),
        ("many", &["red.png", "green.png", "--captions", "2", "--beams", "2"]),
        ("failed", &["empty.png"]),
        ("nothing", &["red.png", "--shard", "0/2"]),
    ];
    for (name, args) in runs {
        let output = format!("{name}.parquet");
        let outcome = caption(&desk, &[args, &["--format", "parquet", "--output", &output]].concat());
        assert_eq!(outcome.code, i32::from(name == "failed"), "{}", outcome.stderr);
    }
    let best = schema(desk.join("best.parquet"));
    for column in [
        "REQUIRED BYTE_ARRAY path (STRING)",
        "OPTIONAL FLOAT score",
        "INTEGER(32,false)",
        "OPTIONAL BYTE_ARRAY error (STRING)",
    ] {
        assert!(best.contains(column), "{column} is missing from\n{best}");
    }
    for (name, _) in runs {
        assert_eq!(schema(desk.join(&format!("{name}.parquet"))), best, "{name}");
    }
    assert_eq!(rows(desk.join("nothing.parquet")).len(), 0);
    let best = record(&rows(desk.join("best.parquet"))[0]);
    assert!(best.get("captions").is_none() && best["path"] == "red.png", "{best}");
}

/// Of several languages there is a column more.
#[test]
fn rows_say_the_language_where_there_are_several() {
    let desk = Desk::new();
    let config = fs::read_to_string(desk.join("model/config.yaml")).unwrap();
    desk.write("model/config.yaml", (config + "prompts: {\"en\":\"a cat\"}\n").as_bytes());
    let args =
        ["red.png", "missing.png", "--language", "zh,en", "--captions", "2", "--beams", "2", "--format"];
    let records = caption(&desk, &[&args[..], &["jsonl"]].concat()).jsonl();
    assert_eq!(records.len(), 3);
    let table = caption(&desk, &[&args[..], &["parquet", "--output", "out.parquet"]].concat());
    assert_eq!(table.code, 1, "{}", table.stderr);
    let found: Vec<Value> = rows(desk.join("out.parquet")).iter().map(record).collect();
    assert_eq!(found, records.iter().map(without_marks).collect::<Vec<_>>());
    let schema = schema(desk.join("out.parquet"));
    let columns = ["path (", "path_bytes;", "language (", "caption ("];
    let places = columns.map(|column| schema.find(column).expect(column));
    assert!(places.is_sorted(), "{schema}");
}

#[test]
fn a_run_killed_again_and_again_ends_in_the_same_bytes() {
    let desk = Desk::new();
    let picture = |number: u8| {
        desk.picture("one.png", [number, 90, 200 - number]);
        (2, Some(fs::read(desk.join("one.png")).unwrap()))
    };
    let bytes: Vec<Cell> = (0..120).map(picture).collect();
    let nothing: Vec<Cell> = vec![(1, None); bytes.len()];
    let texts = vec![(0, None); bytes.len()];
    write(&desk.join("in.parquet"), PICTURES, &[bytes, nothing, texts]);
    let args = ["in.parquet", "--format", "parquet", "--captions", "2", "--beams", "2", "--output"];
    let whole = caption(&desk, &[&args[..], &["whole.parquet"]].concat());
    assert_eq!(whole.code, 0, "{}", whole.stderr);
    let killed = [&args[..], &["out.parquet"]].concat();
    let kills = desk.caption_killed(&killed, "out.parquet.part", || desk.join("out.parquet").exists());
    assert!(kills > 2, "only {kills} kills");
    assert!(fs::read(desk.join("whole.parquet")).unwrap() == fs::read(desk.join("out.parquet")).unwrap());
    assert_eq!(rows(desk.join("out.parquet")).len(), 120);
}

#[test]
fn another_column_is_another_run() {
    let desk = Desk::new();
    let schema = "message m { optional binary image (STRING); optional binary other (STRING); }";
    let names = |name: &str| vec![(1, Some(name.as_bytes().to_vec())), (1, Some(b"gone.png".to_vec()))];
    write(&desk.join("in.parquet"), schema, &[names("red.png"), names("green.png")]);
    let args = ["in.parquet", "--output", "out.txt", "--batch-size", "1", "--errors", "fail"];
    assert_eq!(caption(&desk, &args).code, 1);
    let other = caption(&desk, &[&args[..], &["--image-column", "other", "--resume"]].concat());
    assert!(other.code == 2 && other.stderr.contains("another run"), "{}", other.stderr);
    let green = caption(&desk, &["green.png"]).stdout;
    let chosen = caption(&desk, &["in.parquet", "--image-column", "other"]);
    assert_eq!(chosen.stdout, format!("in.parquet/0\t{green}"), "{}", chosen.stderr);
}

#[test]
fn what_cannot_be_is_reported() {
    let desk = Desk::new();
    four_rows(&desk);
    let unknown = caption(&desk, &["in.parquet", "red.png", "--image-column", "imag"]);
    assert_eq!(unknown.code, 1);
    let expected = "in.parquet: has no column \"imag\"; did you mean \"image\"?; its columns are image, text";
    assert!(unknown.check_messages().stderr.contains(expected), "{}", unknown.stderr);
    write(&desk.join("texts.parquet"), "message m { optional binary text (STRING); }", &[vec![(0, None)]]);
    let unnamed = caption(&desk, &["texts.parquet"]);
    assert!(unnamed.stderr.contains("its columns are text; `--image-column NAME`"), "{}", unnamed.stderr);

    let no_file = caption(&desk, &["red.png", "--format", "parquet"]);
    assert!(no_file.code == 2 && no_file.stderr.contains("expected `--output FILE`"), "{}", no_file.stderr);
    let itself = caption(&desk, &["in.parquet", "--format", "parquet", "--output", "in.parquet"]);
    assert!(itself.code == 2 && itself.stderr.contains("is an input"), "{}", itself.stderr);

    let whole = fs::read(desk.join("in.parquet")).unwrap();
    desk.write("cut.parquet", &whole[..whole.len() / 2]);
    desk.write("empty.parquet", b"");
    let damaged = caption(&desk, &["cut.parquet", "empty.parquet", "red.png"]);
    assert_eq!(damaged.code, 1, "{}", damaged.stderr);
    assert!(
        damaged.check_messages().stderr.contains("cut.parquet: is no Parquet file, or cut short"),
        "{}",
        damaged.stderr
    );
    assert!(damaged.stdout.starts_with("red.png\t"), "{}", damaged.stdout);
}

#[test]
fn rows_have_their_endings_in_a_tar() {
    let desk = Desk::new();
    four_rows(&desk);
    let outcome = caption(&desk, &["in.parquet", "--format", "tar", "--output", "out.tar"]);
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    let mut archive = tar::Archive::new(File::open(desk.join("out.tar")).unwrap());
    let names: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    for name in ["in.parquet/0.png", "in.parquet/0.txt", "in.parquet/1.jpg", "in.parquet/2.json"] {
        assert!(names.iter().any(|found| found == name), "{name} is missing from {names:?}");
    }
}
