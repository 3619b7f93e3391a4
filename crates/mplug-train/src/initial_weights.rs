//! What a run starts from: fresh weights in the shape of the recipe, a model folder whose training goes on, or a CLIP and a
//! BERT. Knows no data.

mod partial;
mod towers;

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use mplug::checkpoint::{CheckpointError, ModelFolder, TOKENIZER_CONFIG, Weights};
use mplug::config::{ConfigOverrides, ModelConfig, Task, vocabulary_size};
use mplug_nn::{Initial, Mplug, NnError, ParameterSource, RandomParameters};
use partial::PartialWeights;
pub use towers::{TowerWeights, Towers};

use crate::config::{ModelSection, ObjectiveSection, StartSection, TrainConfig, default_shared_size};
use crate::error::TrainError;
use crate::training_data::TokenizerFiles;

/// Where the first weights come from.
enum Origin {
    /// Chance, and what fits of a model's weights.
    Fresh(Box<ModelSection>, Option<Box<ModelFolder>>),
    /// A model folder.
    Folder(Box<ModelFolder>),
    /// A CLIP and a BERT, and the shape that they make.
    Towers(Box<Towers>, Box<ModelConfig>),
}

/// What a run starts from.
pub struct InitialWeights {
    /// Side of the square picture in pixels.
    pub image_size: usize,
    /// Longest text in tokens, the start and end tokens included.
    pub max_len: usize,
    origin: Origin,
    task: Task,
    /// Size of the projection space of a model that has none.
    shared_size: usize,
    seed: u64,
}

impl InitialWeights {
    /// Opens what `config` names; weights are read by [`InitialWeights::model`].
    ///
    /// # Errors
    /// [`TrainError::Start`] for a folder that cannot be opened or lacks what the objective trains, [`TrainError::Value`] for
    /// texts longer than the model allows.
    pub fn open(config: &TrainConfig) -> Result<Self, TrainError> {
        let (task, seed) = (config.objective.task(), config.seed);
        let section = match (&config.start, &config.model) {
            (Some(section), _) => section,
            (None, Some(model)) => {
                let (image_size, max_len) = (model.image_size, model.max_position_embeddings);
                let open = |path: &Path| open_weights(path, config.strict);
                let weights = model.weights.as_deref().map(open).transpose()?;
                let origin = Origin::Fresh(Box::new(model.clone()), weights.map(Box::new));
                let shared_size = model.shared_size;
                return Ok(Self { image_size, max_len, origin, task, shared_size, seed });
            }
            (None, None) => {
                return Err(TrainError::Recipe(
                    "expected a table [model] or [start], found neither".to_owned(),
                ));
            }
        };
        let origin = open_origin(section, &config.objective, config.strict)?;
        let shape = match &origin {
            Origin::Folder(folder) => &folder.config,
            Origin::Towers(_, shape) => shape,
            Origin::Fresh(..) => unreachable!("[start] is never fresh"),
        };
        let longest = shape.text.max_position_embeddings;
        if !(3..=longest).contains(&section.max_text_tokens) {
            return Err(TrainError::Value {
                field: "start.max_text_tokens",
                expected: format!("3 to {longest}"),
                found: section.max_text_tokens.to_string(),
            });
        }
        let image_size = shape.vision.image_size;
        let (max_len, shared_size) = (section.max_text_tokens, section.shared_size);
        let initial = Self {
            image_size,
            max_len,
            origin,
            task,
            shared_size: shared_size.unwrap_or_else(default_shared_size),
            seed,
        };
        match (shared_size, initial.stored_shared_size()) {
            (Some(found), Some(own)) if found != own => Err(TrainError::Value {
                field: "start.shared_size",
                expected: format!("none, or {own}: the model has a projection space of its own"),
                found: found.to_string(),
            }),
            _ => Ok(initial),
        }
    }

    /// The vocabulary of the model to start from, one token a line; a fresh model has none of its own.
    pub fn vocabulary(&self) -> Option<&str> {
        match &self.origin {
            Origin::Fresh(..) => None,
            Origin::Folder(folder) => Some(folder.vocabulary()),
            Origin::Towers(towers, _) => Some(&towers.tokenizer().vocabulary),
        }
    }

    /// The files of the tokenizer of the model to start from; a fresh model has none of its own.
    pub fn tokenizer(&self) -> Option<TokenizerFiles> {
        match &self.origin {
            Origin::Fresh(..) => None,
            Origin::Folder(folder) => {
                let path = folder.path.join(TOKENIZER_CONFIG);
                let settings = folder.tokenizer_config().map(|text| (path, text.to_owned()));
                Some(TokenizerFiles { vocabulary: folder.vocabulary().to_owned(), settings })
            }
            Origin::Towers(towers, _) => Some(towers.tokenizer().clone()),
        }
    }

    /// The `tokenizer_config.json` of the model to start from, which goes into every model folder of the run.
    pub fn tokenizer_config(&self) -> Option<&str> {
        match &self.origin {
            Origin::Fresh(..) => None,
            Origin::Folder(folder) => folder.tokenizer_config(),
            Origin::Towers(towers, _) => towers.tokenizer().settings.as_ref().map(|(_, text)| &text[..]),
        }
    }

    /// The model folder to start from, if it is one.
    pub fn folder(&self) -> Option<&ModelFolder> {
        match &self.origin {
            Origin::Folder(folder) => Some(folder),
            Origin::Fresh(..) | Origin::Towers(..) => None,
        }
    }

    /// The weight file of the model to start from, and its tensors that the model does not know.
    pub fn unexpected(&self) -> Option<(&str, &[String])> {
        let (Origin::Folder(folder) | Origin::Fresh(_, Some(folder))) = &self.origin else { return None };
        let names = folder.unexpected();
        (!names.is_empty()).then(|| (folder.checkpoint().label(), names))
    }

    /// The network on `device` with its first weights, and its configuration.
    ///
    /// # Errors
    /// When weights are missing or of another shape, and for texts longer than the model can write.
    pub fn model(
        &self,
        config: &TrainConfig,
        vocabulary: &str,
        device: &Device,
    ) -> Result<(Mplug, ModelConfig), TrainError> {
        let mut shape = self.shape(vocabulary);
        let positions = shape.text.max_position_embeddings;
        let settings = &config.generation;
        shape.generation =
            settings.of_model(&config.objective, &shape.generation, self.max_len, positions)?;
        shape.generation.prompts = self.prompts(config);
        let model = Mplug::new(&shape, config.objective.parts(), &mut *self.weights(vocabulary), device)?;
        Ok((model, shape))
    }

    /// The first weights: the folder's, heads that it lacks drawn; the towers'; or all drawn but what fits of a model.
    pub fn weights(&self, vocabulary: &str) -> Box<dyn ParameterSource + '_> {
        match &self.origin {
            Origin::Fresh(_, None) => Box::new(RandomParameters { seed: self.seed }),
            Origin::Fresh(_, Some(folder)) => Box::new(PartialWeights::new(folder, vocabulary, self.seed)),
            Origin::Towers(towers, _) => Box::new(towers.weights(self.seed)),
            Origin::Folder(folder) => Box::new(FolderWeights {
                folder: Weights::new(folder.checkpoint()),
                random: RandomParameters { seed: self.seed },
            }),
        }
    }

    /// What is given before captions, by language: the recipe's, or those of the model to start from.
    pub fn prompts(&self, config: &TrainConfig) -> BTreeMap<String, String> {
        let writes_captions = config.objective.task() == Task::ImageCaptioning;
        match self.folder() {
            Some(folder) if config.prompts.is_empty() && writes_captions => {
                folder.config.generation.prompts.clone()
            }
            _ => config.prompts.clone(),
        }
    }

    /// Size of the projection space that the model to start from has.
    fn stored_shared_size(&self) -> Option<usize> {
        self.folder()?.checkpoint().shape("vision_proj.weight")?.first().copied()
    }

    /// The network's configuration, for the objective's task.
    pub(crate) fn shape(&self, vocabulary: &str) -> ModelConfig {
        let task = self.task;
        let shape = match &self.origin {
            Origin::Fresh(section, _) => return section.model_config(task, vocabulary_size(vocabulary)),
            Origin::Folder(folder) => folder.config.clone(),
            Origin::Towers(_, shape) => (**shape).clone(),
        };
        let shared_size = self.stored_shared_size().unwrap_or(self.shared_size);
        let projection_size = if task == Task::ImageTextRetrieval { shared_size } else { 0 };
        ModelConfig { task, projection_size, ..shape }
    }
}

fn open_origin(
    section: &StartSection,
    objective: &ObjectiveSection,
    strict: bool,
) -> Result<Origin, TrainError> {
    let error = |path: &Path| {
        let path = path.to_owned();
        move |source| TrainError::Start { path, source: Box::new(source) }
    };
    if let (Some(clip), Some(bert)) = (&section.clip, &section.bert) {
        let towers = Towers::open(clip, bert)?;
        let shape = towers.config(objective.task(), section.image_size).map_err(error(clip))?;
        return Ok(Origin::Towers(Box::new(towers), Box::new(shape)));
    }
    let Some(path) = &section.model else {
        return Err(TrainError::Recipe(
            "[start]: expected `model`, or `clip` and `bert`, found neither".to_owned(),
        ));
    };
    let folder = open_folder(path, section.image_size, objective)
        .and_then(|folder| known(folder, strict))
        .map_err(error(path))?;
    Ok(Origin::Folder(Box::new(folder)))
}

/// Opens the folder of a model of any task and shape, of which a fresh network takes what fits.
fn open_weights(path: &Path, strict: bool) -> Result<ModelFolder, TrainError> {
    let error = |source| TrainError::Start { path: path.to_owned(), source: Box::new(source) };
    ModelFolder::open(path, &ConfigOverrides::default())
        .and_then(|folder| known(folder, strict))
        .map_err(error)
}

/// The folder, if it may have weights that it does not know or has none.
fn known(folder: ModelFolder, strict: bool) -> Result<ModelFolder, CheckpointError> {
    if strict {
        folder.refuse_unexpected()?;
    }
    Ok(folder)
}

/// Opens the folder as a model of the objective's task. What retrieval and pre-training add to a model that answers questions
/// are heads, which may be missing.
fn open_folder(
    path: &Path,
    image_size: Option<usize>,
    objective: &ObjectiveSection,
) -> Result<ModelFolder, CheckpointError> {
    let open = |task| {
        let overrides = ConfigOverrides { task: Some(task), image_size, ..ConfigOverrides::default() };
        ModelFolder::open(path, &overrides)
    };
    match objective {
        ObjectiveSection::Pretraining(_) => open(Task::VisualQuestionAnswering),
        ObjectiveSection::Retrieval(_) => {
            open(Task::ImageTextRetrieval).or_else(|error| {
                // What is missing of a retrieval model says more than what is missing of another.
                open(Task::VisualQuestionAnswering).map_err(|_| error)
            })
        }
        other => open(other.task()),
    }
}

/// The weights of a model folder, and heads that it lacks.
struct FolderWeights<'a> {
    folder: Weights<'a>,
    random: RandomParameters,
}

/// Whether a tensor belongs to a head that a model for another task lacks.
fn is_head(name: &str) -> bool {
    let heads = ["vision_proj.", "text_proj.", "itm_head.", "fusion_encoder.cls."];
    name == "temp" || heads.iter().any(|head| name.starts_with(head))
}

impl ParameterSource for FolderWeights<'_> {
    fn read(&mut self, name: &str, shape: &[usize], initial: Initial) -> Result<Vec<f32>, NnError> {
        if is_head(name) && !self.folder.has(name) {
            return self.random.read(name, shape, initial);
        }
        ParameterSource::read(&mut self.folder, name, shape, initial)
    }

    fn position_embedding(
        &mut self,
        name: &str,
        grid: usize,
        width: usize,
        initial: Initial,
    ) -> Result<Vec<f32>, NnError> {
        ParameterSource::position_embedding(&mut self.folder, name, grid, width, initial)
    }

    fn has(&self, name: &str) -> bool {
        self.folder.has(name)
    }
}
