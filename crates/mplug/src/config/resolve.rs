//! From tensors and small files to one configuration. What the tensors say counts; a file that says otherwise is an error
//! that names both; a key that a file lacks has the original's default, and what the original cannot do without is an error
//! where the tensors do not say it. Guesses are made only where a file is not there at all.

use super::files::{
    CONFIG_YAML, ConfigTexts, RawBert, RawConfig, RawConfiguration, bert_default, parse_bert_json, parse_yaml,
};
use super::{GenerationDefaults, MAX_TEXT_LEN, ModelConfig, Task, TextConfig, VisionConfig};
use crate::checkpoint::names::{self, below, block, embeddings, layer, visual};
use crate::checkpoint::{CONFIGURATION_JSON, Checkpoint, CheckpointError, square_grid};

/// What a user sets against what a model folder says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigOverrides {
    /// The task; what a bare weight file was trained for cannot always be detected.
    pub task: Option<Task>,
    /// The task where neither the files nor the tensors say one.
    pub fallback_task: Option<Task>,
    /// Side of the picture; the position table is resized. A multiple of the patch size.
    pub image_size: Option<usize>,
    /// Connected stride of the fusion encoder (3 in the base models, 6 in the large ones).
    pub connected_stride: Option<usize>,
    /// Fusion layers that run (the last ones).
    pub fusion_layers: Option<usize>,
}

impl ModelConfig {
    /// What a model is, from its tensors and its small files; `overrides` win over the files.
    pub fn resolve(
        checkpoint: &Checkpoint,
        texts: &ConfigTexts,
        overrides: &ConfigOverrides,
    ) -> Result<Self, CheckpointError> {
        let resolver = Resolver::new(checkpoint, texts)?;
        let task = match overrides.task {
            Some(task) => task,
            None => resolver.found_task()?.task(overrides.fallback_task),
        };
        let vision = resolver.vision(overrides)?;
        let text = resolver.text(task, overrides)?;
        let has_visual_projection = checkpoint.has(&below(names::VISUAL_PROJECTION, names::WEIGHT));
        if has_visual_projection == (vision.hidden_size == text.hidden_size) {
            return Err(resolver.contradiction(
                format!("visual width {} and text width {}", vision.hidden_size, text.hidden_size),
                if has_visual_projection {
                    "`visn_fc.weight` is there"
                } else {
                    "`visn_fc.weight` is missing"
                },
            ));
        }
        let generation = resolver.generation(task)?;
        if generation.max_new_tokens > text.max_position_embeddings {
            return Err(resolver.contradiction(
                format!("{} text positions", text.max_position_embeddings),
                format!("`max_length: {}` in {CONFIG_YAML}", generation.max_new_tokens),
            ));
        }
        let projection_size = resolver.projection_size(task)?;
        let max_text_len = MAX_TEXT_LEN.min(text.max_position_embeddings);
        Ok(Self { task, vision, text, has_visual_projection, projection_size, generation, max_text_len })
    }
}

/// What a model folder says of its task.
pub(crate) struct FoundTask {
    /// The task, where something says it.
    task: Option<Task>,
    /// A name that is none of ours where nothing does, and the file that has it.
    pub(crate) unknown: Option<(String, &'static str)>,
}

impl FoundTask {
    /// What the files and the tensors of a model say.
    pub(crate) fn of(checkpoint: &Checkpoint, texts: &ConfigTexts) -> Result<Self, CheckpointError> {
        Resolver::new(checkpoint, texts)?.found_task()
    }

    /// The task, or else `fallback`, or else captioning: it has the same decoder as answering, and the names do not differ.
    fn task(&self, fallback: Option<Task>) -> Task {
        self.task.or(fallback).unwrap_or(Task::ImageCaptioning)
    }
}

/// The sources of a configuration, side by side.
struct Resolver<'a> {
    checkpoint: &'a Checkpoint,
    configuration: RawConfiguration,
    config: RawConfig,
    has_config: bool,
    bert: RawBert,
    has_bert: bool,
    bert_name: String,
}

impl<'a> Resolver<'a> {
    fn new(checkpoint: &'a Checkpoint, texts: &ConfigTexts) -> Result<Self, CheckpointError> {
        let json_error = |file: &str, e: serde_json::Error| CheckpointError::Config {
            file: file.to_owned(),
            reason: e.to_string(),
        };
        let configuration = texts.configuration_json.as_deref().map(serde_json::from_str).transpose();
        let bert_name = texts.bert_json.as_ref().map_or("config_bert.json", |(name, _)| name).to_owned();
        let bert = texts.bert_json.as_ref().map(|(_, text)| parse_bert_json(text)).transpose();
        let config = texts.config_yaml.as_deref().map(parse_yaml).transpose()?;
        Ok(Self {
            checkpoint,
            configuration: configuration.map_err(|e| json_error(CONFIGURATION_JSON, e))?.unwrap_or_default(),
            has_config: config.is_some(),
            config: config.unwrap_or_default(),
            has_bert: texts.bert_json.is_some(),
            bert: bert.map_err(|e| json_error(&bert_name, e))?.unwrap_or_default(),
            bert_name,
        })
    }

    fn contradiction(
        &self,
        first: impl std::fmt::Display,
        second: impl std::fmt::Display,
    ) -> CheckpointError {
        CheckpointError::Contradiction {
            first: format!("{first} in {}", self.checkpoint.label()),
            second: second.to_string(),
        }
    }

    /// A value that the tensors have: what a file says must be the same.
    fn agree(
        &self,
        stored: usize,
        tensor: &str,
        said: Option<usize>,
        file: &str,
        key: &str,
    ) -> Result<usize, CheckpointError> {
        match said {
            Some(said) if said != stored => Err(self.contradiction(
                format!("`{tensor}`, which makes {key} {stored},"),
                format!("`{key}: {said}` in {file}"),
            )),
            _ => Ok(stored),
        }
    }

    fn shape<const N: usize>(&self, name: &str) -> Result<[usize; N], CheckpointError> {
        let shape = self.checkpoint.shape(name).ok_or_else(|| CheckpointError::MissingTensor {
            file: self.checkpoint.label().to_owned(),
            name: name.to_owned(),
        })?;
        let dimensions = shape.len();
        shape.try_into().ok().filter(|s: &[usize; N]| s.iter().all(|&d| d > 0)).ok_or_else(|| {
            CheckpointError::Damaged {
                file: self.checkpoint.label().to_owned(),
                reason: format!("tensor `{name}` has shape {shape:?} ({dimensions} dimensions), expected {N} dimensions of at least 1"),
            }
        })
    }

    /// Layers named `prefix.0.…` onwards: the highest number and one, 0 if there are none.
    fn count_layers(&self, prefix: &str) -> usize {
        let number = |name: &str| {
            name.strip_prefix(prefix)?.strip_prefix('.')?.split('.').next()?.parse::<usize>().ok()
        };
        let highest = self.checkpoint.names().filter_map(number).max();
        // Tensors of a model with more layers than this would not fit any file; the check for missing ones lists each.
        highest.map_or(0, |n| n.saturating_add(1).min(1024))
    }

    /// What says the task: `config.yaml`, `configuration.json`, or a matching head without a decoder. A name that is none of ours,
    /// such as the `backbone` of pre-trained models, says nothing.
    fn found_task(&self) -> Result<FoundTask, CheckpointError> {
        let (said, in_config) = (self.configuration.task.as_deref(), self.config.task.as_deref());
        let task = match (said.and_then(Task::from_name), in_config.and_then(Task::from_name)) {
            (Some(a), Some(b)) if a != b => {
                return Err(CheckpointError::Contradiction {
                    first: format!("`task: {a}` in {CONFIGURATION_JSON}"),
                    second: format!("`task: {b}` in {CONFIG_YAML}"),
                });
            }
            // The original's network is that of config.yaml, whatever configuration.json says.
            (Some(task), None) if self.has_config && in_config.is_none() && task != DEFAULT_TASK => {
                return Err(CheckpointError::Contradiction {
                    first: format!("`task: {task}` in {CONFIGURATION_JSON}"),
                    second: format!(
                        "{CONFIG_YAML} without `task`, which the original takes for `task: {DEFAULT_TASK}`"
                    ),
                });
            }
            (Some(task), _) | (None, Some(task)) => Some(task),
            (None, None) => {
                let can_only_match = self.checkpoint.has(&below(names::MATCHING_HEAD, names::WEIGHT))
                    && !self.checkpoint.has(&decoder_words());
                can_only_match.then_some(Task::ImageTextRetrieval)
            }
        };
        let unknown = [(said, CONFIGURATION_JSON), (in_config, CONFIG_YAML)]
            .into_iter()
            .find_map(|(name, file)| Some((name?.to_owned(), file)));
        Ok(FoundTask { unknown: unknown.filter(|_| task.is_none()), task })
    }

    fn vision(&self, overrides: &ConfigOverrides) -> Result<VisionConfig, CheckpointError> {
        let conv = &below(names::VISUAL_ENCODER, visual::PATCHES);
        let table = &below(names::VISUAL_ENCODER, visual::POSITIONAL_EMBEDDING);
        let [width, channels, patch_size, patch_width] = self.shape(conv)?;
        if channels != 3 || patch_width != patch_size || !width.is_multiple_of(HEAD_DIM) {
            return Err(CheckpointError::WrongShape {
                file: self.checkpoint.label().to_owned(),
                name: conv.clone(),
                expected: vec![width.next_multiple_of(HEAD_DIM), 3, patch_size, patch_size],
                found: vec![width, channels, patch_size, patch_width],
            });
        }
        self.agree(width, conv, self.config.vision_width, CONFIG_YAML, "vision_width")?;
        self.agree(width, conv, self.config.clip_vision_width, CONFIG_YAML, "clip_vision_width")?;
        self.agree(
            patch_size,
            conv,
            self.config.clip_vision_patch_size,
            CONFIG_YAML,
            "clip_vision_patch_size",
        )?;
        let blocks = below(names::VISUAL_ENCODER, visual::BLOCKS);
        let said = (self.config.clip_vision_layers, CONFIG_YAML, "clip_vision_layers");
        let layers = self.layers(&blocks, said, self.has_config.then_some(24), 0)?;
        let [rows, _] = self.shape(table)?;
        let grid = square_grid(rows).ok_or_else(|| CheckpointError::Damaged {
            file: self.checkpoint.label().to_owned(),
            reason: format!("tensor `{table}` has {rows} rows, expected a square number and one"),
        })?;
        let image_size = overrides.image_size.or(self.config.image_res).unwrap_or(grid * patch_size);
        if image_size == 0 || !image_size.is_multiple_of(patch_size) || image_size / patch_size > MAX_GRID {
            return Err(CheckpointError::Config {
                file: if overrides.image_size.is_some() { "image size".into() } else { CONFIG_YAML.into() },
                reason: format!(
                    "a picture side of {image_size} is not possible: expected a multiple of the patch size {patch_size}, at most {}",
                    MAX_GRID * patch_size
                ),
            });
        }
        let [intermediate_size, _] =
            self.shape(&format!("{blocks}.0.{}.{}", block::INTERMEDIATE, names::WEIGHT))?;
        let num_attention_heads = width / HEAD_DIM;
        Ok(VisionConfig {
            image_size,
            patch_size,
            hidden_size: width,
            num_hidden_layers: layers,
            num_attention_heads,
            intermediate_size,
        })
    }

    fn text(&self, task: Task, overrides: &ConfigOverrides) -> Result<TextConfig, CheckpointError> {
        let bert = &self.bert;
        let bert_below =
            if task == Task::ImageTextRetrieval { names::TEXT_ENCODER } else { names::TEXT_DECODER };
        let embeddings = below(bert_below, names::EMBEDDINGS);
        let layers = below(bert_below, names::LAYERS);
        let file = self.bert_name.as_str();
        let words = below(&embeddings, embeddings::WORDS);
        let [vocab_size, hidden_size] = self.shape(&words)?;
        self.agree(vocab_size, &words, bert.vocab_size, file, "vocab_size")?;
        self.agree(hidden_size, &words, bert.hidden_size, file, "hidden_size")?;
        self.agree(hidden_size, &words, bert.encoder_width, file, "encoder_width")?;
        let positions = below(&embeddings, embeddings::POSITIONS);
        let [max_position_embeddings, _] = self.shape(&positions)?;
        self.agree(
            max_position_embeddings,
            &positions,
            bert.max_position_embeddings,
            file,
            "max_position_embeddings",
        )?;
        let types = below(&embeddings, embeddings::TOKEN_TYPES);
        let [type_vocab_size, _] = self.shape(&types)?;
        self.agree(type_vocab_size, &types, bert.type_vocab_size, file, "type_vocab_size")?;
        let intermediate = format!("{layers}.0.{}.{}", layer::INTERMEDIATE, names::WEIGHT);
        let [intermediate_size, _] = self.shape(&intermediate)?;
        self.agree(intermediate_size, &intermediate, bert.intermediate_size, file, "intermediate_size")?;
        self.check_supported()?;
        let (first_fusion_layer, fusion_layers) = self.fusion(task, overrides)?;
        Ok(TextConfig {
            hidden_size,
            num_attention_heads: self.text_heads(hidden_size)?,
            intermediate_size,
            vocab_size,
            max_position_embeddings,
            type_vocab_size,
            layer_norm_eps: self.layer_norm_eps()?,
            text_encoder_layers: self.layers(
                &below(names::TEXT_ENCODER, names::LAYERS),
                (bert.text_encoder_layers, file, "text_encoder_layers"),
                None,
                6,
            )?,
            first_fusion_layer,
            fusion_layers,
            connected_stride: self.connected_stride(task, overrides)?,
            decoder_layers: self.layers(
                &below(names::TEXT_DECODER, names::LAYERS),
                (bert.text_decode_layers, file, "text_decode_layers"),
                None,
                12,
            )?,
        })
    }

    /// Layers of a stack. The original builds as many as the file says, or its own `default` where the file lacks the key; of
    /// stored ones it leaves out those beyond. Layers that are not stored would be random there: said of a file that is an
    /// error, and a default gives way to the number stored. A stack that is not stored at all has what the file says.
    fn layers(
        &self,
        prefix: &str,
        (said, file, key): (Option<usize>, &str, &str),
        default: Option<usize>,
        if_unknown: usize,
    ) -> Result<usize, CheckpointError> {
        match (self.count_layers(prefix), said) {
            (0, said) => Ok(said.or(default).unwrap_or(if_unknown).min(1024)),
            (stored, Some(said)) if said > stored || said == 0 => {
                self.agree(stored, prefix, Some(said), file, key)
            }
            (stored, said) => Ok(said.or(default).unwrap_or(stored).min(stored)),
        }
    }

    /// First fusion layer that runs, and how many run: the last ones.
    fn fusion(&self, task: Task, overrides: &ConfigOverrides) -> Result<(usize, usize), CheckpointError> {
        let said = (self.bert.num_hidden_layers, self.bert_name.as_str(), "num_hidden_layers");
        let default = self.has_bert.then_some(bert_default::LAYERS);
        let built = self.layers(names::FUSION_LAYERS, said, default, bert_default::LAYERS)?;
        let running = match overrides.fusion_layers.or(self.bert.fusion_layers) {
            Some(running) => running,
            None if self.has_bert && task != Task::ImageCaptioning => {
                return Err(self.bert_error(
                    "it has no `fusion_layers`, and neither the weights nor the original say how many fusion layers run; \
                     write it into the file (the published models run 6)",
                ));
            }
            None => 6,
        };
        if running > built && overrides.fusion_layers.is_some() && task != Task::ImageCaptioning {
            return Err(self.contradiction(
                format!("{built} fusion layers"),
                format!("the {running} fusion layers requested"),
            ));
        }
        // The original runs all layers when more are requested than there are.
        let running = running.min(built);
        Ok((built - running, running))
    }

    fn bert_error(&self, reason: impl Into<String>) -> CheckpointError {
        CheckpointError::Config { file: self.bert_name.clone(), reason: reason.into() }
    }

    fn text_heads(&self, hidden_size: usize) -> Result<usize, CheckpointError> {
        let default =
            if self.has_bert { bert_default::ATTENTION_HEADS } else { (hidden_size / HEAD_DIM).max(1) };
        let heads = self.bert.num_attention_heads.unwrap_or(default);
        if heads == 0 || !hidden_size.is_multiple_of(heads) {
            return Err(self.contradiction(
                format!("text width {hidden_size}"),
                format!("`num_attention_heads: {heads}` in {}, which must divide it", self.bert_name),
            ));
        }
        Ok(heads)
    }

    fn layer_norm_eps(&self) -> Result<f32, CheckpointError> {
        let eps = self.bert.layer_norm_eps.unwrap_or(bert_default::LAYER_NORM_EPS);
        if !(0.0..=1.0).contains(&eps) {
            return Err(self.bert_error(format!("`layer_norm_eps: {eps}` is out of range, expected 0 to 1")));
        }
        Ok(eps)
    }

    /// Settings with which the original computes something else than this project does.
    fn check_supported(&self) -> Result<(), CheckpointError> {
        let bert = &self.bert;
        let texts = [
            ("hidden_act", bert.hidden_act.as_deref(), "gelu"),
            ("position_embedding_type", bert.position_embedding_type.as_deref(), "absolute"),
        ];
        for (key, said, supported) in texts {
            if let Some(said) = said.filter(|said| *said != supported) {
                return Err(
                    self.bert_error(format!("`{key}: {said}` is not supported, expected {supported}"))
                );
            }
        }
        if bert.tie_word_embeddings == Some(false) {
            return Err(self.bert_error("`tie_word_embeddings: false` is not supported, expected true"));
        }
        Ok(())
    }

    fn connected_stride(&self, task: Task, overrides: &ConfigOverrides) -> Result<usize, CheckpointError> {
        // Without a BERT json nothing says it: 6 in the large models, 3 in the base ones.
        let default =
            match (self.has_bert, self.checkpoint.has(&below(names::VISUAL_PROJECTION, names::WEIGHT))) {
                (true, _) => bert_default::STRIDE,
                (false, true) => 6,
                (false, false) => 3,
            };
        match overrides.connected_stride.or(self.bert.stride_layer).unwrap_or(default) {
            0 if task == Task::ImageCaptioning => Ok(bert_default::STRIDE), // Fusion never runs.
            0 => Err(self.bert_error("`stride_layer: 0` is not possible, expected at least 1")),
            stride => Ok(stride),
        }
    }

    fn projection_size(&self, task: Task) -> Result<usize, CheckpointError> {
        let name = &below(names::IMAGE_FEATURES, names::WEIGHT);
        if task != Task::ImageTextRetrieval || !self.checkpoint.has(name) {
            return Ok(0);
        }
        let [size, _] = self.shape(name)?;
        self.agree(size, name, self.config.embed_dim, CONFIG_YAML, "embed_dim")
    }

    fn generation(&self, task: Task) -> Result<GenerationDefaults, CheckpointError> {
        // The original's defaults (its `MPlugConfig`); without a config.yaml those of the research code's captioning scripts.
        let (min, max) = if !self.has_config && task == Task::ImageCaptioning { (8, 25) } else { (1, 10) };
        let max_new_tokens = self.config.max_length.unwrap_or(max);
        let generation = GenerationDefaults {
            num_beams: self.config.beam_size.unwrap_or(5),
            // More tokens than are written means that none may end a text: the original then writes them all.
            min_new_tokens: self.config.min_length.unwrap_or(min).min(max_new_tokens),
            max_new_tokens,
            prompts: self.config.prompts.clone(),
        };
        if !(1..=MAX_BEAMS).contains(&generation.num_beams) || max_new_tokens == 0 {
            return Err(CheckpointError::Config {
                file: CONFIG_YAML.into(),
                reason: format!(
                    "`beam_size: {}` and `max_length: {max_new_tokens}` are not possible, expected 1 to {MAX_BEAMS} beams and at least 1 token",
                    generation.num_beams
                ),
            });
        }
        Ok(generation)
    }
}

/// Channels of a head where the files do not say the number of heads; always in the visual encoder.
const HEAD_DIM: usize = 64;
/// Widest beam that a file may request.
const MAX_BEAMS: usize = 1024;
/// Most patches along a side: 504 px need 36.
const MAX_GRID: usize = 256;
/// The task of the network that the original builds from a `config.yaml` without one.
const DEFAULT_TASK: Task = Task::VisualQuestionAnswering;
fn decoder_words() -> String {
    below(&below(names::TEXT_DECODER, names::EMBEDDINGS), embeddings::WORDS)
}
