//! The demo models of a build that has them (feature `demo`), and the line that says, whenever one of them answers, that it is
//! no more than that.

use mplug::checkpoint::ModelFolder;
use mplug::config::Task;

use crate::report;

/// Says on standard error that a demo model answers, and how to get a real one.
pub(crate) fn announce(task: Task) {
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

/// Opens the demo model for a task.
#[cfg(feature = "demo")]
pub(crate) fn open(task: Task, image_size: Option<usize>) -> anyhow::Result<ModelFolder> {
    Ok(mplug_demo::open(task, image_size)?)
}

/// Whether the demo models answer as they should.
#[cfg(feature = "demo")]
pub(crate) fn self_check() -> anyhow::Result<String> {
    Ok(mplug_demo::self_check()?)
}

/// Opens the demo model for a task.
#[cfg(not(feature = "demo"))]
pub(crate) fn open(_task: Task, _image_size: Option<usize>) -> anyhow::Result<ModelFolder> {
    anyhow::bail!(
        "this build has no demo models (the feature `demo`, on by default): give a model with --model"
    )
}

/// Whether the demo models answer as they should.
#[cfg(not(feature = "demo"))]
pub(crate) fn self_check() -> anyhow::Result<String> {
    open(Task::ImageCaptioning, None).map(|_| String::new())
}
