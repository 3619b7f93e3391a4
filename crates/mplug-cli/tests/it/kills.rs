//! Training that is killed at random moments, in each kind of training: the run goes on to the bits of one that nothing disturbed.
//! `KILLS=100` sets how often each kind is killed, `SEED=7` at which moments.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::Desk;

/// A run of less than a second, with dropout, two threads, checkpoints and evaluations at odds with each other.
const RECIPE: &str = r#"
output = "run"
seed = 4

[model]
image_size = 16
patch_size = 8
vision_width = 64
vision_layers = 1
text_width = 32
text_heads = 2
text_intermediate = 32
PARTS
max_position_embeddings = 32
dropout = 0.1

[data]
kind = "synth"
language = "zh"
seed = 1
held_out_seed = 2

[run]
steps = 16
batch_size = 4
micro_batch_size = 2
threads = 2
data_threads = 2
log_every = 2
checkpoint_every = 3
keep_last = 2

[optimizer]
learning_rate = 1e-3
weight_decay = 0.02
clip_norm = 1.0

[schedule]
warmup_steps = 2

[evaluation]
every = 5
pictures = 3
"#;

/// What only some kinds of training use of a model.
const DECODER: &str = "decoder_layers = 1";
const FUSION: &str = "text_encoder_layers = 1\nfusion_layers = 2\nconnected_stride = 1";
const SPACE: &str = "shared_size = 16";

/// A kind of training.
struct Kind {
    name: &'static str,
    parts: &'static [&'static str],
    settings: &'static [&'static str],
}

const KINDS: [Kind; 8] = [
    Kind { name: "captioning", parts: &[DECODER], settings: &[] },
    Kind {
        name: "CIDEr by beams",
        parts: &[DECODER],
        settings: &["objective.kind=cider", "objective.max_new_tokens=5", "objective.candidates=2"],
    },
    Kind {
        name: "CIDEr by samples",
        parts: &[DECODER],
        settings: &[
            "objective.kind=cider",
            "objective.by=samples",
            "objective.max_new_tokens=5",
            "objective.candidates=2",
        ],
    },
    Kind { name: "answering", parts: &[DECODER, FUSION], settings: &["objective.kind=answering"] },
    Kind {
        name: "answering with distillation",
        parts: &[DECODER, FUSION],
        settings: &["objective.kind=answering", "objective.distillation=0.3"],
    },
    Kind {
        name: "retrieval",
        parts: &[FUSION, SPACE],
        settings: &["objective.kind=retrieval", "objective.queue_size=24"],
    },
    Kind {
        name: "pre-training",
        parts: &[DECODER, FUSION, SPACE],
        settings: &["objective.kind=pretraining", "objective.queue_size=24"],
    },
    Kind {
        name: "captioning at 16 bits with an average",
        parts: &[DECODER],
        settings: &["run.precision=f16", "optimizer.average_decay=0.9"],
    },
];

/// What must be the same byte for byte.
const RESULTS: [&str; 4] =
    ["last/model.safetensors", "last/state.safetensors", "best/model.safetensors", "best/state.safetensors"];

/// How a run is disturbed.
const SIGNALS: [(&str, i32); 3] = [("KILL", 9), ("TERM", 15), ("INT", 2)];

/// Numbers drawn at random (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of the first `count` numbers.
    fn below(&mut self, count: u64) -> u64 {
        self.next() % count
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect(name))
}

/// Starts a run, or goes on with the one that is there.
fn start(desk: &Desk, output: &str, settings: &[&str]) -> Child {
    let has_run = std::fs::metadata(desk.join(output).join("run.json")).is_ok_and(|found| found.len() > 0);
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("mplug"));
    command.current_dir(desk.path()).args(["train", "recipe.toml", "--set"]);
    command.arg(format!("output=\"{output}\"")).args(has_run.then_some("--resume"));
    command.args(settings.iter().flat_map(|setting| ["--set", setting]));
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn messages(child: &mut Child) -> String {
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    text
}

fn results(run: &Path) -> Vec<Vec<u8>> {
    RESULTS.iter().map(|name| std::fs::read(run.join(name)).expect(name)).collect()
}

/// What `last` and `best` lead to is whole, wherever the run was ended.
fn check_models(run: &Path) {
    for name in ["last", "best"] {
        let Ok(text) = std::fs::read(run.join(name).join("checkpoint.json")) else {
            assert!(run.join(name).symlink_metadata().is_err(), "{name} leads nowhere");
            continue;
        };
        let mark: serde_json::Value = serde_json::from_slice(&text).unwrap();
        for (file, len) in mark["files"].as_object().unwrap() {
            let found = run.join(name).join(file).metadata().expect(file).len();
            assert_eq!(Some(found), len.as_u64(), "{name}/{file}");
        }
    }
}

/// Sends a signal, after it perhaps another; says how the run ended. None where it was done before.
fn disturb(child: &mut Child, random: &mut Random) -> Option<&'static str> {
    let (signal, number) = SIGNALS[random.below(3) as usize];
    let times = if random.below(4) == 0 { 2 } else { 1 };
    for _ in 0..times {
        // It may have ended in between.
        let script = format!("kill -{signal} {} 2>/dev/null", child.id());
        Command::new("sh").args(["-c", &script]).status().unwrap();
    }
    let text = messages(child);
    let status = child.wait().unwrap();
    match (status.code(), status.signal()) {
        (Some(0), _) => None,
        // Before it listens, a signal ends any program.
        (None, Some(found)) if found == number => Some(signal),
        (Some(code), _) if code == 128 + number => {
            let says_how = text.contains("to go on: mplug train recipe.toml");
            assert!(says_how || times == 2, "SIG{signal}: {text}");
            Some(signal)
        }
        _ => panic!("SIG{signal} ended the run with {status}: {text}"),
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "what `.ci/long kills` shows")]
fn a_run_killed_at_random_moments_ends_with_the_same_bits() {
    let (kills, mut random) = (number("KILLS", 2), Random(number("SEED", 7)));
    let desk = Desk::new();
    for Kind { name: kind, parts, settings } in KINDS {
        desk.write("recipe.toml", RECIPE.replace("PARTS", &parts.join("\n")).as_bytes());
        let began = Instant::now();
        let mut child = start(&desk, "whole", settings);
        let text = messages(&mut child);
        assert!(child.wait().unwrap().success(), "{kind}: {text}");
        let (time, whole) = (began.elapsed(), results(&desk.join("whole")));
        let broken = desk.join("broken");
        let (mut signals, mut runs, mut left) = (BTreeMap::<&str, u64>::new(), 0, kills);
        // The last run goes on undisturbed.
        loop {
            let mut child = start(&desk, "broken", settings);
            let ended_by = if left > 0 {
                std::thread::sleep(Duration::from_micros(random.below(time.as_micros() as u64)));
                disturb(&mut child, &mut random)
            } else {
                let text = messages(&mut child);
                assert!(child.wait().unwrap().success(), "{kind}: {text}");
                None
            };
            check_models(&broken);
            if let Some(signal) = ended_by {
                *signals.entry(signal).or_default() += 1;
                left -= 1;
                continue;
            }
            for ((name, whole), broken) in RESULTS.iter().zip(&whole).zip(results(&broken)) {
                assert!(*whole == broken, "{kind}: {name} differs after {signals:?}");
            }
            std::fs::remove_dir_all(&broken).unwrap();
            runs += 1;
            if left == 0 {
                break;
            }
        }
        println!("{kind}: {runs} runs ended with the same bits after {signals:?}");
        std::fs::remove_dir_all(desk.join("whole")).unwrap();
    }
}
