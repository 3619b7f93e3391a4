//! The facts of a model and of a weight file, as JSON has them and as lines for people.

use std::collections::BTreeMap;
use std::io::{self, Write};

use mplug::checkpoint::{ModelFolder, Summary};
use mplug::tasks::languages_of;
use serde::Serialize;

use super::lines::{grouped, line};
use crate::model::{command_of, task_name};

/// What the model is.
#[derive(Serialize)]
pub(super) struct ModelFacts {
    task: &'static str,
    command: &'static str,
    language: String,
    /// Codes: that of the vocabulary, then those of the prompts.
    languages: Vec<String>,
    vision: VisionFacts,
    text: TextFacts,
    generation: GenerationFacts,
    #[serde(skip)]
    task_in_words: &'static str,
}

#[derive(Serialize)]
struct VisionFacts {
    image_size: usize,
    patch_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
}

#[derive(Serialize)]
struct TextFacts {
    hidden_size: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    vocab_size: usize,
    max_position_embeddings: usize,
    text_encoder_layers: usize,
    fusion_layers: usize,
    connected_stride: usize,
    decoder_layers: usize,
}

#[derive(Serialize)]
struct GenerationFacts {
    num_beams: usize,
    min_new_tokens: usize,
    max_new_tokens: usize,
    /// Languages that the model writes when it is given a prompt.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    prompts: BTreeMap<String, String>,
}

/// What the weight file holds.
#[derive(Serialize)]
pub(super) struct WeightFacts {
    format: String,
    file_bytes: u64,
    #[serde(skip_serializing_if = "is_one")]
    files: usize,
    tensors: usize,
    parameters: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters_used: Option<usize>,
    /// Values by stored type.
    dtypes: BTreeMap<String, usize>,
    has_momentum_models: bool,
    unused: Vec<UnusedFacts>,
}

#[derive(Serialize)]
struct UnusedFacts {
    prefix: String,
    tensors: usize,
    parameters: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it")]
fn is_one(files: &usize) -> bool {
    *files == 1
}

impl ModelFacts {
    /// The facts of a model.
    pub(super) fn new(folder: &ModelFolder) -> Self {
        let config = &folder.config;
        let languages: Vec<String> = languages_of(folder).into_iter().map(str::to_owned).collect();
        let name = |code: &String| match code.as_str() {
            "zh" => "Chinese".to_owned(),
            "en" => "English".to_owned(),
            other => other.to_owned(),
        };
        let (vision, text, generation) = (&config.vision, &config.text, &config.generation);
        Self {
            task: config.task.name(),
            command: command_of(config.task),
            language: languages.iter().map(name).collect::<Vec<_>>().join(" and "),
            languages,
            vision: VisionFacts {
                image_size: vision.image_size,
                patch_size: vision.patch_size,
                hidden_size: vision.hidden_size,
                num_hidden_layers: vision.num_hidden_layers,
                num_attention_heads: vision.num_attention_heads,
                intermediate_size: vision.intermediate_size,
            },
            text: TextFacts {
                hidden_size: text.hidden_size,
                num_attention_heads: text.num_attention_heads,
                intermediate_size: text.intermediate_size,
                vocab_size: text.vocab_size,
                max_position_embeddings: text.max_position_embeddings,
                text_encoder_layers: text.text_encoder_layers,
                fusion_layers: text.fusion_layers,
                connected_stride: text.connected_stride,
                decoder_layers: text.decoder_layers,
            },
            generation: GenerationFacts {
                num_beams: generation.num_beams,
                min_new_tokens: generation.min_new_tokens,
                max_new_tokens: generation.max_new_tokens,
                prompts: generation.prompts.clone(),
            },
            task_in_words: task_name(config.task),
        }
    }
}

impl From<Summary> for WeightFacts {
    fn from(summary: Summary) -> Self {
        Self {
            format: summary.format.to_string(),
            file_bytes: summary.file_len,
            files: summary.num_files,
            tensors: summary.num_tensors,
            parameters: summary.num_parameters,
            parameters_used: summary.num_parameters_used,
            dtypes: summary.dtypes.into_iter().map(|(dtype, values)| (dtype.to_string(), values)).collect(),
            has_momentum_models: summary.has_momentum_models,
            unused: summary
                .unused
                .into_iter()
                .map(|group| UnusedFacts {
                    prefix: group.prefix,
                    tensors: group.num_tensors,
                    parameters: group.num_parameters,
                })
                .collect(),
        }
    }
}

impl ModelFacts {
    /// A line a fact.
    pub(super) fn write_text(&self, to: &mut dyn Write) -> io::Result<()> {
        let (vision, text, generation) = (&self.vision, &self.text, &self.generation);
        line(to, "task", &format!("{}: `mplug {}`", self.task_in_words, self.command))?;
        line(to, "language", &format!("{}, {} tokens", self.language, text.vocab_size))?;
        let sizes = format!(
            "{0}x{0} pixels, patches of {1}, {2} layers of width {3} with {4} heads",
            vision.image_size,
            vision.patch_size,
            vision.num_hidden_layers,
            vision.hidden_size,
            vision.num_attention_heads
        );
        line(to, "pictures", &sizes)?;
        let connected = if text.connected_stride < text.fusion_layers {
            format!("connected every {}", text.connected_stride)
        } else {
            "none connected".to_owned()
        };
        let sizes = format!(
            "width {} with {} heads; {} text, {} fusion ({connected}), {} decoder layers; {} positions",
            text.hidden_size,
            text.num_attention_heads,
            text.text_encoder_layers,
            text.fusion_layers,
            text.decoder_layers,
            text.max_position_embeddings
        );
        line(to, "text", &sizes)?;
        let prompts =
            generation.prompts.iter().map(|(language, prompt)| format!("; {language} after `{prompt}`"));
        let sizes = format!(
            "{} beams, {} to {} new tokens{}",
            generation.num_beams,
            generation.min_new_tokens,
            generation.max_new_tokens,
            prompts.collect::<String>()
        );
        line(to, "generation", &sizes)
    }
}

impl WeightFacts {
    /// A line a fact.
    pub(super) fn write_text(&self, to: &mut dyn Write) -> io::Result<()> {
        let of = if self.files == 1 { String::new() } else { format!(" in {} files", self.files) };
        line(to, "file", &format!("{}, {} bytes{of}", self.format, grouped(self.file_bytes as usize)))?;
        let used = self.parameters_used.map_or_else(String::new, |used| format!(", {} used", grouped(used)));
        line(to, "parameters", &format!("{} in {} tensors{used}", grouped(self.parameters), self.tensors))?;
        let dtypes: Vec<_> =
            self.dtypes.iter().map(|(dtype, values)| format!("{} {dtype}", grouped(*values))).collect();
        line(to, "stored as", &dtypes.join(", "))?;
        if self.has_momentum_models {
            line(to, "momentum models", "stored, never used here")?;
        }
        for group in &self.unused {
            let size =
                format!("{} in {} tensors: {}", grouped(group.parameters), group.tensors, group.prefix);
            line(to, "not used", &size)?;
        }
        Ok(())
    }
}
