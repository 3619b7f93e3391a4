//! Training that costs little: frozen parts, adapters, and pictures that are encoded once.

use std::path::Path;

use mplug::checkpoint::adapter::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, Adapter};
use mplug::checkpoint::{Checkpoint, ModelFolder};
use mplug::config::ConfigOverrides;
use mplug_train::config::{FeaturesSection, LoraSection, StartSection};
use mplug_train::training_data::{EncodedExample, SpecialIds, Split, TrainingData};
use mplug_train::{Progress, TrainConfig, TrainError, train_on};

use crate::listener;
use crate::toy::{Colours, recipe};

/// The colours of [`Colours`], of which there are eight pictures.
struct EightColours {
    /// The first example that cannot be had.
    end: u64,
}

const ALL: EightColours = EightColours { end: u64::MAX };

impl TrainingData for EightColours {
    fn example(&self, split: Split, index: u64) -> Result<EncodedExample, TrainError> {
        if split == Split::Train && index >= self.end {
            return Err(TrainError::Example { index, problem: "cut off".to_owned() });
        }
        Colours.example(split, if split == Split::Train { index % 8 } else { index })
    }

    fn vocabulary(&self) -> &str {
        Colours.vocabulary()
    }

    fn special_ids(&self) -> SpecialIds {
        Colours.special_ids()
    }

    fn decode(&self, ids: &[u32]) -> String {
        Colours.decode(ids)
    }

    fn judge(&self, index: u64, text: &str) -> Option<f64> {
        Colours.judge(index, text)
    }

    fn train_pictures(&self) -> Option<u64> {
        Some(8)
    }
}

fn run(config: &TrainConfig, resume: bool) -> Result<Vec<Progress>, TrainError> {
    let mut events = Vec::new();
    train_on(config, &ALL, resume, &mut listener(&mut events))?;
    Ok(events)
}

/// A trained model of colours, and a recipe that goes on from it.
fn going_on(folder: &Path, steps: u64) -> TrainConfig {
    let mut base = recipe(&folder.join("base"), 10);
    base.evaluation.every = 0;
    run(&base, false).expect("the run ends well");
    let mut config = recipe(&folder.join("run"), steps);
    config.model = None;
    config.start = Some(start(&folder.join("base/last")));
    config
}

fn start(model: &Path) -> StartSection {
    StartSection {
        model: Some(model.to_owned()),
        clip: None,
        bert: None,
        image_size: None,
        max_text_tokens: 8,
        shared_size: None,
        dropout: 0.0,
        visual_attention_dropout: 0.0,
        keep_encoders: false,
    }
}

fn truth(events: &[Progress]) -> Option<f64> {
    events.iter().rev().find_map(|event| match event {
        Progress::Evaluated { metrics, .. } => metrics.get("truth").copied(),
        _ => None,
    })
}

fn losses(events: &[Progress]) -> Vec<f64> {
    let steps = events.iter().filter_map(|event| match event {
        Progress::Step(report) => Some(report.loss),
        _ => None,
    });
    steps.collect()
}

#[test]
fn what_is_frozen_stays_bit_for_bit_and_has_no_moments() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = going_on(folder.path(), 30);
    config.freeze = vec!["visual_encoder".to_owned(), "text_decoder.bert.embeddings".to_owned()];
    config.optimizer.weight_decay = 0.5;
    let events = run(&config, false).expect("the run ends well");
    let Progress::Started { parameters, trained, .. } = &events[0] else { panic!("{:?}", events[0]) };
    assert!(0 < *trained && trained < parameters);
    let [before, after] = ["base/last", "run/last"]
        .map(|name| Checkpoint::open(&folder.path().join(name).join("model.safetensors")).expect("a model"));
    let state = Checkpoint::open(&folder.path().join("run/last/state.safetensors")).expect("a state");
    let (mut frozen, mut moved) = (0, 0);
    for name in before.names() {
        let [one, other] = [&before, &after].map(|model| model.read_f32(name).expect("read"));
        let is_frozen = config.freeze.iter().any(|prefix| name.starts_with(prefix.as_str()))
            || name == "text_decoder.cls.predictions.decoder.weight";
        assert!(!is_frozen || one == other, "{name} moved");
        assert!(!is_frozen || !state.has(&format!("first/{name}")), "{name} has moments");
        frozen += usize::from(is_frozen);
        moved += usize::from(one != other);
    }
    assert!(frozen > 15 && moved > 10, "{frozen} and {moved}");
}

#[test]
fn names_that_fit_nothing_are_errors_with_the_nearest() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = going_on(folder.path(), 2);
    let refused = |change: &dyn Fn(&mut TrainConfig)| {
        let mut config = config.clone();
        change(&mut config);
        run(&config, false).expect_err("refused").to_string()
    };
    let lora = |targets: &[&str]| {
        Some(LoraSection {
            targets: targets.iter().map(|t| (*t).to_owned()).collect(),
            ..LoraSection::default()
        })
    };
    for (message, expected) in [
        (refused(&|c| c.freeze = vec!["decoder.embeddings".to_owned()]), "`text_decoder.bert.embeddings`?"),
        (refused(&|c| c.freeze = vec!["text_decoder.bert.encoder.layer.1".to_owned()]), "layer.0"),
        (
            refused(&|c| {
                c.freeze = vec![
                    "visual_encoder".into(),
                    "text_decoder".into(),
                    "visn_fc".into(),
                    "visn_layer_norm".into(),
                ];
            }),
            "something left to train",
        ),
        (refused(&|c| c.lora = lora(&["querry"])), "`query`?"),
        (refused(&|c| c.lora = lora(&[])), "lora.targets"),
        (refused(&|c| c.features = Some(FeaturesSection::default())), "a frozen visual encoder"),
        (
            refused(&|c| {
                c.freeze = vec!["visual_encoder".to_owned()];
                c.features = Some(FeaturesSection { max_gigabytes: 1e-6, ..FeaturesSection::default() });
            }),
            "features.max_gigabytes",
        ),
        (
            refused(&|c| {
                c.lora = lora(&["query"]);
                c.freeze = vec!["visual_encoder".to_owned()];
            }),
            "freeze: expected none with [lora]",
        ),
    ] {
        assert!(message.contains(expected), "{message} lacks {expected}");
    }
}

/// The files of kept pictures, by name and content.
fn kept(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none() {
                let bytes = std::fs::read(&path).expect("a file");
                found.push((path.file_name().expect("a name").to_string_lossy().into_owned(), bytes));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn pictures_that_are_encoded_once_teach_the_same() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = going_on(folder.path(), 20);
    config.freeze = vec!["visual_encoder".to_owned()];
    config.run.log_every = 1;
    let plain = losses(&run(&config, false).expect("the run ends well"));
    config.output = folder.path().join("kept");
    config.features =
        Some(FeaturesSection { folder: Some(folder.path().join("cache")), ..FeaturesSection::default() });
    let events = run(&config, false).expect("the run ends well");
    assert!(matches!(&events[1], Progress::Features { bytes, .. } if *bytes > 1000), "{:?}", events[1]);
    for (plain, kept) in plain.iter().zip(losses(&events)) {
        assert!((plain - kept).abs() < 1e-3 * plain.abs() + 1e-4, "{plain} and {kept}");
    }
    let first = kept(&folder.path().join("cache"));
    assert_eq!(first.len(), 8, "one file a picture");

    // From what was kept, also where a file is damaged, and killed and resumed: the same bits.
    let path = folder.path().join("cache");
    let victim = walk(&path).into_iter().find(|path| path.extension().is_none()).expect("a file");
    let mut bytes = std::fs::read(&victim).expect("a file");
    bytes[9] ^= 4;
    std::fs::write(&victim, bytes).expect("damaged");
    config.output = folder.path().join("again");
    config.run.checkpoint_every = 8;
    let mut events = Vec::new();
    let cut = EightColours { end: 11 * 8 };
    train_on(&config, &cut, false, &mut listener(&mut events)).expect_err("cut off");
    run(&config, true).expect("the rest ends well");
    assert_eq!(kept(&path), first);
    let [one, other] = ["kept", "again"]
        .map(|run| std::fs::read(folder.path().join(run).join("last/model.safetensors")).expect("a model"));
    assert!(one == other, "the weights differ");
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn an_adapter_learns_is_small_and_resumes_to_the_same_bits() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = going_on(folder.path(), 60);
    config.optimizer.learning_rate = 2e-2;
    config.optimizer.weight_decay = 0.0;
    config.run.checkpoint_every = 12;
    let targets = ["query", "key", "value", "output.dense", "intermediate.dense"].map(str::to_owned);
    config.lora = Some(LoraSection { targets: targets.to_vec(), ..LoraSection::default() });
    let events = run(&config, false).expect("the run ends well");
    assert_eq!(truth(&events), Some(1.0));

    let base =
        || ModelFolder::open(folder.path().join("base/last"), &ConfigOverrides::default()).expect("a model");
    let best = folder.path().join("run/best");
    let adapter = Adapter::open(&best).expect("an adapter");
    assert_eq!((adapter.rank(), adapter.len()), (8, 10));
    assert!(best.join(ADAPTER_CONFIG).is_file() && !best.join("model.safetensors").exists());
    base().with_adapter(&best).expect("it fits the model that it was trained on");
    let size = |name: &str| std::fs::metadata(folder.path().join(name)).expect("a file").len();
    let state = Checkpoint::open(&folder.path().join("run/last/state.safetensors")).expect("a state");
    assert!(state.names().all(|name| name.contains(".lora_") || ["base", "progress"].contains(&name)));
    assert!(size("run/best/adapter_model.safetensors") < size("base/last/model.safetensors"));

    let mut parts = config.clone();
    parts.output = folder.path().join("parts");
    let mut events = Vec::new();
    let cut = EightColours { end: 31 * 8 };
    train_on(&parts, &cut, false, &mut listener(&mut events)).expect_err("cut off");
    run(&parts, true).expect("the rest ends well");
    for file in ["last/state.safetensors", "last/adapter_model.safetensors", "best/adapter_model.safetensors"]
    {
        let [one, other] =
            ["run", "parts"].map(|run| std::fs::read(folder.path().join(run).join(file)).expect(file));
        assert!(one == other, "{file} differs");
    }
    assert!(best.join(ADAPTER_WEIGHTS).is_file());

    // The model that it is beside has changed: neither the run nor the adapter goes on with it.
    let mut more = recipe(&folder.path().join("more"), 3);
    more.evaluation.every = 0;
    run(&more, false).expect("the run ends well");
    parts.start = Some(start(&folder.path().join("more/last")));
    let other =
        ModelFolder::open(folder.path().join("more/last"), &ConfigOverrides::default()).expect("a model");
    let refused = other.with_adapter(&best).expect_err("another model").to_string();
    assert!(refused.contains("trained on"), "{refused}");
}
