//! What shape a model has: the original's `config.yaml` and BERT json, checked against the checkpoint's own tensors.
//!
//! Shapes come from the tensors (SPEC 5.3), because the published models' files are not known to us; what the small files say
//! too must agree, and a contradiction is an error that names both. What only the files can tell (task, picture size,
//! connected stride, generation settings) is read from them, with the original's defaults.
//!
//! Names follow the field's words; the original's spellings (`stride_layer`, `image_res`, …) appear only here.

use serde::Deserialize;

use crate::checkpoint::{Checkpoint, CheckpointError, square_grid};

/// What a model was fine-tuned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// A picture in, a sentence out.
    ImageCaptioning,
    /// A picture and a question in, an answer out.
    VisualQuestionAnswering,
    /// A picture and a text in, the probability that they match out.
    ImageTextRetrieval,
}

impl Task {
    /// The original's name of the task, as in `configuration.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ImageCaptioning => "image-captioning",
            Self::VisualQuestionAnswering => "visual-question-answering",
            Self::ImageTextRetrieval => "image-text-retrieval",
        }
    }

    /// The task of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::ImageCaptioning, Self::VisualQuestionAnswering, Self::ImageTextRetrieval]
            .into_iter()
            .find(|task| task.name() == name)
    }
}

impl std::fmt::Display for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The shape of the visual encoder (OpenAI's CLIP ViT).
#[derive(Clone, Debug, PartialEq)]
pub struct VisionConfig {
    /// Side of the square input picture, in pixels.
    pub image_size: usize,
    /// Side of a patch, in pixels; divides `image_size`.
    pub patch_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Number of residual blocks.
    pub num_hidden_layers: usize,
    /// Heads of 64 channels each (SPEC: `hidden_size / 64`).
    pub num_attention_heads: usize,
    /// Width of the feed-forward's inner layer.
    pub intermediate_size: usize,
}

impl VisionConfig {
    /// Patches of a picture: `(image_size / patch_size)²`.
    pub fn num_patches(&self) -> usize {
        (self.image_size / self.patch_size).pow(2)
    }

    /// Tokens of a picture: its patches and the class token.
    pub fn image_len(&self) -> usize {
        self.num_patches() + 1
    }
}

/// The shape of the BERT-like stacks (text encoder, fusion encoder, decoder), which all share one width.
#[derive(Clone, Debug, PartialEq)]
pub struct TextConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Attention heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Width of the feed-forward's inner layer.
    pub intermediate_size: usize,
    /// Number of tokens in the vocabulary.
    pub vocab_size: usize,
    /// Longest sequence that the position embeddings cover.
    pub max_position_embeddings: usize,
    /// Rows of the token type table (2 in BERT; only row 0 is used).
    pub type_vocab_size: usize,
    /// Epsilon of the layer norms (1e-12 in BERT).
    pub layer_norm_eps: f32,
    /// Layers of the text encoder.
    pub text_encoder_layers: usize,
    /// Index of the first fusion layer that runs; those before it are stored but never run.
    pub first_fusion_layer: usize,
    /// Fusion layers that run.
    pub fusion_layers: usize,
    /// Every so many fusion layers one attends over image and text together (the original's `stride_layer`).
    pub connected_stride: usize,
    /// Layers of the decoder.
    pub decoder_layers: usize,
}

impl TextConfig {
    /// Whether the `k`-th fusion layer that runs (from 0) attends over image and text together.
    pub fn is_connected_layer(&self, k: usize) -> bool {
        k > 0 && k.is_multiple_of(self.connected_stride)
    }
}

/// The generation settings that a model folder carries.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerationDefaults {
    /// Beam width.
    pub num_beams: usize,
    /// Tokens before the end token may appear.
    pub min_new_tokens: usize,
    /// Most tokens generated, the end token included.
    pub max_new_tokens: usize,
}

/// Everything about a model that is not weights. Checked at construction: it cannot be inconsistent.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// What the model does.
    pub task: Task,
    /// The visual encoder.
    pub vision: VisionConfig,
    /// The text side.
    pub text: TextConfig,
    /// Whether a projection with a layer norm maps the visual width to the text width (large models).
    pub has_visual_projection: bool,
    /// Width of the shared embedding space of retrieval models (256); 0 for the other tasks.
    pub projection_size: usize,
    /// Beam width and lengths.
    pub generation: GenerationDefaults,
    /// Length to which questions are padded and cut (25).
    pub max_text_len: usize,
}

/// The language that a model writes, as far as its vocabulary tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Captions are joined without spaces.
    Chinese,
    /// Captions are words with spaces.
    English,
}

/// Tokens of bert-base-chinese's vocabulary.
const CHINESE_VOCABULARY: usize = 21128;

/// The language of a vocabulary: Chinese when it has bert-base-chinese's size or more than a fifth of its tokens are one
/// CJK character.
pub fn language(vocabulary: &str) -> Language {
    let tokens = vocabulary_size(vocabulary);
    let is_cjk = |token: &str| {
        let mut chars = token.chars();
        matches!((chars.next(), chars.next()), (Some('\u{4e00}'..='\u{9fff}'), None))
    };
    let chinese = vocabulary.lines().filter(|line| is_cjk(line.trim())).count();
    if tokens == CHINESE_VOCABULARY || chinese * 5 > tokens { Language::Chinese } else { Language::English }
}

/// Tokens of a `vocab.txt`: its lines, the last one with or without a line end.
pub fn vocabulary_size(vocabulary: &str) -> usize {
    vocabulary.lines().count()
}

/// What a user sets against what a model folder says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigOverrides {
    /// The task; what a bare weight file was trained for cannot always be told from it.
    pub task: Option<Task>,
    /// Side of the picture; the position table is resized. A multiple of the patch size.
    pub image_size: Option<usize>,
    /// Connected stride of the fusion encoder (3 in the base models, 6 in the large ones).
    pub connected_stride: Option<usize>,
    /// Fusion layers that run (the last ones).
    pub fusion_layers: Option<usize>,
}

/// The texts of a model folder's configuration files, those that are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigTexts {
    /// `configuration.json`.
    pub configuration_json: Option<String>,
    /// `config.yaml`.
    pub config_yaml: Option<String>,
    /// File name and text of the BERT json.
    pub bert_json: Option<(String, String)>,
}

/// `configuration.json`, the part that matters here.
#[derive(Debug, Default, Deserialize)]
struct RawConfiguration {
    task: Option<String>,
}

/// `config.yaml` with the original's spellings; other keys are for training.
#[derive(Debug, Default, Deserialize)]
struct RawConfig {
    task: Option<String>,
    bert_config: Option<String>,
    image_res: Option<usize>,
    vision_width: Option<usize>,
    clip_vision_width: Option<usize>,
    clip_vision_patch_size: Option<usize>,
    clip_vision_layers: Option<usize>,
    embed_dim: Option<usize>,
    min_length: Option<usize>,
    max_length: Option<usize>,
    beam_size: Option<usize>,
}

/// The BERT json with the original's spellings.
#[derive(Debug, Default, Deserialize)]
struct RawBert {
    hidden_size: Option<usize>,
    num_attention_heads: Option<usize>,
    intermediate_size: Option<usize>,
    vocab_size: Option<usize>,
    max_position_embeddings: Option<usize>,
    type_vocab_size: Option<usize>,
    layer_norm_eps: Option<f32>,
    hidden_act: Option<String>,
    encoder_width: Option<usize>,
    num_hidden_layers: Option<usize>,
    text_encoder_layers: Option<usize>,
    fusion_layers: Option<usize>,
    stride_layer: Option<usize>,
    text_decode_layers: Option<usize>,
}

const CONFIG_YAML: &str = "config.yaml";

fn parse_yaml(text: &str) -> Result<RawConfig, CheckpointError> {
    serde_saphyr::from_str(text)
        .map_err(|e| CheckpointError::Config { file: CONFIG_YAML.into(), reason: e.to_string() })
}

impl ConfigTexts {
    /// The file name of the BERT json that a `config.yaml` names, without the folders that may precede it.
    pub(crate) fn bert_json_name(config_yaml: Option<&str>) -> Result<Option<String>, CheckpointError> {
        let Some(text) = config_yaml else { return Ok(None) };
        let named = parse_yaml(text)?.bert_config;
        let name = named.as_deref().and_then(|n| n.rsplit(['/', '\\']).next());
        Ok(name.filter(|n| !n.is_empty() && *n != "..").map(str::to_owned))
    }

    /// Files that describe this configuration, readable by the original.
    pub fn describing(config: &ModelConfig) -> Self {
        let (v, t, g) = (&config.vision, &config.text, &config.generation);
        let configuration = serde_json::json!({
            "framework": "pytorch", "task": config.task.name(),
            "model": { "type": "mplug" }, "pipeline": { "type": config.task.name() },
        });
        let clip_name = if v.patch_size == 14 { "ViT-L-14" } else { "ViT-B-16" };
        let mut yaml = format!(
            "task: {}\nbert_config: config_bert.json\nimage_res: {}\nvision_width: {}\nclip_name: {clip_name}\n\
             clip_vision_width: {}\nclip_vision_patch_size: {}\nclip_vision_layers: {}\n\
             min_length: {}\nmax_length: {}\nbeam_size: {}\n",
            config.task,
            v.image_size,
            v.hidden_size,
            v.hidden_size,
            v.patch_size,
            v.num_hidden_layers,
            g.min_new_tokens,
            g.max_new_tokens,
            g.num_beams,
        );
        if config.task == Task::ImageTextRetrieval {
            yaml.push_str(&format!("embed_dim: {}\nmomentum: 0.995\n", config.projection_size));
        }
        let bert = serde_json::json!({
            "architectures": ["BertForMaskedLM"], "model_type": "bert", "hidden_act": "gelu",
            "hidden_size": t.hidden_size, "num_attention_heads": t.num_attention_heads,
            "intermediate_size": t.intermediate_size, "vocab_size": t.vocab_size,
            "max_position_embeddings": t.max_position_embeddings, "type_vocab_size": t.type_vocab_size,
            "layer_norm_eps": f64::from(t.layer_norm_eps).to_string().parse::<f64>().unwrap_or(1e-12),
            "pad_token_id": 0, "encoder_width": t.hidden_size,
            "num_hidden_layers": t.first_fusion_layer + t.fusion_layers,
            "text_encoder_layers": t.text_encoder_layers, "fusion_layers": t.fusion_layers,
            "text_decode_layers": t.decoder_layers, "stride_layer": t.connected_stride,
            "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "initializer_range": 0.02,
        });
        Self {
            configuration_json: Some(format!("{configuration:#}\n")),
            config_yaml: Some(yaml),
            bert_json: Some(("config_bert.json".into(), format!("{bert:#}\n"))),
        }
    }
}

impl ModelConfig {
    /// The Chinese base captioning model as far as it is known (SPEC 5.2): ViT-B/16 at 384 px, bert-base-chinese's
    /// vocabulary, 12 decoder layers.
    pub fn base_captioning_zh() -> Self {
        Self {
            task: Task::ImageCaptioning,
            vision: VisionConfig {
                image_size: 384,
                patch_size: 16,
                hidden_size: 768,
                num_hidden_layers: 12,
                num_attention_heads: 12,
                intermediate_size: 3072,
            },
            text: TextConfig {
                hidden_size: 768,
                num_attention_heads: 12,
                intermediate_size: 3072,
                vocab_size: CHINESE_VOCABULARY,
                max_position_embeddings: 512,
                type_vocab_size: 2,
                layer_norm_eps: 1e-12,
                text_encoder_layers: 6,
                first_fusion_layer: 6,
                fusion_layers: 6,
                connected_stride: 3,
                decoder_layers: 12,
            },
            has_visual_projection: false,
            projection_size: 0,
            generation: GenerationDefaults { num_beams: 5, min_new_tokens: 8, max_new_tokens: 25 },
            max_text_len: 25,
        }
    }

    /// The large captioning model: ViT-L/14 at 336 px with a visual projection, connected stride 6.
    pub fn large_captioning(vocab_size: usize) -> Self {
        let base = Self::base_captioning_zh();
        Self {
            vision: VisionConfig {
                image_size: 336,
                patch_size: 14,
                hidden_size: 1024,
                num_hidden_layers: 24,
                num_attention_heads: 16,
                intermediate_size: 4096,
            },
            text: TextConfig { vocab_size, connected_stride: 6, ..base.text.clone() },
            has_visual_projection: true,
            ..base
        }
    }

    /// A model of a few hundred thousand values with every part that a large model has, for tests.
    pub fn tiny(task: Task) -> Self {
        Self {
            task,
            vision: VisionConfig {
                image_size: 32,
                patch_size: 8,
                hidden_size: 128,
                num_hidden_layers: 2,
                num_attention_heads: 2,
                intermediate_size: 256,
            },
            text: TextConfig {
                hidden_size: 64,
                num_attention_heads: 4,
                intermediate_size: 96,
                vocab_size: 803,
                max_position_embeddings: 64,
                type_vocab_size: 2,
                layer_norm_eps: 1e-12,
                text_encoder_layers: 2,
                first_fusion_layer: 1,
                fusion_layers: 4,
                connected_stride: 2,
                decoder_layers: 3,
            },
            has_visual_projection: true,
            projection_size: 0,
            generation: GenerationDefaults { num_beams: 5, min_new_tokens: 1, max_new_tokens: 12 },
            max_text_len: 25,
        }
        .with_task(task)
    }

    /// The same shape for another task.
    #[must_use]
    pub fn with_task(self, task: Task) -> Self {
        let projection_size = if task == Task::ImageTextRetrieval { 256 } else { 0 };
        Self { task, projection_size, ..self }
    }

    /// What a model is, from its tensors and its small files; `overrides` win over the files.
    pub fn resolve(
        checkpoint: &Checkpoint,
        texts: &ConfigTexts,
        overrides: &ConfigOverrides,
    ) -> Result<Self, CheckpointError> {
        let resolver = Resolver::new(checkpoint, texts)?;
        let task = resolver.task(overrides)?;
        let vision = resolver.vision(overrides)?;
        let text = resolver.text(task, overrides)?;
        let has_visual_projection = checkpoint.has("visn_fc.weight");
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
        let config = Self {
            task,
            vision,
            text,
            has_visual_projection,
            projection_size: resolver.projection_size(task)?,
            generation: resolver.generation(task)?,
            max_text_len: 25,
        };
        Ok(config)
    }
}

/// The sources of a configuration, side by side.
struct Resolver<'a> {
    checkpoint: &'a Checkpoint,
    configuration: RawConfiguration,
    config: RawConfig,
    has_config: bool,
    bert: RawBert,
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
        let bert = texts.bert_json.as_ref().map(|(_, text)| serde_json::from_str(text)).transpose();
        let config = texts.config_yaml.as_deref().map(parse_yaml).transpose()?;
        Ok(Self {
            checkpoint,
            configuration: configuration
                .map_err(|e| json_error("configuration.json", e))?
                .unwrap_or_default(),
            has_config: config.is_some(),
            config: config.unwrap_or_default(),
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

    /// A value that the tensors tell: what a file says must be the same.
    fn agree(
        &self,
        told: usize,
        tensor: &str,
        said: Option<usize>,
        file: &str,
        key: &str,
    ) -> Result<usize, CheckpointError> {
        match said {
            Some(said) if said != told => Err(self.contradiction(
                format!("`{tensor}`, which makes {key} {told},"),
                format!("`{key}: {said}` in {file}"),
            )),
            _ => Ok(told),
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

    fn task(&self, overrides: &ConfigOverrides) -> Result<Task, CheckpointError> {
        if let Some(task) = overrides.task {
            return Ok(task);
        }
        let parse = |name: &Option<String>, file: &str| -> Result<Option<Task>, CheckpointError> {
            let Some(name) = name else { return Ok(None) };
            let task = Task::from_name(name).ok_or_else(|| CheckpointError::Config {
                file: file.to_owned(),
                reason: format!(
                    "`task: {name}` is unknown, expected image-captioning, visual-question-answering or image-text-retrieval"
                ),
            })?;
            Ok(Some(task))
        };
        let first = parse(&self.configuration.task, "configuration.json")?;
        let second = parse(&self.config.task, CONFIG_YAML)?;
        match (first, second) {
            (Some(a), Some(b)) if a != b => Err(CheckpointError::Contradiction {
                first: format!("`task: {a}` in configuration.json"),
                second: format!("`task: {b}` in {CONFIG_YAML}"),
            }),
            (Some(task), _) | (None, Some(task)) => Ok(task),
            (None, None) if self.checkpoint.has("itm_head.weight") && !self.checkpoint.has(DECODER_WORDS) => {
                Ok(Task::ImageTextRetrieval)
            }
            // Captioning and answering have the same decoder: the names cannot tell.
            (None, None) => Ok(Task::ImageCaptioning),
        }
    }

    fn vision(&self, overrides: &ConfigOverrides) -> Result<VisionConfig, CheckpointError> {
        let (conv, table) =
            ("visual_encoder.visual.conv1.weight", "visual_encoder.visual.positional_embedding");
        let [width, channels, patch_size, patch_width] = self.shape(conv)?;
        if channels != 3 || patch_width != patch_size || !width.is_multiple_of(HEAD_DIM) {
            return Err(CheckpointError::WrongShape {
                file: self.checkpoint.label().to_owned(),
                name: conv.into(),
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
        let blocks = "visual_encoder.visual.transformer.resblocks";
        let layers = self.count_layers(blocks);
        self.agree(layers, blocks, self.config.clip_vision_layers, CONFIG_YAML, "clip_vision_layers")?;
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
        let [intermediate_size, _] = self.shape(&format!("{blocks}.0.mlp.c_fc.weight"))?;
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
        let (embeddings, layers) = if task == Task::ImageTextRetrieval {
            ("text_encoder.embeddings", "text_encoder.encoder.layer")
        } else {
            ("text_decoder.bert.embeddings", "text_decoder.bert.encoder.layer")
        };
        let file = self.bert_name.as_str();
        let words = format!("{embeddings}.word_embeddings.weight");
        let [vocab_size, hidden_size] = self.shape(&words)?;
        self.agree(vocab_size, &words, bert.vocab_size, file, "vocab_size")?;
        self.agree(hidden_size, &words, bert.hidden_size, file, "hidden_size")?;
        self.agree(hidden_size, &words, bert.encoder_width, file, "encoder_width")?;
        let positions = format!("{embeddings}.position_embeddings.weight");
        let [max_position_embeddings, _] = self.shape(&positions)?;
        self.agree(
            max_position_embeddings,
            &positions,
            bert.max_position_embeddings,
            file,
            "max_position_embeddings",
        )?;
        let types = format!("{embeddings}.token_type_embeddings.weight");
        let [type_vocab_size, _] = self.shape(&types)?;
        self.agree(type_vocab_size, &types, bert.type_vocab_size, file, "type_vocab_size")?;
        let intermediate = format!("{layers}.0.intermediate.dense.weight");
        let [intermediate_size, _] = self.shape(&intermediate)?;
        self.agree(intermediate_size, &intermediate, bert.intermediate_size, file, "intermediate_size")?;
        let (first_fusion_layer, fusion_layers) = self.fusion(task, overrides)?;
        Ok(TextConfig {
            hidden_size,
            num_attention_heads: self.text_heads(hidden_size)?,
            intermediate_size,
            vocab_size,
            max_position_embeddings,
            type_vocab_size,
            layer_norm_eps: self.layer_norm_eps()?,
            text_encoder_layers: self.layers_of(
                "text_encoder.encoder.layer",
                bert.text_encoder_layers,
                "text_encoder_layers",
                6,
            )?,
            first_fusion_layer,
            fusion_layers,
            connected_stride: self.connected_stride(overrides)?,
            decoder_layers: self.layers_of(
                "text_decoder.bert.encoder.layer",
                bert.text_decode_layers,
                "text_decode_layers",
                12,
            )?,
        })
    }

    /// Layers of a stack: as stored; a stack that is not stored has what the files say.
    fn layers_of(
        &self,
        prefix: &str,
        said: Option<usize>,
        key: &str,
        default: usize,
    ) -> Result<usize, CheckpointError> {
        match self.count_layers(prefix) {
            0 => Ok(said.unwrap_or(default).min(1024)),
            stored => self.agree(stored, prefix, said, &self.bert_name, key),
        }
    }

    /// First fusion layer that runs, and how many run: the last ones.
    fn fusion(&self, task: Task, overrides: &ConfigOverrides) -> Result<(usize, usize), CheckpointError> {
        let prefix = "fusion_encoder.encoder.layer";
        let built = self.layers_of(prefix, self.bert.num_hidden_layers, "num_hidden_layers", 12)?;
        let running = overrides.fusion_layers.or(self.bert.fusion_layers).unwrap_or(6);
        if running > built && overrides.fusion_layers.is_some() && task != Task::ImageCaptioning {
            return Err(self.contradiction(
                format!("{built} fusion layers"),
                format!("the {running} fusion layers asked for"),
            ));
        }
        // The original runs all layers when asked for more than there are.
        let running = running.min(built);
        Ok((built - running, running))
    }

    fn text_heads(&self, hidden_size: usize) -> Result<usize, CheckpointError> {
        let heads = self.bert.num_attention_heads.unwrap_or_else(|| (hidden_size / HEAD_DIM).max(1));
        if heads == 0 || !hidden_size.is_multiple_of(heads) {
            return Err(self.contradiction(
                format!("text width {hidden_size}"),
                format!("`num_attention_heads: {heads}` in {}, which must divide it", self.bert_name),
            ));
        }
        Ok(heads)
    }

    fn layer_norm_eps(&self) -> Result<f32, CheckpointError> {
        let config = |reason: String| CheckpointError::Config { file: self.bert_name.clone(), reason };
        if let Some(act) = self.bert.hidden_act.as_deref().filter(|act| *act != "gelu") {
            return Err(config(format!("`hidden_act: {act}` is not supported, expected gelu")));
        }
        let eps = self.bert.layer_norm_eps.unwrap_or(1e-12);
        if !(0.0..=1.0).contains(&eps) {
            return Err(config(format!("`layer_norm_eps: {eps}` is out of range, expected 0 to 1")));
        }
        Ok(eps)
    }

    fn connected_stride(&self, overrides: &ConfigOverrides) -> Result<usize, CheckpointError> {
        // Nothing in the weights tells: 6 in the large models, 3 in the base ones (SPEC 1.1).
        let default = if self.checkpoint.has("visn_fc.weight") { 6 } else { 3 };
        match overrides.connected_stride.or(self.bert.stride_layer).unwrap_or(default) {
            0 => Err(CheckpointError::Config {
                file: self.bert_name.clone(),
                reason: "`stride_layer: 0` is not possible, expected at least 1".into(),
            }),
            stride => Ok(stride),
        }
    }

    fn projection_size(&self, task: Task) -> Result<usize, CheckpointError> {
        if task != Task::ImageTextRetrieval {
            return Ok(0);
        }
        let name = "vision_proj.weight";
        let [size, _] = self.shape(name)?;
        self.agree(size, name, self.config.embed_dim, CONFIG_YAML, "embed_dim")
    }

    fn generation(&self, task: Task) -> Result<GenerationDefaults, CheckpointError> {
        // The original's defaults (SPEC C5); without a config.yaml those of the research code's captioning scripts.
        let (min, max) = if !self.has_config && task == Task::ImageCaptioning { (8, 25) } else { (1, 10) };
        let generation = GenerationDefaults {
            num_beams: self.config.beam_size.unwrap_or(5),
            min_new_tokens: self.config.min_length.unwrap_or(min),
            max_new_tokens: self.config.max_length.unwrap_or(max),
        };
        if generation.num_beams == 0
            || generation.max_new_tokens == 0
            || generation.min_new_tokens > generation.max_new_tokens
        {
            return Err(CheckpointError::Config {
                file: CONFIG_YAML.into(),
                reason: format!(
                    "`beam_size: {}`, `min_length: {}` and `max_length: {}` are not possible together",
                    generation.num_beams, generation.min_new_tokens, generation.max_new_tokens
                ),
            });
        }
        Ok(generation)
    }
}

/// Channels of a head where the files do not tell the number of heads; always in the visual encoder.
const HEAD_DIM: usize = 64;
/// Most patches along a side: 504 px need 36.
const MAX_GRID: usize = 256;
const DECODER_WORDS: &str = "text_decoder.bert.embeddings.word_embeddings.weight";
