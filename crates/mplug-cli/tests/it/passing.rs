//! Failures that pass: they are named, they are no answers, and `--resume` tries them again, to the bytes of a run without trouble.

use std::fs;

use crate::support::{Desk, Outcome};

fn caption(desk: &Desk, args: &[&str]) -> Outcome {
    desk.caption(&[args, &["--max-new-tokens", "4"]].concat())
}

fn read(desk: &Desk, name: &str) -> String {
    fs::read_to_string(desk.join(name)).unwrap()
}

/// A device's error, played by a file of the system whose beginning cannot be read.
#[cfg(target_os = "linux")]
#[test]
fn a_devices_error_is_no_answer() {
    let desk = Desk::new();
    desk.write("broken.png", b"no picture");
    let inputs = ["red.png", "x.png", "broken.png", "green.png"];
    let run = |output: &[&str]| caption(&desk, &[&inputs[..], output].concat());
    fs::copy(desk.join("blue.jpg"), desk.join("x.png")).unwrap();
    for format in ["text", "jsonl", "csv", "tar"] {
        let whole = run(&["--format", format, "--output", "whole", "--force"]);
        assert_eq!(whole.code, 1, "one picture is broken: {whole:?}");
        assert!(!whole.stderr.contains("not tried"), "{whole:?}");
        assert!(!desk.join("whole.part").exists());
        let whole = fs::read(desk.join("whole")).unwrap();

        fs::remove_file(desk.join("x.png")).unwrap();
        std::os::unix::fs::symlink("/proc/self/mem", desk.join("x.png")).unwrap();
        let _ = fs::remove_file(desk.join("out"));
        let troubled = run(&["--format", format, "--output", "out"]);
        assert_eq!(troubled.code, 1, "{troubled:?}");
        let message = &troubled.check_messages().stderr;
        assert!(
            message.contains("x.png: cannot be read") && message.contains("(not tried to the end)"),
            "{message}"
        );
        assert!(message.contains("2 of 4 inputs failed"), "{message}");
        assert!(
            message.ends_with("1 of 4 inputs not tried to the end; run again with `--resume`\n"),
            "{message}"
        );
        // The output is there, with what is known; the journal too.
        assert!(desk.join("out").exists() && desk.join("out.part").exists());
        assert_ne!(fs::read(desk.join("out")).unwrap(), whole);
        assert_eq!(run(&["--format", format, "--output", "out"]).code, 2, "an unfinished run is asked about");

        let again = run(&["--format", format, "--output", "out", "--resume"]);
        assert_eq!(again.code, 1, "{again:?}");
        assert!(again.stderr.contains("3 of 4 inputs were done already"), "{again:?}");
        assert!(again.stderr.contains("1 of 4 inputs not tried to the end"), "{again:?}");
        assert!(desk.join("out.part").exists());

        fs::remove_file(desk.join("x.png")).unwrap();
        fs::copy(desk.join("blue.jpg"), desk.join("x.png")).unwrap();
        let passed = run(&["--format", format, "--output", "out", "--resume"]);
        assert_eq!(passed.code, 1, "one picture is broken: {passed:?}");
        assert!(passed.stderr.contains("1 of 4 inputs failed"), "{passed:?}");
        assert_eq!(fs::read(desk.join("out")).unwrap(), whole, "{format}");
        assert!(!desk.join("out.part").exists());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn texts_of_a_devices_error_are_added_once() {
    let desk = Desk::new();
    for name in ["d/a.png", "d/b.png"] {
        desk.picture(name, [9, 80, 200]);
    }
    let mine = caption(&desk, &["d/a.png"]).stdout;
    desk.write("d/a.txt", b"old\n");
    desk.write("d/b.txt", b"old\n");
    fs::rename(desk.join("d/b.png"), desk.join("aside")).unwrap();
    std::os::unix::fs::symlink("/proc/self/mem", desk.join("d/b.png")).unwrap();
    let args = ["d", "--format", "sidecar", "--on-existing", "append", "--resume"];
    for _ in 0..2 {
        let troubled = caption(&desk, &args);
        assert!(
            troubled.code == 1 && troubled.stderr.contains("1 of 2 inputs not tried to the end"),
            "{troubled:?}"
        );
        assert_eq!(
            (read(&desk, "d/a.txt"), read(&desk, "d/b.txt").as_str()),
            (format!("old, {mine}"), "old\n")
        );
    }
    fs::remove_file(desk.join("d/b.png")).unwrap();
    fs::rename(desk.join("aside"), desk.join("d/b.png")).unwrap();
    assert_eq!(caption(&desk, &args).code, 0);
    for name in ["d/a.txt", "d/b.txt"] {
        assert_eq!(read(&desk, name), format!("old, {mine}"));
    }
    assert!(!desk.join("d/.mplug-captions.part").exists());
}

/// However few files may be open, what is kept is never "too many open files".
#[cfg(unix)]
#[test]
fn too_many_open_files_are_no_answer() {
    let desk = Desk::new();
    let inputs = ["red.png", "green.png", "blue.jpg", "两只 猫.png"];
    let whole = caption(&desk, &[&inputs[..], &["--format", "jsonl"]].concat()).stdout;
    let model =
        ["caption", "--model", "model", "--max-new-tokens", "4", "--threads", "4", "--format", "jsonl"];
    let args = [&model[..], &inputs, &["--output", "out.jsonl", "--resume"]].concat();
    let mut ended = 0;
    for limit in 3..16 {
        let few = desk.run_with_open_files(limit, &args);
        assert!([0, 1, 2, 126, 127].contains(&few.code), "{limit}: {few:?}");
        if few.code <= 1 {
            assert_eq!(few.code == 1, few.stderr.contains("not tried to the end"), "{limit}: {few:?}");
            assert_eq!(few.code == 1, desk.join("out.jsonl.part").exists(), "{limit}: {few:?}");
            ended += 1;
        }
        // A finished output has nothing to go on with.
        assert_eq!(desk.run(&args).code, if few.code == 0 { 2 } else { 0 });
        assert_eq!(read(&desk, "out.jsonl"), whole, "{limit}");
        fs::remove_file(desk.join("out.jsonl")).unwrap();
    }
    assert!(ended > 0, "no limit let a run end");
}

#[cfg(feature = "urls")]
mod web {
    use mplug_testing::web_server::{Server, answer, ok};

    use super::*;

    const OPEN: [&str; 5] = ["--allow-urls", "--allow-url-host", "127.0.0.1", "--format", "jsonl"];

    /// The desk's pictures; others are missing, for good.
    fn serve(desk: &Desk, port: u16) -> Server {
        let folder = desk.path().to_owned();
        let server = Server::start_at(&format!("127.0.0.1:{port}"), move |target, _| {
            let bytes = fs::read(folder.join(target.trim_start_matches('/')));
            bytes.map_or_else(|_| answer(404, "", b"gone"), |bytes| ok(&bytes))
        });
        server.unwrap()
    }

    #[test]
    fn a_server_that_was_down_is_tried_again() {
        let desk = Desk::new();
        let server = serve(&desk, 0);
        let port = server.port();
        let urls = ["/red.png", "/gone.png", "/blue.jpg"].map(|path| server.url("127.0.0.1", path));
        let inputs = [&urls[0], "green.png", &urls[1], &urls[2]];
        let run = |more: &[&str]| caption(&desk, &[&OPEN[..], &inputs, more].concat());
        let whole = run(&["--output", "whole.jsonl"]);
        assert_eq!(whole.code, 1, "one picture is gone: {whole:?}");
        assert!(!whole.stderr.contains("not tried") && !desk.join("whole.jsonl.part").exists(), "{whole:?}");
        drop(server);

        let down = run(&["--output", "out.jsonl"]);
        assert_eq!(down.code, 1, "{down:?}");
        assert!(
            down.stderr.contains("3 of 4 inputs not tried to the end; run again with `--resume`"),
            "{down:?}"
        );
        let again = run(&["--output", "out.jsonl", "--resume"]);
        assert!(again.code == 1 && again.stderr.contains("1 of 4 inputs were done already"), "{again:?}");
        let server = serve(&desk, port);
        let up = run(&["--output", "out.jsonl", "--resume"]);
        assert_eq!(up.code, 1, "one picture is gone: {up:?}");
        assert!(!up.stderr.contains("not tried"), "{up:?}");
        assert_eq!(server.requests().len(), 3);
        assert_eq!(read(&desk, "out.jsonl"), read(&desk, "whole.jsonl"));
        assert!(!desk.join("out.jsonl.part").exists());

        // Without a file nothing is kept, and nothing can be gone on with.
        drop(server);
        let outcome = run(&[]);
        assert!(
            outcome.code == 1 && outcome.stderr.ends_with("not tried to the end; run again\n"),
            "{outcome:?}"
        );
    }

    #[test]
    fn an_overloaded_server_is_tried_again_and_what_is_gone_is_not() {
        let desk = Desk::new();
        let red = fs::read(desk.join("red.png")).unwrap();
        // Three attempts of the first run for each of four pictures; "gone" is requested once.
        let server = Server::start(move |target, before| match target {
            "/gone" => answer(410, "", b""),
            "/busy" if before < 13 => answer(429, "Retry-After: 0\r\n", b""),
            _ if before < 13 => answer(503, "Retry-After: 0\r\n", b""),
            _ => ok(&red),
        });
        let urls = ["/a", "/gone", "/busy", "/b", "/c"].map(|path| server.url("127.0.0.1", path));
        let urls = urls.each_ref().map(String::as_str);
        let run = |more: &[&str]| caption(&desk, &[&OPEN[..], &urls, more].concat());
        let busy = run(&["--output", "out.jsonl"]);
        assert_eq!((busy.code, server.requests().len()), (1, 13), "{busy:?}");
        assert!(busy.stderr.contains("4 of 5 inputs not tried to the end"), "{busy:?}");
        let resumed = run(&["--output", "out.jsonl", "--resume"]);
        assert_eq!((resumed.code, server.requests().len()), (1, 17), "{resumed:?}");
        assert!(!resumed.stderr.contains("not tried"), "{resumed:?}");
        let whole = run(&[]);
        assert_eq!(read(&desk, "out.jsonl"), whole.stdout);
    }
}

/// What a model is scored on is not all: the figures say how many failed, and another run has them all.
#[cfg(target_os = "linux")]
#[test]
fn an_evaluation_says_what_it_did_not_try() {
    let desk = Desk::new();
    let annotations = r#"{"images": [{"id": 1, "file_name": "red.png"}, {"id": 2, "file_name": "x.png"}],
        "annotations": [{"id": 1, "image_id": 1, "caption": "x"}, {"id": 2, "image_id": 2, "caption": "y"}]}"#;
    desk.write("coco.json", annotations.as_bytes());
    std::os::unix::fs::symlink("/proc/self/mem", desk.join("x.png")).unwrap();
    let eval = || {
        desk.run(&[
            "eval",
            "--model",
            "model",
            "--dataset",
            "coco.json",
            "--resume",
            "a.part",
            "--metrics",
            "bleu",
        ])
    };
    let troubled = eval();
    assert_eq!(troubled.code, 1, "{troubled:?}");
    assert!(troubled.stderr.contains("1 of 2 pictures not tried to the end; run again"), "{troubled:?}");
    assert_eq!(read(&desk, "a.part").lines().count(), 2);
    fs::remove_file(desk.join("x.png")).unwrap();
    fs::copy(desk.join("green.png"), desk.join("x.png")).unwrap();
    let passed = eval();
    assert!(
        passed.code == 0 && passed.stderr.contains("1 of 2 pictures are captioned already"),
        "{passed:?}"
    );
    assert_eq!(read(&desk, "a.part").lines().count(), 3);
}
