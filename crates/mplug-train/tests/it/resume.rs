//! A run that goes on otherwise than it began: with another recipe, from an earlier step, to a later end.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use mplug_train::config::{BestBy, Plateau, ScheduleSection};
use mplug_train::training_data::{EncodedExample, SpecialIds, Split, TrainingData};
use mplug_train::{Entry, Progress, Resume, Summary, TrainConfig, TrainError, train_on};
use safetensors::SafeTensors;

use crate::listener;
use crate::toy::{Colours, recipe};

/// Evaluations and checkpoints at every other of six steps.
fn six(output: &Path) -> TrainConfig {
    let mut config = recipe(output, 6);
    config.run.checkpoint_every = 2;
    config.run.keep_last = 4;
    config.run.log_every = 1;
    config.evaluation.every = 2;
    config.evaluation.at_start = false;
    config
}

fn enter(config: &TrainConfig, resume: Resume) -> (Vec<Progress>, Result<Summary, TrainError>) {
    let mut events = Vec::new();
    let result = train_on(config, &Colours, resume, &mut listener(&mut events));
    (events, result)
}

fn error(config: &TrainConfig, resume: Resume) -> String {
    enter(config, resume).1.expect_err("refused").to_string()
}

/// The event of a run that goes on otherwise: changes, whether the best is reset, steps set aside.
fn resumed(events: &[Progress]) -> (Vec<String>, bool, Vec<u64>) {
    let found = events.iter().find_map(|event| match event {
        Progress::Resumed { changes, best_is_reset, set_aside, .. } => {
            Some((changes.iter().map(ToString::to_string).collect(), *best_is_reset, set_aside.clone()))
        }
        _ => None,
    });
    found.unwrap_or_default()
}

fn first_step(events: &[Progress]) -> u64 {
    match events[0] {
        Progress::Started { step, .. } => step,
        ref other => panic!("{other:?}"),
    }
}

/// The files of a checkpoint that later steps depend on.
fn checkpoint(run: &Path, name: &str) -> [Vec<u8>; 2] {
    ["model.safetensors", "state.safetensors"].map(|file| fs::read(run.join(name).join(file)).expect(name))
}

/// The numbers of a checkpoint's progress.
fn progress([_, state]: &[Vec<u8>; 2]) -> Vec<i64> {
    let file = SafeTensors::deserialize(state).expect("safetensors");
    let tensor = file.tensor("progress").expect("progress");
    tensor.data().as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()
}

/// What a log says of its steps: their losses by number.
fn losses(run: &Path) -> Vec<(u64, f64)> {
    let text = fs::read_to_string(run.join("log.jsonl")).expect("a log");
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("json"));
    lines
        .filter(|line| line["event"] == "step")
        .map(|line| (line["step"].as_u64().expect("a step"), line["loss"].as_f64().expect("a loss")))
        .collect()
}

#[test]
fn a_folder_without_a_run_is_not_resumed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let missing = folder.path().join("missing");
    for output in [&missing, folder.path()] {
        for resume in [Resume::Last, Resume::From(2)] {
            let message = error(&six(output), resume);
            assert!(message.starts_with(output.to_str().expect("utf-8")), "{message}");
            assert!(message.contains("found none; start a run there"), "{message}");
        }
    }
    assert!(!missing.exists() && fs::read_dir(folder.path()).expect("a folder").next().is_none());
}

#[test]
fn a_run_goes_on_from_an_earlier_step_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [whole, run] = ["whole", "run"].map(|name| folder.path().join(name));
    enter(&six(&whole), Resume::Never).1.expect("the run ends well");
    enter(&six(&run), Resume::Never).1.expect("the run ends well");
    let message = error(&six(&run), Resume::From(3));
    assert!(message.contains("step-000003: ") && message.contains("steps 2, 4, 6"), "{message}");
    let before = ["step-000004", "step-000006"].map(|name| checkpoint(&run, name));
    let (events, result) = enter(&six(&run), Resume::From(2));
    result.expect("the run ends well");
    assert_eq!((first_step(&events), resumed(&events)), (2, (Vec::new(), false, vec![4, 6])));
    for (name, before) in ["step-000004", "step-000006"].into_iter().zip(before) {
        assert!(checkpoint(&run, name) == checkpoint(&whole, name), "{name}");
        assert!(checkpoint(&run.join("superseded"), name) == before, "{name}");
    }
    // The log is that of one straight run; what was in it before is set aside.
    assert_eq!(losses(&run), losses(&whole));
    let aside = fs::read_to_string(run.join("superseded/log.jsonl")).expect("lines");
    assert_eq!(aside.lines().filter(|line| line.starts_with("{\"event\":\"step\"")).count(), 4);
    let saved = |text: &str| text.lines().filter(|line| line.contains("\"event\":\"saved\"")).count();
    assert_eq!((saved(&aside), saved(&fs::read_to_string(run.join("log.jsonl")).expect("a log"))), (2, 3));
    // Once more: nothing that was set aside is replaced.
    enter(&six(&run), Resume::From(2)).1.expect("the run ends well");
    assert!(run.join("superseded/step-000006-2/model.safetensors").exists());
    let history = fs::read_to_string(run.join("history.jsonl")).expect("a history");
    let starts = history.lines().filter(|line| line.contains("\"event\":\"started\"")).count();
    assert_eq!((starts, history.matches("\"set_aside\":[4,6]").count()), (3, 2));
}

#[test]
fn a_finished_run_is_prolonged_as_if_it_had_been_longer() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [long, run] = ["long", "run"].map(|name| {
        let mut config = six(&folder.path().join(name));
        config.schedule = ScheduleSection::Constant(Plateau { warmup_steps: 10 });
        config
    });
    let prolonged = TrainConfig::from_toml(&run.to_toml(), &[("run.steps".to_owned(), "10".to_owned())]);
    let prolonged = prolonged.expect("a good recipe");
    let mut long = long;
    long.run.steps = Some(10);
    enter(&long, Resume::Never).1.expect("the run ends well");
    enter(&run, Resume::Never).1.expect("the run ends well");
    let (events, result) = enter(&prolonged, Resume::Last);
    assert_eq!(result.expect("the run ends well").steps, 10);
    assert_eq!(resumed(&events).0, ["run.steps: 6 -> 10"]);
    assert!(checkpoint(&run.output, "last") == checkpoint(&long.output, "last"));
    let message = error(&run, Resume::Last);
    assert!(
        message.contains("run.steps: expected at least the 10 steps that are done, found 6"),
        "{message}"
    );
}

#[test]
fn what_defines_the_model_stays_and_the_rest_may_change() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = six(folder.path());
    enter(&config, Resume::Never).1.expect("the run ends well");
    let with = |settings: &[(&str, &str)]| {
        let settings: Vec<_> =
            settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        TrainConfig::from_toml(&config.to_toml(), &settings).expect("a good recipe")
    };
    for (field, value) in [
        ("model.text_width", "64"),
        ("objective", "{ kind = \"cider\", max_new_tokens = 4 }"),
        ("prompts.en", "a"),
    ] {
        let other = with(&[(field, value)]);
        let message = error(&other, Resume::Last);
        let named = field != "objective" || message.contains("objective.kind: \"captioning\" -> \"cider\"");
        assert!(message.contains(field.split('.').next().expect("a table")) && named, "{message}");
    }
    let changed = with(&[
        ("run.steps", "9"),
        ("run.batch_size", "4"),
        ("run.micro_batch_size", "4"),
        ("run.threads", "1"),
        ("run.precision", "f16"),
        ("run.checkpoint_every", "3"),
        ("optimizer.learning_rate", "1e-3"),
        ("optimizer.average_decay", "0"),
        ("schedule.kind", "linear"),
        ("model.dropout", "0.1"),
        ("data.seed", "7"),
        ("seed", "8"),
    ]);
    let (events, result) = enter(&changed, Resume::Last);
    result.expect("the run ends well");
    let (changes, best_is_reset, _) = resumed(&events);
    assert_eq!(changes.len(), 12, "{changes:?}");
    assert!(changes.contains(&"optimizer.learning_rate: 0.003 -> 0.001".to_owned()), "{changes:?}");
    assert!(!best_is_reset);
    for name in ["log.jsonl", "history.jsonl"] {
        let text = fs::read_to_string(folder.path().join(name)).expect(name);
        let line = text.lines().find(|line| line.contains("\"event\":\"resumed\"")).expect(name);
        let line: serde_json::Value = serde_json::from_str(line).expect("json");
        let decay = &line["changes"][2];
        assert_eq!(
            (&decay["field"], &decay["before"], &decay["now"]),
            (&"optimizer.average_decay".into(), &"0.9".into(), &"0.0".into()),
            "{line}"
        );
    }
    let recipe = fs::read_to_string(folder.path().join("recipe.toml")).expect("a recipe");
    assert_eq!(recipe, changed.to_toml());
    // Back to an average and f32, again from where it was.
    let (events, result) = enter(&with(&[("run.steps", "12")]), Resume::Last);
    result.expect("the run ends well");
    assert_eq!((first_step(&events), resumed(&events).0.len()), (9, 12));
}

/// The colours, with somebody who watches what is read of them. Held-out ones begin at another number.
struct Watched<'a> {
    watch: &'a (dyn Fn(Split, u64) + Sync),
    first_held_out: u64,
}

impl TrainingData for Watched<'_> {
    fn example(&self, split: Split, index: u64) -> Result<EncodedExample, TrainError> {
        (self.watch)(split, index);
        Colours.example(split, index + if split == Split::HeldOut { self.first_held_out } else { 0 })
    }

    fn vocabulary(&self) -> &'static str {
        Colours.vocabulary()
    }

    fn special_ids(&self) -> SpecialIds {
        Colours.special_ids()
    }

    fn decode(&self, ids: &[u32]) -> String {
        Colours.decode(ids)
    }

    fn judge(&self, index: u64, caption: &str) -> Option<f64> {
        Colours.judge(index + self.first_held_out, caption)
    }

    fn held_out_hash(&self, examples: usize) -> u64 {
        Colours.held_out_hash(examples) ^ self.first_held_out
    }
}

/// Batches of another size go on with the examples after those that were seen.
#[test]
fn batches_of_another_size_miss_no_example_and_take_none_twice() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let seen = Mutex::new(Vec::new());
    let watch = |split, index| {
        if split == Split::Train {
            seen.lock().expect("unbroken").push(index);
        }
    };
    let data = Watched { watch: &watch, first_held_out: 0 };
    let mut config = six(folder.path());
    for (steps, batch) in [(6, 8), (9, 3), (11, 5)] {
        (config.run.steps, config.run.batch_size) = (Some(steps), batch);
        let resume = if steps == 6 { Resume::Never } else { Resume::Last };
        train_on(&config, &data, resume, &mut |_| ControlFlow::Continue(())).expect("the run ends well");
    }
    let mut seen = seen.lock().expect("unbroken").clone();
    seen.sort_unstable();
    assert_eq!(seen, (0..6 * 8 + 3 * 3 + 2 * 5).collect::<Vec<u64>>());
}

#[test]
fn the_best_is_sought_anew_when_its_measure_changes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = six(folder.path());
    config.optimizer.learning_rate = 0.0;
    config.run.keep_last = 1;
    enter(&config, Resume::Never).1.expect("the run ends well");
    let best = || fs::read(folder.path().join("best/checkpoint.json")).expect("a mark");
    let is_of = |step: u64| {
        let mark: serde_json::Value = serde_json::from_slice(&best()).expect("json");
        mark["step"] == step
    };
    assert!(is_of(2), "with a rate of 0 nothing becomes better");
    config.run.steps = Some(8);
    let (events, result) = enter(&config, Resume::Last);
    assert!(result.expect("the run ends well").best.is_some() && !resumed(&events).1 && is_of(2));
    // Another figure: what was best stays until an evaluation.
    config.run.steps = Some(10);
    config.evaluation.metric = Some(BestBy::Loss);
    let mut at_once = |event: &Progress| match event {
        Progress::StepDone { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let summary = train_on(&config, &Colours, true, &mut at_once).expect("the run ends well");
    assert!(summary.best.is_none() && summary.steps == 9 && is_of(2));
    let (events, result) = enter(&config, Resume::Last);
    result.expect("the run ends well");
    // The checkpoint of step 9 has the new recipe already.
    assert!(resumed(&events).0.is_empty() && is_of(10));
    // Other held-out examples under the same recipe.
    config.run.steps = Some(12);
    let mut events = Vec::new();
    let other = Watched { watch: &|_, _| {}, first_held_out: 1 };
    train_on(&config, &other, true, &mut listener(&mut events)).expect("the run ends well");
    assert!(resumed(&events).1 && is_of(12), "{events:?}");
}

/// An evaluation is given up at once, and done when the run is resumed, which ends as an unbroken one.
#[test]
fn an_evaluation_that_is_given_up_is_done_later() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [whole, parts] = ["whole", "parts"].map(|name| {
        let mut config = six(&folder.path().join(name));
        // More than the workers take at once.
        config.evaluation.pictures = 100;
        config
    });
    enter(&whole, Resume::Never).1.expect("the run ends well");
    // The first step of each part, and the one in whose evaluation it is ended.
    for (first, last) in [(0, 2), (2, 2), (2, 4), (4, 6), (6, 6)] {
        let entry = Entry::from(first > 0);
        let (stop, is_awaited) = (Arc::clone(&entry.stop), AtomicBool::new(first == last));
        let watch = |split, index| {
            if split == Split::HeldOut && index == 3 && is_awaited.load(Ordering::Relaxed) {
                stop.store(true, Ordering::Relaxed);
            }
        };
        let data = Watched { watch: &watch, first_held_out: 0 };
        let mut events = Vec::new();
        let mut hear = |event: &Progress| {
            is_awaited.fetch_or(*event == Progress::StepDone { step: last }, Ordering::Relaxed);
            events.push(event.clone());
            ControlFlow::Continue(())
        };
        let summary = train_on(&parts, &data, entry, &mut hear).expect("it ends well");
        assert_eq!((summary.interrupted, summary.steps, first_step(&events)), (true, last, first));
        let is_done = |event: &Progress| matches!(event, Progress::Evaluated { step, .. } if *step == last);
        assert!(!events.iter().any(is_done), "{events:?}");
    }
    let (_, result) = enter(&parts, Resume::Last);
    assert!(!result.expect("the rest ends well").interrupted);
    for name in ["last", "best", "step-000002", "step-000004"] {
        let [one, other] = [&whole, &parts].map(|config| checkpoint(&config.output, name));
        assert_eq!(progress(&one), progress(&other), "{name}");
        assert!(one == other, "{name}");
    }
}

/// A log that the run can do without is reported once, and the run ends well.
#[test]
fn logs_that_cannot_be_written_do_not_end_a_run() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = six(folder.path());
    enter(&config, Resume::Never).1.expect("the run ends well");
    fs::remove_dir_all(folder.path().join("tensorboard")).expect("removed");
    fs::write(folder.path().join("tensorboard"), "no folder").expect("written");
    fs::remove_file(folder.path().join("report.html")).expect("removed");
    fs::create_dir(folder.path().join("report.html")).expect("made");
    let mut longer = config.clone();
    longer.run.steps = Some(10);
    let (events, result) = enter(&longer, Resume::Last);
    result.expect("the run ends well");
    let problems: Vec<&String> = events
        .iter()
        .filter_map(|event| match event {
            Progress::Unwritten { problem } => Some(problem),
            _ => None,
        })
        .collect();
    let [board, page] = problems[..] else { panic!("{problems:?}") };
    assert!(board.contains("tensorboard") && page.contains("report.html"), "{problems:?}");
    let log = fs::read_to_string(folder.path().join("log.jsonl")).expect("a log");
    assert_eq!(log.matches("\"event\":\"unwritten\"").count(), 2);
    // Without its own log a run does not go on.
    fs::remove_file(folder.path().join("log.jsonl")).expect("removed");
    fs::create_dir(folder.path().join("log.jsonl")).expect("made");
    assert!(error(&longer, Resume::Last).contains("log.jsonl"));
}
