//! Golden models: seeded weights with the numbers that the original computed from them (`fixtures/golden`, cut down by
//! `reference/make_fixtures.py` from dumps of the unmodified ModelScope classes). No weight file is kept: the weights are drawn by
//! formula from each model's `manifest.json`.

use std::fs;
use std::path::{Path, PathBuf};

use mplug::RgbImage;
use mplug::checkpoint::seeded::{Recipe, tensors_from_manifest};
use mplug::checkpoint::{Checkpoint, Weights};
use mplug::config::{ConfigOverrides, ConfigTexts, ModelConfig};
use mplug::preprocess::image::pixel_values;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// The files beside the weights in a golden model's folder.
const SMALL_FILES: [&str; 4] = ["configuration.json", "config.yaml", "config_bert.json", "vocab.txt"];

/// A file or folder in `fixtures`.
pub fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(path)
}

/// The drawn weights of a golden model.
pub fn recipe(model: &str) -> Recipe {
    let folder = fixture("golden").join(model);
    let manifest = fs::read_to_string(folder.join("manifest.json")).expect("a manifest");
    let explicit = fs::read(folder.join("explicit.safetensors")).ok();
    tensors_from_manifest(&manifest, explicit).expect("a good manifest")
}

/// Makes `to` the folder of a golden model, with weights that `write` writes.
pub fn write_folder(model: &str, to: &Path, write: impl FnOnce(&Path, &Recipe)) {
    for name in SMALL_FILES {
        fs::copy(fixture("golden").join(model).join(name), to.join(name)).expect("a copy");
    }
    write(to, &recipe(model));
}

/// The original's pixels of a picture after resizing to 64 x 64.
pub fn resized(image: &str) -> RgbImage {
    resized_of(&open("resized/resized_u8.safetensors"), image)
}

fn open(path: &str) -> Checkpoint {
    Checkpoint::open(&fixture(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn resized_of(pictures: &Checkpoint, image: &str) -> RgbImage {
    assert_eq!(pictures.shape(image), Some(&[64, 64, 3][..]), "{image}");
    let bytes = pictures.read_f32(image).expect("pixels").into_iter().map(|byte| byte as u8);
    RgbImage::from_raw(64, 64, bytes.collect()).expect("of that size")
}

/// Largest difference, as a share of the expected values' standard deviation.
pub fn deviation(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len(), "lengths differ");
    let mean = expected.iter().sum::<f32>() / expected.len() as f32;
    let variance = expected.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / expected.len() as f32;
    let largest = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    largest / variance.sqrt()
}

/// A golden model: its configuration, its weights, and the original's numbers.
pub struct Golden {
    /// Its configuration.
    pub config: ModelConfig,
    /// The numbers that are no tensors: texts, ids and scores.
    pub json: Value,
    checkpoint: Checkpoint,
    /// A safetensors file. Numbers of the original may be infinite, which a checkpoint's may not.
    numbers: Vec<u8>,
}

impl Golden {
    /// Draws the weights of a golden model and opens its numbers.
    pub fn open(model: &str) -> Self {
        let folder = fixture("golden").join(model);
        let text = |file: &str| fs::read_to_string(folder.join(file)).expect(file);
        let checkpoint = recipe(model)
            .to_checkpoint(mplug::checkpoint::Dtype::F32)
            .expect("drawn weights make a checkpoint");
        let texts = ConfigTexts {
            configuration_json: Some(text("configuration.json")),
            config_yaml: Some(text("config.yaml")),
            bert_json: Some(("config_bert.json".to_owned(), text("config_bert.json"))),
        };
        let config = ModelConfig::resolve(&checkpoint, &texts, &ConfigOverrides::default());
        Self {
            config: config.expect("a good model folder"),
            json: serde_json::from_str(&text("golden.json")).expect("json"),
            checkpoint,
            numbers: fs::read(folder.join("golden.safetensors")).expect("golden numbers"),
        }
    }

    /// The root of its weights.
    pub fn weights(&self) -> Weights<'_> {
        Weights::new(&self.checkpoint)
    }

    /// A tensor of its own weights.
    pub fn stored(&self, name: &str) -> Vec<f32> {
        self.checkpoint.read_f32(name).expect("stored")
    }

    /// Whether the original recorded a tensor of that name.
    pub fn has(&self, name: &str) -> bool {
        self.tensors().names().contains(&name)
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.numbers).expect("a safetensors file")
    }

    /// A recorded tensor's values and shape. Whole numbers are small enough for f32.
    pub fn numbers(&self, name: &str) -> (Vec<f32>, Vec<usize>) {
        let tensors = self.tensors();
        let tensor = tensors.tensor(name).unwrap_or_else(|_| panic!("no golden tensor `{name}`"));
        let (bytes, shape) = (tensor.data(), tensor.shape().to_vec());
        let values = match tensor.dtype() {
            Dtype::F32 => {
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("4"))).collect()
            }
            Dtype::I64 => {
                bytes.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().expect("8")) as f32).collect()
            }
            other => panic!("golden tensor `{name}` is of {other:?}"),
        };
        (values, shape)
    }

    /// A recorded tensor's values.
    pub fn floats(&self, name: &str) -> Vec<f32> {
        self.numbers(name).0
    }

    /// A recorded tensor of token ids, or of a mask.
    pub fn ids(&self, name: &str) -> Vec<u32> {
        self.floats(name).into_iter().map(|id| id as u32).collect()
    }

    /// Normalised pixels of the four pictures, `(3, size, size)` each.
    pub fn pixels(&self) -> Vec<Vec<f32>> {
        let size = self.config.vision.image_size;
        if self.has("pixels") {
            return self.floats("pixels").chunks_exact(3 * size * size).map(<[f32]>::to_vec).collect();
        }
        let pictures = open("resized/resized_u8.safetensors");
        let names = self.json["batch_images"].as_array().expect("names").iter();
        let pixels = |name: &Value| pixel_values(&resized_of(&pictures, name.as_str().expect("a name")));
        names.map(pixels).collect()
    }

    /// The texts of the four questions.
    pub fn questions(&self) -> Vec<&str> {
        let questions = self.json["questions"].as_array().expect("questions").iter();
        questions.map(|question| question.as_str().expect("a text")).collect()
    }

    /// Ids and number of unpadded ids of question `i` of four.
    pub fn question(&self, i: usize) -> (Vec<u32>, usize) {
        let len = self.config.max_text_len;
        let range = i * len..(i + 1) * len;
        let valid = self.ids("question.attention_mask")[range.clone()].iter().filter(|&&m| m == 1).count();
        (self.ids("question.input_ids")[range].to_vec(), valid)
    }

    /// What the original's training computed: of the connected models, from the one whose addition is out of place.
    pub fn training(&self) -> &Value {
        &self.json[self.training_name()]
    }

    /// The name of that training, before its gradients' names.
    pub fn training_name(&self) -> &'static str {
        if self.json.get("train_outofplace").is_some() { "train_outofplace" } else { "train" }
    }
}
