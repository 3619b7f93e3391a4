//! The recipe of a training run: a typed TOML file. Unknown keys are errors. Knows no tensors.

use std::path::{Path, PathBuf};

use mplug::config::{GenerationDefaults, ModelConfig, Task, TextConfig, VisionConfig};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// A recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// The run folder, relative to the working directory.
    pub output: PathBuf,
    /// Seed of the fresh weights and of the order of examples.
    #[serde(default)]
    pub seed: u64,
    /// The shape of a network that is trained from scratch; or else `start`.
    pub model: Option<ModelSection>,
    /// The model whose training goes on.
    pub start: Option<StartSection>,
    /// What it learns from.
    pub data: DataSection,
    /// How long, and in what portions.
    pub run: RunSection,
    /// AdamW.
    pub optimizer: OptimizerSection,
    /// The learning rate over time.
    pub schedule: ScheduleSection,
    /// When and on what to evaluate.
    pub evaluation: EvaluationSection,
}

/// A model to start from: its shape, its vocabulary and its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartSection {
    /// The folder of a captioning model: ours, or an original one.
    pub model: PathBuf,
    /// Side of the square picture in pixels, for which the position embeddings are resized; the model's own if absent.
    pub image_size: Option<usize>,
    /// Longest caption in tokens, the start and end tokens included.
    #[serde(default = "default_caption_tokens")]
    pub max_caption_tokens: usize,
    /// Dropout of the text side.
    #[serde(default)]
    pub dropout: f32,
}

fn default_caption_tokens() -> usize {
    25
}

/// The shape of a network that is trained from scratch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSection {
    /// Side of the square picture in pixels.
    pub image_size: usize,
    /// Side of a patch in pixels; divides `image_size`.
    pub patch_size: usize,
    /// Width of the visual encoder; a multiple of 64, the size of its heads.
    pub vision_width: usize,
    /// Blocks of the visual encoder.
    pub vision_layers: usize,
    /// Width of the decoder.
    pub text_width: usize,
    /// Heads of the decoder; divides `text_width`.
    pub text_heads: usize,
    /// Inner width of the decoder's feed-forward blocks.
    pub text_intermediate: usize,
    /// Layers of the decoder.
    pub decoder_layers: usize,
    /// Longest caption in tokens, the start and end tokens included.
    pub max_position_embeddings: usize,
    /// Dropout of the text side.
    #[serde(default)]
    pub dropout: f32,
    /// Beam width written to the model folder.
    #[serde(default = "default_beams")]
    pub num_beams: usize,
    /// Shortest caption in tokens, written to the model folder.
    #[serde(default = "default_min_tokens")]
    pub min_new_tokens: usize,
}

fn default_beams() -> usize {
    5
}

fn default_min_tokens() -> usize {
    1
}

/// What the network learns from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase", tag = "kind")]
pub enum DataSection {
    /// Pictures drawn on the fly; no example comes twice.
    Synth {
        /// The language of the captions.
        language: Language,
        /// Seed of the pictures to learn from.
        seed: u64,
        /// Seed of the pictures to evaluate on.
        held_out_seed: u64,
    },
    /// Annotated pictures, in any format that `mplug eval --dataset` reads.
    Annotations(AnnotationsSection),
}

/// Annotated pictures to learn from and to evaluate on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnnotationsSection {
    /// The annotation file, or the folder of one, to learn from.
    pub train: PathBuf,
    /// Only this split of it.
    pub train_split: Option<String>,
    /// The annotation file to evaluate on; `train` if absent, and then another split of it.
    pub held_out: Option<PathBuf>,
    /// Only this split of it.
    pub held_out_split: Option<String>,
    /// Where the pictures are: a folder, a zip or a tar; beside the annotations if absent.
    pub images: Option<PathBuf>,
    /// The language of the captions, where a file has several.
    pub language: Option<Language>,
    /// The vocabulary file of a model trained from scratch; a model to start from has its own.
    pub vocabulary: Option<PathBuf>,
    /// What a picture that cannot be read does to the run.
    #[serde(default)]
    pub unreadable: Unreadable,
}

/// What a picture that cannot be read does to a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unreadable {
    /// Ends it with an error.
    #[default]
    Fail,
    /// The next example takes its place; such pictures are counted. Held-out pictures must be readable all the same.
    Skip,
}

/// The language of captions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Chinese.
    Zh,
    /// English.
    En,
}

/// How long, and in what portions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSection {
    /// Optimizer steps.
    pub steps: u64,
    /// Examples per optimizer step.
    pub batch_size: usize,
    /// Examples that go through the network at once; their gradients are summed to the batch's. Small portions stay in
    /// the processor's caches.
    pub micro_batch_size: usize,
    /// Threads that compute gradients side by side.
    pub threads: usize,
    /// Threads that make examples ahead of the network.
    pub data_threads: usize,
    /// Steps between lines in the log.
    pub log_every: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
}

/// AdamW (Loshchilov and Hutter 2019) as the original groups it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerSection {
    /// Peak learning rate of everything but the visual encoder.
    pub learning_rate: f64,
    /// Peak learning rate of the visual encoder; the same if absent.
    pub vision_learning_rate: Option<f64>,
    /// Decay rates of the two moments.
    #[serde(default = "default_betas")]
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    #[serde(default = "default_eps")]
    pub eps: f64,
    /// Decay of weights whose names hold neither `bias` nor `LayerNorm.weight`.
    pub weight_decay: f64,
    /// Largest norm of the gradient; longer ones are scaled down. 0 turns clipping off.
    #[serde(default)]
    pub clip_norm: f64,
    /// Decay of the running average of the weights, which is what is evaluated and kept; 0 turns it off.
    #[serde(default)]
    pub average_decay: f64,
}

fn default_betas() -> [f64; 2] {
    [0.9, 0.999]
}

fn default_eps() -> f64 {
    1e-8
}

/// Linear warm-up, then a cosine down to a floor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSection {
    /// Steps of warm-up.
    pub warmup_steps: u64,
    /// The floor as a share of the peak.
    pub min_ratio: f64,
}

/// When and on what to evaluate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationSection {
    /// Steps between evaluations; 0 turns them off.
    pub every: u64,
    /// Held-out pictures.
    pub pictures: usize,
}

impl TrainConfig {
    /// Reads a recipe.
    pub fn open(path: &Path, overrides: &[(String, String)]) -> Result<Self, TrainError> {
        let text = std::fs::read_to_string(path).map_err(TrainError::file(path))?;
        Self::from_toml(&text, overrides)
    }

    /// Reads a recipe from text; `overrides` are pairs such as `("run.steps", "100")` whose values are TOML, or text
    /// where they are not.
    pub fn from_toml(text: &str, overrides: &[(String, String)]) -> Result<Self, TrainError> {
        let mut table: toml::Table =
            toml::from_str(text).map_err(|error| TrainError::Recipe(error.to_string()))?;
        for (key, value) in overrides {
            set(&mut table, key, parse_value(value))?;
        }
        let config: Self = toml::Value::Table(table)
            .try_into()
            .map_err(|error: toml::de::Error| TrainError::Recipe(error.message().to_owned()))?;
        config.check()?;
        Ok(config)
    }

    /// Checks what types cannot say.
    pub fn check(&self) -> Result<(), TrainError> {
        if self.model.is_some() == self.start.is_some() {
            return Err(TrainError::Recipe("either [model] or [start] is wanted".to_owned()));
        }
        if let Some(model) = &self.model {
            model.check()?;
        }
        if let Some(start) = &self.start {
            ensure((0.0..1.0).contains(&start.dropout), "start.dropout", || {
                ("at least 0 and below 1".to_owned(), start.dropout.to_string())
            })?;
        }
        self.check_data()?;
        let run = &self.run;
        for (field, value) in [
            ("run.batch_size", run.batch_size),
            ("run.micro_batch_size", run.micro_batch_size),
            ("run.threads", run.threads),
            ("run.data_threads", run.data_threads),
            ("run.steps", run.steps as usize),
            ("run.log_every", run.log_every as usize),
            ("run.checkpoint_every", run.checkpoint_every as usize),
        ] {
            ensure(value > 0, field, || ("at least 1".to_owned(), value.to_string()))?;
        }
        self.check_rates()
    }

    /// Checks that pictures to learn from and to evaluate on are told apart, and that there is one vocabulary.
    fn check_data(&self) -> Result<(), TrainError> {
        let DataSection::Annotations(data) = &self.data else {
            return match self.start {
                Some(_) => Err(TrainError::Recipe("drawn pictures have a vocabulary of their own: [start] wants data of the kind \"annotations\"".to_owned())),
                None => Ok(()),
            };
        };
        let is_apart = data.held_out.as_ref().is_some_and(|path| *path != data.train)
            || data.held_out_split != data.train_split;
        ensure(is_apart, "data.held_out", || {
            ("another file or another split than what is learned from".to_owned(), "the same".to_owned())
        })?;
        ensure(data.vocabulary.is_some() == self.model.is_some(), "data.vocabulary", || {
            let expected = "a file with [model], none with [start], which has its own";
            (expected.to_owned(), if data.vocabulary.is_some() { "one" } else { "none" }.to_owned())
        })
    }

    fn check_rates(&self) -> Result<(), TrainError> {
        let optimizer = &self.optimizer;
        let rates = [
            ("optimizer.learning_rate", optimizer.learning_rate, f64::MAX),
            ("optimizer.vision_learning_rate", optimizer.vision_learning_rate.unwrap_or(0.0), f64::MAX),
            ("optimizer.eps", optimizer.eps, f64::MAX),
            ("optimizer.weight_decay", optimizer.weight_decay, f64::MAX),
            ("optimizer.clip_norm", optimizer.clip_norm, f64::MAX),
            ("optimizer.average_decay", optimizer.average_decay, 1.0),
            ("schedule.min_ratio", self.schedule.min_ratio, 1.0),
            ("optimizer.betas", optimizer.betas[0].max(optimizer.betas[1]), 1.0),
            ("optimizer.betas", optimizer.betas[0].min(optimizer.betas[1]), 1.0),
        ];
        for (field, value, limit) in rates {
            let good = value.is_finite() && (0.0..=limit).contains(&value);
            ensure(good, field, || (format!("a number from 0 to {limit:e}"), value.to_string()))?;
        }
        Ok(())
    }

    /// The recipe as TOML.
    ///
    /// # Panics
    /// Never: a recipe has only string keys and finite numbers.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a recipe has only string keys and finite numbers")
    }
}

impl ModelSection {
    /// Checks what types cannot say.
    fn check(&self) -> Result<(), TrainError> {
        let model = self;
        let patch = model.patch_size;
        ensure(
            patch > 0 && model.image_size.is_multiple_of(patch) && model.image_size > 0,
            "model.image_size",
            || (format!("a multiple of the patch size {patch}"), model.image_size.to_string()),
        )?;
        ensure(model.image_size <= 4096, "model.image_size", || {
            ("at most 4096".to_owned(), model.image_size.to_string())
        })?;
        ensure(
            model.vision_width > 0 && model.vision_width.is_multiple_of(64),
            "model.vision_width",
            || ("a multiple of 64".to_owned(), model.vision_width.to_string()),
        )?;
        let heads = model.text_heads;
        ensure(
            heads > 0 && model.text_width > 0 && model.text_width.is_multiple_of(heads),
            "model.text_width",
            || (format!("a multiple of the {heads} heads"), model.text_width.to_string()),
        )?;
        ensure((0.0..1.0).contains(&model.dropout), "model.dropout", || {
            ("at least 0 and below 1".to_owned(), model.dropout.to_string())
        })?;
        ensure(model.max_position_embeddings >= 3, "model.max_position_embeddings", || {
            ("at least 3".to_owned(), model.max_position_embeddings.to_string())
        })?;
        for (field, value) in [
            ("model.text_intermediate", model.text_intermediate),
            ("model.decoder_layers", model.decoder_layers),
            ("model.vision_layers", model.vision_layers),
            ("model.num_beams", model.num_beams),
        ] {
            ensure(value > 0, field, || ("at least 1".to_owned(), value.to_string()))?;
        }
        Ok(())
    }

    /// The network's configuration with a vocabulary of `vocab_size` tokens.
    pub fn model_config(&self, vocab_size: usize) -> ModelConfig {
        ModelConfig {
            task: Task::ImageCaptioning,
            vision: VisionConfig {
                image_size: self.image_size,
                patch_size: self.patch_size,
                hidden_size: self.vision_width,
                num_hidden_layers: self.vision_layers,
                num_attention_heads: self.vision_width / 64,
                intermediate_size: 4 * self.vision_width,
            },
            text: TextConfig {
                hidden_size: self.text_width,
                num_attention_heads: self.text_heads,
                intermediate_size: self.text_intermediate,
                vocab_size,
                max_position_embeddings: self.max_position_embeddings,
                type_vocab_size: 2,
                layer_norm_eps: 1e-12,
                text_encoder_layers: 1,
                first_fusion_layer: 0,
                fusion_layers: 1,
                connected_stride: 1,
                decoder_layers: self.decoder_layers,
            },
            has_visual_projection: self.vision_width != self.text_width,
            projection_size: 0,
            generation: GenerationDefaults {
                num_beams: self.num_beams,
                min_new_tokens: self.min_new_tokens,
                max_new_tokens: self.max_position_embeddings - 1,
            },
            max_text_len: self.max_position_embeddings,
        }
    }
}

/// An error unless `good`; `words` tells what was expected and what was found.
fn ensure(
    good: bool,
    field: &'static str,
    words: impl FnOnce() -> (String, String),
) -> Result<(), TrainError> {
    if good {
        return Ok(());
    }
    let (expected, found) = words();
    Err(TrainError::Value { field, expected, found })
}

/// A TOML value, or text where `text` is none.
fn parse_value(text: &str) -> toml::Value {
    toml::from_str::<toml::Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

/// Sets the field `key` (tables separated by dots) of `table`.
fn set(table: &mut toml::Table, key: &str, value: toml::Value) -> Result<(), TrainError> {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
            Ok(())
        }
        Some((outer, inner)) => {
            let entry = table.entry(outer).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            let entry = entry
                .as_table_mut()
                .ok_or_else(|| TrainError::Recipe(format!("{key}: `{outer}` is a value, not a table")))?;
            set(entry, inner, value)
        }
    }
}
