//! A loss or gradient that is not finite is neither applied nor saved.

use std::collections::BTreeMap;
use std::path::Path;

use mplug_train::config::{Plateau, PrecisionKind, ResearchSchedule, ScheduleSection};
use mplug_train::training_data::{EncodedExample, SpecialIds, Split, TrainingData};
use mplug_train::{Progress, Summary, TrainConfig, TrainError, train_on};
use safetensors::SafeTensors;

use crate::toy::{Colours, recipe};
use crate::{listener, objectives};

/// What is wrong with an example.
#[derive(Clone, Copy, PartialEq)]
enum Poison {
    /// Its picture, and with it the loss.
    Picture,
    /// The weight of its text: the loss is finite, the gradient's norm is not.
    Weight,
}

/// Data of which the steps `bad` are poisoned and the step `absent` is not there; it ends before `end`.
struct Altered<D> {
    data: D,
    poison: Poison,
    bad: std::ops::Range<u64>,
    absent: Option<u64>,
    end: u64,
}

const BATCH: u64 = 8;

impl<D: TrainingData> Altered<D> {
    fn new(data: D) -> Self {
        Self { data, poison: Poison::Picture, bad: 0..0, absent: None, end: u64::MAX }
    }
}

impl<D: TrainingData> TrainingData for Altered<D> {
    fn example(&self, split: Split, index: u64) -> Result<EncodedExample, TrainError> {
        if split == Split::HeldOut {
            return self.data.example(split, index);
        }
        let step = index / BATCH;
        if step >= self.end {
            return Err(TrainError::Example { index, problem: "cut off".to_owned() });
        }
        let index = index + if self.absent.is_some_and(|absent| step >= absent) { BATCH } else { 0 };
        let mut example = self.data.example(split, index)?;
        if self.bad.contains(&step) && index % BATCH == 3 {
            match self.poison {
                Poison::Picture => example.pixel_values[5] = f32::INFINITY,
                Poison::Weight => example.targets[0].weight = 1e30,
            }
        }
        Ok(example)
    }

    fn vocabulary(&self) -> &str {
        self.data.vocabulary()
    }

    fn special_ids(&self) -> SpecialIds {
        self.data.special_ids()
    }

    fn decode(&self, ids: &[u32]) -> String {
        self.data.decode(ids)
    }

    fn judge(&self, index: u64, text: &str) -> Option<f64> {
        self.data.judge(index, text)
    }

    fn name(&self, picture: u64) -> String {
        self.data.name(picture)
    }

    fn train_pictures(&self) -> Option<u64> {
        self.data.train_pictures()
    }

    fn references(&self, split: Split, picture: u64) -> Vec<String> {
        self.data.references(split, picture)
    }
}

/// A run whose steps do not depend on their number.
fn steady(output: &Path, steps: u64) -> TrainConfig {
    let mut config = recipe(output, steps);
    config.schedule = ScheduleSection::Constant(Plateau { warmup_steps: 0 });
    config.run.checkpoint_every = 4;
    config.run.log_every = 1;
    config.evaluation.every = 0;
    config
}

fn run(
    config: &TrainConfig,
    data: &dyn TrainingData,
    resume: bool,
) -> (Vec<Progress>, Result<Summary, TrainError>) {
    let mut events = Vec::new();
    let result = train_on(config, data, resume, &mut listener(&mut events));
    (events, result)
}

/// The tensors of a run's last checkpoint by name, and the numbers of its progress.
fn state(run: &Path) -> (BTreeMap<String, Vec<u8>>, Vec<i64>) {
    let mut tensors = BTreeMap::new();
    for name in ["last/model.safetensors", "last/state.safetensors"] {
        let bytes = std::fs::read(run.join(name)).expect(name);
        let file = SafeTensors::deserialize(&bytes).expect("safetensors");
        tensors.extend(file.iter().map(|(name, view)| (name.to_owned(), view.data().to_vec())));
    }
    let progress = tensors.remove("progress").expect("progress");
    let numbers = progress.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
    (tensors, numbers.collect())
}

#[test]
fn a_step_without_a_finite_gradient_leaves_no_trace_but_its_number() {
    for (poison, precision) in [
        (Poison::Picture, PrecisionKind::F32),
        (Poison::Weight, PrecisionKind::F32),
        (Poison::Picture, PrecisionKind::F16),
        (Poison::Weight, PrecisionKind::F16),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [skipping, without] = ["skipping", "without"].map(|name| folder.path().join(name));
        let mut config = steady(&skipping, 7);
        config.run.precision = precision;
        let (events, result) = run(&config, &Altered { poison, bad: 4..5, ..Altered::new(Colours) }, false);
        assert_eq!(result.expect("the run ends well").skipped_steps, 1);
        let skipped: Vec<&Progress> =
            events.iter().filter(|event| matches!(event, Progress::Skipped { .. })).collect();
        let [Progress::Skipped { step: 5, loss, gradient_norm, skipped_steps: 1, in_a_row: 1, pictures }] =
            skipped[..]
        else {
            panic!("{skipped:?}")
        };
        assert_eq!(loss.is_finite(), poison == Poison::Weight);
        assert!(!gradient_norm.is_finite() && pictures.split(", ").count() == 8, "{skipped:?}");
        let log = std::fs::read_to_string(skipping.join("log.jsonl")).expect("a log");
        let line = log.lines().find(|line| line.contains("\"skipped\"")).expect("a line");
        let line: serde_json::Value = serde_json::from_str(line).expect("json");
        assert_eq!((&line["step"], &line["skipped_steps"]), (&5.into(), &1.into()));
        assert!(line["gradient_norm"].is_string(), "{line}");
        assert!(
            log.lines().last().is_some() && log.contains("\"skipped_steps\":1,\"learning_rate\""),
            "{log}"
        );

        let mut config = steady(&without, 6);
        config.run.precision = precision;
        let without_it = Altered { absent: Some(4), ..Altered::new(Colours) };
        run(&config, &without_it, false).1.expect("the run ends well");
        let (skipping, without) = (state(&skipping), state(&without));
        assert!(skipping.0 == without.0, "{precision:?}");
        assert_eq!((skipping.1[0], without.1[0]), (7, 6));
        assert_eq!(skipping.1[11..], without.1[11..], "the loss scale");
    }
}

/// Whichever step is poisoned, in its loss or its gradient, and wherever the run is cut off after it.
#[test]
fn a_poisoned_gradient_at_any_step_leaves_no_trace() {
    const STEPS: u64 = 6;
    for bad in 0..STEPS {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [skipping, without] = ["skipping", "without"].map(|name| folder.path().join(name));
        let poison = if bad % 2 == 0 { Poison::Picture } else { Poison::Weight };
        let mut config = steady(&skipping, STEPS);
        config.run.checkpoint_every = 1;
        let poisoned = |end| Altered { poison, bad: bad..bad + 1, end, ..Altered::new(Colours) };
        let _cut_off = run(&config, &poisoned(bad + 1), false);
        let _again = run(&config, &poisoned(bad + 2), true);
        run(&config, &poisoned(u64::MAX), true).1.expect("the rest ends well");
        let without_it = Altered { absent: Some(bad), ..Altered::new(Colours) };
        run(&steady(&without, STEPS - 1), &without_it, false).1.expect("the run ends well");
        let (skipping, without) = (state(&skipping), state(&without));
        assert!(skipping.0 == without.0, "step {bad}");
        assert_eq!((skipping.1[0], skipping.1[6], without.1[6]), (STEPS as i64, 1, 0), "step {bad}");
    }
}

#[test]
fn a_run_cut_off_around_a_skipped_step_ends_with_the_same_state() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let whole = folder.path().join("whole");
    let poisoned = |end| Altered { bad: 3..5, end, ..Altered::new(Colours) };
    run(&steady(&whole, 10), &poisoned(u64::MAX), false).1.expect("the run ends well");
    // The checkpoint of step 4 lies between the two that are skipped.
    for end in [3, 4, 5, 6, 9] {
        let parts = folder.path().join(end.to_string());
        run(&steady(&parts, 10), &poisoned(end), false).1.expect_err("cut off");
        run(&steady(&parts, 10), &poisoned(u64::MAX), true).1.expect("the rest ends well");
        for name in ["last/state.safetensors", "last/model.safetensors"] {
            let [one, other] = [&whole, &parts].map(|run| std::fs::read(run.join(name)).expect(name));
            assert!(one == other, "cut off before step {end}: {name}");
        }
    }
}

/// The settings of an error's advice.
fn settings(error: &TrainError) -> BTreeMap<String, String> {
    let TrainError::Diverged { way_on, .. } = error else { panic!("{error}") };
    way_on.settings.iter().cloned().collect()
}

#[test]
fn many_in_a_row_end_the_run_with_a_checkpoint_that_is_good() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = folder.path().join("run");
    let mut config = steady(&output, 10);
    config.run.max_skipped_steps = 3;
    let poisoned = Altered { bad: 6..10, ..Altered::new(Colours) };
    for resume in [false, true] {
        let (events, result) = run(&config, &poisoned, resume);
        let error = result.expect_err("it ends");
        let TrainError::Diverged { step: 9, pictures, way_on, .. } = &error else { panic!("{error}") };
        assert!(pictures.split(", ").count() == 8, "{error}");
        assert_eq!(way_on.checkpoint, Some((8, output.join("step-000008"))));
        let skipped = events.iter().filter(|event| matches!(event, Progress::Skipped { .. })).count();
        assert_eq!(skipped, if resume { 0 } else { 2 });
        let (tensors, progress) = state(&output);
        assert_eq!(progress[0], 8);
        let finite = |bytes: &[u8]| {
            bytes.as_chunks::<4>().0.iter().all(|bytes| f32::from_le_bytes(*bytes).is_finite())
        };
        assert!(tensors.values().all(|bytes| finite(bytes)));
    }
    // What the message advises works.
    let error = run(&config, &poisoned, true).1.expect_err("it ends");
    let settings = settings(&error);
    let keys: Vec<&str> = settings.keys().map(String::as_str).collect();
    assert_eq!(keys, ["optimizer.learning_rate"]);
    assert_eq!(settings["optimizer.learning_rate"], "3.0e-4");
    let pairs: Vec<_> = settings.into_iter().collect();
    let advised = TrainConfig::from_toml(&config.to_toml(), &pairs).expect("a good recipe");
    let (events, result) = run(&advised, &Colours, true);
    result.expect("the run ends well");
    assert!(
        matches!(&events[..2], [Progress::Started { step: 8, .. }, Progress::Resumed { .. }]),
        "{events:?}"
    );
}

#[test]
fn weights_that_no_batch_has_a_finite_loss_with_are_not_saved() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = steady(folder.path(), 6);
    config.run.checkpoint_every = 1;
    config.evaluation.every = 1;
    // The first epoch is slow; the next step is far too long, though every weight stays finite.
    config.schedule = ScheduleSection::Research(ResearchSchedule {
        warmup_steps: 100,
        warmup_rate: 1e-5,
        min_rate: 1e-6,
        epoch_steps: Some(3),
        accumulation: 1,
    });
    config.optimizer.learning_rate = 1e25;
    let error = run(&config, &Colours, false).1.expect_err("it diverges");
    let TrainError::Diverged { step: 4, way_on, .. } = &error else { panic!("{error}") };
    assert!(way_on.checkpoint.as_ref().is_some_and(|(step, _)| *step == 3), "{error}");
    assert_eq!(state(folder.path()).1[0], 3);
    let settings: Vec<_> = settings(&error).into_iter().collect();
    let mut advised = TrainConfig::from_toml(&config.to_toml(), &settings).expect("a good recipe");
    advised.optimizer.learning_rate = 1e-3;
    run(&advised, &Colours, true).1.expect("the run ends well");
}

#[test]
fn a_run_of_skipped_steps_alone_is_an_error() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = steady(folder.path(), 5);
    let error = run(&config, &Altered { bad: 0..5, ..Altered::new(Colours) }, false).1.expect_err("nothing");
    assert!(error.to_string().contains("every step was skipped"), "{error}");
    assert!(!folder.path().join("last").exists());
}

#[test]
fn every_objective_skips_a_poisoned_step() {
    for kind in ["captioning", "answering", "retrieval", "pretraining", "beams", "samples"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let more = [("run.steps", "6"), ("evaluation.every", "0")];
        let config = objectives::recipe(folder.path(), &[objectives::settings(kind), more.to_vec()].concat());
        let data = objectives::Colours { reading: config.objective.reading(), until: u64::MAX };
        let (_, result) = run(&config, &Altered { bad: 3..4, ..Altered::new(data) }, false);
        assert_eq!(result.unwrap_or_else(|error| panic!("{kind}: {error}")).skipped_steps, 1, "{kind}");
        let (tensors, _) = state(folder.path());
        let finite = |bytes: &[u8]| {
            bytes.as_chunks::<4>().0.iter().all(|bytes| f32::from_le_bytes(*bytes).is_finite())
        };
        assert!(tensors.values().all(|bytes| finite(bytes)), "{kind}");
    }
}

/// Puts a NaN into a tensor of a safetensors file.
fn spoil(path: &Path, tensor: &str) {
    let mut bytes = std::fs::read(path).expect("a file");
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("eight")) as usize;
    let text: serde_json::Value = serde_json::from_slice(&bytes[8..header]).expect("a header");
    let start = header + text[tensor]["data_offsets"][0].as_u64().expect(tensor) as usize;
    bytes[start + 4..start + 8].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(path, bytes).expect("written");
}

#[test]
fn weights_that_are_not_finite_are_named_at_the_start_and_when_resumed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = folder.path().join("run");
    run(&steady(&output, 4), &Colours, false).1.expect("the run ends well");
    let tensor = "visual_encoder.visual.ln_pre.weight";
    // The model is the average.
    for (file, kind) in [("state", "weight/"), ("state", "first/"), ("state", "second/"), ("model", "")] {
        let file = format!("step-000004/{file}.safetensors");
        let kept = std::fs::read(output.join(&file)).expect("a state");
        let name = format!("{kind}{tensor}");
        spoil(&output.join(&file), &name);
        let error = run(&steady(&output, 4), &Colours, true).1.expect_err("not finite").to_string();
        assert!(error.contains(&file) && error.contains(&name) && error.contains("NaN"), "{error}");
        std::fs::write(output.join(&file), kept).expect("written");
    }
    spoil(&output.join("last/model.safetensors"), tensor);
    let mut config = steady(&folder.path().join("next"), 4);
    let weights = output.join("last");
    config.model.as_mut().expect("a shape").weights = Some(weights.clone());
    let error = run(&config, &Colours, false).1.expect_err("not finite").to_string();
    assert!(error.contains(tensor) && error.contains(weights.to_str().expect("utf-8")), "{error}");
    assert!(!folder.path().join("next/last").exists());
}
