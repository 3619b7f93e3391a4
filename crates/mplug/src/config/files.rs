//! The small files of a model folder with the original's spellings: how they are read, and how they are written so that
//! the original reads them too. What they mean for a model is `resolve`'s matter.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path};

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::{DuplicateKeyPolicy, UserMessageFormatter};

use super::{ModelConfig, Task};
use crate::checkpoint::CheckpointError;

/// The texts of a model folder's configuration files, those that are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigTexts {
    /// `configuration.json`.
    pub configuration_json: Option<String>,
    /// `config.yaml`.
    pub config_yaml: Option<String>,
    /// Path below the folder (`/` between its parts) and text of the BERT json.
    pub bert_json: Option<(String, String)>,
}

/// `configuration.json`, the part that matters here.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RawConfiguration {
    pub(super) task: Option<String>,
}

/// `config.yaml` with the original's spellings; other keys are for training. Of a key that stands twice the last one counts, as
/// for PyYAML.
#[derive(Debug, Default)]
pub(super) struct RawConfig {
    pub(super) task: Option<String>,
    pub(super) bert_config: Option<String>,
    pub(super) image_res: Option<usize>,
    pub(super) vision_width: Option<usize>,
    pub(super) clip_vision_width: Option<usize>,
    pub(super) clip_vision_patch_size: Option<usize>,
    pub(super) clip_vision_layers: Option<usize>,
    clip_name: Option<String>,
    pub(super) embed_dim: Option<usize>,
    pub(super) min_length: Option<usize>,
    pub(super) max_length: Option<usize>,
    pub(super) beam_size: Option<usize>,
    /// Not the original's: what is given before a text in each language.
    pub(super) prompts: BTreeMap<String, String>,
}

/// By hand, because a derived one refuses a key that stands twice.
impl<'de> Deserialize<'de> for RawConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;

        impl<'de> Visitor<'de> for Keys {
            type Value = RawConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("keys and values")
            }

            /// An empty file.
            fn visit_unit<E>(self) -> Result<RawConfig, E> {
                Ok(RawConfig::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawConfig, A::Error> {
                let mut raw = RawConfig::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "task" => raw.task = map.next_value()?,
                        "bert_config" => raw.bert_config = map.next_value()?,
                        "image_res" => raw.image_res = map.next_value()?,
                        "vision_width" => raw.vision_width = map.next_value()?,
                        "clip_vision_width" => raw.clip_vision_width = map.next_value()?,
                        "clip_vision_patch_size" => raw.clip_vision_patch_size = map.next_value()?,
                        "clip_vision_layers" => raw.clip_vision_layers = map.next_value()?,
                        "clip_name" => raw.clip_name = map.next_value()?,
                        "embed_dim" => raw.embed_dim = map.next_value()?,
                        "min_length" => raw.min_length = map.next_value()?,
                        "max_length" => raw.max_length = map.next_value()?,
                        "beam_size" => raw.beam_size = map.next_value()?,
                        "prompts" => raw.prompts = map.next_value()?,
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(raw)
            }
        }

        deserializer.deserialize_map(Keys)
    }
}

impl RawConfig {
    /// Whether the original builds a model of this shape from the file, in which what is missing has the defaults of its
    /// `MPlugConfig`.
    fn builds(&self, config: &ModelConfig) -> bool {
        let v = &config.vision;
        let sizes = [
            self.image_res.unwrap_or(504),
            self.vision_width.unwrap_or(1024),
            self.clip_vision_width.unwrap_or(1024),
            self.clip_vision_patch_size.unwrap_or(14),
            self.clip_vision_layers.unwrap_or(24),
        ];
        let task = self.task.as_deref().unwrap_or(Task::VisualQuestionAnswering.name());
        let clip_name = self.clip_name.as_deref().unwrap_or("ViT-L-14");
        sizes == [v.image_size, v.hidden_size, v.hidden_size, v.patch_size, v.num_hidden_layers]
            && task == config.task.name()
            && clip_name.contains("ViT-B-16") == (v.patch_size == 16)
    }
}

/// The BERT json with the original's spellings.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RawBert {
    pub(super) hidden_size: Option<usize>,
    pub(super) num_attention_heads: Option<usize>,
    pub(super) intermediate_size: Option<usize>,
    pub(super) vocab_size: Option<usize>,
    pub(super) max_position_embeddings: Option<usize>,
    pub(super) type_vocab_size: Option<usize>,
    pub(super) layer_norm_eps: Option<f32>,
    pub(super) hidden_act: Option<String>,
    pub(super) encoder_width: Option<usize>,
    pub(super) num_hidden_layers: Option<usize>,
    pub(super) text_encoder_layers: Option<usize>,
    pub(super) fusion_layers: Option<usize>,
    pub(super) stride_layer: Option<usize>,
    pub(super) text_decode_layers: Option<usize>,
    pub(super) position_embedding_type: Option<String>,
    pub(super) tie_word_embeddings: Option<bool>,
}

/// What the original takes for a key that a BERT json lacks: the defaults of transformers' `BertConfig`, and of its own
/// `getattr(config, 'stride_layer', 100)`, with which no layer is a connected one.
pub(super) mod bert_default {
    pub(in crate::config) const HIDDEN_SIZE: usize = 768;
    pub(in crate::config) const ATTENTION_HEADS: usize = 12;
    pub(in crate::config) const LAYERS: usize = 12;
    pub(in crate::config) const INTERMEDIATE_SIZE: usize = 3072;
    pub(in crate::config) const VOCAB_SIZE: usize = 30522;
    pub(in crate::config) const POSITIONS: usize = 512;
    pub(in crate::config) const TOKEN_TYPES: usize = 2;
    pub(in crate::config) const LAYER_NORM_EPS: f32 = 1e-12;
    pub(in crate::config) const STRIDE: usize = 100;
}

impl RawBert {
    /// Whether the original builds a model of this shape from the file. What is missing has its defaults, and five keys have
    /// none: without them it fails.
    fn builds(&self, config: &ModelConfig) -> bool {
        use bert_default as default;
        let t = &config.text;
        let built = t.first_fusion_layer + t.fusion_layers;
        let sizes = [
            (self.hidden_size, default::HIDDEN_SIZE, t.hidden_size),
            (self.num_attention_heads, default::ATTENTION_HEADS, t.num_attention_heads),
            (self.intermediate_size, default::INTERMEDIATE_SIZE, t.intermediate_size),
            (self.vocab_size, default::VOCAB_SIZE, t.vocab_size),
            (self.max_position_embeddings, default::POSITIONS, t.max_position_embeddings),
            (self.type_vocab_size, default::TOKEN_TYPES, t.type_vocab_size),
            (self.num_hidden_layers, default::LAYERS, built),
            (self.stride_layer, default::STRIDE, t.connected_stride),
        ];
        // The original runs all fusion layers when more are requested than there are.
        let runs = |layers: usize| layers.min(built) == t.fusion_layers;
        sizes.iter().all(|(said, default, wanted)| said.unwrap_or(*default) == *wanted)
            && self.layer_norm_eps.unwrap_or(default::LAYER_NORM_EPS).to_bits() == t.layer_norm_eps.to_bits()
            && self.encoder_width == Some(t.hidden_size)
            && self.text_encoder_layers == Some(t.text_encoder_layers)
            && self.text_decode_layers == Some(t.decoder_layers)
            && self.fusion_layers.is_some_and(runs)
    }
}

pub(super) const CONFIG_YAML: &str = "config.yaml";
const BERT_JSON: &str = "config_bert.json";

pub(super) fn parse_yaml(text: &str) -> Result<RawConfig, CheckpointError> {
    let options = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::LastWins };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| CheckpointError::Config {
        file: CONFIG_YAML.into(),
        // Without the crate's own settings and pieces of the file.
        reason: error.without_snippet().render_with_formatter(&UserMessageFormatter),
    })
}

pub(super) fn parse_bert_json(text: &str) -> Result<RawBert, serde_json::Error> {
    serde_json::from_str(text)
}

impl ConfigTexts {
    /// Where in the model folder the BERT json lies that a `config.yaml` names, `/` between the parts of the path. The
    /// original joins the folder and the name; a name that leads out of the folder is refused here.
    ///
    /// # Errors
    /// If the YAML cannot be read, or the name leads out of the folder.
    pub fn bert_json_name(config_yaml: Option<&str>) -> Result<Option<String>, CheckpointError> {
        let Some(text) = config_yaml else { return Ok(None) };
        let Some(named) = parse_yaml(text)?.bert_config else { return Ok(None) };
        let part = |component: Component<'_>| match component {
            Component::Normal(part) => Some(part.to_str()?.to_owned()),
            _ => None,
        };
        let parts = Path::new(&named).components().filter(|component| *component != Component::CurDir);
        let parts: Option<Vec<String>> = parts.map(part).collect();
        match parts.filter(|parts| !parts.is_empty() && !named.contains('\\')) {
            Some(parts) => Ok(Some(parts.join("/"))),
            None => Err(CheckpointError::Config {
                file: CONFIG_YAML.into(),
                reason: format!(
                    "`bert_config: {named}` is no path of a file in the model folder; expected one below it, with `/` \
                     between its parts and without `..`, such as {BERT_JSON} or configs/{BERT_JSON}"
                ),
            }),
        }
    }

    /// The files as the original needs them: all three there, and a `config.yaml` and a BERT json from which it builds this
    /// very model. One that says less than that, such as those of the research code, is replaced by a description.
    pub(crate) fn for_original(&self, config: &ModelConfig) -> Result<Self, CheckpointError> {
        let described = Self::describing(config);
        let named = Self::bert_json_name(self.config_yaml.as_deref())?;
        let raw = self.config_yaml.as_deref().map(parse_yaml).transpose()?;
        let (config_yaml, named) = match raw.filter(|raw| raw.builds(config)) {
            Some(_) => (self.config_yaml.clone(), named),
            None => (described.config_yaml, None),
        };
        let builds = |text: &String| parse_bert_json(text).is_ok_and(|raw| raw.builds(config));
        let bert_json = self.bert_json.as_ref().map(|(_, text)| text.clone()).filter(builds);
        let bert_json = bert_json.or(described.bert_json.map(|(_, text)| text));
        Ok(Self {
            configuration_json: self.configuration_json.clone().or(described.configuration_json),
            config_yaml,
            bert_json: bert_json.map(|text| (named.unwrap_or_else(|| BERT_JSON.to_owned()), text)),
        })
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
        if !g.prompts.is_empty() {
            // JSON is YAML.
            yaml.extend(["prompts: ", &serde_json::json!(g.prompts).to_string(), "\n"]);
        }
        if v.patch_size == 16 {
            // CLIP's text tower, which the original always builds and never runs; without these it gets ViT-L/14's size.
            yaml.push_str("clip_embed_dim: 512\nclip_transformer_width: 512\nclip_transformer_heads: 8\n");
        }
        if config.task == Task::VisualQuestionAnswering {
            // Momentum models are not ours to give, and the original would make them from its random start.
            yaml.push_str("distill: false\n");
        }
        if config.task == Task::ImageTextRetrieval {
            if config.projection_size > 0 {
                yaml.extend(["embed_dim: ", &config.projection_size.to_string(), "\n"]);
            }
            yaml.push_str("momentum: 0.995\n");
        }
        let bert = serde_json::json!({
            "architectures": ["BertForMaskedLM"], "model_type": "bert", "hidden_act": "gelu",
            "hidden_size": t.hidden_size, "num_attention_heads": t.num_attention_heads,
            "intermediate_size": t.intermediate_size, "vocab_size": t.vocab_size,
            "max_position_embeddings": t.max_position_embeddings, "type_vocab_size": t.type_vocab_size,
            "layer_norm_eps": shortest_f64(t.layer_norm_eps),
            "pad_token_id": 0, "encoder_width": t.hidden_size,
            "num_hidden_layers": t.first_fusion_layer + t.fusion_layers,
            "text_encoder_layers": t.text_encoder_layers, "fusion_layers": t.fusion_layers,
            "text_decode_layers": t.decoder_layers, "stride_layer": t.connected_stride,
            "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "initializer_range": 0.02,
        });
        Self {
            configuration_json: Some(format!("{configuration:#}\n")),
            config_yaml: Some(yaml),
            bert_json: Some((BERT_JSON.into(), format!("{bert:#}\n"))),
        }
    }
}

/// The f64 that reads as the same decimal number: 1e-12 stays 1e-12.
fn shortest_f64(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}
