//! Every objective learns on pictures of one colour, and a run that was cut off ends as one that was not: with dropout,
//! momentum models, queues and captions that are drawn.

use std::path::Path;

use mplug_train::training_data::{EncodedExample, Reading, SpecialIds, Split, Target, TrainingData};
use mplug_train::{Progress, Summary, TrainConfig, TrainError, train_on};

use crate::listener;

/// Eight colours. The text of a picture is `[CLS] colour colour [SEP]`; the question is a token that means the colour
/// itself or for its successor.
pub(crate) struct Colours {
    pub(crate) reading: Reading,
    /// The number of the training example from which on there is an error.
    pub(crate) until: u64,
}

impl Colours {
    /// A mixed number to learn from, an even one to be judged on: micro-batches must not always hold the same colours.
    fn mixed(split: Split, index: u64) -> u64 {
        match split {
            Split::Train => index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40,
            Split::HeldOut => index,
        }
    }

    fn colour(split: Split, index: u64) -> u64 {
        Self::mixed(split, index) % 8
    }

    /// Whether the question is after the successor.
    fn is_next(split: Split, index: u64) -> u64 {
        Self::mixed(split, index) / 8 % 2
    }

    fn answer(split: Split, index: u64) -> u32 {
        4 + ((Self::colour(split, index) + Self::is_next(split, index)) % 8) as u32
    }
}

impl TrainingData for Colours {
    fn example(&self, split: Split, index: u64) -> Result<EncodedExample, TrainError> {
        if split == Split::Train && index >= self.until {
            return Err(TrainError::Example { index, problem: "cut off".to_owned() });
        }
        let colour = Self::colour(split, index);
        let channel = |channel: u64| if colour >> channel & 1 == 1 { 1.5 } else { -1.5 };
        let pixel_values = (0..3).flat_map(|c| vec![channel(c); 32 * 32]).collect();
        let token = 4 + colour as u32;
        let mut example = EncodedExample { pixel_values, picture: colour, ..EncodedExample::default() };
        match self.reading {
            Reading::Captions => {
                example.targets.push(Target { ids: vec![1, token, token, 2], given: 0, weight: 1.0 });
            }
            Reading::Pictures => {}
            Reading::Pairs => example.text = vec![1, token, token, 2],
            Reading::Questions => {
                example.text = vec![1, 12 + Self::is_next(split, index) as u32, 2];
                example.targets.push(Target {
                    ids: vec![1, Self::answer(split, index), 2],
                    given: 0,
                    weight: 1.0,
                });
            }
        }
        Ok(example)
    }

    fn vocabulary(&self) -> &'static str {
        "[PAD]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\nd\ne\nf\ng\nh\nsame\nnext\n"
    }

    fn special_ids(&self) -> SpecialIds {
        SpecialIds { pad: 0, start: 1, end: 2, mask: 3 }
    }

    fn decode(&self, ids: &[u32]) -> String {
        let words: Vec<&str> = self.vocabulary().lines().collect();
        let words: Vec<&str> = ids.iter().filter(|id| **id > 3).map(|id| words[*id as usize]).collect();
        words.join(" ")
    }

    fn judge(&self, index: u64, text: &str) -> Option<f64> {
        let right = self.decode(&[Self::answer(Split::HeldOut, index)]);
        (self.reading == Reading::Questions).then(|| f64::from(u8::from(text == right)))
    }

    fn references(&self, _: Split, picture: u64) -> Vec<String> {
        let colour = self.decode(&[4 + (picture % 8) as u32]);
        vec![format!("{colour} {colour}")]
    }

    fn train_pictures(&self) -> Option<u64> {
        Some(8)
    }
}

pub(crate) fn recipe(output: &Path, more: &[(&str, &str)]) -> TrainConfig {
    let text = r#"
        seed = 3
        [model]
        image_size = 32
        patch_size = 16
        vision_width = 64
        vision_layers = 1
        text_width = 32
        text_heads = 2
        text_intermediate = 64
        text_encoder_layers = 1
        fusion_layers = 2
        connected_stride = 1
        shared_size = 16
        decoder_layers = 1
        max_position_embeddings = 8
        dropout = 0.05
        [data]
        kind = "synth"
        language = "zh"
        seed = 1
        held_out_seed = 2
        [run]
        steps = 150
        batch_size = 8
        micro_batch_size = 4
        threads = 2
        data_threads = 2
        log_every = 25
        checkpoint_every = 10
        [optimizer]
        learning_rate = 3e-3
        weight_decay = 0.01
        clip_norm = 1.0
        average_decay = 0.9
        [schedule]
        warmup_steps = 10
        min_ratio = 0.1
        [evaluation]
        every = 50
        pictures = 16
    "#;
    // Keys that the objective does not use are refused.
    let kind = more.iter().find(|(key, _)| *key == "objective.kind").map_or("captioning", |(_, kind)| kind);
    let unused: &[&str] = match kind {
        "captioning" | "cider" => {
            &["text_encoder_layers", "fusion_layers", "connected_stride", "shared_size"]
        }
        "answering" => &["shared_size"],
        "retrieval" => &["decoder_layers"],
        _ => &[],
    };
    let is_used = |line: &&str| !unused.iter().any(|key| line.trim_start().starts_with(&format!("{key} =")));
    let text: Vec<&str> = text.lines().filter(is_used).collect();
    let output = toml::Value::String(output.to_str().expect("utf-8").to_owned()).to_string();
    let text = format!("output = {output}\n{}", text.join("\n"));
    let more: Vec<_> = more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    TrainConfig::from_toml(&text, &more).expect("a good recipe")
}

fn run(config: &TrainConfig, until: u64, resume: bool) -> (Vec<Progress>, Result<Summary, TrainError>) {
    let mut events = Vec::new();
    let data = Colours { reading: config.objective.reading(), until };
    let result = train_on(config, &data, resume, &mut listener(&mut events));
    (events, result)
}

/// The last evaluation's figure.
fn last(events: &[Progress], metric: &str) -> f64 {
    let found = events.iter().rev().find_map(|event| match event {
        Progress::Evaluated { metrics, .. } => metrics.get(metric).copied(),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("no {metric} in {events:?}"))
}

/// A short queue, and a momentum model that follows fast: the runs are short.
const QUEUE: [(&str, &str); 2] = [("objective.queue_size", "24"), ("objective.momentum", "0.9")];

/// The settings of each objective.
pub(crate) fn settings(kind: &str) -> Vec<(&'static str, &'static str)> {
    match kind {
        "answering" => vec![("objective.kind", "answering"), ("objective.distillation", "0.2")],
        "retrieval" => [vec![("objective.kind", "retrieval")], QUEUE.to_vec()].concat(),
        "pretraining" => [vec![("objective.kind", "pretraining")], QUEUE.to_vec()].concat(),
        "beams" => vec![("objective.kind", "cider"), ("objective.max_new_tokens", "4")],
        "samples" => vec![
            ("objective.kind", "cider"),
            ("objective.by", "samples"),
            ("objective.baseline", "leave-one-out"),
            ("objective.frequencies", "data"),
            ("objective.max_new_tokens", "4"),
        ],
        _ => Vec::new(),
    }
}

/// What is learned is looked at in the end alone.
const AT_THE_END: [(&str, &str); 2] = [("run.checkpoint_every", "1000"), ("evaluation.every", "1000")];

#[test]
fn answers_are_learned() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = [settings("answering"), AT_THE_END.to_vec()].concat();
    let (events, result) = run(&recipe(folder.path(), &settings), u64::MAX, false);
    result.expect("the run ends well");
    assert!(last(&events, "accuracy") > 0.9, "{events:?}");
}

#[test]
fn pictures_and_texts_find_each_other() {
    for (kind, steps) in [("retrieval", "100"), ("pretraining", "150")] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = [settings(kind), AT_THE_END.to_vec(), vec![("run.steps", steps)]].concat();
        let (events, result) = run(&recipe(folder.path(), &settings), u64::MAX, false);
        result.expect("the run ends well");
        assert!(last(&events, "r_mean") > 0.9, "{kind}: {events:?}");
        let parts = events.iter().find_map(|event| match event {
            Progress::Step(report) => Some(report.parts.len()),
            _ => None,
        });
        assert_eq!(parts, Some(if kind == "retrieval" { 2 } else { 4 }));
    }
}

/// Pre-training first, then each task from what it learned.
#[test]
fn every_task_starts_from_a_pre_trained_model() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pre_trained = folder.path().join("pre");
    let short = [("run.steps", "4"), ("evaluation.every", "4")];
    let settings_of = |kind| [settings(kind), short.to_vec()].concat();
    run(&recipe(&pre_trained, &settings_of("pretraining")), u64::MAX, false)
        .1
        .expect("pre-training ends well");
    let model = pre_trained.join("last");
    for kind in ["captioning", "answering", "retrieval", "pretraining", "samples"] {
        let mut config = recipe(&folder.path().join(kind), &settings_of(kind));
        config.model = None;
        let start = format!("model = '{}'\nmax_text_tokens = 8\ndropout = 0.1", model.display());
        config.start = Some(toml::from_str(&start).expect("a good table"));
        let result = run(&config, u64::MAX, false).1;
        result.unwrap_or_else(|error| panic!("{kind}: {error}"));
    }
}

/// CIDEr optimisation makes captions better than cross-entropy left them.
#[test]
fn rewards_rise() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let warm = [("run.steps", "25"), ("evaluation.every", "25")];
    run(&recipe(&folder.path().join("warm"), &warm), u64::MAX, false).1.expect("the run ends well");
    for kind in ["beams", "samples"] {
        let more = [("run.steps", "40"), ("run.log_every", "10"), ("optimizer.learning_rate", "1e-3")];
        let settings = [settings(kind), AT_THE_END.to_vec(), more.to_vec()].concat();
        let mut config = recipe(&folder.path().join(kind), &settings);
        config.model = None;
        let start = format!("model = '{}'\nmax_text_tokens = 8", folder.path().join("warm/last").display());
        config.start = Some(toml::from_str(&start).expect("a good table"));
        let (events, result) = run(&config, u64::MAX, false);
        result.expect("the run ends well");
        let rewards: Vec<f64> = events
            .iter()
            .filter_map(|event| match event {
                Progress::Step(report) => report.reward,
                _ => None,
            })
            .collect();
        assert!(rewards.last() > rewards.first(), "{kind}: {rewards:?}");
    }
}

#[test]
fn a_run_cut_off_ends_with_the_same_weights() {
    for kind in ["captioning", "answering", "retrieval", "pretraining", "beams", "samples"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let short = [
            ("run.steps", "10"),
            ("run.checkpoint_every", "4"),
            ("schedule.warmup_steps", "3"),
            ("evaluation.every", "5"),
            ("evaluation.at_start", "false"),
        ];
        let [whole, parts] = ["whole", "parts"]
            .map(|name| recipe(&folder.path().join(name), &[settings(kind), short.to_vec()].concat()));
        run(&whole, u64::MAX, false).1.unwrap_or_else(|error| panic!("{kind}: {error}"));
        let failed = run(&parts, 7 * 8, false).1;
        assert!(matches!(failed, Err(TrainError::Example { .. })), "{kind}: {failed:?}");
        let (events, result) = run(&parts, u64::MAX, true);
        result.expect("the rest ends well");
        // The first evaluation is the best so far, so its step is saved.
        assert!(matches!(events[0], Progress::Started { step: 5, .. }), "{kind}: {:?}", events[0]);
        for name in ["last/state.safetensors", "last/model.safetensors"] {
            let [whole, parts] =
                [&whole, &parts].map(|config| std::fs::read(config.output.join(name)).expect(name));
            assert!(whole == parts, "{kind}: {name} differs");
        }
    }
}

#[test]
fn a_run_ends_early_when_nothing_becomes_better() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let more = [
        ("optimizer.learning_rate", "0.0"),
        ("evaluation.every", "2"),
        ("evaluation.patience", "3"),
        ("evaluation.metric", "loss"),
    ];
    let summary = run(&recipe(folder.path(), &more), u64::MAX, false).1.expect("the run ends well");
    // The model that it starts from is the best.
    assert!(summary.stopped_early && summary.steps == 6, "{summary:?}");
}

#[test]
fn models_of_the_last_steps_are_kept() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let more = [
        ("run.steps", "8"),
        ("run.checkpoint_every", "2"),
        ("run.keep_last", "2"),
        ("evaluation.every", "0"),
    ];
    run(&recipe(folder.path(), &more), u64::MAX, false).1.expect("the run ends well");
    let mut names: Vec<String> = std::fs::read_dir(folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("utf-8"))
        .collect();
    names.retain(|name| name.starts_with("step-"));
    names.sort();
    assert_eq!(names, ["step-000006", "step-000008"]);
}

/// What a person looks at while a run goes on: the page, TensorBoard's file, the original's two logs.
#[test]
fn a_run_leaves_its_logs_and_a_page() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let short = [
        ("run.steps", "4"),
        ("run.log_every", "2"),
        ("evaluation.every", "4"),
        ("evaluation.at_start", "false"),
    ];
    let (events, result) = run(&recipe(folder.path(), &short), u64::MAX, false);
    result.expect("the run ends well");
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect(name);
    let page = read("report.html");
    assert_eq!(page.matches("<img src=\"data:image/jpeg;base64,").count(), 8);
    assert!(
        page.contains("CIDEr, held out") && page.contains("Learning rate") && page.contains("recipe.toml")
    );
    assert_eq!(read("log.jsonl").lines().count(), events.len());
    let named = |end: &str| {
        let entries = std::fs::read_dir(folder.path()).expect("a folder");
        let mut names =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("utf-8"));
        names.find(|name| name.ends_with(end) && name.starts_with('2')).expect(end)
    };
    let text = read(&named(".log"));
    assert!(text.lines().next().is_some_and(|l| l.contains(" - modelscope - INFO - epoch [1][2/4]\tlr: ")));
    assert!(text.contains("epoch(eval) [1][4]\tevaluation/bleu_4: "), "{text}");
    let line: serde_json::Value =
        serde_json::from_str(read(&named(".log.json")).lines().next().expect("a line")).expect("json");
    assert_eq!((&line["mode"], &line["iter"]), (&serde_json::json!("train"), &serde_json::json!(2)));
    let started: serde_json::Value =
        serde_json::from_str(read("log.jsonl").lines().next().expect("a line")).expect("json");
    assert_eq!(
        (&started["settings"]["run.steps"], &started["event"]),
        (&serde_json::json!(4), &serde_json::json!("started"))
    );
    assert!(
        started["machine"]["threads"].as_u64() > Some(0) && started["time"].as_f64() > Some(1e9),
        "{started}"
    );
    let board =
        std::fs::read_dir(folder.path().join("tensorboard")).expect("a folder").next().expect("a file");
    assert!(std::fs::read(board.expect("an entry").path()).expect("bytes").len() > 300);
}

#[test]
fn a_loss_that_is_no_number_names_the_batch_and_the_checkpoint() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let more = [
        ("optimizer.learning_rate", "1e30"),
        ("schedule.warmup_steps", "0"),
        ("evaluation.at_start", "false"),
    ];
    let error = run(&recipe(folder.path(), &more), u64::MAX, false).1.expect_err("it diverges");
    let TrainError::Diverged { step, pictures, way_on, .. } = &error else { panic!("{error}") };
    assert!(*step > 0 && pictures.split(", ").count() == 8, "{error}");
    assert_eq!(way_on.checkpoint.is_some(), *step > 10, "{error}");
}
