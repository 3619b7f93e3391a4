//! Models with outlier channels: the same at f32, worse at int8, and no worse than others where the outliers are smoothed.

use mplug::Precision;
use mplug::checkpoint::outliers::WithOutliers;
use mplug::checkpoint::seeded::{seeded_tensors, synthetic_vocabulary};
use mplug::checkpoint::{Checkpoint, Dtype, ModelFolder, safetensors_bytes, write_int8_model_folder};
use mplug::config::{ModelConfig, Task};
use mplug::preprocess::image::RgbImage;
use mplug::smoothing::{Observer, Smoothings};
use mplug::tasks::{Answerer, Captioner, LoadOptions, Matcher};
use mplug_testing::golden::deviation;

/// A small seeded model, or the one with outliers that computes the same.
fn folder(task: Task, seed: u64, has_outliers: bool) -> ModelFolder {
    let config = ModelConfig::tiny(task);
    let recipe = seeded_tensors(&config, seed);
    let bytes = if has_outliers {
        safetensors_bytes(&WithOutliers::new(&recipe), Dtype::F32)
    } else {
        safetensors_bytes(&recipe, Dtype::F32)
    };
    let checkpoint = Checkpoint::from_bytes(bytes.unwrap()).unwrap();
    ModelFolder::from_checkpoint(&config, checkpoint, synthetic_vocabulary(config.text.vocab_size)).unwrap()
}

/// Waves of many lengths and colours: `count` pictures from number `first` on.
fn pictures(first: u32, count: u32) -> Vec<RgbImage> {
    let wave = |i: u32, x: u32, y: u32, channel: u32| {
        let phase = (x * (i % 7 + 1) + y * (i % 5 + channel)) as f32 * 0.07 + (i * (channel + 1)) as f32;
        (phase.sin() * 110.0 + 120.0) as u8
    };
    let picture =
        |i: u32| RgbImage::from_fn(32, 32, |x, y| [0, 1, 2].map(|channel| wave(i, x, y, channel)).into());
    (first..first + count).map(picture).collect()
}

fn at(precision: Precision) -> LoadOptions<'static> {
    LoadOptions { precision: Some(precision), observer: None }
}

/// What a model of captions writes for each picture.
fn captions(folder: &ModelFolder, precision: Precision, pictures: &[RgbImage]) -> Vec<String> {
    let captioner = Captioner::load_with(folder, &at(precision)).unwrap();
    let captions = captioner.caption_batch(pictures, &captioner.default_options()).unwrap();
    captions.into_iter().map(|captions| captions[0].raw_text.clone()).collect()
}

/// Logits of some steps over the picture `embeds`, whatever the tokens.
fn logits(captioner: &Captioner, embeds: &[f32]) -> Vec<f32> {
    let decoder = captioner.decoder();
    let picture = decoder.attend_to(embeds.to_vec(), embeds.len() / decoder.config().hidden_size);
    decoder.logits(&picture, &[101, 7, 250, 31])
}

#[test]
fn outliers_change_nothing_at_f32() {
    let pictures = pictures(0, 12);
    for seed in [1, 2] {
        let [plain, outliers] = [false, true].map(|outliers| folder(Task::ImageCaptioning, seed, outliers));
        let [expected, found] = [&plain, &outliers].map(|folder| captions(folder, Precision::F32, &pictures));
        assert_eq!(found, expected, "seed {seed}");

        let [expected, found] = [&plain, &outliers].map(|folder| Captioner::load(folder).unwrap());
        let pixels = mplug::preprocess::image::pixel_values(&pictures[0]);
        let [embeds, embeds_found] = [&expected, &found].map(|c| c.visual_encoder().forward(&pixels));
        assert!(deviation(&embeds_found, &embeds) < 1e-4);
        let moved = deviation(&logits(&found, &embeds_found), &logits(&expected, &embeds));
        assert!(moved > 0.0 && moved < 1e-4, "seed {seed}: logits move by {moved}");
    }
}

#[test]
fn outliers_change_no_answer_and_no_match() {
    let (pictures, texts) = (pictures(0, 12), ["what is in the picture?"; 12]);
    let answers = [false, true].map(|outliers| {
        let answerer = Answerer::load(&folder(Task::VisualQuestionAnswering, 1, outliers)).unwrap();
        let answers = answerer.answer_batch(&pictures, &texts, &answerer.default_options()).unwrap();
        answers.into_iter().map(|answers| answers[0].raw_text.clone()).collect::<Vec<_>>()
    });
    assert_eq!(answers[0], answers[1]);
    let [expected, found] = [false, true].map(|outliers| {
        let matcher = Matcher::load(&folder(Task::ImageTextRetrieval, 1, outliers)).unwrap();
        matcher.match_batch(&pictures, &texts).unwrap()
    });
    let moved = found.iter().zip(&expected).map(|(f, e)| (f - e).abs()).fold(0.0, f32::max);
    assert!(moved < 1e-5, "probabilities move by {moved}");
}

fn smoothings(folder: &ModelFolder, pictures: &[RgbImage]) -> Smoothings {
    let observer = Observer::default();
    let options = LoadOptions { precision: Some(Precision::F32), observer: Some(&observer) };
    let captioner = Captioner::load_with(folder, &options).unwrap();
    captioner.caption_batch(pictures, &captioner.default_options()).unwrap();
    observer.smoothings(|name| folder.checkpoint().read_f32(name)).unwrap()
}

/// The int8 folder of a model, opened again.
fn converted(source: &ModelFolder, smoothings: &Smoothings) -> ModelFolder {
    let temporary = tempfile::tempdir().unwrap();
    let dest = temporary.path().join("int8");
    write_int8_model_folder(&dest, source, smoothings, false).unwrap();
    let bytes = std::fs::read(dest.join("model.safetensors")).unwrap();
    let checkpoint = Checkpoint::from_bytes(bytes).unwrap();
    ModelFolder::from_checkpoint(&source.config, checkpoint, source.vocabulary().to_owned()).unwrap()
}

/// Captions that int8 keeps, over all seeds.
#[derive(Debug, Default)]
struct Kept {
    without_outliers: usize,
    /// As they are: no layer is smoothed.
    with_outliers: usize,
    smoothed: usize,
}

#[test]
fn smoothing_keeps_the_captions_of_models_with_outliers_and_changes_no_other() {
    let (judged, calibration) = (pictures(0, 48), pictures(100, 12));
    let mut kept = Kept::default();
    for seed in 1..=5 {
        let [plain, outliers] = [false, true].map(|outliers| folder(Task::ImageCaptioning, seed, outliers));
        let exact = captions(&plain, Precision::F32, &judged);
        let same =
            |found: &[String]| found.iter().zip(&exact).filter(|(found, exact)| found == exact).count();

        let expected = captions(&plain, Precision::Int8, &judged);
        kept.without_outliers += same(&expected);
        // Whatever it is calibrated on: it becomes plain int8.
        for pictures in [&calibration, &judged] {
            let smoothings = smoothings(&plain, pictures);
            assert!(smoothings.iter().all(|(_, choice)| choice.smoothing.is_none()), "seed {seed}");
            let found = captions(&converted(&plain, &smoothings), Precision::Int8, &judged);
            assert_eq!(found, expected, "seed {seed}");
        }

        kept.with_outliers += same(&captions(&outliers, Precision::Int8, &judged));
        let smoothings = smoothings(&outliers, &calibration);
        let names: Vec<&str> = smoothings
            .iter()
            .filter(|(_, choice)| choice.smoothing.is_some())
            .map(|(name, _)| name)
            .collect();
        let attends = |name: &&&str| name.ends_with("attention.output.dense.weight");
        let blocks = ["attn.in_proj_weight", "attn.out_proj.weight", "mlp.c_fc.weight"];
        let of_blocks = names.iter().filter(|name| blocks.iter().any(|block| name.ends_with(block))).count();
        assert_eq!(
            (of_blocks, names.iter().filter(attends).count(), names.len()),
            (6, 6, 12),
            "seed {seed}: {names:?}"
        );
        kept.smoothed += same(&captions(&converted(&outliers, &smoothings), Precision::Int8, &judged));
    }
    // Words of drawn models are within a hair of each other, so int8 changes many captions.
    assert!(kept.without_outliers >= 80, "{kept:?}");
    assert!(kept.with_outliers * 3 < kept.without_outliers, "{kept:?}");
    assert!(kept.smoothed * 4 >= kept.without_outliers * 3, "{kept:?}");
}
