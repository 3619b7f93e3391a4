//! "Ten minutes, your own pictures" of docs/training.md, run literally; and adapters in the commands.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use mplug::checkpoint::ModelFolder;
use mplug::config::ConfigOverrides;

use crate::support::{Desk, Outcome, run_in};

/// The heading of the section in docs/training.md.
const SECTION: &str = "## Ten minutes, your own pictures";

/// The commands of the section, without their comments.
fn commands() -> Vec<Vec<String>> {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/training.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let section = docs.split_once(SECTION).expect("the section is there").1;
    let block = section.split_once("```sh\n").unwrap().1.split_once("```").unwrap().0;
    let commands = block.lines().map(|line| line.split(" #").next().unwrap_or_default().trim());
    let words = |line: &str| line.split_whitespace().skip(1).map(str::to_owned).collect();
    commands.filter(|line| line.starts_with("mplug ")).map(words).collect()
}

/// A desk with the demo captioner as `base`.
fn desk() -> Desk {
    let desk = Desk::new();
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mplug-demo-caption/model");
    std::fs::create_dir(desk.join("base")).unwrap();
    for entry in std::fs::read_dir(demo).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), desk.join("base").join(entry.file_name())).unwrap();
    }
    desk
}

fn good(desk: &Desk, args: &[&str]) -> Outcome {
    let found = run_in(desk.path(), args);
    assert_eq!(found.code, 0, "{args:?}: {}", found.stderr);
    found
}

/// Starts a run and ends it by Ctrl-C after its first log line.
#[cfg(unix)]
fn stopped(desk: &Desk, args: &[&str]) {
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("mplug"))
        .current_dir(desk.path())
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let log = desk.join("mine/run/log.jsonl");
    while !std::fs::read_to_string(&log).is_ok_and(|log| log.contains("\"event\":\"step\"")) {
        assert!(child.try_wait().unwrap().is_none(), "the run ended by itself");
        std::thread::sleep(Duration::from_millis(2));
    }
    let killed = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap();
    assert!(killed.success() && child.wait().unwrap().code() == Some(130));
}

#[cfg(unix)]
#[test]
fn ten_minutes_with_your_own_pictures() {
    let desk = desk();
    let mut seen = Vec::new();
    for command in commands() {
        let args: Vec<&str> = command.iter().map(String::as_str).collect();
        seen.push(args[0].to_owned());
        match args[..] {
            ["train", "--init", ..] => {
                let found = good(&desk, &args);
                assert!(
                    found.stdout.contains("LoRA") && found.stdout.contains("40 pictures"),
                    "{}",
                    found.stdout
                );
            }
            ["train", _, "--resume", ref rest @ ..] => {
                assert!(rest.contains(&"optimizer.learning_rate=1e-4"), "{rest:?}");
                let found = good(&desk, &args);
                assert!(found.stdout.contains("the model is in"), "{}", found.stdout);
            }
            ["train", ..] => stopped(&desk, &args),
            ["caption", ..] => assert!(!good(&desk, &args).stdout.trim().is_empty()),
            _ => drop(good(&desk, &args)),
        }
    }
    assert_eq!(seen, ["synth", "train", "train", "train", "caption", "convert", "convert"]);
    // Small files beside the base; merged, they are the same model.
    let adapter = desk.join("mine/run/best");
    let size = |name: &str| std::fs::metadata(adapter.join(name)).unwrap().len();
    assert!(size("adapter_model.safetensors") < 1 << 20 && size("adapter_config.json") > 0);
    let picture = "photos/images/000001.png";
    let captions = |args: &[&str]| {
        let fixed = ["caption", picture, "--precision", "f32", "--format", "jsonl"];
        good(&desk, &[&fixed[..], args].concat()).jsonl()[0]["caption"].clone()
    };
    let adapted = captions(&["--model", "base", "--adapter", "mine/run/best"]);
    assert_eq!(adapted, captions(&["--model", "mine/merged"]));
    assert_eq!(adapted, captions(&["--model", "mine/for_modelscope"]));

    // A second --init changes nothing, and says why.
    let again = run_in(desk.path(), &["train", "--init", "mine", "--model", "base", "--data", "photos"]);
    assert_eq!(again.code, 2);
    assert!(again.check_messages().stderr.contains("mine/recipe.toml"), "{}", again.stderr);

    // Every command that opens the model takes the adapter, and refuses it with another model.
    let report = good(
        &desk,
        &["eval", "--model", "base", "--adapter", "mine/run/best", "--count", "3", "--language", "zh"],
    );
    assert!(!report.stdout.is_empty());
    for args in [
        &["caption", "--model", "model", "--adapter", "mine/run/best", "red.png"][..],
        &["eval", "--model", "model", "--adapter", "mine/run/best", "--count", "1"],
        &["convert", "model", "wrong", "--adapter", "mine/run/best"],
        &["bench", "--model", "model", "--adapter", "mine/run/best", "--rounds", "1"],
        &["serve", "--listen", "127.0.0.1:0", "--model", "model", "--adapter", "mine/run/best"],
    ] {
        let refused = run_in(desk.path(), args);
        assert_eq!(refused.code, 2, "{args:?}: {}", refused.stderr);
        assert!(refused.stderr.contains("trained on"), "{args:?}: {}", refused.stderr);
    }
    assert!(!desk.join("wrong").exists());
    let uneven = ["caption", "--model", "base", "--model", "model", "--adapter", "mine/run/best", "red.png"];
    let uneven = run_in(desk.path(), &uneven);
    assert!(uneven.code == 2 && uneven.stderr.contains("one for each of 2 models"), "{}", uneven.stderr);
    ModelFolder::open(desk.join("mine/merged"), &ConfigOverrides::default()).expect("a whole model");
}

#[test]
fn a_recipe_to_begin_with_needs_captions_that_fit_the_model() {
    let desk = desk();
    desk.write("few/annotations.jsonl", b"{\"path\": \"red.png\", \"captions\": [\"\\u4e00\"]}\n");
    let init = |data: &str, model: &str| {
        run_in(desk.path(), &["train", "--init", "mine", "--model", model, "--data", data])
    };
    let few = init("few", "base");
    assert_eq!(few.code, 2, "{}", few.stderr);
    assert!(few.check_messages().stderr.contains("at least two pictures"), "{}", few.stderr);
    let none = init("nowhere", "base");
    assert!(none.code == 2 && none.stderr.contains("nowhere"), "{}", none.stderr);
    assert!(!desk.join("mine/recipe.toml").exists());
    let half = run_in(desk.path(), &["train", "--init", "mine"]);
    assert!(half.code == 2 && half.stderr.contains("--model"), "{}", half.stderr);
}
