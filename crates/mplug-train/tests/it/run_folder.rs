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
    config.evaluation.at_start = false;
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
        "step-000002/notes",
        "superseded/notes",
        "recipe.toml",
        "log.jsonl",
        "history.jsonl",
        "report.html",
        "tensorboard/notes",
        "run.json",
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(&folder.path().join(name), "precious");
        let before = tree(folder.path());
        for resume in [false, true] {
            let error = error(&short(folder.path()), resume);
            let place = folder.path().join(name.split('/').next().expect("a name"));
            let is_named = error.starts_with(&format!("{}: ", place.display()))
                && error.contains("move it away")
                && error.contains("another output folder");
            // A folder without a run is not resumed, whatever is in it.
            assert!(is_named || resume && error.contains("found none; start a run there"), "{name}: {error}");
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
        "step-000009/notes",
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

    for name in ["best", "last", "step-000004", "recipe.toml", "log.jsonl", "superseded", "run.json"] {
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
    let elsewhere = folder.path().join("elsewhere");
    copy(&output.join("last"), &elsewhere);
    let before = tree(&elsewhere);
    for name in ["last", "best"] {
        let step = fs::read_link(output.join(name)).expect("a link");
        for target in [elsewhere.clone(), Path::new("../elsewhere").to_owned(), output.join(&step)] {
            fs::remove_file(output.join(name)).expect("removed");
            symlink(&target, output.join(name)).expect("a link");
            let message = error(&short(&output), true);
            assert!(message.contains(output.join(name).to_str().expect("utf-8")), "{name}: {message}");
            assert_eq!(fs::read_link(output.join(name)).expect("a link"), target, "{name}");
            assert_eq!(tree(&elsewhere), before);
        }
        fs::remove_file(output.join(name)).expect("removed");
        // A folder of somebody's is none of the run's either.
        copy(&elsewhere, &output.join(name));
        let marked = output.join(name).join("checkpoint.json");
        fs::remove_file(&marked).expect("removed");
        let message = error(&short(&output), true);
        assert!(message.contains("move it away") && !marked.exists(), "{name}: {message}");
        fs::remove_dir_all(output.join(name)).expect("removed");
        symlink(step, output.join(name)).expect("a link");
    }
    run(&short(&output), true).1.expect("it is finished");
}

#[test]
fn a_finished_run_is_not_replaced_by_a_fresh_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    finish(folder.path());
    let before = tree(folder.path());
    let message = error(&short(folder.path()), false);
    assert!(message.contains("resume it") && message.contains("another output folder"), "{message}");
    assert_eq!(tree(folder.path()), before);
}

/// An earlier version kept one state beside the models of the last and the best step.
#[test]
fn the_state_of_an_earlier_version_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    finish(folder.path());
    write(&folder.path().join("state.safetensors"), "precious");
    for resume in [false, true] {
        let message = error(&short(folder.path()), resume);
        assert!(message.contains("state.safetensors: ") && message.contains("earlier version"), "{message}");
    }
}

#[test]
fn the_model_folder_of_another_run_is_not_replaced() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
    finish(&one);
    run(&short(&other), false).1.expect("the run ends well");
    fs::remove_file(other.join("best")).expect("removed");
    copy(&one.join("best"), &other.join("best"));
    let message = error(&short(&other), true);
    assert!(message.starts_with(&format!("{}: ", other.join("best").display())), "{message}");
}

#[test]
fn a_resumed_run_is_finished_only_when_its_models_are_there() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = folder.path().join("run");
    finish(&output);
    let names = ["last", "best", "step-000004"];
    let files = |name: &str| {
        ["model.safetensors", "state.safetensors"]
            .map(|file| fs::read(output.join(name).join(file)).expect(name))
    };
    let before = names.map(files);
    assert!(before[0] == before[1], "the last evaluation is the best of this short run");
    let (events, result) = run(&short(&output), true);
    result.expect("it is finished");
    assert_eq!(mended(&events), [""; 0]);
    let step = |event: &Progress| match event {
        Progress::Started { step, .. } => *step,
        _ => panic!("{event:?}"),
    };
    assert_eq!(step(&events[0]), 4);

    // What leads to the checkpoint is gone, or leads to another.
    for name in ["last", "best"] {
        for other in [None, Some("step-000002"), Some("step-000077")] {
            fs::remove_file(output.join(name)).expect("removed");
            #[cfg(unix)]
            if let Some(other) = other {
                std::os::unix::fs::symlink(other, output.join(name)).expect("a link");
            }
            let (events, result) = run(&short(&output), true);
            result.expect("it is finished");
            assert_eq!((mended(&events), step(&events[0])), (vec![name.to_owned()], 4), "{other:?}");
            assert!(names.map(files) == before, "{name} to {other:?}");
        }
    }

    // The checkpoint is gone, or not whole: the run goes on from the one before.
    let last = output.join("step-000004");
    let spoil: [&dyn Fn(); 4] = [
        &|| fs::remove_dir_all(&last).expect("removed"),
        &|| fs::remove_file(last.join("model.safetensors")).expect("removed"),
        &|| fs::write(last.join("state.safetensors"), "cut").expect("written"),
        &|| fs::remove_file(last.join("configuration.json")).expect("removed"),
    ];
    for (number, spoil) in spoil.iter().enumerate() {
        spoil();
        let (events, result) = run(&short(&output), true);
        result.expect("the run ends well");
        assert_eq!(step(&events[0]), 2, "{number}");
        assert!(names.map(files) == before, "{number}");
        assert_eq!(output.join("superseded/step-000004").exists(), number > 0, "{number}");
    }
}

/// What a resumed run lost.
fn lost(events: &[Progress]) -> String {
    let lost = events.iter().find_map(|event| match event {
        Progress::Mended { lost, .. } => Some(lost.join(" ")),
        _ => None,
    });
    lost.unwrap_or_default()
}

#[test]
fn a_best_model_that_is_gone_is_reported_and_the_run_goes_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = short(folder.path());
    config.optimizer.learning_rate = 0.0;
    config.evaluation.at_start = false;
    config.run.steps = Some(6);
    config.run.keep_last = 1;
    run(&config, false).1.expect("the run ends well");
    let steps =
        || ["step-000002", "step-000004", "step-000006"].map(|name| folder.path().join(name).exists());
    assert_eq!(steps(), [true, false, true], "the best and the last are kept");
    fs::remove_dir_all(folder.path().join("step-000002")).expect("removed");
    let (events, result) = run(&config, true);
    result.expect("it is finished");
    let lost = lost(&events);
    assert!(lost.starts_with("best (step 2) is gone"), "{lost:?}");
    assert!(folder.path().join("last/model.safetensors").exists());
    assert!(folder.path().join("best").symlink_metadata().is_err());
}

#[test]
fn step_folders_of_others_do_not_confuse_a_resumed_run() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    finish(folder.path());
    let others = ["step-000001", "step-000009", "step-9"];
    for name in others {
        write(&folder.path().join(name).join("notes"), "precious");
    }
    run(&short(folder.path()), true).1.expect("it is finished");
    let mut longer = short(folder.path());
    longer.run.steps = Some(10);
    let message = error(&longer, true);
    assert!(message.contains("step-000009: ") && message.contains("move it away"), "{message}");
    for name in others {
        assert_eq!(fs::read(folder.path().join(name).join("notes")).expect("there"), b"precious");
    }
    assert!(folder.path().join("step-000002/model.safetensors").exists());
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
    config.evaluation.at_start = false;
    config.evaluation.patience = 2;
    run(&config, false).1.expect("the run ends well");
    let state = fs::read(folder.path().join("last/state.safetensors")).expect("a state");
    let (events, result) = run(&config, true);
    result.expect("it is finished");
    assert!(matches!(events[..], [Progress::Started { step: 6, .. }]), "{events:?}");
    assert!(fs::read(folder.path().join("last/state.safetensors")).expect("a state") == state);
}

/// What a run writes has the permissions that the user gives new files and folders.
#[cfg(unix)]
#[test]
fn files_and_folders_have_the_permissions_of_the_umask() {
    use std::os::unix::fs::PermissionsExt;

    fn check(folder: &Path, modes: [u32; 2]) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_symlink() {
                continue;
            }
            let mode = path.metadata().expect("there").permissions().mode() & 0o777;
            assert_eq!(mode, modes[usize::from(path.is_dir())], "{}", path.display());
            if path.is_dir() {
                check(&path, modes);
            }
        }
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [file, directory, output] = ["file", "folder", "run"].map(|name| folder.path().join(name));
    fs::write(&file, "").expect("written");
    fs::create_dir(&directory).expect("made");
    let modes = [file, directory].map(|path| path.metadata().expect("there").permissions().mode() & 0o777);
    run(&short(&output), false).1.expect("the run ends well");
    check(&output, modes);
}

/// It evaluated the model that it starts from, and nothing is lost by evaluating that again.
#[test]
fn a_run_that_ended_before_its_first_checkpoint_may_be_begun_anew() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = short(folder.path());
    config.evaluation.at_start = true;
    let mut ends = |event: &Progress| match event {
        Progress::Evaluated { step: 0, .. } => std::ops::ControlFlow::Break(()),
        _ => std::ops::ControlFlow::Continue(()),
    };
    let summary = mplug_train::train_on(&config, &crate::toy::Colours, false, &mut ends).expect("it ends");
    let model = |name: &str| folder.path().join(name).join("model.safetensors").exists();
    assert!(summary.interrupted && ["best", "last", "step-000000"].map(model) == [true; 3]);
    config.seed += 1;
    run(&config, false).1.expect("the run ends well");
    // A later step is something that was learned.
    config.output = folder.path().join("later");
    config.run.checkpoint_every = 100;
    let mut ends = |event: &Progress| match event {
        Progress::Evaluated { step: 2, .. } => std::ops::ControlFlow::Break(()),
        _ => std::ops::ControlFlow::Continue(()),
    };
    mplug_train::train_on(&config, &crate::toy::Colours, false, &mut ends).expect("it ends");
    assert!(error(&config, false).contains("holds a run already"));
}
