//! The demo models, one for each task, built into the program so that the first command works with no download; and the line
//! that says, whenever one of them answers, that it is no more than that.

use mplug::{checkpoint::ModelFolder, config::Task};
#[cfg(demo_model)]
use mplug::{
    checkpoint::ModelParts,
    config::ConfigOverrides,
    preprocess::image::{ImageLimits, decode_image},
    tasks::{Answerer, Captioner, Matcher},
};

use crate::report;

/// Says on standard error that a demo model answers, and how to get a real one.
pub(crate) fn tell(task: Task) {
    let real = match task {
        Task::ImageCaptioning => "damo/mplug_image-captioning_coco_base_zh",
        Task::VisualQuestionAnswering => "damo/mplug_visual-question-answering_coco_large_en",
        Task::ImageTextRetrieval => "damo/mplug_image-text-retrieval_flickr30k_large_en",
    };
    report::message(format!(
        "note: this is the small built-in demo model, which knows drawn pictures only (shapes and simple objects); \
         for photographs `mplug pull {real}` and give that name with --model"
    ));
}

#[cfg(demo_model)]
mod built_in {
    use mplug::checkpoint::ModelParts;
    use serde::Deserialize;

    macro_rules! asset {
        ($include:ident, $name:expr) => {
            $include!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/demo/", $name))
        };
    }

    macro_rules! model {
        ($folder:literal) => {
            ModelParts {
                weights: asset!(include_bytes, concat!($folder, "/model.safetensors")),
                vocabulary: asset!(include_str, concat!($folder, "/vocab.txt")),
                configuration_json: Some(asset!(include_str, concat!($folder, "/configuration.json"))),
                config_yaml: Some(asset!(include_str, concat!($folder, "/config.yaml"))),
                bert_json: Some(asset!(include_str, concat!($folder, "/config_bert.json"))),
            }
        };
    }

    pub(super) const CAPTION: ModelParts = model!("caption");
    pub(super) const ASK: ModelParts = model!("ask");
    pub(super) const MATCH: ModelParts = model!("match");

    pub(super) const CHECK_PICTURE: &[u8] = asset!(include_bytes, "self_check.png");
    pub(super) const SELF_CHECK: &str = asset!(include_str, "self_check.json");

    /// What the models should say of their example.
    #[derive(Deserialize)]
    pub(super) struct SelfCheck {
        pub(super) caption: String,
        pub(super) question: String,
        pub(super) answer: String,
        /// A text that is true of it, and one that is not.
        pub(super) texts: [String; 2],
    }
}

/// Opens the demo model for a task.
#[cfg(demo_model)]
pub(crate) fn open(task: Task, image_size: Option<usize>) -> anyhow::Result<ModelFolder> {
    let parts: ModelParts = match task {
        Task::ImageCaptioning => built_in::CAPTION,
        Task::VisualQuestionAnswering => built_in::ASK,
        Task::ImageTextRetrieval => built_in::MATCH,
    };
    let overrides = ConfigOverrides { image_size, ..ConfigOverrides::default() };
    Ok(ModelFolder::from_parts(&parts, &overrides)?)
}

/// Captions the built-in example, answers a question about it and scores two texts, and compares with what should come.
#[cfg(demo_model)]
pub(crate) fn self_check() -> anyhow::Result<String> {
    let expected: built_in::SelfCheck = serde_json::from_str(built_in::SELF_CHECK)?;
    let picture = decode_image(built_in::CHECK_PICTURE, &ImageLimits::default())?;
    let pictures = std::slice::from_ref(&picture);
    let captioner = Captioner::load(&open(Task::ImageCaptioning, None)?)?;
    let captions = captioner.caption_batch(pictures, &captioner.default_options())?;
    let caption = captions.concat().into_iter().next().map(|caption| caption.text).unwrap_or_default();
    anyhow::ensure!(
        caption == expected.caption,
        "captions its example `{caption}`, expected `{}`",
        expected.caption
    );
    let (answerer, question) =
        (Answerer::load(&open(Task::VisualQuestionAnswering, None)?)?, expected.question);
    let answers = answerer.answer_batch(pictures, &[&question], &answerer.default_options())?;
    let answer = answers.concat().into_iter().next().map(|answer| answer.text).unwrap_or_default();
    anyhow::ensure!(
        answer == expected.answer,
        "answers `{answer}` to `{question}`, expected `{}`",
        expected.answer
    );
    let matcher = Matcher::load(&open(Task::ImageTextRetrieval, None)?)?;
    let scores = matcher.match_texts(&picture, &expected.texts.each_ref().map(String::as_str))?;
    anyhow::ensure!(
        scores[0] > 0.5 && scores[1] < 0.5,
        "finds `{}` {:.3} likely and `{}` {:.3}, expected more and less than a half",
        expected.texts[0],
        scores[0],
        expected.texts[1],
        scores[1]
    );
    Ok(format!("captions its example `{caption}`, answers `{answer}` to `{question}`, as expected"))
}

/// Opens the demo model for a task.
#[cfg(not(demo_model))]
pub(crate) fn open(_task: Task, _image_size: Option<usize>) -> anyhow::Result<ModelFolder> {
    anyhow::bail!(
        "this build has no demo models (its repository had none in assets/demo): give a model with --model"
    )
}

/// Captions the built-in example and compares with the caption that it should get.
#[cfg(not(demo_model))]
pub(crate) fn self_check() -> anyhow::Result<String> {
    open(Task::ImageCaptioning, None).map(|_| String::new())
}
