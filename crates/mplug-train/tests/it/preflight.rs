//! What is found out before the first step, of data that people have: files that are missing, words that are unknown, columns
//! with other names, pictures that are skipped.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use mplug::config::{ModelConfig, Task};
use mplug_data::synth::{SynthExample, draw};
use mplug_nn::{Mplug, Parts, RandomParameters};
use mplug_train::estimate::{Estimate, Measured};
use mplug_train::preflight::Checked;
use mplug_train::preflight::cost::{Cost, parameters};
use mplug_train::preflight::machine::Machine;
use mplug_train::training_data::DataFacts;
use mplug_train::{Progress, TrainConfig, TrainError, check, train};

use crate::listener;

fn quoted(path: &Path) -> String {
    toml::Value::String(path.to_str().expect("utf-8").to_owned()).to_string()
}

/// A short run of a small model on `folder`'s `train.jsonl` and `held_out.jsonl`.
fn recipe(folder: &Path, objective: &str, more: &[(&str, &str)]) -> TrainConfig {
    let vocabulary = folder.join("vocab.txt");
    fs::write(&vocabulary, mplug_data::synth::demo_vocabulary()).expect("written");
    let answering = objective == "answering";
    let text = format!(
        r#"
        output = {output}
        seed = 3
        [objective]
        kind = "{objective}"
        [model]
        image_size = 32
        patch_size = 16
        vision_width = 64
        vision_layers = 1
        text_width = 32
        text_heads = 2
        text_intermediate = 64
        {layers}
        decoder_layers = 1
        max_position_embeddings = 30
        [data]
        kind = "annotations"
        train = {train}
        held_out = {held_out}
        vocabulary = {vocabulary}
        language = "en"
        [run]
        steps = 3
        batch_size = 4
        micro_batch_size = 2
        threads = 1
        data_threads = 1
        log_every = 1
        checkpoint_every = 10
        [optimizer]
        learning_rate = 1e-3
        weight_decay = 0.01
        [schedule]
        warmup_steps = 1
        [evaluation]
        every = 3
        pictures = 100
    "#,
        output = quoted(&folder.join("run")),
        layers = if answering { "text_encoder_layers = 1\nfusion_layers = 1" } else { "" },
        train = quoted(&folder.join("train.jsonl")),
        held_out = quoted(&folder.join("held_out.jsonl")),
        vocabulary = quoted(&vocabulary),
    );
    let more: Vec<_> = more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    TrainConfig::from_toml(&text, &more).expect("a good recipe")
}

/// Pictures in `folder/images`, and the lines that `line` makes of each with its path from `folder`.
fn draw_into(folder: &Path, line: &dyn Fn(&str, &SynthExample) -> String) {
    fs::create_dir_all(folder.join("images")).expect("a folder");
    for (name, seed, count) in [("train", 21, 6), ("held_out", 22, 4)] {
        let mut lines = String::new();
        for index in 0..count {
            let drawn = draw(seed, index);
            let path = format!("images/{name}-{index}.png");
            drawn.image.save(folder.join(&path)).expect("saved");
            lines += &(line(&path, &drawn) + "\n");
        }
        fs::write(folder.join(format!("{name}.jsonl")), lines).expect("written");
    }
}

fn caption_line(path: &str, drawn: &SynthExample) -> String {
    serde_json::json!({"path": path, "caption": drawn.captions_en[0]}).to_string()
}

fn run(config: &TrainConfig) -> (Vec<Progress>, Result<mplug_train::Summary, TrainError>) {
    let mut events = Vec::new();
    let result = train(config, false, &mut listener(&mut events));
    (events, result)
}

fn error_of(config: &TrainConfig) -> String {
    let error =
        check(config, &mut |_| ControlFlow::Continue(())).expect_err("something is wrong").to_string();
    assert!(!config.output.exists(), "something was written");
    let of_run = run(config).1.expect_err("something is wrong").to_string();
    assert_eq!(error, of_run);
    assert!(!config.output.exists(), "something was written");
    error
}

fn checked(config: &TrainConfig) -> Checked {
    let mut found = None;
    check(config, &mut |event| {
        if let Progress::Checked(checked) = event {
            found = Some((**checked).clone());
        }
        ControlFlow::Continue(())
    })
    .expect("nothing is wrong");
    assert!(!config.output.exists(), "something was written");
    found.expect("the facts")
}

#[test]
fn what_is_good_is_said_before_the_first_step_and_writes_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    draw_into(folder.path(), &caption_line);
    let config = recipe(folder.path(), "captioning", &[]);
    let found = checked(&config);
    assert_eq!((found.data.examples, found.data.pictures, found.data.held_out), (Some(6), Some(6), 4));
    assert_eq!((found.data.opened, found.data.missing, found.data.texts.unknown), (4, 0, 0));
    assert_eq!((found.data.texts.looked_at, found.data.texts.all, found.steps), (6, 6, 3));
    let (events, result) = run(&config);
    result.expect("the run ends well");
    assert!(matches!(&events[1], Progress::Checked(_)), "{events:?}");
    assert!(
        fs::read_to_string(config.output.join("log.jsonl")).expect("a log").contains("\"event\":\"checked\"")
    );
}

#[test]
fn bad_pictures_are_named_before_the_first_step() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    draw_into(folder.path(), &caption_line);
    let config = recipe(folder.path(), "captioning", &[]);
    for name in ["held_out-1.png", "held_out-3.png"] {
        fs::write(folder.path().join("images").join(name), "no picture").expect("written");
    }
    let error = error_of(&config);
    assert!(error.contains("2 of 4 held-out pictures cannot be read"), "{error}");
    assert!(error.contains("held_out-1.png") && error.contains("held_out-3.png"), "{error}");
    // Those that no evaluation reads do not matter.
    let mut fewer = config.clone();
    fewer.evaluation.pictures = 1;
    assert_eq!(checked(&fewer).data.opened, 1);
    fewer.evaluation.every = 0;
    for name in ["train-0.png", "train-5.png"] {
        fs::remove_file(folder.path().join("images").join(name)).expect("removed");
    }
    let error = error_of(&fewer);
    assert!(
        error.contains("2 of 6 pictures to learn from are not there: images/train-0.png, images/train-5.png"),
        "{error}"
    );
    let skip = [("data.unreadable", "skip"), ("data.max_skipped", "2"), ("evaluation.every", "0")];
    let skipping = recipe(folder.path(), "captioning", &skip);
    let found = checked(&skipping);
    assert_eq!((found.data.missing, found.data.missing_names.len()), (2, 2));
    let too_few = recipe(folder.path(), "captioning", &[skip[0], ("data.max_skipped", "0.1"), skip[2]]);
    assert!(error_of(&too_few).contains("`data.max_skipped` allows 1"));
}

#[test]
fn texts_that_lose_too_much_are_errors() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    draw_into(folder.path(), &|path, _| {
        serde_json::json!({"path": path, "caption": "ein blauer Kreis über einem Haus"}).to_string()
    });
    let error = error_of(&recipe(folder.path(), "captioning", &[]));
    assert!(error.contains("data.max_unknown: expected at most 0.2 of the tokens"), "{error}");
    assert!(error.contains("such as"), "{error}");
    let lax = recipe(folder.path(), "captioning", &[("data.max_unknown", "1.0")]);
    let found = checked(&lax);
    assert!(found.data.texts.unknown_share() > 0.2 && found.warnings.len() == 1, "{found:?}");
    draw_into(folder.path(), &caption_line);
    let error = error_of(&recipe(folder.path(), "captioning", &[("model.max_position_embeddings", "4")]));
    assert!(error.contains("data.max_cut: expected at most 0.2 of the texts"), "{error}");
    assert!(error.contains("longer than the model's 4 tokens"), "{error}");
}

#[test]
fn a_metric_that_the_data_do_not_have_is_an_error() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lines = |path: &str, drawn: &SynthExample| {
        let caption = &drawn.captions_en[0];
        serde_json::json!({"path": path, "question": "what is it?", "answer": caption}).to_string()
    };
    draw_into(folder.path(), &lines);
    let path = folder.path().join("held_out.jsonl");
    let text = fs::read_to_string(&path).expect("written");
    let bare = "{\"path\": \"images/held_out-0.png\", \"question\": \"what is it?\"}";
    let text: Vec<&str> = [bare].into_iter().chain(text.lines().skip(1)).collect();
    fs::write(&path, text.join("\n")).expect("written");
    let config = recipe(folder.path(), "captioning", &[("evaluation.metric", "cider")]);
    let error = error_of(&config);
    assert!(error.contains("evaluation.metric: expected captions of all 4 held-out pictures"), "{error}");
    assert!(error.contains("found none of 1: images/held_out-0.png"), "{error}");
}

/// A table of ModelScope's and JSON lines, with names of their own and absolute paths, teach answering.
#[test]
fn peoples_own_questions_teach_answering() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let images: PathBuf = folder.path().to_owned();
    draw_into(folder.path(), &|path, _| {
        let path = images.join(path);
        serde_json::json!({"pic": path, "q": "what colour is it?", "a": ["red", "red", "blue"], "lang": "en"})
            .to_string()
    });
    let columns = [
        ("data.columns", "{ image = \"pic\", question = \"q\", answer = \"a\", language = \"lang\" }"),
        ("data.max_unknown", "0.5"),
    ];
    let (events, result) = run(&recipe(folder.path(), "answering", &columns));
    result.expect("the run ends well");
    assert!(events.iter().any(
        |event| matches!(event, Progress::Evaluated { metrics, .. } if metrics.contains_key("accuracy"))
    ));

    let head = "picture:FILE,question:Value,answer:Value,part".to_owned();
    let rows = (0..6).map(|index| {
        let part = if index < 4 { "train" } else { "val" };
        format!("images/train-{index}.png,what colour is it?,red,{part}")
    });
    let table = [head].into_iter().chain(rows).collect::<Vec<_>>().join("\n");
    fs::write(folder.path().join("table.csv"), table).expect("written");
    let table = quoted(&folder.path().join("table.csv"));
    let columns = [
        ("data.columns", "{ image = \"picture:FILE\", split = \"part\" }"),
        ("data.train", table.as_str()),
        ("data.held_out", &table),
        ("data.train_split", "train"),
        ("data.held_out_split", "val"),
        ("data.max_unknown", "0.5"),
        ("output", "unused"),
    ];
    let mut config = recipe(folder.path(), "answering", &columns);
    config.output = folder.path().join("of-table");
    assert_eq!(checked(&config).data.examples, Some(4));
    run(&config).1.expect("the run ends well");
}

#[test]
fn skipped_pictures_are_named_with_the_reason_and_limited() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    draw_into(folder.path(), &caption_line);
    for name in ["train-2.png", "train-4.png"] {
        fs::write(folder.path().join("images").join(name), "no picture").expect("written");
    }
    let skip = [("data.unreadable", "skip"), ("data.max_skipped", "2"), ("evaluation.every", "0")];
    let config = recipe(folder.path(), "captioning", &skip);
    let (events, result) = run(&config);
    assert_eq!(result.expect("the run ends well").skipped, 2);
    let mut named: Vec<&str> = events
        .iter()
        .filter_map(|event| match event {
            Progress::PictureSkipped { picture, reason, .. } if !reason.is_empty() => Some(picture.as_str()),
            _ => None,
        })
        .collect();
    named.sort_unstable();
    assert_eq!(named, ["images/train-2.png", "images/train-4.png"]);
    let log = fs::read_to_string(config.output.join("log.jsonl")).expect("a log");
    assert_eq!(log.matches("\"event\":\"picture_skipped\"").count(), 2, "{log}");
    let mut strict = recipe(folder.path(), "captioning", &[skip[0], ("data.max_skipped", "1"), skip[2]]);
    strict.output = folder.path().join("strict");
    let error = run(&strict).1.expect_err("one too many").to_string();
    assert!(error.contains("2 of its 6 pictures could not be read") && error.contains("allows 1"), "{error}");
}

/// The number of learnable numbers is known from the shape alone.
#[test]
fn parameters_are_counted_without_a_network() {
    for task in [Task::ImageCaptioning, Task::VisualQuestionAnswering, Task::ImageTextRetrieval] {
        let shape = ModelConfig::tiny(task);
        for parts in [Parts::of(task), Parts::all()] {
            if parts.contrastive_head && shape.projection_size == 0 {
                continue;
            }
            let model = Mplug::new(&shape, parts, &mut RandomParameters { seed: 1 }, &Device::flex());
            let model = model.expect("a network");
            let count: usize = model.parameters().iter().map(|p| p.shape().iter().product::<usize>()).sum();
            assert_eq!(parameters(&shape, parts), count as u64, "{task:?} {parts:?}");
        }
    }
}

#[test]
fn a_run_that_cannot_fit_its_machine_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = recipe(folder.path(), "captioning", &[]);
    config.run.micro_batch_size = 64;
    config.run.batch_size = 64;
    let shape = config.model.as_ref().expect("a shape").model_config(Task::ImageCaptioning, 500);
    let of = |machine: &Machine| Checked::new(&config, &shape, 30, 3, DataFacts::default(), machine);
    let unknown = of(&Machine::default()).expect("nothing is known of the machine");
    assert!(unknown.warnings.is_empty() && unknown.memory > unknown.fixed_memory);
    assert!(unknown.disk > unknown.checkpoint && unknown.checkpoint > 0);
    let cost = Cost::of(&shape, &config, 30);
    // Weights and two moments.
    assert_eq!(unknown.checkpoint, 12 * cost.parameters);
    let fixed = unknown.fixed_memory;
    let tight = Machine {
        memory: Some(fixed + 1),
        free_memory: Some(fixed + 1),
        free_disk: Some(unknown.checkpoint),
    };
    let warned = of(&tight).expect("it may fit");
    assert_eq!(warned.warnings.len(), 2, "{:?}", warned.warnings);
    assert!(warned.warnings[0].contains("an estimate"), "{:?}", warned.warnings);
    let small = Machine { memory: Some(fixed - 1), ..tight };
    assert!(of(&small).expect_err("too little memory").to_string().contains("run.threads"));
    let full = Machine { free_disk: Some(unknown.checkpoint - 1), ..tight };
    assert!(
        of(&full).expect_err("too little disk").to_string().contains("output: expected a folder on a disk")
    );
}

#[test]
fn ten_steps_say_how_long_the_run_takes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    draw_into(folder.path(), &caption_line);
    let config = recipe(folder.path(), "captioning", &[("run.steps", "12"), ("evaluation.every", "8")]);
    let mut micro_batches = Vec::new();
    let mut estimates = Vec::new();
    train(&config, false, &mut |event| {
        match event {
            Progress::MicroBatchDone { done, of } => micro_batches.push((*done, *of)),
            Progress::Estimated(found) => estimates.push((**found).clone()),
            _ => {}
        }
        ControlFlow::Continue(())
    })
    .expect("the run ends well");
    assert_eq!(micro_batches, [(1, 2), (2, 2)].repeat(12));
    let [found] = &estimates[..] else { panic!("{estimates:?}") };
    assert_eq!((found.step, found.evaluations, found.is_measured), (10, 1, true));
    assert!(found.advice.is_empty() && found.seconds_left > 0.0);
}

#[test]
fn a_run_of_more_than_a_day_comes_with_what_helps() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = recipe(folder.path(), "captioning", &[]);
    (config.run.batch_size, config.run.micro_batch_size, config.evaluation.every) = (256, 4, 200);
    let mut shape = ModelConfig::tiny(Task::ImageCaptioning);
    (shape.vision.image_size, shape.vision.patch_size, shape.vision.hidden_size) = (384, 16, 768);
    (shape.vision.num_hidden_layers, shape.vision.intermediate_size) = (12, 3072);
    let measured =
        Measured { step: 10, steps: 11_000, step_seconds: 1400.0, evaluation_seconds: None, held_out: 500 };
    let found = Estimate::of(&config, &shape, 25, measured);
    assert_eq!((found.evaluations, found.is_measured), (55, false));
    assert!(found.seconds_left > 10_990.0 * 1400.0 && found.evaluation_seconds > 0.0);
    let text = found.to_string();
    for part in
        ["days", "run.steps = 61 take a day", "model.image_size = 256", "run.batch_size = 128", "freeze"]
    {
        assert!(text.contains(part), "{text} lacks {part}");
    }
    let short = Estimate::of(&config, &shape, 25, Measured { step_seconds: 1.0, ..measured });
    assert!(short.advice.is_empty() && short.to_string().contains("(a guess)"), "{short}");
}
