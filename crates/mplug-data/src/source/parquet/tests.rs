//! Rows are read in any order and layout, and a damaged file is an error of its rows.

use std::fs;
use std::path::PathBuf;

use mplug::preprocess::image::ImageLimits;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use tempfile::TempDir;

use super::*;
use crate::candidates::{CandidateOptions, Candidates};
use crate::dataset::{OpenOptions, open};
use crate::format::Format;

const BYTES: &str = "message m { optional binary jpg; }";
const TEXT: &str = "message m { optional binary image_path (STRING); }";
const STRUCT: &str = "message m { optional group image { optional binary bytes; optional binary path (STRING); } optional binary text (STRING); }";

/// How much of the way to a value is there, and the value.
type Cell = (i16, Option<Vec<u8>>);

fn some(level: i16, value: impl AsRef<[u8]>) -> Cell {
    (level, Some(value.as_ref().to_vec()))
}

fn builder() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_encoding(Encoding::PLAIN)
        .set_write_batch_size(3)
        .set_data_page_row_count_limit(7)
}

fn write(path: &Path, schema: &str, properties: WriterProperties, group_rows: usize, columns: &[Vec<Cell>]) {
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let file = fs::File::create(path).expect("created");
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).expect("begun");
    let rows = columns[0].len();
    for start in (0..rows).step_by(group_rows) {
        let mut group = writer.next_row_group().expect("a group");
        for column in columns {
            let cells = &column[start..rows.min(start + group_rows)];
            let values: Vec<ByteArray> =
                cells.iter().filter_map(|(_, value)| value.clone().map(Into::into)).collect();
            let levels: Vec<i16> = cells.iter().map(|(level, _)| *level).collect();
            let mut out = group.next_column().expect("goes on").expect("a column");
            out.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).expect("written");
            out.close().expect("closed");
        }
        group.close().expect("closed");
    }
    writer.close().expect("ended");
}

/// A folder with one file of pictures' bytes: row 5 of ten is null.
fn numbered(rows: usize, properties: WriterProperties) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("a.parquet");
    let cell = |row: usize| if row % 10 == 5 { (0, None) } else { some(1, picture(row)) };
    write(&path, BYTES, properties, 40, &[(0..rows).map(cell).collect()]);
    (folder, path)
}

/// Every third is the same, as in a column worth a dictionary.
fn picture(row: usize) -> Vec<u8> {
    let row = if row.is_multiple_of(3) { 0 } else { row };
    format!("picture {row} ").repeat(1 + row % 9).into_bytes()
}

fn read(row: &PictureSource) -> Result<Vec<u8>, String> {
    row.read(&ImageLimits::default()).map_err(|error| error.to_string())
}

#[test]
fn rows_in_any_order_of_any_layout() {
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let layouts = [
        builder().set_dictionary_enabled(false),
        builder().set_compression(Compression::SNAPPY),
        builder().set_compression(zstd).set_writer_version(WriterVersion::PARQUET_2_0),
        builder().set_dictionary_page_size_limit(60).set_compression(zstd), // a dictionary at first, then plain
        WriterProperties::builder(),
    ];
    for (number, layout) in layouts.into_iter().enumerate() {
        let (_folder, path) = numbered(333, layout.build());
        let rows = rows_of_parquet(&path, None).expect("opens");
        assert_eq!(rows.len(), 333);
        let check = |row: usize| match read(&rows[row]) {
            Ok(bytes) => assert!(bytes == picture(row) && row % 10 != 5, "layout {number}, row {row}"),
            Err(error) => assert!(row % 10 == 5 && error.contains("null"), "layout {number}: {error}"),
        };
        (0..333).for_each(check);
        (0..333).rev().for_each(check);
        (0..333).map(|step| step * 100 % 333).for_each(check);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || (0..83).for_each(|step| check(step * 4 + thread)));
            }
        });
    }
}

#[test]
fn paths_and_structs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join("sub")).expect("made");
    fs::write(folder.path().join("sub/猫.png"), "cat").expect("written");
    fs::write(folder.path().join("b.png"), "b").expect("written");
    let path = folder.path().join("a.PARQUET");
    let paths = ["sub/猫.png", "./b.png", "../b.png", "/etc/passwd", "https://a.b/c.png", "gone.png"];
    write(&path, TEXT, builder().build(), 4, &[paths.iter().map(|path| some(1, path)).collect()]);
    let found: Vec<_> = rows_of_parquet(&path, None).expect("opens").iter().map(read).collect();
    assert_eq!((&found[0], &found[1]), (&Ok(b"cat".to_vec()), &Ok(b"b".to_vec())));
    let expected = ["leads out", "leads out", "is a web address", "cannot be read"];
    for (found, expected) in found[2..].iter().zip(expected) {
        assert!(found.as_ref().is_err_and(|error| error.contains(expected)), "{found:?}");
    }

    let bytes = vec![some(2, "one"), (1, None), (0, None), (1, None)];
    let names = vec![some(2, "x.png"), some(2, "b.png"), (0, None), (1, None)];
    let texts = vec![some(1, "text"), (0, None), (0, None), (0, None)];
    write(&path, STRUCT, builder().build(), 4, &[bytes, names, texts]);
    let rows = rows_of_parquet(&path, Some("image")).expect("opens");
    let found: Vec<_> = rows.iter().map(read).collect();
    assert_eq!((&found[0], &found[1]), (&Ok(b"one".to_vec()), &Ok(b"b".to_vec())));
    assert!(found[2..].iter().all(|found| found.as_ref().is_err_and(|error| error.contains("null"))));
    let limits = ImageLimits { max_file_bytes: 2, ..ImageLimits::default() };
    let error = rows[0].read(&limits).expect_err("three bytes").to_string();
    assert!(error.contains("a.PARQUET: row 0: has 3 bytes, more than the limit of 2"), "{error}");
}

#[test]
fn a_missing_column_is_reported_with_those_that_are_there() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("a.parquet");
    let schema = "message m { optional binary pixels; optional binary text (STRING); optional int32 number;
        repeated binary image; }";
    let file = fs::File::create(&path).expect("created");
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    SerializedFileWriter::new(file, schema, Arc::default()).expect("begun").close().expect("ended");
    for (column, expected) in [
        (
            Some("pixel"),
            "no column \"pixel\"; did you mean \"pixels\"?; its columns are pixels, text, number, image",
        ),
        (Some("zebra"), "no column \"zebra\"; its columns are"),
        (Some("number"), "column \"number\" holds no pictures: it is INT32; expected bytes"),
        (Some("image"), "it is a list"),
        (None, "no column of pictures with a usual name; its columns are"),
    ] {
        let error = rows_of_parquet(&path, column).expect_err("no such column").to_string();
        assert!(error.contains(expected) && error.contains("a.parquet: "), "{error}");
    }
    assert!(rows_of_parquet(&path, Some("pixels")).expect("opens").is_empty());
}

#[test]
fn what_cannot_be_decoded_safely_is_named() {
    let delta = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_dictionary_enabled(false);
    let (_folder, path) = numbered(9, delta.build());
    let error = read(&rows_of_parquet(&path, None).expect("opens")[3]).expect_err("refused");
    assert!(error.contains("DELTA") && error.contains("write it plain"), "{error}");
}

/// Opens a damaged file and reads all that it claims to have. What comes back may be wrong; it comes back.
fn read_all(path: &Path) -> usize {
    let rows = rows_of_parquet(path, None).unwrap_or_default();
    // A damaged number of rows is believed up to a limit; no need to read them all.
    rows.iter().step_by(3).take(30).filter(|row| read(row).is_ok()).count()
}

#[test]
fn damage_is_an_error() {
    for layout in [builder().set_compression(Compression::SNAPPY), builder().set_dictionary_enabled(false)] {
        let (_folder, path) = numbered(60, layout.build());
        let whole = fs::read(&path).expect("read");
        assert_eq!(read_all(&path), 18);
        for len in (0..whole.len()).step_by(7) {
            fs::write(&path, &whole[..len]).expect("written");
            assert_eq!(read_all(&path), 0, "cut to {len}");
        }
        // Every bit of the footer, and of a part of the pages.
        for index in 0..whole.len() {
            for bit in (0..8).filter(|bit| index + 900 > whole.len() || (index + bit) % 7 == 0) {
                let mut damaged = whole.clone();
                damaged[index] ^= 1 << bit;
                fs::write(&path, damaged).expect("written");
                read_all(&path);
            }
        }
    }
}

/// Many tables one after the other: of few is a page held, and all are read again.
#[test]
fn many_tables_hold_little() {
    let (files, per_file) = (40, 20);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |number: usize| folder.path().join(format!("{number}.parquet"));
    for number in 0..files {
        let cells = (0..per_file).map(|row| some(1, picture(number * per_file + row))).collect();
        write(&path(number), BYTES, builder().build(), 40, &[cells]);
    }
    let tables: Vec<_> =
        (0..files).map(|number| rows_of_parquet(&path(number), None).expect("opens")).collect();
    let open = |rows: &[PictureSource]| {
        let PictureSource::ParquetRow(row) = &rows[0] else { panic!("a row") };
        row.table.cursor.lock().expect("no panic").is_open()
    };
    for _ in 0..2 {
        for (number, rows) in tables.iter().enumerate() {
            for (row, source) in rows.iter().enumerate() {
                assert_eq!(read(source), Ok(picture(number * per_file + row)));
            }
        }
        // Those of other tests come and go beside them.
        let held = tables.iter().filter(|rows| open(rows)).count();
        assert!(held <= MOST_IN_USE, "{held} of {files} hold a page");
    }
    let changed = fs::read(path(7)).expect("read");
    fs::write(path(7), [changed, vec![0]].concat()).expect("written");
    assert!(read(&tables[7][3]).expect_err("changed").contains("changed since its pictures were listed"));
}

/// Hugging Face's datasets: pictures in the file, captions in a list.
#[test]
fn captions_beside_pictures_in_one_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("a.parquet");
    let schema = "message m { optional group image { optional binary bytes; optional binary path (STRING); }
        optional group caption (LIST) { repeated group list { optional binary element (STRING); } }
        optional binary split (STRING); }";
    let file = fs::File::create(&path).expect("created");
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).expect("begun");
    let mut group = writer.next_row_group().expect("a group");
    let columns: [(&[&str], &[i16], &[i16]); 4] = [
        (&["one", "two"], &[2, 2], &[]),
        (&["x/a.png", "x/b.png"], &[2, 2], &[]),
        (&["a cat", "cats", "a dog"], &[3, 3, 3], &[0, 1, 0]),
        (&["test", "test"], &[1, 1], &[]),
    ];
    for (values, levels, repetitions) in columns {
        let values: Vec<ByteArray> = values.iter().map(|value| value.as_bytes().to_vec().into()).collect();
        let mut out = group.next_column().expect("goes on").expect("a column");
        let repetitions = (!repetitions.is_empty()).then_some(repetitions);
        out.typed::<ByteArrayType>().write_batch(&values, Some(levels), repetitions).expect("written");
        out.close().expect("closed");
    }
    group.close().expect("closed");
    writer.close().expect("ended");

    let dataset = open(&path, &OpenOptions::default()).expect("opens");
    assert_eq!(dataset.annotations().format, Format::Parquet);
    let records = &dataset.annotations().records;
    assert_eq!(
        (&records[0].references[..], records[1].references[0].as_str()),
        (&["a cat".into(), "cats".into()][..], "a dog")
    );
    assert_eq!(records[0].split.as_deref(), Some("test"));
    assert_eq!(read(&dataset.picture(1).expect("found")), Ok(b"two".to_vec()));
    let references = folder.path().join("references.jsonl");
    fs::write(
        &references,
        "{\"path\": \"a.png\", \"caption\": \"x\"}\n{\"path\": \"b.png\", \"caption\": \"y\"}",
    )
    .expect("written");
    let references = open(&references, &OpenOptions::default()).expect("opens");
    let error = Candidates::read(&path, references.annotations(), &CandidateOptions::default());
    let error = error.expect_err("two captions").to_string();
    assert!(error.contains("element rows[0]: expected one caption of x/a.png, found 2"), "{error}");
    let none = OpenOptions { columns: vec![("split".into(), "question".into())], ..OpenOptions::default() };
    assert!(open(&path, &none).is_ok_and(|read| read.annotations().records[0].question.is_some()));
}

#[test]
fn a_table_without_captions_says_which_columns_it_has() {
    let (_folder, path) = numbered(3, builder().build());
    let error = open(&path, &OpenOptions::default()).expect_err("no captions").to_string();
    assert!(error.contains("expected a column caption (or text), found jpg: rename one"), "{error}");
    let texts = vec![some(1, "a"), some(1, b"\xff"), (0, None)];
    let schema = "message m { optional binary path (STRING); optional binary caption (STRING); }";
    write(&path, schema, builder().build(), 9, &[texts.clone(), texts]);
    let error = open(&path, &OpenOptions::default()).expect_err("no text").to_string();
    assert!(error.contains("expected UTF-8, found other bytes"), "{error}");
}

/// A table of captions with any bit changed is read or refused.
#[test]
fn damaged_texts_are_an_error() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("a.parquet");
    let schema = "message m { optional binary path (STRING); optional binary caption (STRING); }";
    let columns = [(0..20).map(|row| some(1, format!("{row}.jpg"))).collect(), vec![some(1, "a cat"); 20]];
    for layout in [builder().set_compression(Compression::SNAPPY), builder().set_dictionary_enabled(false)] {
        write(&path, schema, layout.build(), 9, &columns);
        let whole = fs::read(&path).expect("read");
        assert_eq!(open(&path, &OpenOptions::default()).expect("opens").annotations().records.len(), 20);
        for index in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[index] ^= 1 << (index % 8);
            fs::write(&path, damaged).expect("written");
            let options = OpenOptions { max_annotation_bytes: 1 << 20, ..OpenOptions::default() };
            // It comes back, in a bounded number of records.
            assert!(open(&path, &options).map_or(0, |read| read.annotations().records.len()) <= 20);
        }
    }
}
