//! The original's trainer on a golden model: its schedules by epoch and by step, its warm-up, its optimizers, a short last batch,
//! two epochs (`reference/make_trainer_fixtures.py`). Rows come in their order, dropout is off.

use std::ops::ControlFlow;
use std::path::Path;

use mplug_testing::golden::{Golden, fixture, write_folder};
use mplug_train::training_data::{EncodedExample, SpecialIds, Split, Target, TrainingData};
use mplug_train::{Progress, TrainConfig, TrainError, train_on};
use serde_json::Value;

const MODEL: &str = "tiny";
/// Difference of losses, as a share; of the first case, by epoch, whose steps are small, in full too. Further steps part by rounding:
/// a loss of 13 by 5e-5 after a step of `AdamW` at 1e-4, which goes by a gradient's sign.
const TOLERANCE: f64 = 1e-5;

/// Pictures and captions in their order, again and again.
struct Rows {
    pixels: Vec<Vec<f32>>,
    captions: Vec<Vec<u32>>,
    vocabulary: String,
}

impl TrainingData for Rows {
    fn example(&self, _split: Split, index: u64) -> Result<EncodedExample, TrainError> {
        let row = index as usize % self.captions.len();
        Ok(EncodedExample {
            pixel_values: self.pixels[row % self.pixels.len()].clone(),
            picture: row as u64,
            targets: vec![Target { ids: self.captions[row].clone(), given: 0, weight: 1.0 }],
            ..EncodedExample::default()
        })
    }

    fn vocabulary(&self) -> &str {
        &self.vocabulary
    }

    fn special_ids(&self) -> SpecialIds {
        SpecialIds { pad: 0, start: 101, end: 102, mask: 103 }
    }

    fn decode(&self, _ids: &[u32]) -> String {
        String::new()
    }

    fn judge(&self, _index: u64, _text: &str) -> Option<f64> {
        None
    }

    fn train_len(&self) -> Option<u64> {
        Some(self.captions.len() as u64)
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number")).collect()
}

fn recipe(folder: &Path, model: &Path, case: &Value) -> TrainConfig {
    let sections = case["recipe"].as_str().expect("sections of a recipe");
    let quoted = |path: &Path| toml::Value::String(path.to_str().expect("utf-8").to_owned()).to_string();
    let text = format!(
        "output = {}\n[start]\nmodel = {}\n[data]\nkind = \"synth\"\nlanguage = \"zh\"\nseed = 1\nheld_out_seed = 2\n\
         [evaluation]\nevery = 0\npictures = 1\n[run]\nepochs = 2\nbatch_size = 2\nmicro_batch_size = 1\nthreads = 2\n\
         data_threads = 1\nlog_every = 1\ncheckpoint_every = 100\n{sections}",
        quoted(&folder.join("run")),
        quoted(model)
    );
    TrainConfig::from_toml(&text, &[]).unwrap_or_else(|error| panic!("{sections}: {error}"))
}

#[test]
fn epochs_schedules_and_optimizers_train_as_the_originals_trainer() {
    let text = std::fs::read_to_string(fixture("schedules/trainer.json")).expect("a fixture");
    let fixture: Value = serde_json::from_str(&text).expect("json");
    let golden = Golden::open(MODEL);
    let captions = fixture["captions"].as_array().expect("captions").iter();
    let rows = Rows {
        pixels: golden.pixels(),
        captions: captions.map(|ids| numbers(ids).into_iter().map(|id| id as u32).collect()).collect(),
        vocabulary: std::fs::read_to_string(mplug_testing::golden::fixture("golden/tiny/vocab.txt"))
            .expect("a vocabulary"),
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = folder.path().join("model");
    std::fs::create_dir(&model).expect("made");
    write_folder(MODEL, &model, |folder, recipe| {
        let bytes = mplug::checkpoint::safetensors_bytes(recipe, mplug::checkpoint::Dtype::F32);
        std::fs::write(folder.join("model.safetensors"), bytes.expect("tensors")).expect("written");
    });
    for (number, case) in fixture["cases"].as_array().expect("cases").iter().enumerate() {
        let run = folder.path().join(number.to_string());
        std::fs::create_dir(&run).expect("made");
        let config = recipe(&run, &model, case);
        let (mut losses, mut rates) = (Vec::new(), Vec::new());
        train_on(&config, &rows, false, &mut |event| {
            if let Progress::Step(found) = event {
                losses.push(found.loss);
                rates.push(found.learning_rate);
            }
            ControlFlow::Continue(())
        })
        .expect("it trains");
        let (right, right_rates) = (numbers(&case["losses"]), numbers(&case["rates"]));
        assert_eq!(losses.len(), right.len(), "steps of {}", case["recipe"]);
        for (step, (found, right)) in losses.iter().zip(&right).enumerate() {
            let what = format!("{}step {step}", case["recipe"].as_str().unwrap_or_default());
            assert!((rates[step] - right_rates[step]).abs() < 1e-7 * right_rates[0].abs(), "{what}: rate");
            let limit = if number == 0 { TOLERANCE } else { TOLERANCE * right };
            assert!((found - right).abs() < limit, "{what}: {found} against {right}");
        }
    }
}
