//! What is said on standard error: names that lead on, options and variables that are at fault, and how messages are written.

use serde_json::Value;

use crate::support::{Desk, Outcome, mplug, outcome};

#[test]
fn a_model_that_is_nowhere_leads_to_those_that_are_published() {
    let desk = Desk::new();
    for command in [&["caption", "red.png", "--model"][..], &["inspect"], &["convert", "--force", "out"]] {
        let mut args = command.to_vec();
        args.insert(if command[0] == "convert" { 1 } else { args.len() }, "mplug_base_zh");
        let refused = desk.run(&args);
        assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{refused:?}");
        let stderr = &refused.check_messages().stderr;
        assert!(stderr.contains("mplug_base_zh: there is no such file or folder"), "{stderr}");
        assert!(stderr.contains("`mplug models`") && stderr.contains("`mplug pull NAME`"), "{stderr}");
    }
    if cfg!(feature = "hub") {
        let mut command = mplug();
        command.current_dir(desk.path()).env("MODELSCOPE_CACHE", desk.join("none"));
        let named = outcome(command.args(["caption", "--model", "caption-base-zh", "red.png"]));
        assert_eq!(named.code, 2);
        let expected = "`mplug pull caption-base-zh` downloads it (about 1.8 GB), `mplug models` lists the published models";
        assert!(named.stderr.contains(expected), "{named:?}");
    }
}

#[test]
fn a_variable_at_fault_is_named_and_an_empty_one_is_unset() {
    let desk = Desk::new();
    let run = |variables: &[(&str, &str)], args: &[&str]| -> Outcome {
        let mut command = mplug();
        command.current_dir(desk.path()).envs(variables.iter().copied());
        outcome(command.args(args))
    };
    let caption = ["caption", "--model", "model", "red.png"];
    let expected = desk.run(&caption);
    assert_eq!(expected.code, 0);
    for (variable, value) in [
        ("MPLUG_THREADS", "many"),
        ("MPLUG_BATCH_SIZE", "0"),
        ("MPLUG_PRECISION", "f64"),
        ("MPLUG_MAX_PIXELS", "lots"),
        ("MPLUG_LOG_FORMAT", "xml"),
    ] {
        let wrong = run(&[(variable, value)], &caption);
        assert_eq!((wrong.code, wrong.stdout.as_str()), (2, ""), "{wrong:?}");
        assert!(wrong.stderr.contains(&format!("the environment variable {variable}'s")), "{wrong:?}");
        let empty = run(&[(variable, "")], &caption);
        assert_eq!((empty.code, &empty.stdout), (0, &expected.stdout), "{variable}: {empty:?}");
    }
    let typed =
        run(&[("MPLUG_THREADS", "2")], &["caption", "--model", "model", "red.png", "--threads", "none"]);
    assert!(typed.code == 2 && !typed.stderr.contains("MPLUG_THREADS's"), "{typed:?}");
    let lost = run(&[("MPLUG_MODEL", "no-such-folder")], &["caption", "red.png"]);
    let expected =
        "no-such-folder (of the environment variable MPLUG_MODEL): there is no such file or folder";
    assert!(lost.code == 2 && lost.stderr.contains(expected), "{lost:?}");
    let empty = run(&[("MPLUG_MODEL", ""), ("MPLUG_STRICT", "")], &["caption", "red.png"]);
    assert_eq!(empty.code, desk.run(&["caption", "red.png"]).code, "{empty:?}");
    let doctor = run(&[("MPLUG_THREADS", "")], &["doctor"]).stdout;
    assert!(doctor.contains("MPLUG_THREADS (empty, counts as unset)"), "{doctor}");
}

#[test]
fn a_limit_names_its_option_and_takes_units() {
    let desk = Desk::new();
    let caption = |more: &[&str]| desk.run(&[&["caption", "--model", "model", "red.png"], more].concat());
    for (option, small, large) in [("--max-pixels", "1K", "150M"), ("--max-file-bytes", "10", "1.5G")] {
        let refused = caption(&[option, small]);
        assert_eq!(refused.code, 1, "{refused:?}");
        let hint = format!("`{option}` sets another limit");
        assert!(refused.check_messages().stderr.contains(&hint), "{refused:?}");
        assert_eq!(caption(&[option, large]).code, 0);
        let wrong = caption(&[option, "150 megs"]);
        assert!(wrong.code == 2 && wrong.stderr.contains("with K, M or G"), "{wrong:?}");
    }
}

#[test]
fn quiet_leaves_out_notes_and_json_has_a_line_each() {
    let desk = Desk::new();
    desk.write("broken.png", b"not a picture");
    let args = ["caption", "--model", "model", "red.png", "broken.png"];
    let usual = desk.run(&args);
    let all = |more: &[&str]| desk.run(&[&args[..], more].concat());
    let quiet = all(&["--quiet"]);
    assert_eq!((quiet.code, &quiet.stdout), (usual.code, &usual.stdout));
    assert!(quiet.check_messages().stderr.contains("broken.png: not a picture"), "{quiet:?}");
    let note = desk.run(&["convert", "model", "out"]);
    assert!(note.stderr.contains("out: written"), "{note:?}");
    for before in [&["--quiet", "convert", "model", "out2"][..], &["convert", "--quiet", "model", "out3"]] {
        assert_eq!(
            (desk.run(before).code, desk.run(&["--quiet", "inspect", "model"]).stderr),
            (0, String::new())
        );
        assert!(desk.join(before[before.len() - 1]).is_dir());
    }
    let json = all(&["--log-format", "json"]);
    assert_eq!((json.code, &json.stdout), (usual.code, &usual.stdout));
    let lines: Vec<Value> = json.stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let broken = lines.iter().find(|line| line["message"].as_str().unwrap().contains("broken.png")).unwrap();
    assert_eq!(broken["level"], "error");
    assert!(broken["time"].is_number() && !broken["message"].as_str().unwrap().starts_with("mplug: "));
    let written = desk.run(&["convert", "model", "out4", "--log-format", "json"]).stderr;
    let written: Value = serde_json::from_str(&written).expect("one line");
    assert_eq!((&written["level"], &written["message"]), (&"note".into(), &"out4: written".into()));
    let failed = desk.run(&["inspect", "nothing", "--log-format", "json", "--quiet"]).stderr;
    let failed: Value = serde_json::from_str(&failed).expect("one line");
    assert_eq!(failed["level"], "error");
}

#[cfg(unix)]
#[test]
fn a_disk_that_is_full_is_named_by_what_was_to_be_written() {
    let desk = Desk::new();
    let full = desk.run_without_room(40, &["convert", "model", "out"]);
    assert_eq!(full.code, 2, "{full:?}");
    let stderr = &full.check_messages().stderr;
    assert!(stderr.contains("cannot write out"), "{stderr}");
    assert!(!stderr.contains(".mplug-") && !stderr.contains(".tmp"), "{stderr}");
    assert!(!desk.join("out").exists());
}
