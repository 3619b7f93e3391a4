//! A golden model: its configuration, its seeded weights, and the original's numbers.

use std::path::PathBuf;

use burn::tensor::{Device, Int, Tensor, TensorData};
use mplug::checkpoint::seeded::tensors_from_manifest;
use mplug::checkpoint::{Checkpoint, Dtype, Weights};
use mplug::config::{ConfigOverrides, ConfigTexts, ModelConfig};
use mplug_nn::{Mplug, Parts, Texts};

pub(crate) struct Golden {
    pub(crate) config: ModelConfig,
    checkpoint: Checkpoint,
    numbers: Checkpoint,
    resized: Checkpoint,
    images: Vec<String>,
    numbers_json: serde_json::Value,
}

impl Golden {
    pub(crate) fn open(name: &str) -> Self {
        let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
        let folder = fixtures.join("golden").join(name);
        let text = |file: &str| std::fs::read_to_string(folder.join(file)).expect(file);
        let explicit = std::fs::read(folder.join("explicit.safetensors")).ok();
        let recipe = tensors_from_manifest(&text("manifest.json"), explicit).expect("a good manifest");
        let checkpoint = recipe.to_checkpoint(Dtype::F32).expect("drawn weights make a checkpoint");
        let texts = ConfigTexts {
            configuration_json: Some(text("configuration.json")),
            config_yaml: Some(text("config.yaml")),
            bert_json: Some(("config_bert.json".to_owned(), text("config_bert.json"))),
        };
        let config = ModelConfig::resolve(&checkpoint, &texts, &ConfigOverrides::default())
            .expect("a good model folder");
        let golden: serde_json::Value = serde_json::from_str(&text("golden.json")).expect("json");
        let images = golden["batch_images"].as_array().expect("names").iter();
        Self {
            config,
            checkpoint,
            numbers: Checkpoint::open(&folder.join("golden.safetensors")).expect("golden numbers"),
            resized: Checkpoint::open(&fixtures.join("resized/resized_u8.safetensors"))
                .expect("resized pictures"),
            images: images.map(|name| name.as_str().expect("a name").to_owned()).collect(),
            numbers_json: golden,
        }
    }

    pub(crate) fn weights(&self) -> Weights<'_> {
        Weights::new(&self.checkpoint)
    }

    pub(crate) fn model(&self, device: &Device) -> Mplug {
        let parts = Parts::of(self.config.task);
        Mplug::new(&self.config, parts, &mut self.weights(), device).expect("the weights fit")
    }

    /// A golden tensor's values and shape.
    pub(crate) fn numbers(&self, name: &str) -> (Vec<f32>, Vec<usize>) {
        let shape = self.numbers.shape(name).unwrap_or_else(|| panic!("golden {name}")).to_vec();
        (self.numbers.read_f32(name).expect("readable"), shape)
    }

    /// Whether there is a golden tensor of that name.
    #[allow(dead_code, reason = "the tests of training share this file")]
    pub(crate) fn has(&self, name: &str) -> bool {
        self.numbers.has(name)
    }

    /// The original's training: of the connected models the one whose addition is out of place.
    #[allow(dead_code, reason = "the tests of training share this file")]
    pub(crate) fn training(&self) -> &serde_json::Value {
        self.numbers_json.get("train_outofplace").unwrap_or(&self.numbers_json["train"])
    }

    /// The name of that training, before its gradients' names.
    #[allow(dead_code, reason = "the tests of training share this file")]
    pub(crate) fn training_name(&self) -> &'static str {
        if self.numbers_json.get("train_outofplace").is_some() { "train_outofplace" } else { "train" }
    }

    /// Its losses over ten steps of AdamW.
    #[allow(dead_code, reason = "the tests of training share this file")]
    pub(crate) fn curve(&self) -> Vec<f64> {
        let curve = self.training()["curve"].as_array().expect("losses").iter();
        curve.map(|loss| loss.as_f64().expect("a number")).collect()
    }

    /// A tensor of the model's own checkpoint.
    #[allow(dead_code, reason = "the tests of training share this file")]
    pub(crate) fn stored(&self, name: &str) -> Vec<f32> {
        self.checkpoint.read_f32(name).expect("stored")
    }

    /// A golden batch of texts: `{name}_input_ids` and `{name}_attention_mask`, or `.ids` and `.mask`.
    #[allow(dead_code, reason = "the tests of training share this file")]
    pub(crate) fn texts(&self, ids: &str, mask: &str, device: &Device) -> Texts {
        let (values, shape) = self.numbers(ids);
        let shape = [shape[0], shape[1]];
        let values: Vec<i32> = values.iter().map(|id| *id as i32).collect();
        Texts {
            input_ids: Tensor::<2, Int>::from_data(TensorData::new(values, shape), device),
            attention_mask: Tensor::from_data(TensorData::new(self.numbers(mask).0, shape), device),
        }
    }

    /// The golden batch's pixels `(4, 3, size, size)`.
    pub(crate) fn pixels(&self, device: &Device) -> Tensor<4> {
        let size = self.config.vision.image_size;
        let values = if self.numbers.has("pixels") {
            self.numbers("pixels").0
        } else {
            self.images.iter().flat_map(|name| self.resized_pixels(name)).collect()
        };
        Tensor::from_data(TensorData::new(values, [self.images.len(), 3, size, size]), device)
    }

    fn resized_pixels(&self, name: &str) -> Vec<f32> {
        let size = self.config.vision.image_size as u32;
        let bytes: Vec<u8> =
            self.resized.read_f32(name).expect("a resized picture").iter().map(|byte| *byte as u8).collect();
        let image =
            mplug::preprocess::image::RgbImage::from_raw(size, size, bytes).expect("of the model's size");
        mplug::preprocess::image::pixel_values(&image)
    }
}

/// The devices of this build, each without and with gradients: different code runs, and all must give the original's numbers.
#[allow(dead_code, reason = "the tests of training share this file")]
pub(crate) fn devices() -> Vec<Device> {
    let plain = vec![
        Device::flex(),
        #[cfg(feature = "wgpu")]
        Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
    ];
    plain.into_iter().flat_map(|device| [device.clone(), device.autodiff()]).collect()
}

/// Asserts that values agree to `tolerance` times the standard deviation of `theirs`.
pub(crate) fn assert_close(what: &str, ours: &[f32], theirs: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), theirs.len(), "{what}: number of values");
    let mean = theirs.iter().sum::<f32>() / theirs.len() as f32;
    let variance = theirs.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / theirs.len() as f32;
    let worst = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(
        worst <= tolerance * variance.sqrt(),
        "{what}: worst difference {worst}, deviation {}",
        variance.sqrt()
    );
}
