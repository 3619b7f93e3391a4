//! Training that is killed, or whose disk is full: nothing is lost, and the resumed run ends as an unbroken one.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use mplug::checkpoint::seeded::{Draw, DrawnTensor};
use mplug::checkpoint::{Values, WriteOptions};
use mplug::config::Task;

use crate::support::{Desk, Outcome};

/// A run of a few seconds that saves after every step and evaluates now and then.
const RECIPE: &str = r#"
output = "run"
seed = 4

[model]
image_size = 24
patch_size = 8
vision_width = 64
vision_layers = 1
text_width = 32
text_heads = 2
text_intermediate = 64
decoder_layers = 1
max_position_embeddings = 32

[data]
kind = "synth"
language = "zh"
seed = 1
held_out_seed = 2

[run]
steps = 24
batch_size = 2
micro_batch_size = 2
threads = 1
data_threads = 1
log_every = 8
checkpoint_every = 1

[optimizer]
learning_rate = 1e-3
weight_decay = 0.02
clip_norm = 1.0

[schedule]
warmup_steps = 2

[evaluation]
every = 6
pictures = 2
"#;

/// What must be the same byte for byte.
const RESULTS: [&str; 3] = ["last/state.safetensors", "last/model.safetensors", "best/model.safetensors"];

fn desk() -> Desk {
    let desk = Desk::new();
    desk.write("recipe.toml", RECIPE.as_bytes());
    desk
}

fn train(desk: &Desk, output: &str, more: &[&str]) -> Outcome {
    let output = format!("output=\"{output}\"");
    desk.run(&[&["train", "recipe.toml", "--set", &output], more].concat())
}

/// The results of a run, in the order of [`RESULTS`].
type Results = [Vec<u8>; RESULTS.len()];

fn results(run: &Path) -> Results {
    RESULTS.map(|name| std::fs::read(run.join(name)).expect(name))
}

/// Those of the recipe's run that nothing broke, which saves at its end alone.
fn unbroken() -> &'static Results {
    static UNBROKEN: OnceLock<Results> = OnceLock::new();
    UNBROKEN.get_or_init(|| {
        let desk = desk();
        let unbroken = train(&desk, "unbroken", &["--set", "run.checkpoint_every=24"]);
        assert_eq!(unbroken.code, 0, "{}", unbroken.stderr);
        results(&desk.join("unbroken"))
    })
}

fn same_results(one: &Results, other: &Path) {
    for ((name, one), other) in RESULTS.iter().zip(one).zip(results(other)) {
        assert!(*one == other, "{name} differs");
    }
}

/// The run says where the model is only when it is there: a run that was ended after its checkpoint and before `last` and `best` led
/// there has them lead there when it is resumed.
#[test]
fn a_resumed_run_says_where_the_model_is_only_when_it_is_there() {
    let desk = desk();
    let two_kept = ["--set", "run.keep_last=2", "--set", "run.checkpoint_every=12"];
    assert_eq!(train(&desk, "broken", &two_kept).code, 0);
    let broken = desk.join("broken");
    std::fs::remove_file(broken.join("last")).unwrap();
    let resumed = train(&desk, "broken", &[&["--resume"], &two_kept[..]].concat());
    assert_eq!(resumed.code, 0, "{}", resumed.stderr);
    assert!(resumed.stderr.contains("models completed; last written"), "{}", resumed.stderr);
    assert!(
        resumed.stdout.starts_with("24 steps, best") && resumed.stdout.contains("the model is in broken")
    );
    same_results(unbroken(), &broken);
    let caption = desk.run(&["caption", "--model", "broken/last", "red.png"]);
    assert_eq!(caption.code, 0, "{}", caption.stderr);
}

#[test]
fn what_is_in_the_output_folder_already_is_not_harmed() {
    let desk = desk();
    desk.write("home/.tmp/notes", b"precious");
    desk.write("home/.tmp.conf", b"precious");
    desk.write("home/best/photos.txt", b"precious");
    let refused = train(&desk, "home", &[]);
    assert_eq!((refused.code, &refused.stdout[..]), (2, ""), "{}", refused.stderr);
    let stderr = &refused.check_messages().stderr;
    assert!(stderr.contains("home/best: ") && stderr.contains("move it away"), "{stderr}");
    std::fs::rename(desk.join("home/best"), desk.join("best")).unwrap();
    assert_eq!(train(&desk, "home", &["--set", "run.steps=2"]).code, 0);
    for name in ["home/.tmp/notes", "home/.tmp.conf", "best/photos.txt"] {
        assert_eq!(std::fs::read(desk.join(name)).unwrap(), b"precious", "{name}");
    }
}

/// What a message says to type, typed in a shell as it stands.
#[cfg(unix)]
fn in_a_shell(desk: &Desk, command: &str) -> Outcome {
    let program = assert_cmd::cargo::cargo_bin!("mplug");
    let path = std::env::join_paths([program.parent().unwrap(), Path::new("/usr/bin"), Path::new("/bin")]);
    let mut shell = assert_cmd::Command::new("sh");
    shell.args(["-c", command]).env("PATH", path.unwrap()).current_dir(desk.path());
    crate::support::outcome(&mut shell)
}

/// The advice of a run that diverges, as a person would follow it: in a shell.
#[cfg(unix)]
#[test]
fn a_run_that_diverges_says_what_helps() {
    let desk = desk();
    let steep =
        ["--set", "run.max_skipped_steps=2", "--set", "run.keep_last=3", "--set", "evaluation.every=0"];
    assert_eq!(train(&desk, "lost", &[&steep[..], &["--set", "run.steps=3"]].concat()).code, 0);
    let too_fast = ["--set", "run.checkpoint_every=100", "--set", "optimizer.learning_rate=2e3"];
    let lost = train(&desk, "lost", &[&steep[..], &too_fast, &["--resume"]].concat());
    assert_eq!((lost.code, &lost.stdout[..]), (2, ""), "{}", lost.stderr);
    let message = lost.check_messages().stderr.lines().last().unwrap();
    assert!(message.contains("that of step 3, lost/step-000003"), "{message}");
    let from = message.split_once("with `--from ").expect("an earlier one").1;
    let (step, advice) = from.split_once("` from an earlier checkpoint; on the command line: ").unwrap();
    for command in [advice.to_owned(), format!("{advice} --from {step}")] {
        let advised = in_a_shell(&desk, &command);
        assert_eq!(advised.code, 0, "{}", advised.stderr);
        assert!(advised.stderr.contains("optimizer.learning_rate: 0.001 -> 200.0"), "{}", advised.stderr);
        assert!(advised.stdout.contains("the model is in lost"), "{}", advised.stdout);
    }
    // Without a checkpoint the run begins anew, by the same words.
    let lost = train(&desk, "none", &[&steep[..], &too_fast].concat());
    let message = lost.check_messages().stderr.lines().last().unwrap();
    assert!(lost.code == 2 && message.contains("No step is saved yet"), "{message}");
    let advised = in_a_shell(&desk, message.split_once("on the command line: ").expect("advice").1);
    assert_eq!(advised.code, 0, "{}", advised.stderr);
    assert!(advised.stderr.contains("from step 0 to 24"), "{}", advised.stderr);
}

/// Names in a run folder that should not be there.
fn leftovers(run: &Path) -> Vec<String> {
    let names =
        std::fs::read_dir(run).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('.')).collect()
}

#[test]
fn a_run_killed_again_and_again_ends_as_an_unbroken_one() {
    let desk = desk();
    let mut kills = 0;
    let mut wait = Duration::from_millis(60);
    loop {
        let has_run = std::fs::metadata(desk.join("broken/run.json")).is_ok_and(|found| found.len() > 0);
        let mut child = Command::new(assert_cmd::cargo::cargo_bin!("mplug"))
            .current_dir(desk.path())
            .args(["train", "recipe.toml", "--set", "output=\"broken\""])
            .args(has_run.then_some("--resume"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(wait);
        // SIGKILL: the program cannot do anything about it.
        child.kill().unwrap();
        let ended = child.wait().unwrap();
        if ended.success() {
            break;
        }
        assert_eq!(ended.code(), None, "after {kills} kills the resumed run ends with an error");
        kills += 1;
        // Moments that fall into writes and between them; later and later, so that the run gets on.
        wait = wait.mul_f64(1.07) + Duration::from_millis(7);
        assert!(wait < Duration::from_mins(2), "the run never ends");
    }
    assert!(kills > 2, "only {kills} kills");
    let broken = desk.join("broken");
    same_results(unbroken(), &broken);
    let resumed = train(&desk, "broken", &["--resume"]);
    assert_eq!(resumed.code, 0, "{}", resumed.stderr);
    assert_eq!(leftovers(&broken), [""; 0]);
}

/// The first Ctrl-C or SIGTERM lets the step at hand end, saves it and says how to go on.
#[cfg(unix)]
#[test]
fn a_signal_saves_the_step_at_hand_and_says_how_to_go_on() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        is_ended_by(signal, code);
    }
}

#[cfg(unix)]
fn is_ended_by(signal: &str, code: i32) {
    let desk = desk();
    let long = ["--set", "run.steps=100000", "--set", "run.checkpoint_every=100000"];
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("mplug"))
        .current_dir(desk.path())
        .args(["train", "recipe.toml"])
        .args(long)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !std::fs::read_to_string(desk.join("run/log.jsonl")).is_ok_and(|log| log.contains("\"step\":8,")) {
        assert!(child.try_wait().unwrap().is_none(), "the run ended by itself");
        std::thread::sleep(Duration::from_millis(1));
    }
    let killed = Command::new("sh").args(["-c", &format!("kill -{signal} {}", child.id())]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    let messages = String::from_utf8(output.stderr).unwrap();
    assert!(killed.success() && output.status.code() == Some(code), "{messages}");
    let message = messages.lines().last().unwrap();
    let (step, command) = message.split_once("; to go on: ").expect(message);
    let step: u64 = step.strip_prefix("mplug: interrupted after step ").unwrap().parse().unwrap();
    assert_eq!(
        command,
        "mplug train recipe.toml --set run.steps=100000 --set run.checkpoint_every=100000 --resume"
    );
    assert!(
        std::fs::read_to_string(desk.join("run/log.jsonl"))
            .unwrap()
            .contains(&format!("\"event\":\"saved\",\"step\":{step}"))
    );
    let resumed = in_a_shell(&desk, &command.replace("100000", &(step + 1).to_string()));
    assert_eq!(resumed.code, 0, "{}", resumed.stderr);
    assert!(resumed.stderr.contains(&format!("from step {step} to {}", step + 1)), "{}", resumed.stderr);
}

/// A limit on the size of files stands for a full disk: writes fail in the middle.
#[cfg(unix)]
#[test]
fn a_full_disk_names_the_file_and_spoils_nothing() {
    let desk = desk();
    let half = desk.join("half");
    std::fs::create_dir(&half).unwrap();
    // The first thing to be written is the state: nothing is evaluated before.
    let settings = ["--set", "output=\"half\"", "--set", "evaluation.at_start=false"];
    let full = desk.run_without_room(40, &[&["train", "recipe.toml"], &settings[..]].concat());
    assert_eq!(full.code, 2, "{}", full.stderr);
    assert!(full.stderr.contains("half/step-000001/model.safetensors"), "{}", full.stderr);
    assert!(!half.join("step-000001").exists());
    assert_eq!(leftovers(&half), [""; 0]);
    let resumed = train(&desk, "half", &["--resume", "--set", "run.checkpoint_every=12"]);
    assert_eq!(resumed.code, 0, "{}", resumed.stderr);
    same_results(unbroken(), &half);
}

#[test]
fn tensors_that_nobody_knows_are_reported_before_a_run_or_refused() {
    let desk = desk();
    let short = ["--set", "run.steps=1", "--set", "model.weights=model"];
    let quiet = train(&desk, "quiet", &short);
    assert_eq!((quiet.code, quiet.stderr.contains("unexpected")), (0, false), "{}", quiet.stderr);
    let options = WriteOptions { overwrite: true, ..WriteOptions::default() };
    desk.edited_model("model", Task::ImageCaptioning, options, |recipe| {
        let draw = Draw::Given(Values::F32(vec![0.0]));
        recipe.tensors.push(DrawnTensor { name: "my_head.bias".to_owned(), shape: vec![1], draw });
    });
    let lax = train(&desk, "lax", &short);
    let expected = "model/model.safetensors: 1 unexpected tensor is not used: my_head.bias (`--strict`";
    assert_eq!((lax.code, lax.stderr.matches(expected).count()), (0, 1), "{}", lax.stderr);
    same_results(&results(&desk.join("quiet")), &desk.join("lax"));
    let refused = train(&desk, "refused", &[&short[..], &["--strict"]].concat());
    assert_eq!((refused.code, desk.join("refused").exists()), (2, false), "{}", refused.stderr);
    assert!(refused.stderr.contains("1 unexpected: my_head.bias"), "{}", refused.stderr);
}

/// A recipe is tried without a step, on data whose keys have names of their own.
#[test]
fn a_check_says_what_is_known_and_writes_nothing() {
    let desk = desk();
    let vocabulary = concat!(env!("CARGO_MANIFEST_DIR"), "/../mplug-demo-caption/model/vocab.txt");
    std::fs::copy(vocabulary, desk.join("vocab.txt")).unwrap();
    let red = desk.join("red.png").canonicalize().unwrap();
    let line = serde_json::json!({"pic": red, "title": "一只红色的鸟"}).to_string() + "\n";
    desk.write("train.jsonl", line.as_bytes());
    desk.write("held_out.jsonl", line.as_bytes());
    let (before, after) = RECIPE.split_once("[data]").unwrap();
    let rest = after.split_once("[run]").unwrap().1;
    let data = "kind = \"annotations\"\ntrain = \"train.jsonl\"\nheld_out = \"held_out.jsonl\"\nvocabulary = \"vocab.txt\"";
    desk.write("own.toml", format!("{before}[data]\n{data}\n[run]{rest}").as_bytes());
    let renamed = ["train", "own.toml", "--rename-column", "pic=image", "--rename-column", "title=caption"];
    let checked = desk.run(&[&renamed[..], &["--check"]].concat());
    assert_eq!((checked.code, desk.join("run").exists()), (0, false), "{}", checked.stderr);
    let messages = &checked.check_messages().stderr;
    assert!(
        messages.contains("48.00 epochs of 1 examples of 1 pictures")
            && messages.contains("nothing was written"),
        "{messages}"
    );
    let trained = desk.run(&[&renamed[..], &["--set", "run.steps=1"]].concat());
    assert_eq!(trained.code, 0, "{}", trained.stderr);
    let other = desk.run(&["train", "own.toml", "--check"]);
    assert!(other.code == 2 && other.stderr.contains("pic, title"), "{}", other.stderr);
    let wrong = desk.run(&[&renamed[..], &["--check", "--set", "run.steps=ten"]].concat());
    assert!(
        wrong.code == 2 && wrong.stderr.contains("own.toml: recipe: run.steps: expected an integer"),
        "{}",
        wrong.stderr
    );
}

#[test]
fn two_processes_do_not_train_in_one_folder() {
    let desk = desk();
    std::fs::create_dir(desk.join("run")).unwrap();
    let lock = std::fs::File::create(desk.join("run/run.lock")).unwrap();
    lock.lock().unwrap();
    let refused = train(&desk, "run", &[]);
    assert_eq!(refused.code, 2);
    assert!(refused.check_messages().stderr.contains("another process trains"), "{}", refused.stderr);
    drop(lock);
    let free = train(&desk, "run", &["--set", "run.steps=1"]);
    assert_eq!(free.code, 0, "{}", free.stderr);
}
