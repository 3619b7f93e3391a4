//! What no run made stays as it is: files in a journal's place, links, pipes, and the other names of a file.

use std::fs;

use crate::support::{Desk, Outcome};

fn caption(desk: &Desk, args: &[&str]) -> Outcome {
    desk.caption(&[args, &["--max-new-tokens", "4"]].concat())
}

/// An annotation file of one picture.
fn coco(desk: &Desk) {
    let text = r#"{"images": [{"id": 1, "file_name": "red.png"}], "annotations": [{"id": 1, "image_id": 1, "caption": "x"}]}"#;
    desk.write("coco.json", text.as_bytes());
}

fn eval(desk: &Desk, journal: &str) -> Outcome {
    desk.run(&["eval", "--model", "model", "--dataset", "coco.json", "--resume", journal])
}

#[test]
fn no_file_but_its_own_is_a_journal() {
    let desk = Desk::new();
    coco(&desk);
    assert_eq!(eval(&desk, "own.part").code, 0);
    let of_eval = fs::read(desk.join("own.part")).unwrap();
    let ways = [&[][..], &["--resume"], &["--force"]];
    for bytes in [
        &b"[{\"image_id\": 1, \"caption\": \"x\"}]"[..],
        b"important notes",
        b"important\nnotes\n",
        b"\n",
        b"{\"captions_of\": 1",
        b"\x89PNG\r\n\x1a\n",
        &of_eval,
    ] {
        desk.write("out.jsonl.part", bytes);
        for way in ways {
            let args = [&["red.png", "--format", "jsonl", "--output", "out.jsonl"], way].concat();
            let refused = caption(&desk, &args);
            assert_eq!(refused.code, 2, "{way:?} {refused:?}");
            let message = &refused.check_messages().stderr;
            assert!(message.contains("out.jsonl.part") && message.contains("move it away"), "{message}");
            assert_eq!(fs::read(desk.join("out.jsonl.part")).unwrap(), bytes, "{way:?}");
            assert!(!desk.join("out.jsonl").exists());
        }
        if bytes != of_eval {
            desk.write("results.json", bytes);
            let refused = eval(&desk, "results.json");
            assert!(refused.code == 2 && refused.stderr.contains("results.json"), "{refused:?}");
            assert_eq!(fs::read(desk.join("results.json")).unwrap(), bytes);
        }
    }
    // Nothing is lost with an empty file, nor with the beginning of the first line that a killed run left.
    for len in [0, 1, 10, 30, 60] {
        desk.write("own.part", &of_eval[..len]);
        assert_eq!(eval(&desk, "own.part").code, 0, "{len}");
        assert_eq!(fs::read(desk.join("own.part")).unwrap(), of_eval);
    }
    desk.write("out.jsonl.part", b"");
    assert_eq!(caption(&desk, &["red.png", "--format", "jsonl", "--output", "out.jsonl"]).code, 0);
    assert!(desk.join("out.jsonl").exists() && !desk.join("out.jsonl.part").exists());
}

#[cfg(unix)]
#[test]
fn no_link_folder_or_pipe_is_a_journal() {
    use std::os::unix::fs::symlink;

    let desk = Desk::new();
    coco(&desk);
    assert_eq!(eval(&desk, "own.part").code, 0);
    let own = fs::read(desk.join("own.part")).unwrap();
    desk.write("victim", b"precious");
    for (name, target) in [("a", "victim"), ("b", "nothing"), ("c", "own.part"), ("d", "/dev/null")] {
        symlink(target, desk.join(&format!("{name}.part"))).unwrap();
    }
    fs::create_dir(desk.join("e.part")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(desk.join("f.part")).status().unwrap().success());
    for (name, expected) in [
        ("a", "a.part: is a link"),
        ("b", "b.part: is a link"),
        ("c", "c.part: is a link"),
        ("d", "d.part: is a link"),
        ("e", "e.part: is a folder"),
        ("f", "f.part: is a pipe"),
    ] {
        let evaluated = eval(&desk, &format!("{name}.part"));
        let resumed = caption(&desk, &["red.png", "--output", name, "--resume"]);
        let begun = caption(&desk, &["red.png", "--output", name, "--force"]);
        for refused in [evaluated, resumed, begun] {
            assert!(refused.code == 2 && refused.stderr.contains(expected), "{refused:?}");
        }
    }
    assert_eq!(fs::read(desk.join("victim")).unwrap(), b"precious");
    assert_eq!(fs::read(desk.join("own.part")).unwrap(), own);
    assert!(!desk.join("nothing").exists() && desk.join("b.part").is_symlink());
    // Nor is a link that leads nowhere an output: a file would take its place.
    symlink("nothing", desk.join("out.txt")).unwrap();
    let refused = caption(&desk, &["red.png", "--output", "out.txt"]);
    assert!(refused.code == 2 && refused.stderr.contains("leads nowhere"), "{refused:?}");
    assert!(desk.join("out.txt").is_symlink());
}

#[cfg(unix)]
#[test]
fn a_link_in_place_of_a_text_file_fails_its_picture_alone() {
    use std::os::unix::fs::symlink;

    let desk = Desk::new();
    for name in ["d/a.png", "d/b.png", "d/c.png"] {
        desk.picture(name, [9, 80, 200]);
    }
    desk.write("victim", b"precious\n");
    let mine = caption(&desk, &["d/b.png"]).stdout;
    symlink("../victim", desk.join("d/a.txt")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(desk.join("d/c.txt")).status().unwrap().success());
    for on_existing in ["overwrite", "append", "prepend"] {
        let _ = fs::remove_file(desk.join("d/b.txt"));
        let outcome = caption(&desk, &["d", "--format", "sidecar", "--on-existing", on_existing]);
        assert_eq!(outcome.code, 1, "{outcome:?}");
        let message = &outcome.check_messages().stderr;
        assert!(message.contains("d/a.png: its text file d/a.txt is a link"), "{message}");
        assert!(message.contains("d/c.png: its text file d/c.txt is no regular file"), "{message}");
        assert!(message.contains("2 of 3 inputs failed"), "{message}");
        assert_eq!(fs::read(desk.join("victim")).unwrap(), b"precious\n", "{on_existing}");
        assert!(desk.join("d/a.txt").is_symlink());
        assert_eq!(fs::read_to_string(desk.join("d/b.txt")).unwrap(), mine, "{on_existing}");
        assert!(!desk.join("d/.mplug-captions.part").exists());
    }
    // What is there is skipped; a link to nothing is not there, and would be replaced.
    fs::remove_file(desk.join("d/c.txt")).unwrap();
    symlink("nothing", desk.join("d/c.txt")).unwrap();
    let skipped = caption(&desk, &["d", "--format", "sidecar"]);
    assert!(skipped.code == 1 && skipped.stderr.contains("d/c.txt is a link"), "{skipped:?}");
    assert!(skipped.stderr.contains("2 pictures have a text file already"), "{skipped:?}");
    assert!(desk.join("d/c.txt").is_symlink() && !desk.join("d/nothing").exists());
    assert_eq!(fs::read(desk.join("victim")).unwrap(), b"precious\n");
}

#[cfg(unix)]
#[test]
fn folders_that_are_links_lead_no_text_out() {
    use std::os::unix::fs::symlink;

    let desk = Desk::new();
    for name in ["p/sub/a.png", "p/b.png", "elsewhere/c.png"] {
        desk.picture(name, [9, 80, 200]);
    }
    // Pictures behind a link to a folder are not found, so that none has a text there.
    symlink("../elsewhere", desk.join("p/link")).unwrap();
    assert_eq!(caption(&desk, &["p", "-r", "--format", "sidecar"]).code, 0);
    assert!(desk.join("p/sub/a.txt").exists() && !desk.join("elsewhere/c.txt").exists());
    fs::create_dir(desk.join("out")).unwrap();
    symlink("../elsewhere", desk.join("out/sub")).unwrap();
    let outcome = caption(&desk, &["p", "-r", "--format", "sidecar", "--output", "out"]);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(outcome.stderr.contains("the folder of its text file out/sub is a link"), "{outcome:?}");
    assert!(desk.join("out/b.txt").exists() && !desk.join("elsewhere/a.txt").exists());
}

#[cfg(unix)]
#[test]
fn a_planted_journal_of_text_files_is_refused() {
    use std::os::unix::fs::symlink;

    let desk = Desk::new();
    desk.picture("d/a.png", [9, 80, 200]);
    desk.write("victim", b"precious");
    let journal = desk.join("d/.mplug-captions.part");
    let args = ["d", "--format", "sidecar", "--on-existing", "overwrite"];
    for way in [&[][..], &["--force"], &["--resume"]] {
        symlink("../victim", &journal).unwrap();
        let refused = caption(&desk, &[&args[..], way].concat());
        assert!(
            refused.code == 2 && refused.stderr.contains(".mplug-captions.part: is a link"),
            "{refused:?}"
        );
        fs::remove_file(&journal).unwrap();
        // Another name of the same file is that file.
        fs::hard_link(desk.join("victim"), &journal).unwrap();
        let refused = caption(&desk, &[&args[..], way].concat());
        assert!(refused.code == 2 && refused.stderr.contains("is not a journal"), "{refused:?}");
        fs::remove_file(&journal).unwrap();
        assert_eq!(fs::read(desk.join("victim")).unwrap(), b"precious");
        assert!(!desk.join("d/a.txt").exists());
    }
}

/// A text file with another name elsewhere: the text is new, the other name keeps what it had.
#[cfg(unix)]
#[test]
fn the_other_name_of_a_text_file_keeps_its_text() {
    let desk = Desk::new();
    desk.picture("d/a.png", [9, 80, 200]);
    let mine = caption(&desk, &["d/a.png"]).stdout;
    for (on_existing, expected) in [
        ("append", format!("old, {mine}")),
        ("prepend", format!("{}, old\n", mine.trim_end())),
        ("overwrite", mine.clone()),
    ] {
        let _ = fs::remove_file(desk.join("d/a.txt"));
        desk.write("other", b"old\n");
        fs::hard_link(desk.join("other"), desk.join("d/a.txt")).unwrap();
        let outcome = caption(&desk, &["d", "--format", "sidecar", "--on-existing", on_existing]);
        assert_eq!(outcome.code, 0, "{outcome:?}");
        assert_eq!(fs::read(desk.join("other")).unwrap(), b"old\n", "{on_existing}");
        assert_eq!(fs::read_to_string(desk.join("d/a.txt")).unwrap(), expected, "{on_existing}");
    }
}
