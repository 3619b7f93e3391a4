//! What shape a model has: the original's `config.yaml` and BERT json, checked against the checkpoint's own tensors.
//!
//! Shapes come from the tensors, because the published models' files are not known to us; what the small files say
//! too must agree, and a contradiction is an error that names both. What only the files can say (task, picture size,
//! connected stride, generation settings) is read from them, with the original's defaults.
//!
//! Names follow the field's words; the original's spellings (`stride_layer`, `image_res`, …) appear only here.

mod files;
mod language;
mod languages;
mod resolve;

use std::collections::BTreeMap;

pub use files::ConfigTexts;
pub use language::{Language, UnknownLanguage};
pub use languages::{Languages, LanguagesError};
pub use resolve::ConfigOverrides;
pub(crate) use resolve::FoundTask;

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

    /// All of them.
    pub const ALL: [Self; 3] =
        [Self::ImageCaptioning, Self::VisualQuestionAnswering, Self::ImageTextRetrieval];

    /// The task of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|task| task.name() == name)
    }
}

/// A text that names no task.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a task, `image-captioning`, `visual-question-answering` or `image-text-retrieval`, found `{found}`"
)]
pub struct UnknownTask {
    /// The text.
    pub found: String,
}

impl std::str::FromStr for Task {
    type Err = UnknownTask;

    fn from_str(name: &str) -> Result<Self, UnknownTask> {
        Self::from_name(name).ok_or_else(|| UnknownTask { found: name.to_owned() })
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
    /// Heads of 64 channels each (`hidden_size / 64`, as in CLIP).
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
    /// Epsilon of the layer norms of the BERT-like stacks and of the decoder's head (1e-12 in BERT). The visual encoder's and
    /// that of the visual projection are fixed.
    pub layer_norm_eps: f32,
    /// Layers of the text encoder.
    pub text_encoder_layers: usize,
    /// Index of the first fusion layer that runs; those before it are stored but never run.
    pub first_fusion_layer: usize,
    /// Fusion layers that run.
    pub fusion_layers: usize,
    /// Every how many fusion layers one attends over image and text together (the original's `stride_layer`); none does where
    /// this is not less than `fusion_layers`.
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
    /// What a model of several languages is given before it writes, by language (`en`); nothing before its first language.
    pub prompts: BTreeMap<String, String>,
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
    /// Width of the shared embedding space of retrieval models (256); 0 for the other tasks, and for a retrieval model
    /// without projections into it, which can match and has no features.
    pub projection_size: usize,
    /// Beam width and lengths.
    pub generation: GenerationDefaults,
    /// Length to which questions are padded and cut (25).
    pub max_text_len: usize,
}

/// The length to which the original pads and cuts questions.
const MAX_TEXT_LEN: usize = 25;

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
    let chinese = vocabulary_tokens(vocabulary).filter(|token| is_cjk(token.trim())).count();
    if tokens == CHINESE_VOCABULARY || chinese * 5 > tokens { Language::Chinese } else { Language::English }
}

/// Number of tokens of a `vocab.txt`: its lines, the last one with or without a line end.
pub fn vocabulary_size(vocabulary: &str) -> usize {
    vocabulary_tokens(vocabulary).count()
}

/// The tokens of a `vocab.txt` in the order of their ids: its lines as Python reads them, which end in `\n`, `\r\n` or `\r`.
/// A blank line is a token without characters.
pub fn vocabulary_tokens(vocabulary: &str) -> impl Iterator<Item = &str> {
    let mut rest = vocabulary;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (token, after) = rest.split_at(rest.find(['\n', '\r']).unwrap_or(rest.len()));
        rest = after.strip_prefix("\r\n").or(after.strip_prefix(['\n', '\r'])).unwrap_or(after);
        Some(token)
    })
}

impl ModelConfig {
    /// The Chinese base captioning model as far as it is known: ViT-B/16 at 384 px, bert-base-chinese's
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
            generation: GenerationDefaults {
                num_beams: 5,
                min_new_tokens: 8,
                max_new_tokens: 25,
                prompts: BTreeMap::new(),
            },
            max_text_len: MAX_TEXT_LEN,
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
            generation: GenerationDefaults {
                num_beams: 5,
                min_new_tokens: 1,
                max_new_tokens: 12,
                prompts: BTreeMap::new(),
            },
            max_text_len: MAX_TEXT_LEN,
        }
        .with_task(task)
    }

    /// This shape for another task.
    #[must_use]
    pub fn with_task(self, task: Task) -> Self {
        let projection_size = if task == Task::ImageTextRetrieval { 256 } else { 0 };
        Self { task, projection_size, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_and_precisions_are_read_by_the_names_that_they_print() {
        use crate::Precision;

        for task in Task::ALL {
            assert_eq!(task.to_string().parse(), Ok(task));
        }
        for precision in Precision::ALL {
            assert_eq!(precision.to_string().parse(), Ok(precision));
        }
        assert!("captioning".parse::<Task>().unwrap_err().to_string().ends_with("found `captioning`"));
        assert!("f16".parse::<Precision>().unwrap_err().to_string().ends_with("found `f16`"));
    }

    #[test]
    fn the_lines_of_a_vocabulary_are_pythons() {
        let tokens = |text| vocabulary_tokens(text).collect::<Vec<_>>();
        assert_eq!(tokens("a\nb\n"), ["a", "b"]);
        assert_eq!(tokens("a\nb"), ["a", "b"]);
        assert_eq!(tokens("a\r\nb\rc\n\r"), ["a", "b", "c", ""]);
        assert_eq!(tokens("\n\na \n\n"), ["", "", "a ", ""]);
        assert_eq!(tokens("a\u{2028}b\u{85}c\u{c}d"), ["a\u{2028}b\u{85}c\u{c}d"]);
        assert_eq!(tokens(""), [""; 0]);
    }
}
