//! Cases from the field: inputs and outputs as people have and want them. Each test names its case.

use std::fs;

use crate::support::{Desk, Outcome, mplug, outcome};

fn caption(desk: &Desk, args: &[&str]) -> Outcome {
    desk.caption(&[args, &["--max-new-tokens", "6"]].concat())
}

/// Runs `mplug caption` with something on standard input.
fn piped(desk: &Desk, args: &[&str], bytes: &[u8]) -> Outcome {
    let mut command = mplug();
    command.current_dir(desk.path()).args(["caption", "--model", "model", "--max-new-tokens", "6"]);
    outcome(command.args(args).write_stdin(bytes))
}

fn paths(outcome: &Outcome) -> Vec<String> {
    outcome.jsonl().iter().map(|record| record["path"].as_str().unwrap().to_owned()).collect()
}

fn read(desk: &Desk, name: &str) -> String {
    fs::read_to_string(desk.join(name)).unwrap()
}

fn write_tar(desk: &Desk, name: &str, members: &[(&[u8], &[u8])]) {
    let mut builder = tar::Builder::new(fs::File::create(desk.join(name)).unwrap());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        // `set_path` wants UTF-8 on some systems.
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, *bytes).unwrap();
    }
    builder.into_inner().unwrap();
}

#[test]
fn case_06_no_picture_of_a_folder_or_an_archive_is_left_out_without_a_word() {
    let desk = Desk::new();
    let jpeg = fs::read(desk.join("blue.jpg")).unwrap();
    let avif = b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf";
    let files: [(&str, &[u8]); 7] = [
        ("a.jpg", &jpeg),
        ("b.jfif", &jpeg),
        ("c.pjpeg", &jpeg),
        ("d.avif", avif),
        ("e.download", &jpeg),
        ("f.svg", b"<svg/>"),
        ("g.txt", b"a text"),
    ];
    for (name, bytes) in files {
        desk.write(&format!("photos/{name}"), bytes);
    }
    let members: Vec<(&[u8], &[u8])> = files.iter().map(|(name, bytes)| (name.as_bytes(), *bytes)).collect();
    write_tar(&desk, "shard.tar", &members);
    let single = caption(&desk, &["blue.jpg"]).stdout;
    for place in ["photos", "shard.tar"] {
        let outcome = caption(&desk, &[place, "--format", "jsonl"]);
        assert_eq!(outcome.code, 1, "{outcome:?}");
        let expected = ["a.jpg", "b.jfif", "c.pjpeg", "d.avif", "e.download"];
        assert_eq!(paths(&outcome), expected.map(|name| format!("{place}/{name}")));
        for record in outcome.jsonl() {
            if record["path"].as_str().unwrap().ends_with("avif") {
                assert!(record["error"].is_string(), "{record}");
            } else {
                assert_eq!(record["caption"], single.trim_end());
            }
        }
        let last = outcome.check_messages().stderr.lines().last().unwrap();
        assert!(last.starts_with("mplug: 4 captioned, 1 of 5 inputs failed, 2 passed over ("), "{last}");
        assert!(last.contains(".svg: 1") && last.contains(".txt: 1") && last.contains(" in "), "{last}");
        assert!(outcome.stderr.contains(&format!("{place}/d.avif: ")), "{}", outcome.stderr);
    }
}

#[test]
fn the_last_line_says_what_became_of_the_inputs_and_where_the_output_is() {
    let desk = Desk::new();
    desk.picture("p/a.png", [1, 2, 3]);
    desk.picture("p/sub/b.png", [1, 2, 3]);
    desk.write("p/.hidden.png", b"");
    let flat = caption(&desk, &["p"]);
    assert_eq!(flat.stderr.lines().count(), 1, "{flat:?}");
    assert!(
        flat.stderr.starts_with("mplug: 1 captioned, 2 passed over (hidden: 1, subfolders: 1) in "),
        "{flat:?}"
    );
    let written = caption(&desk, &["p", "-r", "--output", "out.jsonl"]);
    assert!(
        written.stderr.ends_with(" s; out.jsonl\n") && written.stderr.starts_with("mplug: 2 captioned, ")
    );
    fs::remove_file(desk.join("p/.hidden.png")).unwrap();
    assert_eq!(caption(&desk, &["p", "-r"]).stderr, "", "a run with nothing to say stays quiet");
    assert_eq!(caption(&desk, &["red.png", "--output", "one.txt"]).stderr, "");
}

#[test]
fn case_08_names_in_gbk_are_read_and_their_bytes_kept() {
    let desk = Desk::new();
    let red = fs::read(desk.join("red.png")).unwrap();
    let name = b"\xd5\xd5\xc6\xac/\xc3\xa8\xba\xcd\xd4\xc2\xc1\xc1.png"; // 照片/猫和月亮.png
    write_tar(&desk, "gbk.tar", &[(name, &red), (b"plain.png", &red)]);
    let outcome = caption(&desk, &["gbk.tar", "--format", "jsonl"]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert_eq!(paths(&outcome), ["gbk.tar/照片/猫和月亮.png", "gbk.tar/plain.png"]);
    let records = outcome.jsonl();
    assert_eq!(records[0]["path_bytes"], "67626b2e7461722fd5d5c6ac2fc3a8bacdd4c2c1c12e706e67");
    assert_eq!(records[1].get("path_bytes"), None);
    let texts = caption(&desk, &["gbk.tar", "--format", "sidecar", "--output", "texts"]);
    assert_eq!(texts.code, 0, "{texts:?}");
    assert!(desk.join("texts/gbk.tar/照片/猫和月亮.txt").is_file());
}

// Elsewhere file systems may take UTF-8 names only.
#[cfg(target_os = "linux")]
#[test]
fn case_08_names_in_no_known_encoding_stay_apart() {
    let desk = Desk::new();
    let red = fs::read(desk.join("red.png")).unwrap();
    write_tar(&desk, "odd.tar", &[(b"\xff\xfe.png", &red), (b"\xfe\xff.png", &red)]);
    let outcome = caption(&desk, &["odd.tar", "--format", "jsonl"]);
    let bytes: Vec<_> = outcome.jsonl().iter().map(|record| record["path_bytes"].clone()).collect();
    assert_eq!(bytes, ["6f64642e7461722ffffe2e706e67", "6f64642e7461722ffeff2e706e67"]);
    let texts = caption(&desk, &["odd.tar", "--format", "sidecar", "--output", "texts"]);
    assert_eq!((texts.code, fs::read_dir(desk.join("texts/odd.tar")).unwrap().count()), (0, 2), "{texts:?}");
}

#[test]
fn case_09_lists_are_decoded_by_their_byte_order_mark() {
    let desk = Desk::new();
    let text = "\u{feff}red.png\r\n两只 猫.png\r\n";
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for list in [text.as_bytes(), &utf16] {
        let outcome = piped(&desk, &["-", "--format", "jsonl", "-r"], list);
        assert_eq!(
            (outcome.code, paths(&outcome)),
            (0, vec!["red.png".to_owned(), "两只 猫.png".to_owned()])
        );
    }
    let unmarked = piped(&desk, &["-"], &utf16[2..]);
    assert_eq!((unmarked.code, unmarked.stdout.as_str()), (2, ""));
    assert!(unmarked.check_messages().stderr.contains("looks like UTF-16"), "{unmarked:?}");
}

#[test]
fn case_11_a_compressed_tar_is_refused_by_name() {
    let desk = Desk::new();
    let gzip = b"\x1f\x8b\x08\x08\xd9T\x1b[31m\xff\xfe\x00\x03wds.tar\0rest";
    for name in ["wds.tar.gz", "gz_named.tar", "a.tgz"] {
        desk.write(name, gzip);
        let outcome = caption(&desk, &[name, "red.png"]);
        assert_eq!((outcome.code, outcome.stdout.lines().count()), (1, 1), "{outcome:?}");
        let message = format!("mplug: {name}: is compressed (gzip): unpack it first, with `gunzip`");
        assert!(outcome.stderr.starts_with(&message) && outcome.stderr.is_ascii(), "{outcome:?}");
    }
}

#[test]
fn case_32_hard_links_are_captioned_and_hidden_members_passed_over() {
    let desk = Desk::new();
    let mut builder = tar::Builder::new(fs::File::create(desk.join("hard.tar")).unwrap());
    builder.append_path_with_name(desk.join("red.png"), "a.png").unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Link);
    header.set_size(0);
    builder.append_link(&mut header, "b.png", "a.png").unwrap();
    builder.append_path_with_name(desk.join("green.png"), "__MACOSX/._a.png").unwrap();
    builder.into_inner().unwrap();
    let outcome = caption(&desk, &["hard.tar", "--format", "jsonl"]);
    assert_eq!(
        (outcome.code, paths(&outcome)),
        (0, vec!["hard.tar/a.png".to_owned(), "hard.tar/b.png".to_owned()])
    );
    let records = outcome.jsonl();
    assert_eq!(records[0]["caption"], records[1]["caption"]);
    assert!(outcome.stderr.contains("2 captioned, 1 passed over (hidden: 1)"), "{outcome:?}");
}

#[test]
fn case_29_a_table_for_excel_begins_with_a_mark() {
    let desk = Desk::new();
    let plain = caption(&desk, &["red.png", "--format", "csv"]);
    let marked = caption(&desk, &["red.png", "--format", "csv", "--bom"]);
    assert_eq!(marked.stdout, format!("\u{feff}{}", plain.stdout));
    let refused = caption(&desk, &["red.png", "--bom"]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("`--bom` is for `--format csv`"), "{refused:?}");
}

#[test]
fn a_picture_on_standard_input_is_recognised() {
    let desk = Desk::new();
    for name in ["red.png", "blue.jpg"] {
        let bytes = fs::read(desk.join(name)).unwrap();
        let alone = piped(&desk, &["-"], &bytes);
        assert_eq!((alone.code, alone.stderr.as_str()), (0, ""), "{alone:?}");
        assert_eq!(alone.stdout, caption(&desk, &[name]).stdout);
        let records = piped(&desk, &["-", "green.png", "--format", "jsonl"], &bytes);
        assert_eq!(paths(&records), ["-", "green.png"]);
        let large = piped(&desk, &["-", "--max-file-bytes", "50"], &bytes);
        assert!(large.code == 1 && large.stderr.contains("50"), "{large:?}");
    }
    let heic = piped(&desk, &["-"], b"\0\0\0\x18ftypheic\0\0\0\0");
    assert!(heic.code == 1 && heic.stderr.starts_with("mplug: -: "), "{heic:?}");
    let rubbish: Vec<u8> = (0..4000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    let refused = piped(&desk, &["-"], &rubbish);
    assert_eq!((refused.code, refused.stdout.as_str()), (2, ""));
    assert!(refused.stderr.is_ascii() && refused.stderr.contains("bytes that are neither"), "{refused:?}");
    let beside = piped(&desk, &["-", "--format", "sidecar"], &fs::read(desk.join("red.png")).unwrap());
    assert!(beside.code == 2 && beside.stderr.contains("is in no folder"), "{beside:?}");
}

#[test]
fn the_ending_of_the_output_says_its_format() {
    let desk = Desk::new();
    for (name, format) in
        [("x.jsonl", "jsonl"), ("x.json", "json"), ("x.CSV", "csv"), ("x.txt", "text"), ("x", "text")]
    {
        assert_eq!(caption(&desk, &["red.png", "--output", name]).code, 0);
        assert_eq!(read(&desk, name), caption(&desk, &["red.png", "--format", format]).stdout, "{name}");
    }
    assert_eq!(caption(&desk, &["red.png", "--output", "x.tar"]).code, 0);
    assert!(crate::bulk::members(desk.join("x.tar")).contains_key("red.txt"));
    assert_eq!(caption(&desk, &["red.png", "--output", "y.jsonl", "--format", "text"]).code, 0);
    assert_eq!(read(&desk, "y.jsonl"), caption(&desk, &["red.png"]).stdout, "what is typed counts");
}

#[test]
fn an_output_that_is_there_is_replaced_by_force_alone() {
    let desk = Desk::new();
    desk.write("notes.jsonl", b"mine");
    for more in [&[][..], &["--resume"]] {
        let refused = caption(&desk, &[&["red.png", "--output", "notes.jsonl"], more].concat());
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(
            refused.check_messages().stderr.contains("notes.jsonl: exists already; `--force` replaces it")
        );
        assert_eq!(read(&desk, "notes.jsonl"), "mine");
        assert!(!desk.join("notes.jsonl.part").exists());
    }
    assert_eq!(caption(&desk, &["red.png", "--output", "notes.jsonl", "--force"]).code, 0);
    assert!(read(&desk, "notes.jsonl").contains("red.png"));
    desk.write("empty.txt", b"");
    assert_eq!(caption(&desk, &["red.png", "--output", "empty.txt"]).code, 0, "nothing is lost");
}

#[test]
fn text_is_put_around_captions_and_words_are_replaced() {
    let desk = Desk::new();
    let plain = caption(&desk, &["red.png"]).stdout;
    let plain = plain.trim_end();
    let args = ["red.png", "--prepend", "sks style, ", "--append", ", photo"];
    assert_eq!(caption(&desk, &args).stdout, format!("sks style, {plain}, photo\n"));
    let records = caption(&desk, &[&args[..], &["--format", "jsonl", "--captions", "2"]].concat()).jsonl();
    for entry in records[0]["captions"].as_array().unwrap() {
        let text = entry["caption"].as_str().unwrap();
        assert!(text.starts_with("sks style, ") && text.ends_with(", photo"), "{text}");
    }
    let first: String = plain.chars().take(1).collect();
    let replaced =
        caption(&desk, &["red.png", "--replace", &format!("{first}=<>"), "--replace", "<>=[]"]).stdout;
    assert_eq!(replaced.trim_end(), plain.replace(&first, "[]"));
    assert_eq!(caption(&desk, &["red.png", "--replace", "=x"]).code, 2);
    // A run that was stopped goes on in the same words alone.
    desk.write("bad.png", b"no picture");
    let stop = ["bad.png", "red.png", "--errors", "fail", "--output", "o.txt", "--batch-size", "1"];
    let stop = [&["green.png"], &stop[..]].concat();
    assert_eq!(caption(&desk, &stop).code, 1);
    let other = caption(&desk, &[&stop[..], &["--resume", "--prepend", "x"]].concat());
    assert!(other.code == 2 && other.stderr.contains("another run"), "{other:?}");
}

#[test]
fn text_files_end_as_trainers_want_them() {
    let desk = Desk::new();
    desk.picture("p/a.png", [9, 80, 200]);
    let text = caption(&desk, &["p/a.png", "--prepend", "sks, "]).stdout;
    let args = ["p", "--format", "sidecar", "--extension", ".caption", "--prepend", "sks, "];
    let written = caption(&desk, &args);
    assert_eq!(written.code, 0, "{written:?}");
    assert_eq!(read(&desk, "p/a.caption"), text);
    assert!(caption(&desk, &args).stderr.contains("1 pictures have a text file already"));
    for (more, expected) in [
        (&["--format", "sidecar", "--extension", ".png"][..], "expected an ending such as .caption"),
        (&["--extension", ".caption"], "`--extension` is for `--format sidecar`"),
    ] {
        let refused = caption(&desk, &[&["p"], more].concat());
        assert!(refused.code == 2 && refused.stderr.contains(expected), "{refused:?}");
    }
    // A picture without a picture's name is not taken for its own text file.
    fs::copy(desk.join("p/a.png"), desk.join("p/b.txt")).unwrap();
    let before = fs::read(desk.join("p/b.txt")).unwrap();
    let written = caption(&desk, &["p", "--format", "sidecar", "--on-existing", "overwrite"]);
    assert_eq!(written.code, 0, "{written:?}");
    assert_eq!(fs::read(desk.join("p/b.txt")).unwrap(), before);
    assert!(desk.join("p/b.txt.txt").is_file() && desk.join("p/a.txt").is_file());
}

#[test]
fn an_image_folder_of_hugging_face_gets_its_metadata() {
    let desk = Desk::new();
    desk.picture("p/a.png", [9, 80, 200]);
    desk.picture("p/深/b.png", [200, 80, 9]);
    desk.write("p/bad.png", b"no picture");
    let args = ["p", "-r", "--format", "metadata", "--output", "p/metadata.jsonl"];
    assert_eq!(caption(&desk, &args).code, 1, "one is broken");
    let text = |name: &str| caption(&desk, &[name]).stdout.trim_end().to_owned();
    let lines: Vec<serde_json::Value> =
        read(&desk, "p/metadata.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = [("a.png", "p/a.png"), ("深/b.png", "p/深/b.png")]
        .map(|(name, path)| serde_json::json!({ "file_name": name, "text": text(path) }));
    assert_eq!(lines, expected);
    let outside = caption(&desk, &["p", "-r", "--format", "metadata", "--output", "texts.d/m.jsonl"]);
    assert_eq!(outside.code, 2, "{outside:?}");
    fs::create_dir(desk.join("texts.d")).unwrap();
    let outside = caption(&desk, &["p", "-r", "--format", "metadata", "--output", "texts.d/m.jsonl"]);
    assert!(outside.code == 2 && outside.stderr.contains("below texts.d"), "{outside:?}");
}

#[test]
fn captions_that_never_ended_are_marked_and_replaced() {
    let desk = Desk::new();
    let args = ["red.png", "green.png", "--captions", "4", "--beams", "4", "--format", "jsonl"];
    let (plain, ended) = (desk.caption(&args), desk.caption(&[&args[..], &["--finished-only"]].concat()));
    assert_eq!((plain.code, ended.code), (0, 0), "{ended:?}");
    let entries = |outcome: &Outcome| -> Vec<serde_json::Value> {
        outcome.jsonl().iter().flat_map(|record| record["captions"].as_array().unwrap().clone()).collect()
    };
    let is_marked = |entry: &serde_json::Value| entry["is_finished"] == false;
    let (plain, ended) = (entries(&plain), entries(&ended));
    assert!(plain.iter().any(is_marked), "the tiny model writes texts without an end: {plain:?}");
    assert!(ended.len() == 8 && !ended.iter().any(is_marked), "{ended:?}");
    let end = ended[0]["token_ids"].as_array().unwrap().last().unwrap().clone();
    for entry in &plain {
        let ids = entry["token_ids"].as_array().unwrap();
        assert_eq!(is_marked(entry), ids.last() != Some(&end), "{entry}");
    }
    for entry in &ended {
        let ids = entry["token_ids"].as_array().unwrap();
        assert_eq!(ids.iter().position(|id| *id == end), Some(ids.len() - 1), "{entry}");
    }
    let sampled = desk.caption(&["red.png", "--finished-only", "--sample"]);
    assert!(sampled.code == 2 && sampled.stderr.contains("cannot be used with"), "{sampled:?}");
}
