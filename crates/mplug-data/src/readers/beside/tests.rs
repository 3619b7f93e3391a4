//! Captions beside pictures, in folders and archives.

use std::path::PathBuf;

use super::*;
use crate::dataset::{Dataset, OpenOptions, open};
use crate::format::Format;
use crate::readers::read;
use crate::readers::testing::OPTIONS;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }
    folder
}

fn tar(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.tar");
    let mut tar = tar::Builder::new(fs::File::create(&path).expect("made"));
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, name, text.as_bytes()).expect("added");
    }
    tar.finish().expect("ended");
    (folder, path)
}

/// Name and captions of each record.
fn shown(path: &Path, format: Format, options: &ReadOptions) -> Result<Vec<String>, String> {
    let records = read(path, format, options).map_err(|error| error.to_string())?.records;
    Ok(records.iter().map(|r| format!("{}: {}", r.picture_name(), r.references.join("/"))).collect())
}

fn of_folder(files: &[(&str, &str)]) -> Result<Vec<String>, String> {
    shown(folder(files).path(), Format::Sidecars, &OPTIONS)
}

#[test]
fn captions_beside_pictures_of_a_folder() {
    let files = [
        ("b.PNG", ""),
        ("b.txt", "\u{feff}a dog\ntag, tag\n"),
        ("10_sks/a.jpg", ""),
        ("10_sks/a.caption", "sks, a cat"),
        ("c.jpg", ""),
        ("c.png", ""),
        ("c.jpg.txt", "one"),
        ("c.png.txt", "two"),
        ("e.jpg", ""),
        ("e.txt", ""),
        ("README.txt", "not a caption"),
        (".hidden.jpg", ""),
    ];
    let expected = ["10_sks/a.jpg: sks, a cat", "b.PNG: a dog", "c.jpg: one", "c.png: two", "e.jpg: "];
    assert_eq!(of_folder(&files).expect("reads"), expected);
}

#[test]
fn languages_are_chosen() {
    let files = [("a.jpg", ""), ("a.zh.txt", "猫"), ("a.en.txt", "cat")];
    let error = of_folder(&files).expect_err("two languages");
    assert!(error.contains("a language must be chosen"), "{error}");
    let options = ReadOptions { language: Some(Language::English), ..OPTIONS };
    assert_eq!(shown(folder(&files).path(), Format::Sidecars, &options).expect("reads"), ["a.jpg: cat"]);
}

#[test]
fn what_cannot_be_used_is_named() {
    let (picture, text) = (("a.jpg", ""), ("a.txt", "x"));
    for (files, expected) in [
        (vec![picture, text, ("b.jpg", "")], "1 of the pictures have no caption beside them: b.jpg"),
        (
            vec![picture, text, ("a.caption", "y")],
            "a.jpg: expected one file with its caption, found a.caption and a.txt",
        ),
        (vec![picture, text, ("a.png", "")], "a.txt may belong to a.jpg or another picture of that name"),
        (vec![text], "expected pictures with captions beside them (a.jpg and a.txt), found none"),
    ] {
        let error = of_folder(&files).expect_err(expected);
        assert!(error.contains(expected), "{error} lacks {expected}");
    }
    let dir = folder(&[picture]);
    fs::write(dir.path().join("a.txt"), b"\xff\xfe").expect("written");
    let error = shown(dir.path(), Format::Sidecars, &OPTIONS).expect_err("no UTF-8");
    assert!(error.contains("a.txt: expected UTF-8"), "{error}");
    fs::write(dir.path().join("a.txt"), vec![b'x'; 2 << 20]).expect("written");
    let error = shown(dir.path(), Format::Sidecars, &OPTIONS).expect_err("too long");
    assert!(error.contains("a.txt") && error.contains("1048576"), "{error}");
}

#[test]
fn archives_of_webdataset_img2dataset_and_ours() {
    let members = [
        ("d/000.jpg", ""),
        ("d/000.seg.png", ""),
        ("d/000.txt", "a cat\nand a dog"),
        ("d/000.json", r#"{"caption": "other", "url": "u", "key": "000"}"#),
        ("001.jpg", ""),
        ("001.txt", "a cat\ncat, animal"),
        ("001.json", r#"{"path": "x/001.jpg", "caption": "a cat", "score": -1.0}"#),
        ("002.webp", ""),
        ("002.json", r#"{"caption": "a bird"}"#),
        ("003.json", r#"{"path": "x/003.jpg", "error": "is empty"}"#),
    ];
    let (_folder, path) = tar(&members);
    assert_eq!(Format::detect(&path).expect("known"), Format::WebDataset);
    let expected = ["d/000.jpg: a cat\nand a dog", "001.jpg: a cat", "002.webp: a bird"];
    assert_eq!(shown(&path, Format::WebDataset, &OPTIONS).expect("reads"), expected);
    // The folder of archives is one dataset.
    let shards = tempfile::tempdir().expect("a folder");
    for name in ["0.tar", "1.tar"] {
        fs::copy(&path, shards.path().join(name)).expect("copied");
    }
    let all = open(shards.path(), &OpenOptions::default()).expect("opens");
    assert_eq!((all.annotations().format, all.len()), (Format::WebDataset, 6));
    assert_eq!(all.annotations().records[4].picture_name(), "1.tar/001.jpg");
    assert!(all.picture(4).expect("found").to_string().ends_with("1.tar: 001.jpg"));
    let (_folder, path) = tar(&members[..2]);
    let error = shown(&path, Format::WebDataset, &OPTIONS).expect_err("no captions");
    assert!(error.contains("have no caption beside them: d/000.jpg"), "{error}");
}
