//! Runs that count epochs: what a step gets, and going on within one.

use std::sync::Mutex;

use mplug_train::training_data::{EncodedExample, Reading, SpecialIds, Split, TrainingData};
use mplug_train::{Progress, TrainConfig, TrainError, train_on};

use crate::toy::{Colours, recipe};
use crate::{listener, objectives};

/// Eleven coloured pictures; notes which were taken, and fails from a number on.
#[derive(Default)]
struct Eleven {
    taken: Mutex<Vec<u64>>,
    fails_from: Option<u64>,
}

impl TrainingData for Eleven {
    fn example(&self, split: Split, index: u64) -> Result<EncodedExample, TrainError> {
        if split == Split::Train {
            if self.fails_from.is_some_and(|first| index >= first) {
                return Err(TrainError::Example { index, problem: "cut off".to_owned() });
            }
            self.taken.lock().expect("not poisoned").push(index);
        }
        Colours.example(split, index)
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
        Colours.judge(index, caption)
    }

    fn train_len(&self) -> Option<u64> {
        Some(11)
    }
}

fn in_epochs(config: &TrainConfig, epochs: u64, settings: &[(&str, &str)]) -> TrainConfig {
    let mut pairs = vec![("run.epochs".to_owned(), epochs.to_string())];
    pairs.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    TrainConfig::from_toml(&config.to_toml(), &pairs).expect("a good recipe")
}

#[test]
fn an_epoch_ends_with_a_short_batch_or_without_it() {
    for (settings, steps, left_out) in [(&[][..], 6, false), (&[("run.drop_last", "true")], 4, true)] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let more = [("run.batch_size", "4"), ("run.log_every", "1"), ("evaluation.every", "0")];
        let config = in_epochs(&recipe(folder.path(), 1), 2, &[&more, settings].concat());
        let (data, mut events) = (Eleven::default(), Vec::new());
        let summary = train_on(&config, &data, false, &mut listener(&mut events)).expect("it ends well");
        assert_eq!(summary.steps, steps);
        let mut taken = data.taken.into_inner().expect("not poisoned");
        taken.sort_unstable();
        let right: Vec<u64> = (0..22).filter(|index| !left_out || index % 11 < 8).collect();
        assert_eq!(taken, right);
        let of_epochs: Vec<(u64, u64, u64)> = events
            .iter()
            .filter_map(|event| match event {
                Progress::Step(found) => Some((found.epoch, found.epoch_step, found.epoch_steps)),
                _ => None,
            })
            .collect();
        assert_eq!(of_epochs[steps as usize / 2], (2, 1, steps / 2));
    }
}

#[test]
fn a_run_of_epochs_is_resumed_bit_for_bit() {
    for optimizer in [
        "{ kind = \"sgd\", learning_rate = 0.1, weight_decay = 0.01, momentum = 0.9, nesterov = true, clip_norm = 1.0 }",
        "{ kind = \"sgd\", learning_rate = 0.1, weight_decay = 0.01 }",
        "{ kind = \"adam\", learning_rate = 1e-3, weight_decay = 0.01, average_decay = 0.9 }",
    ] {
        let folders = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
        let [whole, parts] = folders.each_ref().map(|folder| {
            let schedule =
                "{ kind = \"step\", step_size = 1, gamma = 0.5, warmup = { kind = \"linear\", iters = 2 } }";
            let more = [
                ("run.batch_size", "4"),
                ("run.checkpoint_every", "4"),
                ("evaluation.every", "0"),
                ("optimizer", optimizer),
                ("schedule", schedule),
            ];
            in_epochs(&recipe(folder.path(), 1), 3, &more)
        });
        train_on(&whole, &Eleven::default(), false, &mut listener(&mut Vec::new())).expect("it ends well");
        // The second epoch's short batch is the step at which the other run ends.
        let cut = Eleven { fails_from: Some(11 + 8), ..Eleven::default() };
        train_on(&parts, &cut, false, &mut listener(&mut Vec::new())).expect_err("cut off");
        train_on(&parts, &Eleven::default(), true, &mut listener(&mut Vec::new())).expect("it ends well");
        let [whole, parts] = folders
            .each_ref()
            .map(|folder| std::fs::read(folder.path().join("last/model.safetensors")).expect("a model"));
        assert!(whole == parts, "{optimizer}");
    }
}

#[test]
fn epochs_need_an_end() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = in_epochs(&recipe(folder.path(), 1), 2, &[]);
    let error = train_on(&config, &Colours, false, &mut listener(&mut Vec::new())).expect_err("no end");
    assert!(error.to_string().contains("run.epochs"), "{error}");
}

/// Pairs of pictures and texts, of which an epoch has sixteen.
struct Pairs(objectives::Colours);

impl TrainingData for Pairs {
    fn example(&self, split: Split, index: u64) -> Result<EncodedExample, TrainError> {
        self.0.example(split, index)
    }

    fn vocabulary(&self) -> &str {
        self.0.vocabulary()
    }

    fn special_ids(&self) -> SpecialIds {
        self.0.special_ids()
    }

    fn decode(&self, ids: &[u32]) -> String {
        self.0.decode(ids)
    }

    fn judge(&self, index: u64, text: &str) -> Option<f64> {
        self.0.judge(index, text)
    }

    fn train_len(&self) -> Option<u64> {
        Some(16)
    }
}

/// The research code's `alpha * min(1, i / len(data_loader))` in its first epoch.
#[test]
fn the_share_of_soft_labels_grows_during_the_first_epoch() {
    // Weights stay as they are, so that a step's loss depends on the share alone.
    let losses = |distillation: &str, ramp: &str| -> Vec<f64> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let more = [
            ("run.steps", "4"),
            ("run.log_every", "1"),
            ("run.threads", "1"),
            ("evaluation.every", "0"),
            ("optimizer.learning_rate", "0.0"),
            ("model.dropout", "0.0"),
            ("objective.distillation", distillation),
            ("objective.distillation_ramp", ramp),
        ];
        let config =
            objectives::recipe(folder.path(), &[objectives::settings("retrieval"), more.to_vec()].concat());
        let data = Pairs(objectives::Colours { reading: Reading::Pairs, until: u64::MAX });
        let mut events = Vec::new();
        train_on(&config, &data, false, &mut listener(&mut events)).expect("it ends well");
        let steps = events.iter().filter_map(|event| match event {
            Progress::Step(found) => {
                Some(found.parts.iter().find(|(name, _)| **name == "contrast").expect("it has one").1)
            }
            _ => None,
        });
        steps.copied().collect()
    };
    let (hard, soft, ramped) = (losses("0.0", "false"), losses("0.4", "false"), losses("0.4", "true"));
    let half = losses("0.2", "false");
    // An epoch has two steps.
    let right = [hard[0], half[1], soft[2], soft[3]];
    assert!(ramped == right, "{ramped:?} against {right:?}");
    let matters = |one: f64, other: f64| (one - other).abs() > 1e-6;
    assert!(matters(hard[0], soft[0]) && matters(half[1], soft[1]), "{hard:?}, {half:?}, {soft:?}");
}
