//! Evaluations during a run: the same figures on any number of threads, pictures one after the other, before the first step too.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use mplug_train::config::{BestBy, Plateau, ScheduleSection};
use mplug_train::evaluate::metric_names;
use mplug_train::training_data::{EncodedExample, SpecialIds, Split, TrainingData};
use mplug_train::{Progress, TrainConfig, TrainError, train_on};

use crate::listener;
use crate::objectives::{Colours, recipe, settings};

/// Held-out examples: some groups of them, the last one short.
const EXAMPLES: usize = 70;

/// An objective's run of one step with 70 held-out examples.
fn short(output: &Path, kind: &str, more: &[(&str, &str)]) -> TrainConfig {
    let examples = EXAMPLES.to_string();
    let short = [
        ("run.steps", "1"),
        ("run.log_every", "1"),
        ("evaluation.every", "1"),
        ("evaluation.pictures", &examples),
    ];
    recipe(output, &[settings(kind), short.to_vec(), more.to_vec()].concat())
}

fn run(config: &TrainConfig, data: &dyn TrainingData, resume: bool) -> Vec<Progress> {
    let mut events = Vec::new();
    train_on(config, data, resume, &mut listener(&mut events)).expect("the run ends well");
    events
}

fn colours(config: &TrainConfig) -> Colours {
    Colours { reading: config.objective.reading(), until: u64::MAX }
}

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq)]
struct Found {
    step: u64,
    /// The figures' bits.
    metrics: Vec<(&'static str, u64)>,
    texts: Vec<String>,
}

/// What all evaluations found.
fn found(events: &[Progress]) -> Vec<Found> {
    let of = |event: &Progress| match event {
        Progress::Evaluated { step, metrics, samples, .. } => Some(Found {
            step: *step,
            metrics: metrics.iter().map(|(name, value)| (*name, value.to_bits())).collect(),
            texts: samples.iter().map(|sample| sample.text.clone()).collect(),
        }),
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

#[test]
fn figures_are_the_same_bits_on_any_number_of_threads() {
    for kind in ["captioning", "answering", "retrieval", "pretraining", "beams"] {
        let one = [1, 2, 3].map(|threads: usize| {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let config = short(folder.path(), kind, &[("run.threads", &threads.to_string())]);
            let events = run(&config, &colours(&config), false);
            let names = metric_names(&config.objective);
            let found = found(&events);
            let all = found.iter().flat_map(|of| &of.metrics);
            assert!(
                all.clone().count() > 0 && all.clone().all(|(name, _)| names.contains(name)),
                "{found:?}"
            );
            // The step itself may differ: its sum has other addends.
            found[0].clone()
        });
        assert_eq!(one[0].step, 0);
        assert!(one[0] == one[1] && one[0] == one[2], "{kind}: {one:?}");
    }
}

/// Data that counts how many held-out pictures are open: from when they are opened to when a text about them is read.
struct Counting {
    inner: Colours,
    opened: AtomicUsize,
    written: AtomicUsize,
    most: AtomicUsize,
}

impl TrainingData for Counting {
    fn example(&self, split: Split, index: u64) -> Result<EncodedExample, TrainError> {
        if split == Split::HeldOut {
            let opened = self.opened.fetch_add(1, Ordering::SeqCst) + 1;
            let open = opened.saturating_sub(self.written.load(Ordering::SeqCst));
            self.most.fetch_max(open, Ordering::SeqCst);
        }
        self.inner.example(split, index)
    }

    fn vocabulary(&self) -> &str {
        self.inner.vocabulary()
    }

    fn special_ids(&self) -> SpecialIds {
        self.inner.special_ids()
    }

    fn decode(&self, ids: &[u32]) -> String {
        self.written.fetch_add(1, Ordering::SeqCst);
        self.inner.decode(ids)
    }

    fn judge(&self, index: u64, text: &str) -> Option<f64> {
        self.inner.judge(index, text)
    }

    fn references(&self, split: Split, picture: u64) -> Vec<String> {
        self.inner.references(split, picture)
    }
}

#[test]
fn pictures_are_opened_once_and_few_at_a_time() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let more = [("evaluation.pictures", "200"), ("evaluation.every", "100"), ("run.threads", "2")];
    let config = short(folder.path(), "captioning", &more);
    let data = Counting {
        inner: colours(&config),
        opened: AtomicUsize::new(0),
        written: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
    };
    run(&config, &data, false);
    // At the start and at the last step. Two workers have 16 pictures each.
    assert_eq!(data.opened.into_inner(), 2 * 200);
    let most = data.most.into_inner();
    assert!((16..=32).contains(&most), "{most} pictures were open at once");
}

/// Data whose held-out examples end early.
struct Broken(Colours);

impl TrainingData for Broken {
    fn example(&self, split: Split, index: u64) -> Result<EncodedExample, TrainError> {
        if split == Split::HeldOut && index >= 40 {
            return Err(TrainError::Example { index, problem: "broken".to_owned() });
        }
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
}

#[test]
fn a_held_out_picture_that_cannot_be_read_is_named_before_the_first_step() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = short(folder.path(), "captioning", &[]);
    for threads in [1, 3] {
        let mut config = config.clone();
        config.run.threads = threads;
        config.output = folder.path().join(threads.to_string());
        let mut events = Vec::new();
        let failed = train_on(&config, &Broken(colours(&config)), false, &mut listener(&mut events));
        assert!(matches!(failed, Err(TrainError::Example { index: 40, .. })), "{failed:?}");
        let is_known_before = |event: &Progress| {
            matches!(event, Progress::Started { .. } | Progress::Checked(_) | Progress::Warning { .. })
        };
        assert!(events.iter().all(is_known_before), "{events:?}");
    }
}

#[test]
fn an_evaluation_before_the_first_step_changes_no_weight() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for kind in ["captioning", "answering", "pretraining", "samples"] {
        let models = ["true", "false"].map(|at_start| {
            let output = folder.path().join(format!("{kind}-{at_start}"));
            let more = [("run.steps", "4"), ("evaluation.every", "4"), ("evaluation.at_start", at_start)];
            let events = run_of(&short(&output, kind, &more));
            let steps: Vec<u64> = found(&events).iter().map(|of| of.step).collect();
            assert_eq!(steps, if at_start == "true" { vec![0, 4] } else { vec![4] }, "{kind}");
            std::fs::read(output.join("last/model.safetensors")).expect("a model")
        });
        assert!(models[0] == models[1], "{kind}");
    }
}

fn run_of(config: &TrainConfig) -> Vec<Progress> {
    run(config, &colours(config), false)
}

/// Ended after the first evaluation, a run goes on with its first step and ends as it would have.
#[test]
fn a_run_that_ends_after_its_first_evaluation_goes_on_to_the_same_files() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let more = [("run.steps", "4"), ("evaluation.every", "2")];
    let [whole, parts] = ["whole", "parts"].map(|name| short(&folder.path().join(name), "captioning", &more));
    let wanted = found(&run_of(&whole));
    let mut ends = |event: &Progress| match event {
        Progress::Evaluated { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let summary = train_on(&parts, &colours(&parts), false, &mut ends).expect("it ends well");
    assert_eq!((summary.interrupted, summary.steps), (true, 0));
    assert_eq!(found(&run(&parts, &colours(&parts), true)), wanted[1..]);
    for file in ["last/state.safetensors", "last/model.safetensors", "best/model.safetensors"] {
        let [one, other] = [&whole, &parts].map(|run| std::fs::read(run.output.join(file)).expect(file));
        assert!(one == other, "{file} differs");
    }
}

/// Training that spoils a model leaves the model that it began with as the best.
#[test]
fn the_model_to_start_from_may_be_the_best() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let good =
        short(&folder.path().join("good"), "captioning", &[("run.steps", "25"), ("evaluation.every", "25")]);
    run_of(&good);
    let more = [("run.steps", "2"), ("optimizer.learning_rate", "0.3"), ("optimizer.average_decay", "0.0")];
    let mut spoils = short(&folder.path().join("spoils"), "captioning", &more);
    spoils.model = None;
    let start = format!("model = '{}'\nmax_text_tokens = 8", good.output.join("last").display());
    spoils.start = Some(toml::from_str(&start).expect("a good table"));
    spoils.schedule = ScheduleSection::Constant(Plateau { warmup_steps: 0 });
    let events = run_of(&spoils);
    let best: Vec<(u64, bool)> = events
        .iter()
        .filter_map(|event| match event {
            Progress::Evaluated { step, best, .. } => Some((*step, *best)),
            _ => None,
        })
        .collect();
    assert_eq!(best, [(0, true), (1, false), (2, false)], "{events:?}");
    let [best, start] = [spoils.output.join("best"), good.output.join("last")]
        .map(|model| std::fs::read(model.join("model.safetensors")).expect("a model"));
    assert!(best == start, "the best is the start, bit for bit");
}

#[test]
fn any_figure_may_decide() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let metrics = [
        ("captioning", vec!["loss", "cider", "bleu_1", "bleu_4", "rouge_l", "meteor_exact_stem"]),
        ("retrieval", vec!["text_r1", "image_r10", "r_mean"]),
    ];
    for (kind, metrics) in metrics {
        for metric in metrics {
            let output = folder.path().join(metric);
            let config = short(&output, kind, &[("evaluation.metric", metric)]);
            let decides = config.evaluation.metric.map(BestBy::name);
            assert_eq!(decides, Some(metric));
            let mut events = Vec::new();
            let summary = train_on(&config, &colours(&config), false, &mut listener(&mut events));
            let [score, _] = summary.expect("the run ends well").best.expect("a best evaluation");
            let values = events.iter().filter_map(|event| match event {
                Progress::Evaluated { metrics, .. } => Some(metrics[metric]),
                _ => None,
            });
            let scores = values.map(|value| if metric == "loss" { -value } else { value });
            assert_eq!(Some(score.to_bits()), scores.reduce(f64::max).map(f64::to_bits), "{metric}");
        }
    }
    let config = short(&folder.path().join("truth"), "captioning", &[("evaluation.metric", "truth")]);
    let error = train_on(&config, &colours(&config), false, &mut listener(&mut Vec::new()));
    let error = error.expect_err("nobody judges").to_string();
    assert!(error.contains("evaluation.metric") && error.contains("rouge_l"), "{error}");
}
