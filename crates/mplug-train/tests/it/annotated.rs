//! Training that goes on from a model, on annotated pictures: the demo model and pictures like those that it knows.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use mplug::checkpoint::ModelFolder;
use mplug::config::ConfigOverrides;
use mplug_data::synth::{FolderOptions, write_folder};
use mplug_train::config::DataSection;
use mplug_train::training_data::{AnnotatedPictures, Reading, Split, TrainingData, Views};
use mplug_train::{Progress, Summary, TrainConfig, TrainError, train};

use crate::kept_run::KeptRun;
use crate::listener;

fn demo_model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../mplug-demo-caption/model")
}

/// Folders of drawn pictures to learn from and to evaluate on, in `folder`.
fn draw(folder: &Path) {
    for (name, seed, count) in [("train", 21, 6), ("held_out", 22, 8)] {
        let options = FolderOptions::default();
        write_folder(&folder.join(name), seed, count, &options, &mut |_| {}).expect("drawn");
    }
}

fn recipe(folder: &Path, more: &[(&str, &str)]) -> Result<TrainConfig, TrainError> {
    let toml = |path: PathBuf| toml::Value::String(path.to_str().expect("utf-8").to_owned()).to_string();
    let text = format!(
        r#"
        output = {output}
        seed = 3
        [start]
        model = {model}
        max_text_tokens = 40
        [data]
        kind = "annotations"
        train = {train}
        held_out = {held_out}
        language = "zh"
        [augment]
        flip = 0.0
        [run]
        steps = 4
        batch_size = 4
        micro_batch_size = 2
        threads = 2
        data_threads = 2
        log_every = 1
        checkpoint_every = 2
        [optimizer]
        learning_rate = 1e-5
        weight_decay = 0.02
        [schedule]
        warmup_steps = 1
        min_ratio = 0.1
        [evaluation]
        every = 4
        pictures = 1000
    "#,
        output = toml(folder.join("run")),
        model = toml(demo_model()),
        train = toml(folder.join("train")),
        held_out = toml(folder.join("held_out")),
    );
    let more: Vec<_> = more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    TrainConfig::from_toml(&text, &more)
}

fn run(config: &TrainConfig, resume: bool) -> (Vec<Progress>, Result<Summary, TrainError>) {
    let mut events = Vec::new();
    let result = train(config, resume, &mut listener(&mut events));
    (events, result)
}

/// The recipe's run that nothing broke.
struct Unbroken {
    events: Vec<Progress>,
    summary: Summary,
    run: KeptRun,
}

fn unbroken() -> &'static Unbroken {
    static UNBROKEN: OnceLock<Unbroken> = OnceLock::new();
    UNBROKEN.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        draw(folder.path());
        let config = recipe(folder.path(), &[]).expect("a good recipe");
        let (events, summary) = run(&config, false);
        let summary = summary.expect("the run ends well");
        Unbroken { events, summary, run: KeptRun::read(&config.output) }
    })
}

#[test]
fn a_model_goes_on_from_where_it_was() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Unbroken { events, summary, run } = unbroken();
    assert_eq!(summary.skipped, 0);
    let found = events.iter().find_map(|event| match event {
        Progress::Evaluated { metrics, samples, .. } => Some((metrics.clone(), samples.len())),
        _ => None,
    });
    let (metrics, samples) = found.expect("an evaluation");
    // A model with fresh weights has a loss of the vocabulary's logarithm, above 6, and no CIDEr.
    assert!(metrics["loss"] < 1.0, "{metrics:?}");
    assert!(metrics["cider"] > 3.0, "{metrics:?}");
    assert_eq!((metrics.get("truth"), samples), (None, 8));
    run.write(folder.path());
    let model = ModelFolder::open(folder.path().join("best"), &ConfigOverrides::default());
    let before = ModelFolder::open(demo_model(), &ConfigOverrides::default()).expect("the demo model");
    let model = model.expect("the engine's loader reads what training wrote");
    assert_eq!(model.config.vision, before.config.vision);
    assert_eq!(model.vocabulary(), before.vocabulary());
}

#[test]
fn a_resumed_run_sees_what_it_would_have_seen() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    draw(folder.path());
    // The run ends after step 2 and goes on from there. Data threads, of which it has one, change nothing.
    let config = recipe(folder.path(), &[("run.data_threads", "1")]).expect("good");
    let mut cut = |event: &Progress| match event {
        Progress::StepDone { step: 2 } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    assert!(train(&config, false, &mut cut).expect("it ends well").interrupted);
    let (events, result) = run(&config, true);
    result.expect("the rest ends well");
    assert!(matches!(events[0], Progress::Started { step: 2, .. }), "{:?}", events[0]);
    let resumed = std::fs::read(config.output.join("last/state.safetensors")).expect("a state");
    assert!(resumed == unbroken().run.file("last/state.safetensors"), "the weights differ");
}

#[test]
fn a_picture_that_cannot_be_read_is_an_error_or_passed_over() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    draw(folder.path());
    let bad = std::fs::read_dir(folder.path().join("train/images")).expect("pictures").next().expect("one");
    std::fs::write(bad.expect("an entry").path(), "no picture").expect("written");
    // Two batches hold each of the six pictures.
    let short = [("run.steps", "2"), ("evaluation.every", "0")];
    let (_, result) = run(&recipe(folder.path(), &short).expect("good"), false);
    assert!(result.expect_err("an error").to_string().contains("train/images/0000"));
    let skip = [&short[..], &[("data.unreadable", "skip"), ("output", "other")]].concat();
    let mut config = recipe(folder.path(), &skip).expect("good");
    config.output = folder.path().join("other");
    assert_eq!(run(&config, false).1.expect("the run ends well").skipped, 1);
}

#[test]
fn captions_are_cleaned_where_the_recipe_says_so() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    draw(folder.path());
    let picture =
        std::fs::read_dir(folder.path().join("train/images")).expect("pictures").next().expect("one");
    let picture = picture.expect("an entry").path();
    let line = serde_json::json!({ "image": picture, "caption": "A RED-circle, (small)." });
    std::fs::write(folder.path().join("own.jsonl"), format!("{line}\n")).expect("written");
    let vocabulary = [
        "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "circle", "small", "-", ",", "(", ")", ".",
    ];
    let read = |cleans: &str, reading: Reading| {
        let own = folder.path().join("own.jsonl");
        let own = own.to_str().expect("utf-8");
        let held_out = folder.path().join("held_out");
        let more = [
            ("data.train", own),
            ("data.clean_captions", cleans),
            ("data.held_out", held_out.to_str().expect("utf-8")),
        ];
        let config = recipe(folder.path(), &more).expect("a good recipe");
        let DataSection::Annotations(section) = &config.data else { panic!("annotations") };
        let views = Views { size: 16, augmentation: None, seed: 0 };
        let vocabulary = vocabulary.map(|token| token.to_owned() + "\n").concat();
        let data = AnnotatedPictures::open(section, reading, views, 30, vocabulary, &BTreeMap::new());
        data.expect("good data").example(Split::Train, 0).expect("an example")
    };
    let tokens = |ids: &[u32]| ids.iter().map(|id| vocabulary[*id as usize]).collect::<Vec<_>>().join(" ");
    let cleaned = "[CLS] a red circle small [SEP]";
    assert_eq!(tokens(&read("true", Reading::Pairs).text), cleaned);
    assert_eq!(tokens(&read("true", Reading::Captions).targets[0].ids), cleaned);
    assert_eq!(tokens(&read("false", Reading::Pairs).text), "[CLS] a red - circle , ( small ) . [SEP]");
    let refused = recipe(folder.path(), &[("objective.kind", "answering"), ("data.clean_captions", "true")]);
    assert!(refused.expect_err("no captions").to_string().contains("data.clean_captions"));
}

/// Case 40: a folder of pictures with their captions in text files beside them is what is learned from.
#[test]
fn corrected_captions_beside_pictures_are_learned_from() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    draw(folder.path());
    let own = folder.path().join("own");
    std::fs::create_dir(&own).expect("made");
    let pictures = std::fs::read_dir(folder.path().join("train/images")).expect("pictures");
    for (picture, caption) in pictures.zip(["a red circle", "a circle"]) {
        let picture = picture.expect("an entry").path();
        let there = own.join(picture.file_name().expect("a name"));
        std::fs::copy(&picture, &there).expect("copied");
        std::fs::write(there.with_extension("txt"), format!("{caption}\n")).expect("written");
    }
    let held_out = folder.path().join("held_out");
    let more =
        [("data.train", own.to_str().expect("utf-8")), ("data.held_out", held_out.to_str().expect("utf-8"))];
    let config = recipe(folder.path(), &more).expect("a good recipe");
    let DataSection::Annotations(section) = &config.data else { panic!("annotations") };
    let views = Views { size: 16, augmentation: None, seed: 0 };
    let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nred\ncircle\n";
    let data = AnnotatedPictures::open(
        section,
        Reading::Captions,
        views,
        30,
        vocabulary.to_owned(),
        &BTreeMap::new(),
    )
    .expect("good data");
    assert_eq!(data.train_len(), Some(2));
    let longest = (0..2).map(|n| data.example(Split::Train, n).expect("an example").longest()).max();
    assert_eq!(longest, Some(5), "[CLS] a red circle [SEP]");
}

#[test]
fn rows_come_in_the_order_of_the_file_where_the_recipe_says_so() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    draw(folder.path());
    let order = |shuffles: &str| -> Vec<u64> {
        let config = recipe(folder.path(), &[("data.shuffle", shuffles)]).expect("a good recipe");
        let DataSection::Annotations(section) = &config.data else { panic!("annotations") };
        let views = Views { size: 16, augmentation: None, seed: 0 };
        let tokens = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
        let data = AnnotatedPictures::open(
            section,
            Reading::Captions,
            views,
            30,
            tokens.to_owned(),
            &BTreeMap::new(),
        );
        let data = data.expect("good data");
        let rows = data.train_len().expect("a number");
        (0..2 * rows).map(|index| data.example(Split::Train, index).expect("an example").picture).collect()
    };
    let (kept, shuffled) = (order("false"), order("true"));
    let (first, second) = kept.split_at(kept.len() / 2);
    assert!(first.is_sorted() && first == second, "{kept:?}");
    assert_ne!(kept, shuffled);
}

#[test]
fn what_makes_no_sense_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    draw(folder.path());
    let train = folder.path().join("train");
    let same = train.to_str().expect("utf-8");
    recipe(folder.path(), &[("data.held_out", same), ("evaluation.every", "0")])
        .expect("nothing is held out without evaluations");
    for (key, value, word) in [
        ("data.held_out", same, "data.held_out"),
        ("data.vocabulary", "vocab.txt", "data.vocabulary"),
        ("start.dropout", "1.0", "start.dropout"),
        ("data.unreadable", "maybe", "maybe"),
        ("data.trian", "x", "trian"),
    ] {
        let error = recipe(folder.path(), &[(key, value)]).expect_err(key).to_string();
        assert!(error.contains(word), "{key} = {value}: {error}");
    }
    for (key, value, word) in [
        ("start.model", "no/such/folder", "no/such/folder"),
        ("start.max_text_tokens", "1000", "start.max_text_tokens"),
        ("data.train", "no/such/file", "no/such/file"),
        ("data.train_split", "test", "test"),
    ] {
        let config = recipe(folder.path(), &[(key, value)]).expect("types are right");
        let error = run(&config, false).1.expect_err(key).to_string();
        assert!(error.contains(word), "{key} = {value}: {error}");
    }
}
