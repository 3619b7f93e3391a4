//! Captions in bulk: runs that are killed go on to the same bytes, parts make the whole, archives in and out, text files beside
//! pictures.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Desk, Outcome};

/// Pictures in a tree: plain names, Chinese, emoji, spaces, a line break; every fifth the same as the first; one is broken.
fn tree(desk: &Desk, count: usize) -> usize {
    for number in 0..count {
        let folder = ["", "子目录/", "a b/", "🙂/深/"][number % 4];
        let name = ["猫", "two cats", "a\nb", "🐱"][number / 4 % 4];
        let colour = if number % 5 == 0 { 0 } else { number };
        desk.picture(&format!("tree/{folder}{name} {number:03}.png"), [colour as u8, 90, (colour * 3) as u8]);
    }
    desk.write("tree/broken.jpg", b"no picture");
    count + 1
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

fn caption(desk: &Desk, args: &[&str]) -> Outcome {
    desk.caption(&[args, &["--max-new-tokens", "6"]].concat())
}

#[test]
fn a_run_killed_again_and_again_ends_in_the_same_bytes() {
    let desk = Desk::new();
    let count = tree(&desk, 160);
    let whole = caption(&desk, &["tree", "-r", "--format", "jsonl", "--output", "whole.jsonl"]);
    assert_eq!(whole.code, 1, "{}", whole.stderr);
    assert_eq!(read(desk.join("whole.jsonl")).lines().count(), count);
    let kills = desk.caption_killed(
        &["tree", "-r", "--format", "jsonl", "--output", "out.jsonl"],
        "out.jsonl.part",
        || desk.join("out.jsonl").exists(),
    );
    assert!(kills > 2, "only {kills} kills");
    assert_eq!(read(desk.join("whole.jsonl")), read(desk.join("out.jsonl")));
    assert!(!desk.join("out.jsonl.part").exists());
}

#[test]
fn an_unfinished_run_is_asked_about_and_another_run_refused() {
    let desk = Desk::new();
    tree(&desk, 12);
    let stopped =
        caption(&desk, &["tree", "-r", "--output", "out.txt", "--errors", "fail", "--batch-size", "1"]);
    assert_eq!(stopped.code, 1, "{}", stopped.stderr);
    assert!(stopped.check_messages().stderr.contains("stopped at the first failure"), "{}", stopped.stderr);
    assert!(desk.join("out.txt.part").exists() && !desk.join("out.txt").exists());

    let refused = caption(&desk, &["tree", "-r", "--output", "out.txt"]);
    assert_eq!(refused.code, 2);
    assert!(
        refused.stderr.contains("`--resume` goes on") && refused.stderr.contains("out.txt.part"),
        "{}",
        refused.stderr
    );
    for other in [&["--beams", "2"][..], &["--raw"], &["--prefix", "red"], &["--captions", "1"]] {
        let args = [&["tree", "-r", "--output", "out.txt", "--resume"], other].concat();
        let refused = caption(&desk, &args);
        assert_eq!(refused.code, 2);
        assert!(refused.stderr.contains("another run"), "{}", refused.stderr);
    }
    desk.picture("tree/00 new.png", [1, 2, 3]);
    let refused = caption(&desk, &["tree", "-r", "--output", "out.txt", "--resume"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    fs::remove_file(desk.join("tree/00 new.png")).unwrap();

    let resumed = caption(&desk, &["tree", "-r", "--output", "out.txt", "--resume"]);
    assert_eq!(resumed.code, 1, "{}", resumed.stderr);
    let begun_anew = caption(&desk, &["tree", "-r", "--output", "new.txt", "--force"]);
    assert_eq!(begun_anew.code, 1, "{}", begun_anew.stderr);
    assert_eq!(read(desk.join("out.txt")), read(desk.join("new.txt")));
    assert_eq!(caption(&desk, &["red.png", "--resume"]).code, 2, "standard output cannot be resumed");
}

#[test]
fn parts_behind_each_other_are_the_whole() {
    let desk = Desk::new();
    tree(&desk, 10);
    let whole = caption(&desk, &["tree", "-r", "--format", "jsonl"]);
    let parts: String = (0..3)
        .map(|part| {
            caption(&desk, &["tree", "-r", "--format", "jsonl", "--shard", &format!("{part}/3")]).stdout
        })
        .collect();
    assert_eq!(parts, whole.stdout);
    assert_eq!(caption(&desk, &["tree", "--shard", "3/3"]).code, 2);
}

#[test]
fn failures_are_summed_up_by_reason() {
    let desk = Desk::new();
    for number in 0..3 {
        desk.write(&format!("many/{number}.png"), b"");
    }
    desk.write("many/x.png", b"no picture");
    let outcome = caption(&desk, &["many", "red.png"]);
    assert_eq!(outcome.code, 1);
    let stderr = &outcome.check_messages().stderr;
    assert!(stderr.contains("4 of 5 inputs failed") && stderr.contains("mplug: 3 x "), "{stderr}");
}

/// The members of a tar: names and bytes.
pub(crate) fn members(path: PathBuf) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(fs::File::open(path).unwrap());
    let member = |entry: std::io::Result<tar::Entry<'_, fs::File>>| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().display().to_string(), bytes)
    };
    archive.entries().unwrap().map(member).collect()
}

#[test]
fn archives_are_read_and_a_shard_is_written() {
    let desk = Desk::new();
    let mut builder = tar::Builder::new(fs::File::create(desk.join("in.tar")).unwrap());
    for (file, name) in [("red.png", "0002.png"), ("green.png", "猫/0001.png"), ("blue.jpg", "0002.jpg")] {
        builder.append_path_with_name(desk.join(file), name).unwrap();
    }
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o644);
    builder.append_data(&mut header, "0002.txt", &b"old"[..]).unwrap();
    builder.into_inner().unwrap();

    let single = caption(&desk, &["red.png", "green.png", "blue.jpg"]);
    let captions: Vec<&str> = single.stdout.lines().map(|line| line.split_once('\t').unwrap().1).collect();
    let inside = caption(&desk, &["in.tar"]);
    assert_eq!(inside.code, 0, "{}", inside.stderr);
    let expected = ["in.tar/0002.png", "in.tar/猫/0001.png", "in.tar/0002.jpg"];
    let lines: Vec<String> =
        expected.iter().zip(&captions).map(|(path, caption)| format!("{path}\t{caption}")).collect();
    assert_eq!(inside.stdout.lines().collect::<Vec<_>>(), lines);

    let written = caption(&desk, &["in.tar", "--format", "tar", "--output", "out.tar"]);
    assert_eq!(written.code, 0, "{}", written.stderr);
    let found = members(desk.join("out.tar"));
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    let keys = ["in.tar/0002", "in.tar/0002_jpg", "in.tar/猫/0001"];
    let mut expected: Vec<String> = keys
        .iter()
        .zip(["png", "jpg", "png"])
        .flat_map(|(key, ending)| [ending, "json", "txt"].map(|ending| format!("{key}.{ending}")))
        .collect();
    expected.sort();
    assert_eq!(names, expected);
    assert_eq!(found["in.tar/0002.png"], fs::read(desk.join("red.png")).unwrap());
    assert_eq!(found["in.tar/0002.txt"], captions[0].as_bytes());

    let damaged = fs::read(desk.join("in.tar")).unwrap();
    desk.write("cut.tar", &damaged[..damaged.len() / 2]);
    let outcome = caption(&desk, &["cut.tar", "red.png"]);
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    assert!(outcome.check_messages().stderr.contains("cut.tar"), "{}", outcome.stderr);
}

#[test]
fn a_table_quotes_what_needs_it() {
    let desk = Desk::new();
    desk.picture("a,\"b\".png", [3, 4, 5]);
    desk.write("empty.png", b"");
    let outcome =
        caption(&desk, &["a,\"b\".png", "empty.png", "--format", "csv", "--captions", "2", "--beams", "3"]);
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    let mut table = csv::Reader::from_reader(outcome.stdout.as_bytes());
    let head: Vec<String> = table.headers().unwrap().iter().map(str::to_owned).collect();
    assert_eq!(head, ["path", "caption_1", "score_1", "caption_2", "score_2", "error"]);
    let rows: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
    assert_eq!((&rows[0][0], &rows[0][5]), ("a,\"b\".png", ""));
    assert!(!rows[0][1].is_empty() && rows[0][2].parse::<f32>().is_ok());
    assert_eq!((&rows[1][0], &rows[1][1]), ("empty.png", ""));
    assert!(rows[1][5].contains("empty"), "{:?}", rows[1]);
}

#[test]
fn text_files_beside_pictures() {
    let desk = Desk::new();
    for name in ["p/a.jpg", "p/a.png", "p/深/b.png"] {
        desk.picture(name, [9, 80, 200]);
    }
    let caption_of = caption(&desk, &["p/a.png"]).stdout;
    let first = caption(&desk, &["p", "-r", "--format", "sidecar"]);
    assert_eq!((first.code, first.stdout.as_str()), (0, ""), "{}", first.stderr);
    // a.jpg and a.png share their name: each keeps its ending.
    for name in ["p/a.jpg.txt", "p/a.png.txt", "p/深/b.txt"] {
        assert!(desk.join(name).is_file(), "{name}");
    }
    assert_eq!(read(desk.join("p/a.png.txt")), caption_of);

    desk.write("p/深/b.txt", "mine\n".as_bytes());
    let again = caption(&desk, &["p", "-r", "--format", "sidecar"]);
    assert!(again.stderr.contains("3 pictures have a text file already"), "{}", again.stderr);
    assert_eq!(read(desk.join("p/深/b.txt")), "mine\n");
    let mine = caption_of.trim_end();
    for (on_existing, expected) in [
        ("append", format!("mine, {mine}\n")),
        ("prepend", format!("{mine}, mine, {mine}\n")),
        ("overwrite", caption_of.clone()),
    ] {
        let outcome = caption(&desk, &["p", "-r", "--format", "sidecar", "--on-existing", on_existing]);
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        assert_eq!(read(desk.join("p/深/b.txt")), expected, "{on_existing}");
    }
    let elsewhere = caption(&desk, &["p", "-r", "--format", "sidecar", "--output", "texts"]);
    assert_eq!(elsewhere.code, 0, "{}", elsewhere.stderr);
    assert_eq!(read(desk.join("texts/深/b.txt")), caption_of);
    assert!(!desk.join("texts/.mplug-captions.part").exists());
    assert_eq!(caption(&desk, &["p", "--on-existing", "append"]).code, 2, "no meaning without text files");
}

/// Appending twice would not be what an unbroken run does.
#[test]
fn appended_texts_survive_a_kill() {
    let desk = Desk::new();
    for number in 0..120 {
        desk.picture(&format!("p/{number:03}.png"), [number, 80, 200]);
        desk.write(&format!("p/{number:03}.txt"), b"mine\n");
    }
    let caption_of = caption(&desk, &["p"]).stdout;
    let expected: Vec<String> =
        caption_of.lines().map(|line| format!("mine, {}\n", line.split_once('\t').unwrap().1)).collect();
    let journal = "p/.mplug-captions.part";
    // Killed between its end and its exit code a run is over all the same: once more would be another run.
    let is_over = || !desk.join(journal).exists() && read(desk.join("p/119.txt")) != "mine\n";
    let kills =
        desk.caption_killed(&["p", "--format", "sidecar", "--on-existing", "append"], journal, is_over);
    assert!(kills > 2, "only {kills} kills");
    for (number, expected) in expected.iter().enumerate() {
        assert_eq!(read(desk.join(&format!("p/{number:03}.txt"))), *expected);
    }
}

#[test]
fn patterns_and_annotation_files_name_pictures() {
    let desk = Desk::new();
    tree(&desk, 8);
    let by_folder = caption(&desk, &["tree/子目录"]);
    let by_pattern = caption(&desk, &["tree/子*/*.png"]);
    assert_eq!((by_pattern.code, &by_pattern.stdout), (0, &by_folder.stdout), "{}", by_pattern.stderr);
    let nothing = caption(&desk, &["tree/*.webp", "red.png"]);
    assert!(nothing.stderr.contains("no file fits this pattern"), "{}", nothing.stderr);

    let annotations = r#"{"images": [{"id": 1, "file_name": "green.png"}, {"id": 2, "file_name": "red.png"},
        {"id": 3, "file_name": "gone.png"}],
        "annotations": [{"id": 1, "image_id": 2, "caption": "x"}, {"id": 2, "image_id": 1, "caption": "y"},
        {"id": 3, "image_id": 2, "caption": "z"}, {"id": 4, "image_id": 3, "caption": "z"}]}"#;
    desk.write("coco.json", annotations.as_bytes());
    let dataset = caption(&desk, &["--dataset", "coco.json", "--format", "jsonl"]);
    assert_eq!(dataset.code, 1, "{}", dataset.stderr);
    let records = dataset.jsonl();
    assert_eq!(records.len(), 3);
    assert!(records.iter().filter(|record| record["error"].is_null()).count() == 2);
    assert!(dataset.check_messages().stderr.contains("gone.png"), "{}", dataset.stderr);
    assert_eq!(caption(&desk, &[]).code, 2, "no input");
}

/// The first signal lets the batch at hand end and says how to go on; a run that goes on gives the same bytes.
#[cfg(unix)]
#[test]
fn ctrl_c_keeps_what_was_done() {
    let desk = Desk::new();
    tree(&desk, 300);
    let arguments = ["tree", "-r", "--format", "jsonl", "--batch-size", "1", "--output"];
    let whole = caption(&desk, &[&arguments[..], &["whole.jsonl"]].concat());
    assert_eq!(whole.code, 1, "one picture is broken: {}", whole.stderr);
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("mplug"))
        .current_dir(desk.path())
        .args(["caption", "--model", "model", "--max-new-tokens", "6"])
        .args(arguments)
        .arg("out.jsonl")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Before there is a journal there is nothing to keep, and perhaps nobody who listens.
    let journal = desk.join("out.jsonl.part");
    while fs::metadata(&journal).map_or(0, |found| found.len()) < 2000 {
        assert!(child.try_wait().unwrap().is_none(), "the run ended by itself");
        std::thread::sleep(Duration::from_millis(1));
    }
    let killed = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(killed.success() && output.status.code() == Some(130), "{message}");
    assert!(message.contains("stopped by a signal") && message.contains("--resume"), "{message}");
    assert!(!desk.join("out.jsonl").exists() && journal.exists());
    caption(&desk, &[&arguments[..], &["out.jsonl", "--resume"]].concat());
    assert_eq!(read(desk.join("out.jsonl")), read(desk.join("whole.jsonl")));
}

/// A disk without room, played by a limit on file sizes: the file is named, no output appears, and with room the run goes on to
/// the same bytes.
#[cfg(unix)]
#[test]
fn a_full_disk_names_the_file_and_spoils_nothing() {
    let desk = Desk::new();
    tree(&desk, 160);
    let whole = caption(&desk, &["tree", "-r", "--format", "json", "--output", "whole.json"]);
    assert_eq!(whole.code, 1, "one picture is broken: {}", whole.stderr);
    let json = ["tree", "-r", "--format", "json", "--output", "out.json"];
    let full = desk.run_without_room(
        8,
        &[&["caption", "--model", "model", "--max-new-tokens", "6"][..], &json].concat(),
    );
    assert_eq!(full.code, 2, "{}", full.stderr);
    assert!(full.stderr.contains("out.json.part"), "{}", full.stderr);
    assert!(!desk.join("out.json").exists());
    let resumed = caption(&desk, &["tree", "-r", "--format", "json", "--output", "out.json", "--resume"]);
    assert_eq!(resumed.code, 1, "{}", resumed.stderr);
    assert_eq!(read(desk.join("out.json")), read(desk.join("whole.json")));
    let leftovers = fs::read_dir(desk.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let leftovers: Vec<_> = leftovers.filter(|name| name.to_string_lossy().contains("out.json")).collect();
    assert_eq!(leftovers, ["out.json"]);
}

/// Files that are listed and gone when their turn comes, and folders that cannot be written to.
#[cfg(unix)]
#[test]
fn what_is_gone_or_closed_is_named() {
    let desk = Desk::new();
    fs::create_dir(desk.join("album")).unwrap();
    fs::copy(desk.join("red.png"), desk.join("album/a.png")).unwrap();
    std::os::unix::fs::symlink("nowhere.png", desk.join("album/b.png")).unwrap();
    let outcome = caption(&desk, &["album", "--format", "jsonl"]);
    assert_eq!(outcome.code, 1);
    let records = outcome.jsonl();
    assert!(records[0]["caption"].is_string());
    assert!(records[1]["error"].as_str().unwrap().contains("cannot be read"), "{}", records[1]);
    // A folder where a text file should go, and an output below a file: as closed as a read-only folder, for root too.
    fs::create_dir(desk.join("album/a.txt")).unwrap();
    for (args, expected) in [
        (&["album", "--format", "sidecar", "--on-existing", "overwrite"][..], "album/a.txt"),
        (&["album", "--output", "red.png/out.txt"], "red.png/out.txt"),
        (&["album", "--format", "sidecar", "--output", "red.png/texts"], "red.png/texts"),
    ] {
        let outcome = caption(&desk, args);
        assert_eq!(outcome.code, 2, "{args:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(expected), "{args:?}: {}", outcome.stderr);
    }
}
