//! The network of a run: one to start from, or the shape of a fresh one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mplug::config::{GenerationDefaults, ModelConfig, Task, TextConfig, VisionConfig};
use mplug_nn::Parts;
use serde::{Deserialize, Serialize};

use super::check::{check_dropout, ensure};
use crate::error::TrainError;

/// A model to start from: its shape, its vocabulary and its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartSection {
    /// The folder of a model: ours, or an original one. It must have what the objective trains; heads that it lacks are
    /// drawn afresh.
    pub model: Option<PathBuf>,
    /// Instead of a model: a CLIP's weight file, for the visual encoder.
    pub clip: Option<PathBuf>,
    /// Instead of a model: the folder of a BERT, for everything else.
    pub bert: Option<PathBuf>,
    /// Side of the square picture in pixels, for which the position embeddings are resized; the model's own if absent.
    pub image_size: Option<usize>,
    /// Longest text in tokens, the start and end tokens included.
    #[serde(default = "default_text_tokens")]
    pub max_text_tokens: usize,
    /// Size of the space that pictures and texts share, for a model without one (the original's `embed_dim`): 256 if absent.
    pub shared_size: Option<usize>,
    /// Dropout of the text side.
    #[serde(default)]
    pub dropout: f32,
    /// Dropout of the visual encoder's attention (the research code has 0.1 where ModelScope has none).
    #[serde(default)]
    pub visual_attention_dropout: f32,
    /// Captioning: whether the model's text encoder, fusion encoder and heads, which captions do without, are written beside
    /// what was trained, as they are.
    #[serde(default)]
    pub keep_encoders: bool,
}

impl StartSection {
    /// There is something to keep that training does not keep by itself.
    pub(super) fn check_kept(&self, task: Task) -> Result<(), TrainError> {
        let is_kept = self.model.is_some() && task == Task::ImageCaptioning;
        ensure(!self.keep_encoders || is_kept, "start.keep_encoders", || {
            let expected = "false but for captions with `start.model`: other tasks train these parts";
            (expected.to_owned(), "true".to_owned())
        })
    }
}

fn default_text_tokens() -> usize {
    25
}

/// Widths and layers that no network needs: beyond them is a slip of the keyboard.
const MOST_WIDE: usize = 1 << 16;
const MOST_LAYERS: usize = 1 << 10;

/// The shape of a new network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSection {
    /// The folder of a model whose weights are taken where name and shape are the same, and of tables by token the rows of
    /// the tokens that both know; all others are drawn. Nothing is taken if absent.
    pub weights: Option<PathBuf>,
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
    /// Layers of the text encoder.
    #[serde(default = "default_layers")]
    pub text_encoder_layers: usize,
    /// Layers of the fusion encoder.
    #[serde(default = "default_layers")]
    pub fusion_layers: usize,
    /// The number of fusion layers from one that attends over picture and text together to the next; the first layer never does.
    #[serde(default = "default_stride")]
    pub connected_stride: usize,
    /// Size of the space that pictures and texts share (the original's `embed_dim`).
    #[serde(default = "default_shared_size")]
    pub shared_size: usize,
    /// Layers of the decoder, for objectives that have one.
    #[serde(default)]
    pub decoder_layers: usize,
    /// Longest text in tokens, the start and end tokens included.
    pub max_position_embeddings: usize,
    /// Dropout of the text side.
    #[serde(default)]
    pub dropout: f32,
    /// Dropout of the visual encoder's attention.
    #[serde(default)]
    pub visual_attention_dropout: f32,
}

fn default_layers() -> usize {
    1
}

fn default_stride() -> usize {
    3
}

pub(crate) fn default_shared_size() -> usize {
    256
}

impl ModelSection {
    /// Checks what types cannot say, of a network with these parts.
    pub(super) fn check(&self, parts: Parts) -> Result<(), TrainError> {
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
        check_dropout("model.dropout", model.dropout)?;
        check_dropout("model.visual_attention_dropout", model.visual_attention_dropout)?;
        ensure(model.max_position_embeddings >= 3, "model.max_position_embeddings", || {
            ("at least 3".to_owned(), model.max_position_embeddings.to_string())
        })?;
        for (field, value, most) in [
            ("model.text_intermediate", model.text_intermediate, MOST_WIDE),
            ("model.text_width", model.text_width, MOST_WIDE),
            ("model.vision_width", model.vision_width, MOST_WIDE),
            ("model.max_position_embeddings", model.max_position_embeddings, MOST_WIDE),
            ("model.shared_size", model.shared_size, MOST_WIDE),
            ("model.decoder_layers", model.decoder_layers + usize::from(!parts.text_decoder), MOST_LAYERS),
            ("model.text_encoder_layers", model.text_encoder_layers, MOST_LAYERS),
            ("model.fusion_layers", model.fusion_layers, MOST_LAYERS),
            ("model.connected_stride", model.connected_stride, usize::MAX),
            ("model.vision_layers", model.vision_layers, MOST_LAYERS),
        ] {
            ensure((1..=most).contains(&value), field, || {
                let most = if most == usize::MAX { String::new() } else { format!(" and at most {most}") };
                (format!("at least 1{most}"), value.to_string())
            })?;
        }
        Ok(())
    }

    /// The network's configuration for `task` with a vocabulary of `vocab_size` tokens.
    pub fn model_config(&self, task: Task, vocab_size: usize) -> ModelConfig {
        ModelConfig {
            task,
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
                text_encoder_layers: self.text_encoder_layers,
                first_fusion_layer: 0,
                fusion_layers: self.fusion_layers,
                connected_stride: self.connected_stride,
                // A folder's configuration has a decoder, whether it has the weights of one or not.
                decoder_layers: self.decoder_layers.max(1),
            },
            has_visual_projection: self.vision_width != self.text_width,
            projection_size: if task == Task::ImageTextRetrieval { self.shared_size } else { 0 },
            generation: GenerationDefaults {
                num_beams: 5,
                min_new_tokens: 1,
                max_new_tokens: self.max_position_embeddings - 1,
                prompts: BTreeMap::new(),
            },
            max_text_len: self.max_position_embeddings,
        }
    }
}
