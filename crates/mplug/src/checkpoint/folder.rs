//! A model folder (the original's layout): `configuration.json`, `config.yaml`, the BERT json that it names, `vocab.txt`
//! and one weight file. Opens a folder, a bare weight file with its `vocab.txt` beside it, or parts embedded in a binary;
//! writes a folder whole or not at all. Which small files there are and how they are read is `small_files`' matter.
//!
//! Opening is strict: the weights must hold what the configuration requires, in its shapes; everything wrong is reported at
//! once. Tensors that are neither needed nor on the written list of superfluous ones are kept in a list, which callers show or
//! refuse. What the original takes and a person should know is a note. This file knows no tokenizer: the vocabulary is counted.

mod int8;
mod locate;
mod place;
mod tensors;
mod write;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use mplug_kernels::gemm::Precision;

pub use self::int8::write_int8_model_folder;
use self::locate::locate;
pub use self::locate::{has_weights, is_weight_file};
pub use self::write::{
    Keep, TokenizerTexts, WriteOptions, Written, write_model_folder, write_model_folder_of,
};
use super::adapter::is_adapter;
use super::expected::needed_tensors;
use super::key_names::is_never_needed;
use super::small_files::{BERT_JSON, FolderNote, SmallFiles};
use super::weights::square_grid;
use super::{Checkpoint, CheckpointError, Mismatch};
use crate::config::{ConfigOverrides, ConfigTexts, FoundTask, ModelConfig};

/// An opened model: its configuration, checked against its weights, and its vocabulary.
#[derive(Debug)]
pub struct ModelFolder {
    /// The folder; for embedded models a made-up name, at which nothing is ever looked up.
    pub path: PathBuf,
    /// The model's shape.
    pub config: ModelConfig,
    checkpoint: Checkpoint,
    files: SmallFiles,
    notes: Vec<FolderNote>,
    unexpected: Vec<String>,
}

/// The parts of a model that is embedded in a binary.
#[derive(Clone, Copy, Debug)]
pub struct ModelParts {
    /// A safetensors (or PyTorch) file.
    pub weights: &'static [u8],
    /// `vocab.txt`.
    pub vocabulary: &'static str,
    /// `configuration.json`, if there is one.
    pub configuration_json: Option<&'static str>,
    /// `config.yaml`, if there is one.
    pub config_yaml: Option<&'static str>,
    /// The BERT json, if there is one.
    pub bert_json: Option<&'static str>,
}

impl ModelFolder {
    /// Opens a model folder, or a weight file with `vocab.txt` (and, where present, the other small files) beside it.
    pub fn open(path: impl AsRef<Path>, overrides: &ConfigOverrides) -> Result<Self, CheckpointError> {
        if is_adapter(path.as_ref()) {
            return Err(CheckpointError::NotAModelFolder {
                path: path.as_ref().to_owned(),
                reason: "it holds an adapter: open the model that it was trained on, and give this folder as the adapter".into(),
            });
        }
        let (folder, weights) = locate(path.as_ref())?;
        let checkpoint = Checkpoint::open(&weights)?;
        let files = SmallFiles::read(&folder, &weights)?;
        Self::checked(folder, checkpoint, files, overrides)
    }

    /// Opens a model whose files are embedded in the binary.
    pub fn from_parts(parts: &ModelParts, overrides: &ConfigOverrides) -> Result<Self, CheckpointError> {
        let checkpoint = Checkpoint::from_static(parts.weights)?;
        let texts = ConfigTexts {
            configuration_json: parts.configuration_json.map(str::to_owned),
            config_yaml: parts.config_yaml.map(str::to_owned),
            bert_json: parts.bert_json.map(|text| (BERT_JSON.to_owned(), text.to_owned())),
        };
        let files = SmallFiles { texts, vocabulary: parts.vocabulary.to_owned(), tokenizer_config: None };
        Self::checked("built-in model".into(), checkpoint, files, overrides)
    }

    /// A model of known configuration whose weights are in memory or in a file opened already, as after training.
    pub fn from_checkpoint(
        config: &ModelConfig,
        checkpoint: Checkpoint,
        vocabulary: String,
    ) -> Result<Self, CheckpointError> {
        let files = SmallFiles { texts: ConfigTexts::describing(config), vocabulary, tokenizer_config: None };
        Self::checked("model in memory".into(), checkpoint, files, &ConfigOverrides::default())
    }

    fn checked(
        path: PathBuf,
        checkpoint: Checkpoint,
        mut files: SmallFiles,
        overrides: &ConfigOverrides,
    ) -> Result<Self, CheckpointError> {
        let config = ModelConfig::resolve(&checkpoint, &files.texts, overrides)?;
        let unexpected = check_tensors(&checkpoint, &config)?;
        let mut notes = files.notes(&path, &config, overrides);
        if overrides.task.is_none()
            && overrides.fallback_task.is_none()
            && let Some((named, file)) = FoundTask::of(&checkpoint, &files.texts)?.unknown
        {
            notes.push(FolderNote::OtherTask { path: path.join(file), named, task: config.task });
        }
        if (ConfigOverrides { fallback_task: None, ..overrides.clone() }) != ConfigOverrides::default() {
            // What is written from this folder must say what was requested.
            files.texts = ConfigTexts::describing(&config);
        }
        Ok(Self { path, config, checkpoint, files, notes, unexpected })
    }

    /// The weights.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    pub(super) fn checkpoint_mut(&mut self) -> &mut Checkpoint {
        &mut self.checkpoint
    }

    /// Names of the weights that the model neither uses nor knows, sorted. The original prints such names and goes on.
    pub fn unexpected(&self) -> &[String] {
        &self.unexpected
    }

    /// For those who want exactly the weights that they know.
    ///
    /// # Errors
    /// [`CheckpointError::Mismatch`] where there are [unexpected](Self::unexpected) ones.
    pub fn refuse_unexpected(&self) -> Result<(), CheckpointError> {
        if self.unexpected.is_empty() {
            return Ok(());
        }
        let mismatch = Mismatch { unexpected: self.unexpected.clone(), ..Mismatch::default() };
        Err(CheckpointError::Mismatch { file: self.checkpoint.label().to_owned(), mismatch })
    }

    /// The precision that the weights are stored for: int8 where they are int8, else f32.
    pub fn stored_precision(&self) -> Precision {
        if self.checkpoint.is_quantized() { Precision::Int8 } else { Precision::F32 }
    }

    /// The text of `vocab.txt`, one token a line.
    pub fn vocabulary(&self) -> &str {
        &self.files.vocabulary
    }

    /// The text of `tokenizer_config.json`, if the folder has one.
    pub fn tokenizer_config(&self) -> Option<&str> {
        self.files.tokenizer_config.as_deref()
    }

    /// What messages call a file of this folder: its path, which for an embedded model is a made-up one.
    pub(crate) fn label(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// What a person should know of this folder, though the original works with it too.
    pub fn notes(&self) -> &[FolderNote] {
        &self.notes
    }
}

/// Checks that everything that the model needs is there with its shape. Returns the names of what it does not know.
fn check_tensors(checkpoint: &Checkpoint, config: &ModelConfig) -> Result<Vec<String>, CheckpointError> {
    let mut mismatch = Mismatch::default();
    let mut needed = HashSet::new();
    for (name, shape) in needed_tensors(config) {
        match checkpoint.shape(&name) {
            None => mismatch.missing.push(name.clone()),
            Some(found) if fits(&name, &shape, found) => {}
            Some(found) => mismatch.wrong_shape.push((name.clone(), shape, found.to_vec())),
        }
        needed.insert(name);
    }
    let left = checkpoint.names().filter(|name| !needed.contains(*name) && !is_never_needed(config, name));
    mismatch.unexpected = left.map(str::to_owned).collect();
    if mismatch.missing.is_empty() && mismatch.wrong_shape.is_empty() {
        return Ok(mismatch.unexpected);
    }
    Err(CheckpointError::Mismatch { file: checkpoint.label().to_owned(), mismatch })
}

/// Shapes are equal, except that a position table may be that of another picture size.
fn fits(name: &str, expected: &[usize], found: &[usize]) -> bool {
    let is_table = name == "visual_encoder.visual.positional_embedding";
    expected == found
        || (is_table && found.len() == 2 && found[1] == expected[1] && square_grid(found[0]).is_some())
}
