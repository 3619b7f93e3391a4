//! The demo model, built into the program so that the first command works with no download; and the line that says, whenever it
//! answers, that it is no more than that.

use mplug::checkpoint::ModelFolder;
#[cfg(demo_model)]
use mplug::{
    checkpoint::ModelParts,
    config::ConfigOverrides,
    preprocess::image::{ImageLimits, decode_image},
    tasks::Captioner,
};

use crate::report;

/// What is said whenever the demo model answers.
const NOTICE: &str = "note: this is the small built-in demo model, which knows drawn pictures only (shapes and simple objects); \
    for photographs download damo/mplug_image-captioning_coco_base_zh from modelscope.cn and give its folder with --model";

/// Says on standard error that the demo model answers, and how to get the real one.
pub(crate) fn tell() {
    report::message(NOTICE);
}

#[cfg(demo_model)]
mod built_in {
    macro_rules! asset {
        ($include:ident, $name:literal) => {
            $include!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/demo/", $name))
        };
    }
    pub(super) const CONFIGURATION: &str = asset!(include_str, "configuration.json");
    pub(super) const CONFIG_YAML: &str = asset!(include_str, "config.yaml");
    pub(super) const CONFIG_BERT: &str = asset!(include_str, "config_bert.json");
    pub(super) const VOCAB: &str = asset!(include_str, "vocab.txt");
    pub(super) const WEIGHTS: &[u8] = asset!(include_bytes, "model.safetensors");
    pub(super) const CHECK_PICTURE: &[u8] = asset!(include_bytes, "self_check.png");
    pub(super) const CHECK_CAPTION: &str = asset!(include_str, "self_check.txt");
}

/// Opens the demo model.
#[cfg(demo_model)]
pub(crate) fn open(image_size: Option<usize>) -> anyhow::Result<ModelFolder> {
    let parts = ModelParts {
        weights: built_in::WEIGHTS,
        vocabulary: built_in::VOCAB,
        configuration_json: Some(built_in::CONFIGURATION),
        config_yaml: Some(built_in::CONFIG_YAML),
        bert_json: Some(built_in::CONFIG_BERT),
    };
    let overrides = ConfigOverrides { image_size, ..ConfigOverrides::default() };
    Ok(ModelFolder::from_parts(&parts, &overrides)?)
}

/// Captions the built-in example and compares with the caption that it should get.
#[cfg(demo_model)]
pub(crate) fn self_check() -> anyhow::Result<String> {
    let captioner = Captioner::load(&open(None)?)?;
    let picture = decode_image(built_in::CHECK_PICTURE, &ImageLimits::default())?;
    let captions = captioner.caption_batch(&[picture], &captioner.default_options())?;
    let found = captions.concat().into_iter().next().map(|caption| caption.text).unwrap_or_default();
    let expected = built_in::CHECK_CAPTION.trim_end();
    anyhow::ensure!(found == expected, "captions its example `{found}`, expected `{expected}`");
    Ok(format!("captions its example `{found}`, as expected"))
}

/// Opens the demo model.
#[cfg(not(demo_model))]
pub(crate) fn open(_image_size: Option<usize>) -> anyhow::Result<ModelFolder> {
    anyhow::bail!(
        "this build has no demo model (its repository had none in assets/demo): give a model with --model"
    )
}

/// Captions the built-in example and compares with the caption that it should get.
#[cfg(not(demo_model))]
pub(crate) fn self_check() -> anyhow::Result<String> {
    open(None).map(|_| String::new())
}
