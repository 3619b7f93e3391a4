//! The demo models, one for each task, built into a program so that it answers with no download. They know drawn pictures only;
//! README.md says how good they are.
//!
//! ```
//! use mplug::{Captioner, config::Task};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let captioner = Captioner::load(&mplug_demo::open(Task::ImageCaptioning, None)?)?;
//! # Ok(())
//! # }
//! ```

mod self_check;

use mplug::checkpoint::{CheckpointError, ModelFolder, ModelParts};
use mplug::config::{ConfigOverrides, Task};
pub use self_check::{SelfCheckError, self_check};

macro_rules! parts {
    ($crate_name:ident) => {
        ModelParts {
            weights: $crate_name::WEIGHTS,
            vocabulary: $crate_name::VOCABULARY,
            configuration_json: Some($crate_name::CONFIGURATION_JSON),
            config_yaml: Some($crate_name::CONFIG_YAML),
            bert_json: Some($crate_name::BERT_JSON),
        }
    };
}

/// Opens the demo model for a task; `image_size` is the side in pixels to which pictures are resized, the model's own if
/// absent.
///
/// # Errors
/// If the size does not suit the model.
pub fn open(task: Task, image_size: Option<usize>) -> Result<ModelFolder, CheckpointError> {
    let parts = match task {
        Task::ImageCaptioning => parts!(mplug_demo_caption),
        Task::VisualQuestionAnswering => parts!(mplug_demo_ask),
        Task::ImageTextRetrieval => parts!(mplug_demo_match),
    };
    ModelFolder::from_parts(&parts, &ConfigOverrides { image_size, ..ConfigOverrides::default() })
}
