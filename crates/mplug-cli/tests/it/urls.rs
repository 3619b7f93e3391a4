//! Web addresses as inputs, against a server on this machine: nothing is requested unless it is allowed, and then the captions are those
//! of the files.

use std::fs;
use std::time::Duration;

use mplug_testing::web_server::{Send, Server, answer, ok, redirect};
use serde_json::Value;

use crate::support::{Desk, mplug, outcome};

/// The pictures of a desk on the web; anything else is missing.
fn serve(desk: &Desk) -> Server {
    let folder = desk.path().to_owned();
    Server::start(move |target, _| {
        let name = target.trim_start_matches('/').split('?').next().unwrap_or_default();
        fs::read(folder.join(name)).map_or_else(|_| answer(404, "", b"gone"), |bytes| ok(&bytes))
    })
}

#[test]
fn nothing_is_downloaded_unasked() {
    let desk = Desk::new();
    let server = serve(&desk);
    let url = server.url("127.0.0.1", "/red.png");
    let closed = desk.caption(&[&url, "red.png"]);
    assert_eq!((closed.code, closed.stdout.lines().count()), (1, 1), "{closed:?}");
    assert!(
        closed.check_messages().stderr.contains(&format!("{url}: is a web address")),
        "{}",
        closed.stderr
    );
    assert!(closed.stderr.contains("`--allow-urls`"), "{}", closed.stderr);
    let inside = desk.caption(&["--allow-urls", &url, "red.png"]);
    assert_eq!((inside.code, inside.stdout.lines().count()), (1, 1), "{inside:?}");
    let message = &inside.check_messages().stderr;
    assert!(
        message.contains("127.0.0.1, a loopback address") && message.contains("--allow-url-host"),
        "{message}"
    );
    for args in [["--allow-url-host", "127.0.0.1"], ["--url-timeout", "5"]] {
        assert_eq!(desk.caption(&[args[0], args[1], &url]).code, 2);
    }
    let refused = desk.caption(&["--allow-urls", "--allow-url-host", "10.0.0.0/8", &url]);
    assert!(refused.code == 2 && refused.stderr.contains("`--allow-url-host 10.0.0.0/8`"), "{refused:?}");
    assert_eq!(server.connections(), 0);
}

#[test]
fn an_address_has_the_caption_of_its_file() {
    let desk = Desk::new();
    let server = serve(&desk);
    let url = |path: &str| server.url("127.0.0.1", path);
    let open = ["--allow-urls", "--allow-url-host", "127.0.0.1", "--format", "jsonl"];
    let typed = [
        url("/red.png"),
        "green.png".to_owned(),
        url("/blue.jpg?size=1&key=a"),
        url("/none.png"),
        url("/两只 猫.png"),
    ];
    let list = typed.join("\n");
    let files = desk
        .caption(&["red.png", "green.png", "blue.jpg", "none.png", "两只 猫.png", "--format", "jsonl"])
        .jsonl();

    let mut command = mplug();
    command
        .current_dir(desk.path())
        .args(["caption", "--model", "model", "-", "--batch-size", "2"])
        .args(open);
    let listed = outcome(command.write_stdin(list));
    let mut arguments = open.to_vec();
    arguments.extend(typed.iter().map(String::as_str));
    let found = desk.caption(&arguments);
    assert_eq!((found.code, &found.stdout), (1, &listed.stdout), "{found:?}");
    // `两只 猫.png` comes percent-encoded, and this server does not undo that.
    for (index, (record, file)) in found.jsonl().iter().zip(&files).enumerate() {
        assert_eq!(record["path"], typed[index]);
        match index {
            3 | 4 => assert!(record["error"].as_str().unwrap().contains("127.0.0.1 answers 404"), "{record}"),
            _ => assert_eq!(without_path(record), without_path(file)),
        }
    }
    let alone = desk.caption(&[&open[..3], &[&typed[2]]].concat());
    assert_eq!(alone.stdout.trim_end(), files[2]["caption"], "{alone:?}");
    assert!(server.requests().iter().any(|head| head.starts_with("GET /blue.jpg?size=1&key=a HTTP/1.1\r\n")));
}

fn without_path(record: &Value) -> Value {
    let mut record = record.clone();
    record.as_object_mut().unwrap().remove("path");
    record
}

#[test]
fn answers_and_probabilities_are_those_of_the_file() {
    let desk = Desk::new();
    let server = serve(&desk);
    let url = server.url("127.0.0.1", "/red.png");
    let open = ["--allow-urls", "--allow-url-host", "127.0.0.1"];
    for command in ["ask", "match"] {
        let file = desk.run(&[command, "red.png", "red?"]);
        let web = desk.run(&[&[command, &url, "red?"][..], &open].concat());
        assert_eq!((web.code, &web.stdout), (0, &file.stdout), "{web:?}");
        let closed = desk.run(&[command, "https://me:s3cret@h/a.png", "red?", "--format", "json"]);
        assert!(closed.code == 1 && closed.stderr.contains("`--allow-urls`"), "{closed:?}");
        assert!(!format!("{closed:?}").contains("s3cret"), "{closed:?}");
    }
}

#[test]
fn a_limit_holds_on_the_web_too() {
    let desk = Desk::new();
    let server = serve(&desk);
    let url = server.url("127.0.0.1", "/red.png");
    let open = ["--allow-urls", "--allow-url-host", "127.0.0.1"];
    let found = desk.caption(&[&open[..], &["--max-file-bytes", "50", &url]].concat());
    assert!(found.code == 1 && found.stderr.contains("more than the limit of 50"), "{found:?}");
    let tar = desk.caption(&[&open[..], &["--format", "tar", "-o", "a.tar", &url]].concat());
    assert!(tar.code == 2 && tar.stderr.contains("download it first"), "{tar:?}");
}

#[test]
fn a_bad_server_harms_its_own_picture_alone() {
    let desk = Desk::new();
    let good = serve(&desk);
    let inside = Server::start(|_, _| ok(b""));
    let port = inside.port();
    let bad = Server::start(move |target, _| {
        let head = |more: &str| Send::Bytes(format!("HTTP/1.1 200 OK\r\n{more}\r\n").into());
        match target {
            "/slow" => {
                vec![head("Content-Length: 9999\r\n"), Send::Slowly(vec![1; 9999], Duration::from_millis(20))]
            }
            "/endless" => vec![head(""), Send::Forever(vec![7; 4096])],
            _ => redirect(&format!("http://localhost:{port}/")),
        }
    });
    let urls = ["/slow", "/endless", "/inside"].map(|path| bad.url("127.0.0.1", path));
    let whole = good.url("127.0.0.1", "/red.png");
    let open =
        ["--allow-urls", "--allow-url-host", "127.0.0.1", "--max-file-bytes", "99999", "--url-timeout", "1"];
    let found =
        desk.caption(&[&open[..], &["--format", "jsonl", &urls[0], &urls[1], &urls[2], &whole]].concat());
    assert_eq!(found.code, 1, "{found:?}");
    let records = found.jsonl();
    for (record, reason) in
        records.iter().zip(["was not there after 1 s", "more than the limit of 99999", "localhost has"])
    {
        assert!(record["error"].as_str().unwrap().contains(reason), "{record}");
    }
    let file = desk.caption(&["red.png", "--format", "jsonl"]).jsonl();
    assert_eq!(without_path(&records[3]), without_path(&file[0]));
    assert_eq!(inside.connections(), 0);
}

#[test]
fn text_files_have_names_made_of_the_address() {
    let desk = Desk::new();
    let server = serve(&desk);
    let urls =
        ["/red.png?id=1", "/red.png?id=2", "/../../green.png"].map(|path| server.url("127.0.0.1", path));
    let open = ["--allow-urls", "--allow-url-host", "127.0.0.1", "--format", "sidecar"];
    let beside = desk.caption(&[&open[..], &[&urls[0]]].concat());
    assert!(beside.code == 2 && beside.stderr.contains("`--output DIR`"), "{beside:?}");
    desk.caption(&[&open[..], &["--output", "texts", &urls[0], &urls[1], &urls[2]]].concat());
    let folder = desk.join(&format!("texts/127.0.0.1_{}", server.port()));
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 2, "{names:?}");
    let is_text =
        |name: &String| name.strip_suffix(".txt").is_some_and(|stem| stem.len() == "red-".len() + 12);
    assert!(names.iter().all(|name| name.starts_with("red-") && is_text(name)), "{names:?}");
    let again = desk.caption(&[&open[..], &["--output", "texts", &urls[0], &urls[1]]].concat());
    assert!(again.code == 0 && again.stderr.contains("2 pictures have a text file already"), "{again:?}");
}

#[test]
fn a_stopped_run_goes_on_and_asks_for_the_rest_alone() {
    let desk = Desk::new();
    let server = serve(&desk);
    let urls = ["/red.png", "/gone.png", "/blue.jpg"].map(|path| server.url("127.0.0.1", path));
    let open = [
        "--allow-urls",
        "--allow-url-host",
        "127.0.0.1",
        "--format",
        "jsonl",
        "--batch-size",
        "1",
        "--output",
    ];
    let run = |more: &[&str]| {
        let inputs: Vec<&str> = urls.iter().map(String::as_str).collect();
        desk.caption(&[&open[..], more, &inputs].concat())
    };
    assert_eq!(run(&["whole.jsonl"]).code, 1);
    assert_eq!(run(&["out.jsonl", "--errors", "fail"]).code, 1);
    fs::copy(desk.join("green.png"), desk.join("gone.png")).unwrap();
    let before = server.requests().len();
    let resumed = run(&["out.jsonl", "--resume"]);
    assert_eq!(resumed.code, 0, "{resumed:?}");
    assert_eq!(server.requests().len() - before, 2, "what was done is not requested again");
    let lines = fs::read_to_string(desk.join("out.jsonl")).unwrap();
    let whole = fs::read_to_string(desk.join("whole.jsonl")).unwrap();
    let ends = |text: &str| [0, 2].map(|index| text.lines().nth(index).unwrap().to_owned());
    assert_eq!((lines.lines().count(), ends(&lines)), (3, ends(&whole)));
    assert!(lines.lines().nth(1).unwrap().contains("\"caption\""), "{lines}");
}
