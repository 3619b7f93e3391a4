//! What is said on standard error: names that lead on, options and variables that are at fault, and how messages are written.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{Desk, Outcome, mplug, outcome, run_in};

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Words behind which a model is named.
const BEFORE_MODELS: [&str; 8] = [
    "--model ",
    "mplug pull ",
    "mplug inspect ",
    "mplug convert ",
    "start.model=",
    "\nmodel = ",
    "Answerer(\"",
    "Matcher(\"",
];

/// The models that a text names, with their quotes.
fn models_of(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for before in BEFORE_MODELS {
        for (at, _) in text.match_indices(before) {
            let rest = text[at + before.len()..].trim_start_matches(['"', '`', '\'']);
            let name: String =
                rest.chars().take_while(|c| !c.is_whitespace() && !"\"`'),;]\\".contains(*c)).collect();
            found.insert(name);
        }
    }
    found
}

/// Folders and files that a reader makes or has: of commands shown before, or obviously the reader's own.
const OWN: [&str; 14] = [
    "base",
    "base_int8",
    "base-zh-bf16",
    "base-zh-int8",
    "base-zh-f16",
    "checkpoint_07.pth",
    "merged",
    "start",
    "mine",
    "small",
    "for_modelscope",
    "runs",
    "models",
    "m",
];
/// Words of a sentence that follow an option's name.
const PROSE: [&str; 3] = ["that", "of", "on"];

/// Names in README, docs, recipes and help are published names, paths that are there, or folders that the reader makes.
#[cfg(feature = "hub")]
#[test]
fn models_that_are_named_resolve() {
    let mut texts = Vec::new();
    let mut files = vec![root().join("README.md")];
    for folder in ["docs", "configs"] {
        files.extend(fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path()));
    }
    for file in files.iter().filter(|file| file.extension().is_some_and(|e| e == "md" || e == "toml")) {
        texts.push((file.display().to_string(), fs::read_to_string(file).unwrap()));
    }
    let main = run_in(Path::new("."), &["--help"]).stdout;
    let commands = main.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    for command in commands.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()) {
        if !command.is_empty() && command != "help" {
            texts.push((command.to_owned(), run_in(Path::new("."), &[command, "--help"]).stdout));
        }
    }
    texts.push(("help".to_owned(), main));
    let mut seen = 0;
    for (file, text) in &texts {
        for name in models_of(text) {
            let is_placeholder = name.is_empty()
                || name.starts_with(['<', '$', '/', '{', '-', '[', '.', '(', '…'])
                || name.chars().all(|c| c.is_ascii_uppercase() || "_|".contains(c))
                || PROSE.contains(&name.as_str())
                || name == "someone/model"
                || name == "path/to/model";
            let first = name.split('/').next().unwrap_or_default();
            let is_there = root().join(&name).exists();
            let is_own = OWN.contains(&first);
            let is_published =
                name.parse::<mplug_hub::ModelId>().is_ok_and(|id| mplug_hub::published_model(&id).is_some());
            seen += usize::from(is_published);
            assert!(
                is_placeholder || is_there || is_own || is_published,
                "{file}: `{name}` resolves nowhere"
            );
        }
        assert!(!text.contains("mplug_base_zh") && !text.contains("mplug_vqa"), "{file}");
    }
    assert!(seen > 20, "only {seen} published names are named");
}

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
