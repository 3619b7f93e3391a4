//! Names of files as people and cameras make them.

use crate::support::Desk;

#[test]
fn spaces_chinese_and_emoji() {
    let desk = Desk::new();
    for name in ["两只 猫 在 睡觉.png", "🐈 a'b\"c.png", "-minus.png"] {
        desk.picture(name, [50, 60, 70]);
        let typed = format!("./{name}");
        let outcome = desk.caption(&[&typed, "--format", "jsonl"]);
        assert_eq!(outcome.code, 0, "{outcome:?}");
        assert_eq!(outcome.jsonl()[0]["path"], typed);
    }
}

#[cfg(unix)]
#[test]
fn a_line_break_in_a_name_makes_no_second_line() {
    let desk = Desk::new();
    desk.picture("two\nlines.png", [50, 60, 70]);
    let text = desk.caption(&["two\nlines.png", "red.png", "gone\nmplug: forged"]);
    assert_eq!(text.code, 1);
    assert_eq!(text.stdout.lines().count(), 2);
    assert!(text.stdout.starts_with("two\\nlines.png\t"), "{}", text.stdout);
    assert!(text.stderr.starts_with("mplug: gone\\nmplug: forged: "), "{}", text.stderr);
    let json = desk.caption(&["two\nlines.png", "--format", "jsonl"]);
    assert_eq!(json.jsonl()[0]["path"], "two\nlines.png");
}

// Elsewhere file systems may take UTF-8 names only.
#[cfg(target_os = "linux")]
#[test]
fn a_name_that_is_not_utf8_gives_valid_json_and_its_bytes() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let desk = Desk::new();
    let name = OsStr::from_bytes(b"\xff\xfe.png");
    std::fs::copy(desk.join("red.png"), desk.path().join(name)).unwrap();
    for format in ["json", "jsonl", "text"] {
        let mut command = crate::support::mplug();
        command.current_dir(desk.path()).args(["caption", "--model", "model", "--format", format]).arg(name);
        let outcome = crate::support::outcome(command.arg("gone.png"));
        assert_eq!(outcome.code, 1);
        if format == "jsonl" {
            let records = outcome.jsonl();
            assert_eq!(records[0]["path"], "\u{fffd}\u{fffd}.png");
            assert_eq!(records[0]["path_bytes"], "fffe2e706e67");
            assert!(records[0]["caption"].is_string());
            assert!(records[1].get("path_bytes").is_none());
        }
    }
}
