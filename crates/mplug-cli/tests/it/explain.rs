//! `--explain`: pages and sheets as their users get them.

use std::fs;

use crate::support::Desk;

/// `mplug caption --model model`, with captions short enough for a test, and `args`.
fn caption(desk: &Desk, args: &[&str]) -> crate::support::Outcome {
    desk.caption(&[&["--max-new-tokens", "5", "--min-new-tokens", "4"], args].concat())
}

#[test]
fn a_page_has_all_pictures_and_the_captions_come_as_always() {
    let desk = Desk::new();
    let plain = caption(&desk, &["red.png", "green.png", "两只 猫.png"]);
    for method in ["ablation", "attention"] {
        let page = caption(
            &desk,
            &["red.png", "green.png", "两只 猫.png", "--explain", "out.html", "--explain-method", method],
        );
        assert_eq!((page.code, page.stdout.as_str(), page.stderr.as_str()), (0, plain.stdout.as_str(), ""));
        let html = fs::read_to_string(desk.join("out.html")).unwrap();
        assert_eq!(html.matches("<section").count(), 3);
        assert!(html.contains("两只 猫.png") && html.contains("class=\"word\""));
        assert!(!html.contains("http:") && !html.contains("https:"));
    }
    let names: Vec<_> = fs::read_dir(desk.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().ends_with(".part")), "{names:?}");
}

#[test]
fn equal_pictures_and_small_batches_are_on_the_page_too() {
    let desk = Desk::new();
    fs::copy(desk.join("red.png"), desk.join("again.png")).unwrap();
    let args = ["red.png", "again.png", "red.png", "--batch-size", "1", "--explain", "out.HTM"];
    let outcome = caption(&desk, &args);
    assert_eq!((outcome.code, outcome.stdout.lines().count()), (0, 3), "{}", outcome.stderr);
    assert_eq!(fs::read_to_string(desk.join("out.HTM")).unwrap().matches("<section").count(), 3);
}

#[test]
fn a_sheet_is_a_picture_and_its_numbers_are_said() {
    let desk = Desk::new();
    let outcome = caption(&desk, &["red.png", "--explain", "out.png", "--format", "jsonl"]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert_eq!(outcome.jsonl().len(), 1, "standard output has the records alone");
    let message = &outcome.check_messages().stderr;
    assert!(message.starts_with("mplug: out.png: 1 "), "{message}");
    let sheet = image::open(desk.join("out.png")).unwrap();
    assert!(sheet.width() > 240 && sheet.height() > 160, "{} x {}", sheet.width(), sheet.height());
    let second = caption(&desk, &["red.png", "green.png", "--explain", "two.png"]);
    assert_eq!((second.code, second.stdout.as_str()), (2, ""));
    assert!(second.check_messages().stderr.contains("one picture for a .png file"), "{}", second.stderr);
    assert!(!desk.join("two.png").exists());
}

#[test]
fn what_cannot_be_explained_is_said_before_the_work() {
    let desk = Desk::new();
    fs::create_dir(desk.join("many")).unwrap();
    for number in 0..101 {
        fs::copy(desk.join("red.png"), desk.join("many").join(format!("{number}.png"))).unwrap();
    }
    let cases: &[(&[&str], &str)] = &[
        (&["red.png", "--explain", "out.pdf"], "ends in .html or .png, found out.pdf"),
        (&["red.png", "--explain", "png"], "ends in .html or .png, found png"),
        (&["many", "--explain", "out.html"], "at most 100 pictures, found 101 pictures"),
        (&["red.png", "--explain", "none/out.html"], "cannot be written"),
        (&["red.png", "--explain", "red.png"], "red.png"),
        (&["red.png", "--explain-method", "attention"], "--explain"),
        (&["red.png", "--explain", "a.html", "--output", "b.txt", "--resume"], "cannot be used with"),
        (&["red.png", "--explain", "a.html", "--explain-method", "guess"], "invalid value"),
    ];
    let before = fs::read(desk.join("red.png")).unwrap();
    for (args, reason) in cases {
        let outcome = caption(&desk, args);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""), "{args:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(reason), "{args:?}: {}", outcome.stderr);
    }
    assert_eq!(fs::read(desk.join("red.png")).unwrap(), before);
    assert!(!desk.join("out.html").exists() && !desk.join("a.html").exists());
}

#[test]
fn an_existing_file_is_replaced_only_by_a_whole_one() {
    let desk = Desk::new();
    desk.write("out.html", b"old");
    desk.write("broken.png", b"no picture");
    let failed = caption(&desk, &["broken.png", "--explain", "out.html"]);
    assert_eq!(failed.code, 1);
    assert!(failed.check_messages().stderr.contains("out.html: not written"), "{}", failed.stderr);
    assert_eq!(fs::read(desk.join("out.html")).unwrap(), b"old");
    let mixed = caption(&desk, &["broken.png", "red.png", "--explain", "out.html"]);
    assert_eq!(mixed.code, 1);
    assert_eq!(fs::read_to_string(desk.join("out.html")).unwrap().matches("<section").count(), 1);
}
