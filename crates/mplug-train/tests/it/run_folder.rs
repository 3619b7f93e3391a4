//! What a run does to its folder: it completes what is its own, and leaves alone what is not.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use mplug_train::{Progress, TrainConfig};

use crate::kept_run::KeptRun;
use crate::toy::{recipe, run};

fn short(output: &Path) -> TrainConfig {
    let mut config = recipe(output, 4);
    config.run.checkpoint_every = 2;
    config.run.keep_last = 2;
    config.evaluation.every = 2;
    config
}

/// Makes `output` the folder of such a run that ended well.
fn finish(output: &Path) {
    static FINISHED: OnceLock<KeptRun> = OnceLock::new();
    let finished = FINISHED.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        run(&short(folder.path()), false).1.expect("the run ends well");
        KeptRun::read(folder.path())
    });
    finished.write(output);
}

fn error(config: &TrainConfig, resume: bool) -> String {
    run(config, resume).1.expect_err("refused").to_string()
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("made");
    fs::write(path, text).expect("written");
}

/// Every file below `folder` with its content.
fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.to_str().expect("utf-8").to_owned();
        let kind = path.symlink_metadata().expect("there").file_type();
        if kind.is_symlink() {
            files.insert(name, fs::read_link(&path).expect("a link").into_os_string().into_encoded_bytes());
        } else if kind.is_dir() {
            files.insert(name, Vec::new());
            files.extend(tree(&path));
        } else {
            files.insert(name, fs::read(&path).expect("a file"));
        }
    }
    files
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("copied");
    }
}

/// The names of the model folders that the run wrote before its first step.
fn mended(events: &[Progress]) -> Vec<String> {
    let written = events.iter().find_map(|event| match event {
        Progress::Mended { written, .. } => Some(written.clone()),
        _ => None,
    });
    written.unwrap_or_default()
}

#[test]
fn what_is_in_the_way_is_named_before_the_first_step_and_stays() {
    for name in [
        "best/photos.txt",
        "last/deep/notes",
        "last",
        "step-00000002/notes",
        "recipe.toml",
        "log.jsonl",
        "report.html",
        "tensorboard/notes",
        "run.json",
        "state.safetensors/notes",
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(&folder.path().join(name), "precious");
        let before = tree(folder.path());
        for resume in [false, true] {
            let error = error(&short(folder.path()), resume);
            let place = folder.path().join(name.split('/').next().expect("a name"));
            assert!(error.starts_with(&format!("{}: ", place.display())), "{name}: {error}");
            assert!(
                error.contains("move it away") && error.contains("another output folder"),
                "{name}: {error}"
            );
            let mut after = tree(folder.path());
            after.retain(|path, _| before.contains_key(path));
            assert_eq!(after, before, "{name}");
        }
    }
}

#[test]
fn what_is_not_in_the_way_stays() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in [
        ".tmp/notes",
        ".tmpfiles.d/deep/notes",
        ".tmp.conf",
        ".mplug-abc/notes",
        ".mplug-abc.tmp",
        ".mplug-train-0123456789abcdef/run.json",
        "step-00000009/notes",
        "step-2/notes",
        "step-notes",
        "photos.txt",
        "run.lock",
    ] {
        write(&folder.path().join(name), "precious");
    }
    let before = tree(folder.path());
    run(&short(folder.path()), false).1.expect("the run ends well");
    run(&short(folder.path()), true).1.expect("it is finished");
    let mut after = tree(folder.path());
    after.retain(|path, _| before.contains_key(path));
    assert_eq!(after, before);
}

/// A process may be killed before it writes its number into its hidden folder; more than such a file is somebody's.
#[test]
fn a_hidden_folder_of_the_run_is_removed_only_where_nothing_else_is_in_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    finish(folder.path());
    let record = fs::read(folder.path().join("run.json")).expect("a record");
    let record: serde_json::Value = serde_json::from_slice(&record).expect("json");
    let hidden = folder.path().join(format!(".mplug-train-{}", record["run"].as_str().expect("a number")));
    write(&hidden.join("run.json"), "");
    run(&short(folder.path()), true).1.expect("it is finished");
    assert!(!hidden.exists());
    for (name, text) in [("run.json", "precious"), ("notes", "precious"), ("notes", "")] {
        write(&hidden.join("run.json"), "");
        write(&hidden.join(name), text);
        let before = tree(&hidden);
        let message = error(&short(folder.path()), true);
        assert!(message.starts_with(&format!("{}: ", hidden.display())), "{message}");
        assert_eq!(tree(&hidden), before, "{name}");
        fs::remove_dir_all(&hidden).expect("removed");
    }
}

#[cfg(unix)]
#[test]
fn links_are_neither_followed_nor_replaced() {
    use std::os::unix::fs::symlink;

    for name in ["best", "last", "step-00000004", "recipe.toml", "log.jsonl", "state.safetensors", "run.json"]
    {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (output, elsewhere) = (folder.path().join("run"), folder.path().join("elsewhere"));
        fs::create_dir(&output).expect("made");
        write(&elsewhere.join("notes"), "precious");
        symlink(&elsewhere, output.join(name)).expect("a link");
        let message = error(&short(&output), false);
        assert!(message.contains(output.join(name).to_str().expect("utf-8")), "{name}: {message}");
        // A dangling one is a link too.
        fs::remove_file(output.join(name)).expect("removed");
        symlink(folder.path().join("nowhere"), output.join(name)).expect("a link");
        error(&short(&output), false);
        assert!(output.join(name).symlink_metadata().expect("there").is_symlink(), "{name}");
        assert_eq!(fs::read(elsewhere.join("notes")).expect("there"), b"precious");
        assert!(!folder.path().join("nowhere").exists(), "{name}");
    }
    // In the folder of a run, too.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = folder.path().join("run");
    finish(&output);
    for name in ["last", "best"] {
        fs::rename(output.join(name), folder.path().join(name)).expect("moved");
        symlink(folder.path().join(name), output.join(name)).expect("a link");
        let before = tree(&folder.path().join(name));
        let message = error(&short(&output), true);
        assert!(message.contains(output.join(name).to_str().expect("utf-8")), "{name}: {message}");
        assert_eq!(tree(&folder.path().join(name)), before);
        fs::remove_file(output.join(name)).expect("removed");
        fs::rename(folder.path().join(name), output.join(name)).expect("moved");
    }
}

#[test]
fn a_finished_run_is_not_replaced_by_a_fresh_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    finish(folder.path());
    let before = tree(folder.path());
    let message = error(&short(folder.path()), false);
    assert!(message.contains("resume it") && message.contains("another output folder"), "{message}");
    assert_eq!(tree(folder.path()), before);
    // Nor where its state is gone.
    fs::remove_file(folder.path().join("state.safetensors")).expect("removed");
    for resume in [false, true] {
        let message = error(&short(folder.path()), resume);
        assert!(message.contains("last: is a model") && message.contains("state.safetensors"), "{message}");
    }
    let mut before = before;
    before.retain(|path, _| !path.ends_with("state.safetensors"));
    assert_eq!(tree(folder.path()), before);
}

#[test]
fn the_model_folder_of_another_run_is_not_replaced() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
    finish(&one);
    run(&short(&other), false).1.expect("the run ends well");
    fs::remove_dir_all(other.join("best")).expect("removed");
    copy(&one.join("best"), &other.join("best"));
    let message = error(&short(&other), true);
    assert!(message.starts_with(&format!("{}: ", other.join("best").display())), "{message}");
}

#[test]
fn a_resumed_run_is_finished_only_when_its_models_are_there() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = folder.path().join("run");
    finish(&output);
    let names = ["last", "best", "step-00000004"];
    let models = || names.map(|name| fs::read(output.join(name).join("model.safetensors")).expect(name));
    let before = models();
    let is_best_last =
        fs::read_to_string(output.join("best/checkpoint.json")).expect("a mark").contains("\"step\": 4");
    assert!(is_best_last, "the last evaluation is the best of this short run");
    let (events, result) = run(&short(&output), true);
    result.expect("it is finished");
    assert_eq!(mended(&events), [""; 0]);

    // Missing, without its weights, with weights cut short, of an earlier step.
    let older = output.join("step-00000002");
    let spoil: [&dyn Fn(&Path); 4] = [
        &|model| fs::remove_dir_all(model).expect("removed"),
        &|model| fs::remove_file(model.join("model.safetensors")).expect("removed"),
        &|model| fs::write(model.join("model.safetensors"), "cut").expect("written"),
        &|model| {
            fs::remove_dir_all(model).expect("removed");
            copy(&older, model);
        },
    ];
    for (number, spoil) in spoil.iter().enumerate() {
        for name in names {
            // A folder of an earlier step in the place of the best has no score.
            spoil(&output.join(name));
            let (events, result) = run(&short(&output), true);
            result.expect("it is finished");
            assert_eq!(mended(&events), [name], "{number}");
            assert!(models() == before, "{number}: {name}");
        }
    }
}

#[test]
fn a_best_model_that_is_gone_is_reported_and_the_run_goes_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = short(folder.path());
    config.optimizer.learning_rate = 0.0;
    config.run.steps = Some(6);
    run(&config, false).1.expect("the run ends well");
    fs::remove_dir_all(folder.path().join("best")).expect("removed");
    let (events, result) = run(&config, true);
    result.expect("it is finished");
    let lost = events.iter().find_map(|event| match event {
        Progress::Mended { lost, .. } => Some(lost.join(" ")),
        _ => None,
    });
    assert!(lost.as_ref().is_some_and(|lost| lost.starts_with("best (step 2) is gone")), "{lost:?}");
    assert!(folder.path().join("last/model.safetensors").exists());
}

#[test]
fn step_folders_of_others_do_not_confuse_a_resumed_run() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    finish(folder.path());
    let step = folder.path().join("step-00000004");
    fs::remove_dir_all(&step).expect("removed");
    write(&step.join("notes"), "precious");
    write(&folder.path().join("step-00000001/notes"), "precious");
    let (events, result) = run(&short(folder.path()), true);
    result.expect("it is finished");
    let lost = events.iter().find_map(|event| match event {
        Progress::Mended { lost, .. } => Some(lost.join(" ")),
        _ => None,
    });
    assert!(lost.is_some_and(|lost| lost.contains("step-00000004")));
    for name in ["step-00000001", "step-00000004"] {
        assert_eq!(fs::read(folder.path().join(name).join("notes")).expect("there"), b"precious");
    }
    assert!(folder.path().join("step-00000002/model.safetensors").exists());
}

#[test]
fn a_log_cut_within_a_character_goes_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    finish(folder.path());
    let log = folder.path().join("log.jsonl");
    let mut bytes = fs::read(&log).expect("a log");
    let lines = bytes.split(|byte| *byte == b'\n').count() - 1;
    bytes.extend("{\"event\":\"evaluated\",\"samples\":[\"猫".bytes());
    bytes.pop();
    fs::write(&log, bytes).expect("written");
    run(&short(folder.path()), true).1.expect("it is finished");
    let text = fs::read_to_string(&log).expect("utf-8");
    assert_eq!(text.lines().count(), lines + 1);
    assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{text}");
}

#[test]
fn a_run_that_stopped_early_stays_so() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = short(folder.path());
    config.run.steps = Some(20);
    config.optimizer.learning_rate = 0.0;
    config.evaluation.patience = 2;
    run(&config, false).1.expect("the run ends well");
    let state = fs::read(folder.path().join("state.safetensors")).expect("a state");
    let (events, result) = run(&config, true);
    result.expect("it is finished");
    assert!(matches!(events[..], [Progress::Started { step: 6, .. }]), "{events:?}");
    assert!(fs::read(folder.path().join("state.safetensors")).expect("a state") == state);
}
