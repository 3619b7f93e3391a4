//! `--output`, closed pipes and other ends of the stream.

use std::fs;

use crate::support::Desk;

#[test]
fn an_output_file_holds_what_standard_output_would() {
    let desk = Desk::new();
    for format in ["text", "json", "jsonl"] {
        let args = ["red.png", "missing.png", "green.png", "--format", format];
        let shown = desk.caption(&args);
        let before = fs::read_dir(desk.path()).unwrap().count();
        let written = desk.caption(&[&args[..], &["--output", format]].concat());
        assert_eq!((written.code, written.stdout.as_str()), (1, ""));
        assert_eq!(fs::read_to_string(desk.join(format)).unwrap(), shown.stdout);
        assert_eq!(fs::read_dir(desk.path()).unwrap().count(), before + 1, "no temporary file is left");
    }
}

#[test]
fn an_output_file_survives_a_run_that_cannot_start() {
    let desk = Desk::new();
    desk.write("out.txt", b"precious");
    let before = fs::read_dir(desk.path()).unwrap().count();
    assert_eq!(desk.run(&["caption", "--model", "none", "red.png", "--output", "out.txt"]).code, 2);
    assert_eq!(fs::read_to_string(desk.join("out.txt")).unwrap(), "precious");
    assert_eq!(fs::read_dir(desk.path()).unwrap().count(), before);
}

#[test]
fn an_input_is_never_replaced() {
    let desk = Desk::new();
    let before = fs::read(desk.join("red.png")).unwrap();
    let outcome = desk.caption(&["green.png", "red.png", "--output", "./red.png"]);
    assert_eq!(outcome.code, 2, "{outcome:?}");
    assert!(outcome.check_messages().stderr.contains("is an input"), "{}", outcome.stderr);
    assert_eq!(fs::read(desk.join("red.png")).unwrap(), before);
}

#[cfg(unix)]
#[test]
fn an_output_file_has_the_rights_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;

    let desk = Desk::new();
    assert_eq!(desk.caption(&["red.png", "--output", "out.txt"]).code, 0);
    desk.write("plain.txt", b"");
    let mode = |name: &str| fs::metadata(desk.join(name)).unwrap().permissions().mode();
    assert_eq!(mode("out.txt"), mode("plain.txt"));
}

#[cfg(unix)]
#[test]
fn a_device_is_written_to_and_not_replaced() {
    use std::os::unix::fs::FileTypeExt;

    assert_eq!(Desk::new().caption(&["red.png", "--output", "/dev/null"]).code, 0);
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

#[cfg(unix)]
#[test]
fn a_closed_pipe_is_no_error() {
    use std::process::{Command, Stdio};

    let desk = Desk::new();
    let mut run = Command::new(assert_cmd::cargo::cargo_bin!("mplug"))
        .current_dir(desk.path())
        .args(["caption", "--model", "model", "--format", "jsonl", "red.png", "green.png", "blue.jpg"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(run.stdout.take());
    let output = run.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_reported() {
    let outcome = Desk::new().caption(&["red.png", "--output", "/dev/full"]);
    assert_eq!(outcome.code, 2);
    assert!(outcome.check_messages().stderr.starts_with("mplug: /dev/full: "), "{}", outcome.stderr);
}
