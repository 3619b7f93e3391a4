//! `inspect`, `convert` and `doctor`: what a model holds, its other forms, and whether this machine can run one.

use std::fs;

use mplug::config::Task;
use serde_json::Value;

use crate::support::{Desk, mplug, outcome};

#[test]
fn a_model_folder_is_inspected() {
    let desk = Desk::new();
    let text = desk.run(&["inspect", "model"]);
    assert_eq!((text.code, text.stderr.as_str()), (0, ""), "{text:?}");
    for fact in ["image captioning: `mplug caption`", "Chinese", "32x32 pixels", "safetensors", " f32"] {
        assert!(text.stdout.contains(fact), "{fact} is not in\n{}", text.stdout);
    }
    let json: Value =
        serde_json::from_str(&desk.run(&["inspect", "model", "--format", "json"]).stdout).unwrap();
    let facts = &json[0];
    assert_eq!((&facts["task"], &facts["command"]), (&"image-captioning".into(), &"caption".into()));
    assert_eq!(facts["vision"]["image_size"], 32);
    assert_eq!(facts["text"]["decoder_layers"], 3);
    assert_eq!(facts["parameters"], facts["parameters_used"]);
    assert_eq!(facts["dtypes"]["f32"], facts["parameters"]);
    assert_eq!(facts["file_bytes"], fs::metadata(desk.join("model/model.safetensors")).unwrap().len());
}

#[test]
fn every_task_names_its_command() {
    let desk = Desk::new();
    for (task, command) in
        [(Task::VisualQuestionAnswering, "`mplug ask`"), (Task::ImageTextRetrieval, "`mplug match`")]
    {
        desk.model(command, task);
        assert!(desk.run(&["inspect", command]).stdout.contains(command));
    }
}

#[test]
fn a_weight_file_alone_is_counted() {
    let desk = Desk::new();
    fs::create_dir(desk.join("alone")).unwrap();
    fs::copy(desk.join("model/model.safetensors"), desk.join("alone/weights.bin")).unwrap();
    let found = desk.run(&["inspect", "alone/weights.bin"]);
    assert_eq!(found.code, 0, "{found:?}");
    assert!(found.stdout.contains("unknown: ") && found.stdout.contains("vocab.txt"), "{}", found.stdout);
    assert!(found.stdout.contains("parameters"), "{}", found.stdout);
}

#[test]
fn what_is_no_model_is_reported_in_one_line() {
    let desk = Desk::new();
    desk.write("text/model.safetensors", b"not a weight file");
    desk.write("text/vocab.txt", b"[PAD]\n");
    let whole = fs::read(desk.join("model/model.safetensors")).unwrap();
    fs::create_dir(desk.join("cut")).unwrap();
    for name in ["vocab.txt", "config.yaml", "configuration.json", "config_bert.json"] {
        fs::copy(desk.join("model").join(name), desk.join("cut").join(name)).unwrap();
    }
    desk.write("cut/model.safetensors", &whole[..whole.len() / 2]);
    for model in ["missing", "text", "cut", "red.png", "."] {
        for args in
            [&["inspect", model][..], &["convert", model, "out"], &["caption", "--model", model, "red.png"]]
        {
            let refused = desk.run(args);
            assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{args:?}");
            assert_eq!(refused.check_messages().stderr.lines().count(), 1, "{args:?}: {}", refused.stderr);
            assert!(!desk.join("out").exists());
        }
    }
}

#[test]
fn a_converted_model_captions_the_same() {
    let desk = Desk::new();
    let original = desk.caption(&["red.png", "--format", "jsonl"]).jsonl();
    for (dtype, tolerance) in [("f32", 0.0), ("f16", 0.01), ("bf16", 0.1)] {
        let converted = desk.run(&["convert", "model", dtype, "--dtype", dtype, "--task-only"]);
        assert_eq!((converted.code, converted.stdout.as_str()), (0, ""), "{converted:?}");
        let facts = desk.run(&["inspect", dtype]).stdout;
        assert!(facts.contains(&format!(" {dtype}")), "{facts}");
        let found = desk.run(&["caption", "--model", dtype, "red.png", "--format", "jsonl"]).jsonl();
        let drift = (found[0]["score"].as_f64().unwrap() - original[0]["score"].as_f64().unwrap()).abs();
        assert!(drift <= tolerance, "{dtype}: {drift}");
    }
    let size = |dtype: &str| fs::metadata(desk.join(dtype).join("model.safetensors")).unwrap().len();
    assert!(size("f16") * 10 < size("f32") * 6, "half the bytes a value");
}

#[test]
fn a_model_goes_to_the_originals_format_and_back() {
    let desk = Desk::new();
    let original = desk.caption(&["red.png", "--format", "jsonl"]).stdout;
    assert_eq!(desk.run(&["convert", "model", "safetensors"]).code, 0);
    for format in ["pytorch", "pytorch-trainer"] {
        let written = desk.run(&["convert", "model", format, "--format", format]);
        assert_eq!((written.code, written.stdout.as_str()), (0, ""), "{written:?}");
        // The tiny model's visual encoder is neither of the original's two.
        assert!(written.check_messages().stderr.contains("the original mPLUG cannot"), "{written:?}");
        assert!(desk.run(&["inspect", format]).stdout.contains("PyTorch (zip)"));
        assert_eq!(
            desk.run(&["caption", "--model", format, "red.png", "--format", "jsonl"]).stdout,
            original
        );
        let back = format!("{format}-back");
        assert_eq!(desk.run(&["convert", format, &back, "--task-only"]).code, 0);
        let weights = |folder: &str| fs::read(desk.join(folder).join("model.safetensors")).unwrap();
        assert!(weights(&back) == weights("safetensors"), "{format}");
    }
    let half = desk.run(&["convert", "model", "half", "--format", "pytorch", "--precision", "bf16"]);
    assert_eq!(half.code, 0, "{half:?}");
    assert!(desk.run(&["inspect", "half"]).stdout.contains(" bf16"));
    let refused = desk.run(&["convert", "model", "int8", "--format", "pytorch", "--precision", "int8"]);
    assert_eq!((refused.code, desk.join("int8").exists()), (2, false), "{refused:?}");
    assert!(refused.check_messages().stderr.contains("safetensors only"), "{refused:?}");
}

#[cfg(unix)]
#[test]
fn a_conversion_that_does_not_fit_leaves_nothing() {
    let desk = Desk::new();
    let before = fs::read_dir(desk.path()).unwrap().count();
    let program = mplug().get_program().to_owned();
    for format in ["pytorch", "safetensors"] {
        // Files end at 100 blocks, as on a full disk; the signal that would end the program is ignored.
        let script = format!("trap '' XFSZ; ulimit -f 100; exec \"$0\" convert model dest --format {format}");
        let cut = outcome(
            assert_cmd::Command::new("sh").args(["-c", &script]).arg(&program).current_dir(desk.path()),
        );
        assert_eq!((cut.code, cut.stdout.as_str()), (2, ""), "{cut:?}");
        assert_eq!(cut.check_messages().stderr.lines().count(), 1, "{cut:?}");
        assert_eq!(fs::read_dir(desk.path()).unwrap().count(), before, "{format}");
    }
}

#[test]
fn convert_replaces_only_what_it_may() {
    let desk = Desk::new();
    assert_eq!(desk.run(&["convert", "model", "copy"]).code, 0);
    let again = desk.run(&["convert", "model", "copy"]);
    assert_eq!(again.code, 2);
    assert!(again.check_messages().stderr.contains("--force"), "{}", again.stderr);
    assert_eq!(desk.run(&["convert", "model", "copy", "--force", "--dtype", "bf16"]).code, 0);
    assert!(desk.run(&["inspect", "copy"]).stdout.contains(" bf16"));

    desk.write("home/letters/love.txt", b"dear");
    for dest in ["home", ".", "model", "red.png"] {
        let refused = desk.run(&["convert", "model", dest, "--force"]);
        assert_eq!(refused.code, 2, "{dest}");
        assert!(refused.check_messages().stderr.contains(dest), "{}", refused.stderr);
    }
    assert!(desk.join("home/letters/love.txt").is_file() && desk.join("model/vocab.txt").is_file());
}

#[test]
fn doctor_tells_what_it_checked() {
    let desk = Desk::new();
    let outcome = desk.run(&["doctor", "--format", "json"]);
    let checks: Vec<Value> = serde_json::from_str(&outcome.stdout).unwrap();
    let names: Vec<_> = checks.iter().map(|check| check["name"].as_str().unwrap()).collect();
    let expected = [
        "version",
        "processor",
        "threads",
        "memory",
        "disk",
        "devices",
        "temporary folder",
        "environment",
        "models",
        "demo model",
    ];
    assert_eq!(names, expected);
    let detail =
        |name: &str| checks.iter().find(|check| check["name"] == name).unwrap()["detail"].to_string();
    if cfg!(target_os = "linux") {
        assert!(
            detail("memory").contains(" GB free of ") && detail("disk").contains(" GB free in this folder")
        );
    }
    assert!(detail("version").contains("features: demo") && detail("devices").contains("GPUs for training"));
    assert!(!cfg!(feature = "hub") || detail("models").contains("`mplug pull NAME`"), "{checks:?}");
    let all_but_demo = checks.iter().filter(|check| check["name"] != "demo model");
    assert!(all_but_demo.clone().all(|check| check["ok"] == true), "{checks:?}");
    let is_good = checks.iter().all(|check| check["ok"] == true);
    assert_eq!(outcome.code, i32::from(!is_good));
}

#[test]
fn doctor_finds_a_misspelt_setting_and_a_lost_temporary_folder() {
    let misspelt = outcome(mplug().arg("doctor").env("MPLUG_TREADS", "2"));
    assert_eq!(misspelt.code, 1);
    assert!(misspelt.stdout.contains("MPLUG_TREADS: no such setting"), "{}", misspelt.stdout);
    if cfg!(unix) {
        let lost = outcome(mplug().arg("doctor").env("TMPDIR", "/no/such/folder"));
        assert_eq!(lost.code, 1);
        assert!(lost.stdout.contains("FAILED temporary folder"), "{}", lost.stdout);
    }
}
