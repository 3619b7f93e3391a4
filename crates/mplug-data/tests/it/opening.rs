//! Opening annotation files as a user does: by path alone, with splits, with pictures in folders and archives.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use image::{ImageFormat, RgbImage};
use mplug_data::annotation::PictureId;
use mplug_data::candidates::{CandidateOptions, Candidates};
use mplug_data::dataset::{DataError, Dataset, OpenOptions, open};
use mplug_data::format::Format;

const KARPATHY: &str = r#"{"images": [
    {"filepath": "val2014", "filename": "a.png", "split": "test", "cocoid": 1, "sentences": [{"raw": "A cat."}]},
    {"filepath": "val2014", "filename": "b.png", "split": "restval", "cocoid": 2, "sentences": [{"raw": "A dog."}]},
    {"filepath": "train2014", "filename": "c.png", "split": "train", "cocoid": 3, "sentences": [{"raw": "A bird."}]}
    ], "dataset": "coco"}"#;

fn png(side: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::new(side, side).write_to(&mut bytes, ImageFormat::Png).expect("encodes");
    bytes.into_inner()
}

fn fails(path: &Path, options: &OpenOptions) -> String {
    open(path, options).expect_err("refused").to_string()
}

#[test]
fn splits_with_pictures_in_a_zip() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (annotations, images) = (dir.path().join("dataset_coco.json"), dir.path().join("val2014.zip"));
    fs::write(&annotations, KARPATHY).expect("written");
    let mut zip = zip::ZipWriter::new(fs::File::create(&images).expect("created"));
    for (side, name) in ["a.png", "b.png", "c.png"].into_iter().enumerate() {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).expect("started");
        zip.write_all(&png(side as u32 + 1)).expect("written");
    }
    zip.finish().expect("finished");

    let split = |split: &str| OpenOptions {
        split: Some(split.into()),
        images: Some(images.clone()),
        ..OpenOptions::default()
    };
    let train = open(&annotations, &split("train")).expect("opens");
    assert_eq!(train.len(), 2, "restval counts as train");
    let example = train.example(1).expect("read");
    assert_eq!((example.image.width(), example.captions.as_slice()), (3, &["A bird.".to_string()][..]));
    assert_eq!(open(&annotations, &split("restval")).expect("opens").len(), 1);
    let error = fails(&annotations, &split("minival"));
    assert!(error.contains("no split \"minival\"; it has restval, test, train"), "{error}");
}

#[test]
fn the_pictures_of_muge_are_in_the_table_beside() {
    use base64::Engine;
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::write(dir.path().join("IC_valid.jsonl"), "{\"image_id\": 7, \"text\": [\"裙子\"]}\n")
        .expect("written");
    let picture = base64::prelude::BASE64_STANDARD.encode(png(4));
    fs::write(dir.path().join("IC_valid.tsv"), format!("6\tx\n7\t{picture}\n")).expect("written");
    let dataset = open(dir.path(), &OpenOptions::default()).expect("the folder opens");
    assert_eq!(dataset.annotations().format, Format::Muge);
    assert_eq!(dataset.example(0).expect("read").image.width(), 4);
    let error = fails(&dir.path().join("IC_valid.tsv"), &OpenOptions::default());
    assert!(error.contains("open the .jsonl beside it") && error.contains("coco, karpathy"), "{error}");
}

#[test]
fn a_folder_must_hold_one_annotation_file() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let options = OpenOptions::default();
    assert!(fails(dir.path(), &options).contains("the folder holds no annotations.jsonl"));
    fs::write(dir.path().join("notes.txt"), "nothing of the kind").expect("written");
    fs::write(dir.path().join("dataset.json"), KARPATHY).expect("written");
    assert_eq!(open(dir.path(), &options).expect("one").len(), 3);
    fs::write(dir.path().join("more.token"), "a.jpg#0\ta cat\n").expect("written");
    let error = fails(dir.path(), &options);
    assert!(
        error.contains("several") && error.contains("more.token") && error.contains("dataset.json"),
        "{error}"
    );
}

#[test]
fn names_stay_inside_the_image_root() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let images = dir.path().join("images");
    fs::create_dir(&images).expect("made");
    fs::write(images.join("a.png"), png(2)).expect("written");
    fs::write(dir.path().join("secret.png"), png(3)).expect("written");
    let annotations = dir.path().join("a.jsonl");
    let options = OpenOptions { images: Some(images.clone()), ..OpenOptions::default() };
    let absolute = images.join("a.png");
    let line = |path: &str| format!("{{\"path\": {path:?}, \"caption\": \"x\"}}\n");
    fs::write(&annotations, line(absolute.to_str().expect("text"))).expect("written");
    let dataset = open(&annotations, &options).expect("an absolute path within the root");
    assert_eq!(dataset.example(0).expect("read").image.width(), 2);
    let secret = dir.path().join("secret.png");
    for name in ["../secret.png", "x/../../secret.png", secret.to_str().expect("text"), "", "/", "."] {
        fs::write(&annotations, format!("\n{}", line(name))).expect("written");
        let error = fails(&annotations, &options);
        assert!(error.contains("a.jsonl line 2: expected a path inside the folder"), "{error}");
    }
    // Nobody named a folder of pictures: absolute paths are what they are.
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let secret = elsewhere.path().join("secret.png");
    fs::write(&secret, png(3)).expect("written");
    fs::write(&annotations, line(secret.to_str().expect("text"))).expect("written");
    let anywhere = open(&annotations, &OpenOptions::default()).expect("an absolute path");
    assert_eq!(anywhere.example(0).expect("read").image.width(), 3);
    fs::remove_file(&secret).expect("removed");
    let gone = anywhere.example(0).expect_err("gone").to_string();
    assert!(gone.contains("secret.png") && gone.contains("name their folder"), "{gone}");
    fs::write(&annotations, line("../secret.png")).expect("written");
    assert!(fails(&annotations, &OpenOptions::default()).contains("expected a path inside the folder"));
    // An id is a name too, where there is no other.
    fs::write(&annotations, "{\"image_id\": \"../secret.png\", \"caption\": \"x\"}\n").expect("written");
    let found = open(&annotations, &options).expect("an id may be anything").example(0);
    assert!(matches!(found, Err(DataError::NoPicture { .. })));
}

#[test]
fn hostile_files_are_errors_that_say_where() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("a.json");
    let nested = format!("{{\"images\": {}", "[".repeat(200_000));
    let nested_id = format!("{{\"images\": [{{\"id\": {}", "[".repeat(200_000));
    let latin = b"{\"images\": [],\n\n\"info\": \"\xE9\"}".to_vec();
    for (bytes, expected) in [
        (KARPATHY.as_bytes()[..300].to_vec(), "a.json line 4 column"),
        (nested.into_bytes(), "a.json line 1 column"),
        (nested_id.into_bytes(), "a.json line 1 column"),
        (latin, "a.json line 3: expected UTF-8"),
        (b"\0\0\0".to_vec(), "it starts with"),
        (Vec::new(), "no text was found"),
    ] {
        fs::write(&path, bytes).expect("written");
        let error = fails(&path, &OpenOptions::default());
        assert!(error.contains(expected), "{error} lacks {expected}");
    }
    fs::write(&path, KARPATHY).expect("written");
    let small = OpenOptions { max_annotation_bytes: 100, ..OpenOptions::default() };
    assert!(fails(&path, &small).contains("more than the limit of 100"));
    let lines = dir.path().join("a.jsonl");
    fs::write(&lines, "{\"path\": \"a.jpg\", \"caption\": \"a cat\"}\n".repeat(4)).expect("written");
    assert!(fails(&lines, &small).contains("more than the limit of 100"));
    let renamed = OpenOptions { columns: vec![("a".into(), "image".into())], ..OpenOptions::default() };
    assert!(fails(&path, &renamed).contains("columns were renamed, but it is karpathy"));
    let as_vqa = OpenOptions { format: Some(Format::Vqa), ..OpenOptions::default() };
    assert!(fails(&path, &as_vqa).contains("line 1 column"));
    assert!(fails(&dir.path().join("missing.json"), &OpenOptions::default()).contains("missing.json"));
}

/// As large as COCO's `captions_val2014.json`: 40,504 pictures, 202,654 captions.
#[test]
fn a_file_of_the_size_of_coco() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("captions_val2014.json");
    let images: Vec<String> = (0..40_504)
        .map(|id| format!(r#"{{"license": 3, "file_name": "COCO_val2014_{id:012}.jpg", "coco_url": "http://mscoco.org/images/{id}", "height": 360, "width": 640, "date_captured": "2013-11-14 11:18:45", "id": {id}}}"#))
        .collect();
    let captions: Vec<String> = (0..202_654)
        .map(|id| format!(r#"{{"image_id": {}, "id": {id}, "caption": "A bicycle replica with a clock as the front wheel."}}"#, id % 40_504))
        .collect();
    let text = format!(r#"{{"images": [{}], "annotations": [{}]}}"#, images.join(", "), captions.join(", "));
    fs::write(&path, text).expect("written");
    let dataset = open(&path, &OpenOptions::default()).expect("opens");
    assert_eq!(dataset.len(), 40_504);
    assert_eq!(dataset.annotations().records.iter().map(|r| r.references.len()).sum::<usize>(), 202_654);

    let results: Vec<String> =
        (0..40_504).rev().map(|id| format!(r#"{{"image_id": {id}, "caption": "a clock"}}"#)).collect();
    let path = dir.path().join("results.json");
    fs::write(&path, format!("[{}]", results.join(","))).expect("written");
    let candidates =
        Candidates::read(&path, dataset.annotations(), &CandidateOptions::default()).expect("reads");
    assert_eq!(candidates.captions[0].id, PictureId::from(40_503));
    assert!(candidates.missing(dataset.annotations()).is_empty());
}
