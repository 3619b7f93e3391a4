//! What stands in a run's model folders beside the weights that it trains: the files of the tokenizer, and where the recipe says
//! so the parts of the model to start from that captioning does without. Knows no run folder.

use std::path::Path;

use mplug::checkpoint::expected::needed_tensors;
use mplug::checkpoint::{
    Checkpoint, CheckpointError, TensorEntry, TensorReader, TokenizerTexts, Values, WriteOptions,
    write_model_folder_of,
};
use mplug::config::{ModelConfig, Task};
use mplug_nn::Mplug;

use crate::config::TrainConfig;
use crate::error::TrainError;
use crate::initial_weights::InitialWeights;

/// What the names of tensors begin with that other tasks than captioning read.
const KEPT: [&str; 6] =
    ["text_encoder.", "fusion_encoder.", "vision_proj.", "text_proj.", "itm_head.", "temp"];

/// What goes into every model folder of a run.
pub struct ModelFiles<'a> {
    tokenizer: TokenizerTexts<'a>,
    kept: Kept<'a>,
}

impl<'a> ModelFiles<'a> {
    /// Those of a run with this `vocabulary`, whose model has the shape `shape`.
    ///
    /// # Errors
    /// [`TrainError::Value`] where encoders are to be kept that the model to start from does not have.
    pub fn new(
        config: &TrainConfig,
        initial: &'a InitialWeights,
        shape: &ModelConfig,
        vocabulary: &'a str,
    ) -> Result<Self, TrainError> {
        let tokenizer = TokenizerTexts { vocabulary, tokenizer_config: initial.tokenizer_config() };
        let keeps = config.start.as_ref().is_some_and(|start| start.keep_encoders);
        let kept = match initial.folder() {
            Some(folder) if keeps => Kept::of(folder.checkpoint(), shape)?,
            _ => Kept::default(),
        };
        Ok(Self { tokenizer, kept })
    }

    /// Writes a model folder that is not there yet.
    ///
    /// # Errors
    /// When something cannot be read or written.
    pub fn write(&self, folder: &Path, model: &Mplug, shape: &ModelConfig) -> Result<(), CheckpointError> {
        let tensors = Tensors { trained: model.export(), kept: &self.kept };
        write_model_folder_of(folder, shape, self.tokenizer, &tensors, &WriteOptions::default())
    }
}

/// Tensors of the model to start from that are written as they are.
#[derive(Default)]
struct Kept<'a> {
    tensors: Vec<(&'a Checkpoint, String)>,
}

impl<'a> Kept<'a> {
    fn of(checkpoint: &'a Checkpoint, shape: &ModelConfig) -> Result<Self, TrainError> {
        let is_kept = |name: &&str| {
            KEPT.iter().any(|prefix| name.starts_with(prefix)) && !name.ends_with(".position_ids")
        };
        let needed = needed_tensors(&shape.clone().with_task(Task::VisualQuestionAnswering));
        let mut needed = needed.iter().map(|(name, _)| name.as_str()).filter(is_kept);
        if let Some(missing) = needed.find(|name| !checkpoint.has(name)) {
            return Err(TrainError::Value {
                field: "start.keep_encoders",
                expected: "a model with text encoder and fusion encoder, or false".to_owned(),
                found: format!("{} without {missing}", checkpoint.label()),
            });
        }
        let names = checkpoint.names().filter(is_kept);
        Ok(Self { tensors: names.map(|name| (checkpoint, name.to_owned())).collect() })
    }
}

/// All tensors of a model folder.
struct Tensors<'a> {
    trained: Vec<(String, Vec<usize>, Vec<f32>)>,
    kept: &'a Kept<'a>,
}

impl TensorReader for Tensors<'_> {
    fn entries(&self) -> Vec<TensorEntry> {
        let mut entries = self.trained.entries();
        entries.extend(self.kept.tensors.iter().map(|(checkpoint, name)| TensorEntry {
            name: name.clone(),
            shape: checkpoint.shape(name).unwrap_or_default().to_vec(),
            fixed_dtype: None,
            same_as: None,
        }));
        entries
    }

    fn read(&self, index: usize) -> Result<Values, CheckpointError> {
        match index.checked_sub(self.trained.len()) {
            None => self.trained.read(index),
            Some(index) => {
                let (checkpoint, name) = &self.kept.tensors[index];
                Ok(Values::F32(checkpoint.read_f32(name)?))
            }
        }
    }
}
