//! Pictures in folders, archives and tables are found by name and read under limits.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use image::ImageFormat;
use tar::EntryType;
use zip::write::SimpleFileOptions;

use super::*;

fn png(side: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::new(side, side).write_to(&mut bytes, ImageFormat::Png).expect("encodes");
    bytes.into_inner()
}

fn write_zip(path: &Path, members: &[(&str, &[u8])]) {
    let mut zip = zip::ZipWriter::new(fs::File::create(path).expect("created"));
    for (number, (name, bytes)) in members.iter().enumerate() {
        let method = [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated][number % 2];
        zip.start_file(*name, SimpleFileOptions::default().compression_method(method)).expect("started");
        zip.write_all(bytes).expect("written");
    }
    zip.finish().expect("finished");
}

fn write_tar(path: &Path, members: &[(&str, &[u8])]) {
    let mut tar = tar::Builder::new(fs::File::create(path).expect("created"));
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *bytes).expect("appended");
    }
    tar.finish().expect("finished");
}

fn width(root: &ImageRoot, name: &str) -> Result<u32, String> {
    let source = root.find(name).map_err(|e| e.to_string())?;
    source.decode(&ImageLimits::default()).map(|image| image.width()).map_err(|e| e.to_string())
}

#[test]
fn the_same_pictures_in_a_folder_and_in_archives() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let long = format!("{}/d.png", "deep/".repeat(50));
    let (a, b, c, d) = (png(1), png(2), png(3), png(4));
    let members: [(&str, &[u8]); 4] = [("val/a.png", &a), ("val/b.png", &b), ("c.jpg", &c), (&long, &d)];
    write_zip(&dir.path().join("all.zip"), &members);
    write_tar(&dir.path().join("all.tar"), &members);
    let folder = dir.path().join("all");
    for (name, bytes) in members {
        fs::create_dir_all(folder.join(name).parent().expect("a parent")).expect("made");
        fs::write(folder.join(name), bytes).expect("written");
    }
    for name in ["all.zip", "all.tar", "all"] {
        let root = ImageRoot::open(&dir.path().join(name)).expect(name);
        for (picture, side) in [("val/a.png", 1), ("val/b", 2), ("c", 3), ("x/val/b.png", 2), (&long, 4)] {
            assert_eq!(width(&root, picture), Ok(side), "{name}: {picture}");
        }
        let missing = width(&root, "val/z.png").expect_err("no such picture");
        assert!(missing.contains(name) && missing.contains("no picture \"val/z.png\""), "{missing}");
        for outside in ["../all/c.jpg", "..", ""] {
            assert!(root.find(outside).is_err() || name != "all", "{outside}");
        }
        let limits = ImageLimits { max_file_bytes: 10, ..ImageLimits::default() };
        let error = root.find("c.jpg").expect("found").read(&limits).expect_err("too large").to_string();
        assert!(error.contains("c.jpg") && error.contains("more than the limit of 10"), "{error}");
    }
    let absolute = folder.join("c.jpg");
    let root = ImageRoot::open(&folder).expect("the folder");
    assert!(root.find(absolute.to_str().expect("text")).is_err());
}

/// Every extension that makes a file of a folder a picture makes a member of an archive one.
#[test]
fn archives_have_the_pictures_that_folders_have() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let bytes = png(1);
    let names: Vec<String> = PICTURE_EXTENSIONS.iter().map(|extension| format!("a.{extension}")).collect();
    let mut members: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &bytes[..])).collect();
    members.extend([("B.JPE", &bytes[..]), ("notes.txt", b"no picture"), ("none", b"no picture")]);
    write_zip(&dir.path().join("all.zip"), &members);
    write_tar(&dir.path().join("all.tar"), &members);
    for archive in ["all.zip", "all.tar"] {
        let found = pictures_of_archive(&dir.path().join(archive)).expect(archive);
        let mut found: Vec<String> = found.list.into_iter().map(|member| member.name.text).collect();
        found.sort();
        let mut expected: Vec<String> = names.iter().cloned().chain(["B.JPE".to_owned()]).collect();
        expected.sort();
        assert_eq!(found, expected, "{archive}");
        assert!(found.iter().all(|name| has_picture_extension(Path::new(name))));
    }
}

/// What is in an archive, by its names, and what was passed over.
fn listed(path: &Path) -> (Vec<String>, Vec<(String, usize)>) {
    let found = pictures_of_archive(path).expect("listed");
    let kinds = found.passed_over.kinds().into_iter().map(|(what, count)| (what.to_owned(), count)).collect();
    (found.list.into_iter().map(|member| member.name.text).collect(), kinds)
}

#[test]
fn every_picture_of_an_archive_is_found_by_its_name_or_its_bytes() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let bytes = png(1);
    let members: [(&str, &[u8]); 8] = [
        ("a.jfif", &bytes),
        ("b.dat", &bytes),
        ("c", &bytes),
        ("d.heic", b"no picture"),
        ("e.svg", b"<svg/>"),
        ("f.txt", b"a text"),
        ("__MACOSX/._a.jfif", b"resources"),
        ("._b.png", b"resources"),
    ];
    write_zip(&dir.path().join("all.zip"), &members);
    write_tar(&dir.path().join("all.tar"), &members);
    for archive in ["all.zip", "all.tar"] {
        let (names, kinds) = listed(&dir.path().join(archive));
        assert_eq!(names, ["a.jfif", "b.dat", "c", "d.heic"], "{archive}");
        let expected =
            [("hidden", 2), (".svg", 1), (".txt", 1)].map(|(what, count)| (what.to_owned(), count));
        assert_eq!(kinds, expected, "{archive}");
    }
}

/// Case 08: a zip made by Windows in Chinese says nothing of its names.
#[test]
fn names_of_a_zip_from_chinese_windows_are_read() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("gbk.zip");
    let bytes = png(2);
    write_zip(&path, &[("AAAA/BBBBBBBBBB.png", &bytes), ("z.png", &bytes)]);
    let zip = fs::read(&path).expect("read");
    let gbk = b"\xd5\xd5\xc6\xac/\xc3\xa8\xba\xcd\xd4\xc2\xc1\xc1";
    let zip = replace(&replace(&zip, b"AAAA/", &gbk[..5]), b"BBBBBBBBBB", &[&gbk[5..], b"--"].concat());
    fs::write(&path, zip).expect("written");
    let found = pictures_of_archive(&path).expect("listed").list;
    assert_eq!(found[0].name.text, "z.png");
    assert_eq!(found[1].name.text, "照片/猫和月亮--.png");
    assert_eq!(found[1].name.bytes.as_deref(), Some(&[&gbk[..], b"--.png"].concat()[..]));
    let root = ImageRoot::open(&path).expect("opens");
    assert_eq!(width(&root, "猫和月亮--.png"), Ok(2));
}

/// Case 32: the second of two hard-linked files.
#[test]
fn links_of_a_tar_are_the_files_that_they_lead_to() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("a.tar");
    let mut tar = tar::Builder::new(fs::File::create(&path).expect("created"));
    let bytes = png(3);
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, "x/a.png", &bytes[..]).expect("appended");
    for (kind, name, target) in [
        (EntryType::Link, "b.png", "x/a.png"),
        (EntryType::Symlink, "x/y/c.png", "../a.png"),
        (EntryType::Symlink, "d.png", "b.png"),
        (EntryType::Symlink, "e.png", "/etc/e.png"),
        (EntryType::Link, "f.png", "gone.png"),
        (EntryType::Symlink, "g.png", "g.png"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        tar.append_link(&mut header, name, target).expect("appended");
    }
    tar.finish().expect("finished");
    let (names, kinds) = listed(&path);
    assert_eq!(names, ["x/a.png", "b.png", "x/y/c.png", "d.png"]);
    assert_eq!(kinds, [("links without their file".to_owned(), 3)]);
    let root = ImageRoot::open(&path).expect("opens");
    assert_eq!((width(&root, "b.png"), width(&root, "d.png")), (Ok(3), Ok(3)));
}

/// Case 11: what is compressed is named, and no byte of it reaches a message.
#[test]
fn compressed_and_foreign_archives_are_refused_by_name() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let named = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).expect("written");
        pictures_of_archive(&path).expect_err(name).to_string()
    };
    for name in ["wds.tar.gz", "gz_named.tar"] {
        let error = named(name, b"\x1f\x8b\x08\x08\xd9T\xff\xfe\x00rest of it");
        assert!(error.contains("is compressed (gzip): unpack it first, with `gunzip`"), "{error}");
    }
    assert!(named("a.tar.zst", b"\x28\xb5\x2f\xfd....").contains("unzstd"));
    let noise: Vec<u8> = (0..2048_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let error = named("noise.tar", &noise);
    assert!(error.contains("noise.tar: is no tar archive"), "{error}");
    assert!(error.is_ascii(), "{error}");
}

#[test]
fn a_name_in_an_archive_must_fit_one_member() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("a.zip");
    write_zip(&path, &[("x/a.png", b"1"), ("y/a.png", b"2")]);
    let root = ImageRoot::open(&path).expect("opens");
    let error = root.find("a.png").expect_err("ambiguous").to_string();
    assert!(error.contains("fits both \"x/a.png\" and \"y/a.png\""), "{error}");
    assert_eq!(root.find("y/a.png").expect("found").read(&ImageLimits::default()).expect("read"), b"2");
}

#[test]
fn a_zip_bomb_is_stopped_by_its_claim_and_by_what_it_inflates_to() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("bomb.zip");
    write_zip(&path, &[("first", b""), ("bomb.png", &vec![0; 1 << 20])]);
    let limits = ImageLimits { max_file_bytes: 1000, ..ImageLimits::default() };
    let read = |path: &Path| {
        let root = ImageRoot::open(path).expect("opens");
        root.find("bomb.png").expect("found").read(&limits).expect_err("too large").fault
    };
    assert!(matches!(read(&path), ImageFault::TooManyBytes { found: 1_048_576, .. }));
    // The directory and the local header now claim 10 bytes.
    let bytes = fs::read(&path).expect("read");
    let lying = replace(&bytes, &(1u32 << 20).to_le_bytes(), &10u32.to_le_bytes());
    assert_ne!(bytes, lying);
    fs::write(&path, lying).expect("written");
    assert!(matches!(read(&path), ImageFault::TooManyBytes { .. } | ImageFault::Read(_)));
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let positions: Vec<usize> = bytes
        .windows(from.len())
        .enumerate()
        .filter(|(_, window)| *window == from)
        .map(|(at, _)| at)
        .collect();
    for at in positions {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

#[test]
fn damaged_archives_say_so() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("a.tar");
    let picture = vec![7; 5000];
    write_tar(&path, &[("a.png", &picture)]);
    let bytes = fs::read(&path).expect("read");
    fs::write(&path, &bytes[..2000]).expect("written");
    let error = ImageRoot::open(&path).expect_err("cut short").to_string();
    assert!(error.contains("a.tar") && error.contains("a.png does not end within the file"), "{error}");

    // A long name of 2 MiB.
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(2 << 20);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.resize(512 + (2 << 20), b'x');
    fs::write(&path, bytes).expect("written");
    let error = ImageRoot::open(&path).expect_err("a long name").to_string();
    assert!(error.contains("headers of one member take more than"), "{error}");

    for (name, bytes) in
        [("a.tar.gz", &b"\x1f\x8b\x08\x00"[..]), ("a.bin", b"hello"), ("b.zip", b"PK\x03\x04")]
    {
        let path = dir.path().join(name);
        fs::write(&path, bytes).expect("written");
        let error = ImageRoot::open(&path).expect_err(name).to_string();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn a_table_of_base64() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("IC_valid.tsv");
    let (a, b) = (png(5), png(6));
    let text = format!(
        "1000002\t{}\r\n1000003\t{}\n1000004\t!!!\nx\t",
        BASE64_STANDARD.encode(&a),
        BASE64_URL_SAFE_NO_PAD.encode(&b)
    );
    fs::write(&path, &text).expect("written");
    let root = ImageRoot::open(&path).expect("opens");
    assert_eq!(width(&root, "1000002"), Ok(5));
    assert_eq!(width(&root, "1000003"), Ok(6));
    let error = width(&root, "1000004").expect_err("no base64");
    assert!(error.contains("IC_valid.tsv: 1000004: cannot be read: base64"), "{error}");
    assert!(width(&root, "x").expect_err("empty").contains("is empty"));
    assert!(root.find("100000").is_err());
    let limits = ImageLimits { max_file_bytes: 20, ..ImageLimits::default() };
    assert!(root.find("1000002").expect("found").read(&limits).is_err());

    fs::write(&path, format!("{text}\nno tab here\n")).expect("written");
    let error = ImageRoot::open(&path).expect_err("no tab").to_string();
    assert!(error.contains("line 5: expected an id and a tab"), "{error}");
}

/// Writes the same pictures to an archive of each kind; what it is called.
fn write_kind(folder: &Path, kind: &str, number: usize, pictures: &[Vec<u8>]) -> PathBuf {
    let path = folder.join(format!("{number:03}.{kind}"));
    let names: Vec<String> = (0..pictures.len()).map(|number| format!("{number}.png")).collect();
    let members: Vec<(&str, &[u8])> =
        names.iter().map(String::as_str).zip(pictures.iter().map(Vec::as_slice)).collect();
    match kind {
        "tar" => write_tar(&path, &members),
        "zip" => write_zip(&path, &members),
        _ => {
            let row = |(name, bytes): (&str, &[u8])| format!("{name}\t{}\n", BASE64_STANDARD.encode(bytes));
            fs::write(&path, members.into_iter().map(row).collect::<String>()).expect("written");
        }
    }
    path
}

const KINDS: [&str; 3] = ["tar", "zip", "tsv"];

/// Files below a folder that this process has open.
#[cfg(target_os = "linux")]
fn open_below(folder: &Path) -> usize {
    let links = fs::read_dir("/proc/self/fd").expect("listed");
    links
        .filter(|link| {
            fs::read_link(link.as_ref().expect("a link").path()).is_ok_and(|to| to.starts_with(folder))
        })
        .count()
}

#[cfg(target_os = "linux")]
#[test]
fn many_archives_need_few_open_files() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let folder = dir.path().canonicalize().expect("a path");
    let mut roots = Vec::new();
    for number in 0..60 {
        for kind in KINDS {
            let pictures = [png(number as u32 + 1), png(200)];
            roots.push((
                number,
                ImageRoot::open(&write_kind(&folder, kind, number, &pictures)).expect("opens"),
            ));
            assert!(open_below(&folder) <= 16, "{} are open", open_below(&folder));
        }
    }
    for round in 0..2 {
        for (number, root) in &roots {
            assert_eq!(width(root, "0.png"), Ok(*number as u32 + 1), "round {round}");
            assert_eq!(width(root, "1.png"), Ok(200));
            assert!(open_below(&folder) <= 16);
        }
    }
    drop(roots);
    assert_eq!(open_below(&folder), 0);
}

#[test]
fn pictures_of_an_archive_that_changed_are_failures_not_other_pictures() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (number, kind) in KINDS.into_iter().enumerate() {
        for was_read in [false, true] {
            let path = write_kind(dir.path(), kind, number, &[vec![7; 40], vec![b'a'; 40]]);
            let root = ImageRoot::open(&path).expect("opens");
            let source = root.find("1.png").expect("found");
            let limits = ImageLimits::default();
            if was_read {
                assert_eq!(source.read(&limits).expect("read"), [b'a'; 40]);
            }
            // Of the same length, in the same file, later.
            let other =
                fs::read(write_kind(dir.path(), kind, 100, &[vec![7; 40], vec![b'b'; 40]])).expect("read");
            assert_eq!(fs::metadata(&path).expect("found").len(), other.len() as u64, "{kind}");
            fs::write(&path, &other).expect("written");
            let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
            fs::File::options().write(true).open(&path).expect("opens").set_modified(later).expect("set");
            let error = source.read(&limits).expect_err(kind);
            assert!(matches!(error.fault, ImageFault::Changed) && error.is_passing(), "{kind}: {error}");
            assert!(error.to_string().contains("changed since its pictures were listed"), "{error}");
            // Listed anew it is read.
            let root = ImageRoot::open(&path).expect("opens");
            assert_eq!(root.find("1.png").expect("found").read(&limits).expect("read"), [b'b'; 40]);
            // Longer, and gone.
            fs::write(&path, [other, vec![b'\n'; 3]].concat()).expect("written");
            let error = root.find("1.png").expect("found").read(&limits).expect_err(kind);
            assert!(matches!(error.fault, ImageFault::Changed), "{kind}: {error}");
        }
        let path = write_kind(dir.path(), kind, number, &[vec![7; 40], vec![b'a'; 40]]);
        let root = ImageRoot::open(&path).expect("opens");
        let source = root.find("1.png").expect("found");
        // Other archives push it out of those that stay open.
        let others = (200..230).map(|other| write_kind(dir.path(), "tar", other, &[png(1)]));
        let others: Vec<_> = others.map(|path| ImageRoot::open(&path).expect("opens")).collect();
        assert!(others.iter().all(|other| width(other, "0.png") == Ok(1)));
        fs::remove_file(&path).expect("removed");
        let error = source.read(&ImageLimits::default()).expect_err("gone");
        assert!(matches!(error.fault, ImageFault::Read(_)) && !error.is_passing(), "{kind}: {error}");
    }
}

/// In the archive's place stands something that would be waited for.
#[cfg(unix)]
#[test]
fn a_pipe_in_an_archives_place_is_not_opened() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = write_kind(dir.path(), "tar", 0, &[png(3)]);
    let root = ImageRoot::open(&path).expect("opens");
    let others: Vec<_> = (1..40)
        .map(|other| ImageRoot::open(&write_kind(dir.path(), "tar", other, &[png(1)])).expect("opens"))
        .collect();
    fs::remove_file(&path).expect("removed");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
    let error = root.find("0.png").expect("found").read(&ImageLimits::default()).expect_err("a pipe");
    assert!(matches!(error.fault, ImageFault::Changed), "{error}");
    drop(others);
    assert!(ImageRoot::open(&path).is_err());
}
