//! What a run starts from: fresh weights in the shape of the recipe, or a model folder whose captions are to become better.
//! Knows no data.

use burn::tensor::Device;
use mplug::checkpoint::{ModelFolder, Weights};
use mplug::config::{ConfigOverrides, ModelConfig, Task, vocabulary_size};
use mplug_nn::{CaptioningModel, RandomParameters};

use crate::config::TrainConfig;
use crate::error::TrainError;

/// What a run starts from.
pub struct Start {
    /// Side of the square picture in pixels.
    pub image_size: usize,
    /// Longest caption in tokens, the start and end tokens included.
    pub max_len: usize,
    /// The model to start from, if there is one.
    pub folder: Option<ModelFolder>,
}

impl Start {
    /// Opens what `config` names; weights are read by [`Start::model`].
    ///
    /// # Errors
    /// [`TrainError::Start`] for a folder that cannot be opened, [`TrainError::Value`] for a model of another task or captions
    /// longer than it allows.
    pub fn open(config: &TrainConfig) -> Result<Self, TrainError> {
        let section = match (&config.start, &config.model) {
            (Some(section), _) => section,
            (None, Some(model)) => {
                let (image_size, max_len) = (model.image_size, model.max_position_embeddings);
                return Ok(Self { image_size, max_len, folder: None });
            }
            (None, None) => {
                return Err(TrainError::Recipe("a table [model] or [start] is wanted".to_owned()));
            }
        };
        let overrides = ConfigOverrides { image_size: section.image_size, ..ConfigOverrides::default() };
        let folder = ModelFolder::open(&section.model, &overrides)
            .map_err(|error| TrainError::Start { path: section.model.clone(), source: Box::new(error) })?;
        let found = |field, expected: &str, found: String| {
            Err(TrainError::Value { field, expected: expected.to_owned(), found })
        };
        if folder.config.task != Task::ImageCaptioning {
            return found("start.model", "a captioning model", format!("{:?}", folder.config.task));
        }
        let longest = folder.config.text.max_position_embeddings;
        if !(3..=longest).contains(&section.max_caption_tokens) {
            let expected = format!("3 to {longest}");
            return found("start.max_caption_tokens", &expected, section.max_caption_tokens.to_string());
        }
        Ok(Self {
            image_size: folder.config.vision.image_size,
            max_len: section.max_caption_tokens,
            folder: Some(folder),
        })
    }

    /// The network on `device` with its first weights, and its configuration.
    ///
    /// # Errors
    /// When weights are missing or of another shape.
    pub fn model(
        &self,
        config: &TrainConfig,
        vocabulary: &str,
        device: &Device,
    ) -> Result<(CaptioningModel, ModelConfig), TrainError> {
        let (mut model, shape, dropout) = match (&self.folder, &config.model) {
            (Some(folder), _) => {
                let shape = folder.config.clone();
                let mut weights = Weights::new(folder.checkpoint());
                let model = CaptioningModel::new(&shape, &mut weights, device)?;
                (model, shape, config.start.as_ref().map_or(0.0, |start| start.dropout))
            }
            (None, Some(section)) => {
                let shape = section.model_config(vocabulary_size(vocabulary));
                let mut chance = RandomParameters { seed: config.seed };
                (CaptioningModel::new(&shape, &mut chance, device)?, shape, section.dropout)
            }
            (None, None) => {
                return Err(TrainError::Recipe("a table [model] or [start] is wanted".to_owned()));
            }
        };
        model.set_dropout(dropout);
        Ok((model, shape))
    }
}
