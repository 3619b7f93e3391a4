//! Learning and resuming on pictures of one colour, whose caption is the colour's token.

use std::ops::ControlFlow;
use std::path::Path;

use mplug::checkpoint::ModelFolder;
use mplug::config::ConfigOverrides;
use mplug::generate::GenerationOptions;
use mplug::preprocess::image::RgbImage;
use mplug::tasks::Captioner;
use mplug_train::config::{DeviceKind, PrecisionKind};
use mplug_train::training_data::{EncodedExample, SpecialIds, Split, Target, TrainingData};
use mplug_train::{Progress, TrainConfig, TrainError, train_on};
use safetensors::SafeTensors;

use crate::listener;

/// Eight colours; the caption is `[CLS] colour colour [SEP]`.
pub(crate) struct Colours;

impl TrainingData for Colours {
    fn example(&self, split: Split, index: u64) -> Result<EncodedExample, TrainError> {
        let colour = (index * 5 + u64::from(split == Split::HeldOut)) % 8;
        let pixel_values = (0..3)
            .flat_map(|channel| vec![if colour >> channel & 1 == 1 { 1.5 } else { -1.5 }; 32 * 32])
            .collect();
        let token = 4 + colour as u32;
        let target = Target { ids: vec![1, token, token, 2], given: 0, weight: 1.0 };
        Ok(EncodedExample {
            pixel_values,
            picture: index,
            targets: vec![target],
            ..EncodedExample::default()
        })
    }

    fn vocabulary(&self) -> &'static str {
        "[PAD]\n[CLS]\n[SEP]\n[UNK]\na\nb\nc\nd\ne\nf\ng\nh\n"
    }

    fn special_ids(&self) -> SpecialIds {
        SpecialIds { pad: 0, start: 1, end: 2, mask: 3 }
    }

    fn decode(&self, ids: &[u32]) -> String {
        ids.iter().filter(|id| **id > 2).fold(String::new(), |text, id| text + &id.to_string() + " ")
    }

    fn judge(&self, index: u64, caption: &str) -> Option<f64> {
        let colour = 4 + (index * 5 + 1) % 8;
        Some(f64::from(u8::from(caption == format!("{colour} {colour} "))))
    }
}

pub(crate) fn recipe(output: &Path, steps: u64) -> TrainConfig {
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
        decoder_layers = 1
        max_position_embeddings = 8
        [data]
        kind = "synth"
        language = "zh"
        seed = 1
        held_out_seed = 2
        [run]
        steps = 1
        batch_size = 8
        micro_batch_size = 2
        threads = 2
        data_threads = 2
        log_every = 10
        checkpoint_every = 20
        [optimizer]
        learning_rate = 3e-3
        weight_decay = 0.01
        clip_norm = 1.0
        average_decay = 0.9
        [schedule]
        warmup_steps = 10
        min_ratio = 0.1
        [evaluation]
        every = 20
        pictures = 8
    "#;
    let output = toml::Value::String(output.to_str().expect("utf-8").to_owned()).to_string();
    let text = format!("output = {output}\n{text}");
    TrainConfig::from_toml(&text, &[("run.steps".to_owned(), steps.to_string())]).expect("a good recipe")
}

pub(crate) fn run(config: &TrainConfig, resume: bool) -> (Vec<Progress>, Result<(), TrainError>) {
    let mut events = Vec::new();
    let result = train_on(config, &Colours, resume, &mut listener(&mut events));
    (events, result.map(|_| ()))
}

#[test]
fn a_small_model_learns_to_name_colours() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (events, result) = run(&recipe(folder.path(), 40), false);
    result.expect("the run ends well");
    let truths: Vec<f64> = events
        .iter()
        .filter_map(|event| match event {
            Progress::Evaluated { metrics, .. } => metrics.get("truth").copied(),
            _ => None,
        })
        .collect();
    assert_eq!(truths.last(), Some(&1.0), "{truths:?}");
    let lines = std::fs::read_to_string(folder.path().join("log.jsonl")).expect("a log");
    assert_eq!(lines.lines().count(), events.len());
    let model = ModelFolder::open(folder.path().join("best"), &ConfigOverrides::default());
    let model = model.expect("the engine's loader reads what training wrote");
    assert_eq!(model.config.vision.patch_size, 16);
    assert_eq!(model.config.text.num_attention_heads, 2);
    assert_eq!(model.config.generation.max_new_tokens, 7);
    assert!(model.config.has_visual_projection);
}

/// The share of held-out colours that `config`'s run names in the end.
fn truth_in_the_end(config: &TrainConfig) -> Option<f64> {
    let (events, result) = run(config, false);
    result.expect("the run ends well");
    events.iter().rev().find_map(|event| match event {
        Progress::Evaluated { metrics, .. } => metrics.get("truth").copied(),
        _ => None,
    })
}

#[test]
fn products_of_16_bits_learn_too() {
    for precision in [PrecisionKind::Bf16, PrecisionKind::F16] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = recipe(folder.path(), 40);
        config.run.precision = precision;
        assert_eq!(truth_in_the_end(&config), Some(1.0), "{precision:?}");
    }
}

#[test]
fn a_gpu_is_used_where_the_build_and_the_machine_have_one_and_missed_clearly_elsewhere() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = recipe(folder.path(), 120);
    config.run.device = DeviceKind::Gpu;
    let refused = run(&config, false).1.expect_err("two workers for one GPU").to_string();
    assert!(refused.contains("run.threads"), "{refused}");
    config.run.threads = 1;
    config.run.gradient_checkpointing = true;
    let refused = run(&config, false).1.expect_err("not made for GPUs").to_string();
    assert!(refused.contains("run.gradient_checkpointing"), "{refused}");
    config.run.gradient_checkpointing = false;
    if cfg!(feature = "wgpu") {
        assert_eq!(truth_in_the_end(&config), Some(1.0));
        config.output = folder.path().join("16 bits");
        config.run.precision = PrecisionKind::F16;
        match run(&config, false).1 {
            Ok(()) => {}
            Err(refused) => assert!(refused.to_string().contains("run.precision"), "{refused}"),
        }
    } else {
        let refused = run(&config, false).1.expect_err("no GPU").to_string();
        assert!(refused.contains("run.device") && refused.contains("a build without GPUs"), "{refused}");
    }
}

/// A caller that ends a run loses nothing: the step at hand is saved, wherever it is.
#[test]
fn a_run_that_its_caller_ends_again_and_again_ends_with_the_same_weights() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
    let [whole, parts] = [0, 1].map(|i| recipe(folders[i].path(), 24));
    run(&whole, false).1.expect("the run ends well");
    // Before the first step there is nothing to save.
    let mut at_once = |_: &Progress| ControlFlow::Break(());
    let summary = train_on(&parts, &Colours, false, &mut at_once).expect("it ends well");
    assert_eq!((summary.interrupted, summary.steps), (true, 0));
    assert!(!folders[1].path().join("last").exists());
    let mut ends = Vec::new();
    loop {
        let mut left = 7;
        let mut listener = |event: &Progress| {
            left -= u32::from(matches!(event, Progress::StepDone { .. }));
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let summary = train_on(&parts, &Colours, true, &mut listener).expect("it ends well");
        ends.push(summary.steps);
        if !summary.interrupted {
            break;
        }
    }
    assert_eq!(ends, [7, 14, 21, 24]);
    for file in ["last/state.safetensors", "last/model.safetensors", "best/model.safetensors"] {
        let [one, other] = folders.each_ref().map(|run| std::fs::read(run.path().join(file)).expect(file));
        assert!(one == other, "{file} differs");
    }
}

#[test]
fn a_resumed_run_ends_with_the_same_weights() {
    resumes(PrecisionKind::F32);
}

#[test]
fn a_resumed_run_of_16_bits_ends_with_the_same_weights() {
    resumes(PrecisionKind::F16);
}

fn resumes(precision: PrecisionKind) {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
    let [whole, parts] = [0, 1].map(|i| {
        let mut config = recipe(folders[i].path(), 16);
        config.run.precision = precision;
        config.run.checkpoint_every = 8;
        config.evaluation.every = 8;
        config
    });
    run(&whole, false).1.expect("the run ends well");
    // A data set that fails after 11 batches stands in for a killed run; the last checkpoint is at step 8.
    let mut events = Vec::new();
    let failed = train_on(&parts, &FailingAfter(11 * 8), false, &mut listener(&mut events));
    assert!(matches!(failed, Err(TrainError::Example { .. })), "{failed:?}");
    let refused = run(&parts, false).1.expect_err("a folder with a run in it needs resume").to_string();
    assert!(refused.contains("resume"), "{refused}");
    let (events, result) = run(&parts, true);
    result.expect("the rest ends well");
    assert!(matches!(events[0], Progress::Started { step: 8, steps: 16, .. }), "{:?}", events[0]);
    for file in ["last/state.safetensors", "last/model.safetensors"] {
        let [whole, parts] = [0, 1].map(|i| std::fs::read(folders[i].path().join(file)).expect("a file"));
        assert_eq!(differing_tensors(&whole, &parts), Vec::<String>::new(), "in {file}");
        assert!(whole == parts, "{file} differs outside its tensors");
    }
}

/// The names of the tensors that are not the same bytes in two safetensors files.
fn differing_tensors(left: &[u8], right: &[u8]) -> Vec<String> {
    let [left, right] = [left, right].map(|file| SafeTensors::deserialize(file).expect("safetensors"));
    assert_eq!(left.len(), right.len());
    let same = |name: &str| {
        left.tensor(name).expect("listed").data() == right.tensor(name).expect("the same names").data()
    };
    left.names().into_iter().filter(|name| !same(name)).map(str::to_owned).collect()
}

struct FailingAfter(u64);

impl TrainingData for FailingAfter {
    fn example(&self, split: Split, index: u64) -> Result<EncodedExample, TrainError> {
        if split == Split::Train && index >= self.0 {
            return Err(TrainError::Example { index, problem: "cut off".to_owned() });
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
}

/// The colours of [`Colours`] in two languages: every other eight pictures have captions in the second, whose tokens are eight
/// higher, after a prompt.
struct TwoLanguages;

impl TwoLanguages {
    fn is_second(index: u64) -> bool {
        index / 8 % 2 == 1
    }
}

/// The token of the prompt `>`.
const PROMPT: [u32; 1] = [20];

impl TrainingData for TwoLanguages {
    fn example(&self, split: Split, index: u64) -> Result<EncodedExample, TrainError> {
        let mut example = Colours.example(split, index)?;
        if Self::is_second(index) {
            let token = example.targets[0].ids[1] + 8;
            let ids = vec![1, PROMPT[0], token, token, 2];
            example.targets = vec![Target { ids, given: 1, weight: 1.0 }];
        }
        Ok(example)
    }

    fn vocabulary(&self) -> &'static str {
        "[PAD]\n[CLS]\n[SEP]\n[UNK]\na\nb\nc\nd\ne\nf\ng\nh\ns\nt\nu\nv\nw\nx\ny\nz\n>\n[MASK]\n"
    }

    fn special_ids(&self) -> SpecialIds {
        Colours.special_ids()
    }

    fn decode(&self, ids: &[u32]) -> String {
        Colours.decode(ids)
    }

    fn prompt(&self, picture: u64) -> &[u32] {
        if Self::is_second(picture) { &PROMPT } else { &[] }
    }

    fn judge(&self, index: u64, caption: &str) -> Option<f64> {
        let colour = 4 + (index * 5 + 1) % 8 + 8 * u64::from(Self::is_second(index));
        Some(f64::from(u8::from(caption == format!("{colour} {colour} "))))
    }
}

#[test]
fn a_prompt_chooses_the_language() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = recipe(folder.path(), 120);
    config.evaluation.pictures = 16;
    config.prompts.insert("en".to_owned(), ">".to_owned());
    let mut truth = None;
    train_on(&config, &TwoLanguages, false, &mut |event| {
        if let Progress::Evaluated { metrics, .. } = event {
            truth = metrics.get("truth").copied();
        }
        ControlFlow::Continue(())
    })
    .expect("the run ends well");
    assert_eq!(truth, Some(1.0));

    let best = ModelFolder::open(folder.path().join("best"), &ConfigOverrides::default()).expect("a model");
    assert_eq!(best.config.generation.prompts["en"], ">");
    let captioner = Captioner::load(&best).expect("a captioner");
    let black = RgbImage::new(32, 32);
    let write = |prompt: Option<&str>| {
        let prompt = prompt.map(str::to_owned);
        let options = GenerationOptions { prompt, ..captioner.default_options() };
        let captions = captioner.caption_batch(std::slice::from_ref(&black), &options).expect("a caption");
        captions[0][0].text.clone()
    };
    assert_eq!((write(None).as_str(), write(Some(">")).as_str()), ("a a", "s s"));
    let unknown = GenerationOptions { prompt: Some("?".to_owned()), ..captioner.default_options() };
    assert!(captioner.caption_batch(&[black], &unknown).is_err());
}
