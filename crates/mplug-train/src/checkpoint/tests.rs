//! A run that ends before any change of its folder, killed or on a full disk, is resumed to what an unbroken one leaves.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::files::faults::{self, Fault, KILLED};
use crate::{Progress, Resume, TrainConfig, TrainError, train};

/// Three steps with a checkpoint after each, of which two are kept, and two evaluations before checkpoints.
const RECIPE: &str = r#"
seed = 4
[model]
image_size = 16
patch_size = 8
vision_width = 64
vision_layers = 1
text_width = 32
text_heads = 2
text_intermediate = 32
decoder_layers = 1
max_position_embeddings = 24
[data]
kind = "synth"
language = "zh"
seed = 1
held_out_seed = 2
[run]
steps = 3
batch_size = 1
micro_batch_size = 1
threads = 1
data_threads = 1
log_every = 2
checkpoint_every = 1
keep_last = 2
[optimizer]
learning_rate = 1e-2
weight_decay = 0.02
clip_norm = 1.0
average_decay = 0.5
[schedule]
warmup_steps = 0
[evaluation]
every = 2
at_start = false
pictures = 1
"#;

/// What must be the same byte for byte.
const RESULTS: [&str; 6] = [
    "last/state.safetensors",
    "last/model.safetensors",
    "best/model.safetensors",
    "best/state.safetensors",
    "step-000002/model.safetensors",
    "step-000003/state.safetensors",
];

/// The environment of a child that is to be killed.
const OUTPUT: &str = "MPLUG_TRAIN_TEST_OUTPUT";
const KILL_BEFORE: &str = "MPLUG_TRAIN_TEST_KILL_BEFORE";
const CANNOT_EXCHANGE: &str = "MPLUG_TRAIN_TEST_CANNOT_EXCHANGE";

/// A folder in memory where the system has one. Each of hundreds of runs would wait for the disk at every change, and what the
/// disk has matters only to a system that crashes; the tests in `tests` train on the disk.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder")
}

fn run(output: &Path, resume: Resume) -> Result<Vec<Progress>, TrainError> {
    let output = toml::Value::String(output.to_str().expect("utf-8").to_owned()).to_string();
    let text = format!("output = {output}\n{RECIPE}");
    let config = TrainConfig::from_toml(&text, &[]).expect("a good recipe");
    let mut events = Vec::new();
    train(&config, resume, &mut |event| {
        events.push(event.clone());
        ControlFlow::Continue(())
    })?;
    Ok(events)
}

/// As a person goes on with a run: anew, if it came to nothing at all.
fn go_on(output: &Path) -> Result<Vec<Progress>, TrainError> {
    let has_run = std::fs::metadata(output.join("run.json")).is_ok_and(|found| found.len() > 0);
    run(output, if has_run { Resume::Last } else { Resume::Never })
}

/// An unbroken run, and how often it changes its folder.
fn unbroken(output: &Path) -> u64 {
    faults::expect(None);
    run(output, Resume::Never).expect("the run ends well");
    faults::changes()
}

/// The resumed run says that it is finished only where all models are those of the unbroken one.
fn goes_on_as(unbroken: &Path, broken: &Path, when: &str) {
    go_on(broken).unwrap_or_else(|error| panic!("{when}: {error}"));
    let names = if cfg!(unix) { &RESULTS[..] } else { &RESULTS[4..] };
    for name in names {
        let [one, other] = [unbroken, broken].map(|run| {
            std::fs::read(run.join(name)).unwrap_or_else(|error| panic!("{when}: {name}: {error}"))
        });
        assert!(one == other, "{when}: {name} differs");
    }
    assert_eq!(hidden(broken), [""; 0], "{when}");
}

/// Names in a run folder that begin with a dot.
fn hidden(run: &Path) -> Vec<String> {
    let names = std::fs::read_dir(run).expect("a folder");
    let names = names.map(|entry| entry.expect("an entry").file_name().into_string().expect("utf-8"));
    names.filter(|name| name.starts_with('.')).collect()
}

/// Trains in a process of its own, which ends before the change of this number. Whether it came to that.
fn is_killed(output: &Path, before: u64, can_exchange: bool) -> bool {
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args(["--exact", "checkpoint::tests::trains_until_it_is_killed", "--ignored"]);
    child.env(OUTPUT, output).env(KILL_BEFORE, before.to_string());
    if !can_exchange {
        child.env(CANNOT_EXCHANGE, "1");
    }
    let ended = child.output().expect("the child starts");
    let code = ended.status.code();
    assert!(code == Some(KILLED) || code == Some(0), "{}", String::from_utf8_lossy(&ended.stdout));
    code == Some(KILLED)
}

#[test]
#[ignore = "it is the child of the tests below"]
fn trains_until_it_is_killed() {
    let (Ok(output), Ok(before)) = (std::env::var(OUTPUT), std::env::var(KILL_BEFORE)) else { return };
    faults::set_cannot_exchange(std::env::var(CANNOT_EXCHANGE).is_ok());
    faults::expect(Some((before.parse().expect("a number"), Fault::Kill)));
    go_on(Path::new(&output)).expect("the run ends well");
}

/// A run is killed before every change of its folder, some once more while they are resumed.
#[test]
fn a_run_killed_between_any_two_writes_goes_on_to_the_same_files() {
    let folder = folder();
    let whole = folder.path().join("whole");
    let changes = unbroken(&whole);
    assert!(changes > 80, "only {changes} changes");
    for before in 0..changes {
        let broken = folder.path().join(before.to_string());
        assert!(is_killed(&broken, before, before % 2 == 0), "change {before}");
        if before % 3 == 0 {
            is_killed(&broken, before % 13, before % 2 == 0);
        }
        goes_on_as(&whole, &broken, &format!("killed before change {before}"));
        std::fs::remove_dir_all(&broken).expect("removed");
    }
}

#[test]
fn a_disk_that_fills_at_any_write_spoils_nothing() {
    let folder = folder();
    let whole = folder.path().join("whole");
    let writes = unbroken(&whole) - faults::removals();
    for before in 0..writes {
        let broken = folder.path().join(before.to_string());
        faults::expect(Some((before, Fault::FullDisk)));
        let ended = run(&broken, Resume::Never);
        faults::expect(None);
        let problem = match ended {
            Err(error) => error.to_string(),
            // The page, which is written last, ends no run; its log says what is wrong.
            Ok(_) => std::fs::read_to_string(broken.join("log.jsonl")).expect("a log"),
        };
        assert!(problem.contains(broken.to_str().expect("utf-8")), "change {before}: {problem}");
        assert!(
            problem.contains("storage space") || problem.contains("space left"),
            "change {before}: {problem}"
        );
        assert_eq!(hidden(&broken), [""; 0], "change {before}");
        goes_on_as(&whole, &broken, &format!("full before change {before}"));
        std::fs::remove_dir_all(&broken).expect("removed");
    }
}
