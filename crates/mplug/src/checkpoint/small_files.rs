//! The small files of a model folder: which there are, how they are read, and how they are written. Knows no tensors and no
//! tokenizer.

use std::fmt;
use std::path::{Path, PathBuf};

use super::CheckpointError;
use crate::config::{ConfigOverrides, ConfigTexts, ModelConfig, Task, vocabulary_size};

/// Largest configuration file.
const MAX_CONFIG_BYTES: u64 = 4 << 20;
/// Characters shown of a name that a file may make long.
const SHOWN_OF_NAME: usize = 200;
/// Largest vocabulary file.
const MAX_VOCABULARY_BYTES: u64 = 64 << 20;

/// The task, and the generation's settings.
pub const CONFIGURATION_JSON: &str = "configuration.json";
/// The network's configuration, and the name of the BERT json.
pub const CONFIG_YAML: &str = "config.yaml";
/// The text network's configuration, where [`CONFIG_YAML`] names no other file.
pub const BERT_JSON: &str = "config_bert.json";
/// The tokens, a line each.
pub const VOCABULARY: &str = "vocab.txt";
/// The tokenizer's settings; few folders have it.
pub const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
/// The weights as this project writes them.
pub const SAFETENSORS: &str = "model.safetensors";
/// The weights as the original writes them.
pub const PYTORCH: &str = "pytorch_model.bin";
/// What says which of several files has which weight, for both formats.
pub const INDICES: [&str; 2] = ["model.safetensors.index.json", "pytorch_model.bin.index.json"];

/// The texts of a model folder's small files.
#[derive(Clone, Debug)]
pub(super) struct SmallFiles {
    pub(super) texts: ConfigTexts,
    pub(super) vocabulary: String,
    pub(super) tokenizer_config: Option<String>,
}

/// What a person should know of a model folder with which the original works all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FolderNote {
    /// The vocabulary has another number of tokens than the model has word embeddings.
    VocabularySize {
        /// The vocabulary file.
        path: PathBuf,
        /// Its lines.
        tokens: usize,
        /// Rows of word embeddings.
        rows: usize,
    },
    /// There is no BERT json, and nothing else says which fusion layers attend over image and text together.
    GuessedStride {
        /// Where the file is missing.
        path: PathBuf,
        /// What is taken.
        stride: usize,
    },
    /// The task is named by a word that is none of ours, such as `backbone`, and nothing else says it.
    OtherTask {
        /// The file that has the word.
        path: PathBuf,
        /// The word.
        named: String,
        /// What is taken.
        task: Task,
    },
}

impl fmt::Display for FolderNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VocabularySize { path, tokens, rows } => {
                write!(f, "{} has {tokens} tokens, the model has {rows} word embeddings; ", path.display())?;
                if tokens < rows {
                    write!(f, "tokens without a word are left out of texts, as the original does")
                } else {
                    write!(f, "a text that needs one of the tokens beyond them will be refused")
                }
            }
            Self::OtherTask { path, named, task } => write!(
                f,
                "{} says `task: {}`, which is none of {}: taken for {task}",
                path.display(),
                named.chars().take(SHOWN_OF_NAME).collect::<String>(),
                Task::ALL.map(Task::name).join(", ")
            ),
            Self::GuessedStride { path, stride } => write!(
                f,
                "{} is missing: every {stride}th fusion layer is taken to be a connected one (`stride_layer`), as in the \
                 published models of this size",
                path.display()
            ),
        }
    }
}

impl SmallFiles {
    /// Those of `folder`, in which or beside which `weights` lie.
    pub(super) fn read(folder: &Path, weights: &Path) -> Result<Self, CheckpointError> {
        let texts = read_texts(folder)?;
        let Some(vocabulary) = read_text(&folder.join(VOCABULARY), MAX_VOCABULARY_BYTES)? else {
            return Err(CheckpointError::NotAModelFolder {
                path: folder.to_owned(),
                reason: format!("{VOCABULARY} is missing; it belongs beside {}", weights.display()),
            });
        };
        let tokenizer_config = read_text(&folder.join(TOKENIZER_CONFIG), MAX_CONFIG_BYTES)?;
        Ok(Self { texts, vocabulary, tokenizer_config })
    }

    /// What a person should know of a folder at `path` with a model of this shape.
    pub(super) fn notes(
        &self,
        path: &Path,
        config: &ModelConfig,
        overrides: &ConfigOverrides,
    ) -> Vec<FolderNote> {
        let (tokens, rows) = (vocabulary_size(&self.vocabulary), config.text.vocab_size);
        let size = (tokens != rows).then(|| FolderNote::VocabularySize {
            path: path.join(VOCABULARY),
            tokens,
            rows,
        });
        let is_guessed = self.texts.bert_json.is_none() && overrides.connected_stride.is_none();
        let stride = (is_guessed && config.task != Task::ImageCaptioning).then(|| {
            FolderNote::GuessedStride { path: path.join(BERT_JSON), stride: config.text.connected_stride }
        });
        size.into_iter().chain(stride).collect()
    }

    /// Writes them into a new folder of ours.
    pub(super) fn write(&self, folder: &Path) -> std::io::Result<()> {
        let texts = &self.texts;
        let bert_json = texts.bert_json.as_ref().map(|(name, text)| (name.as_str(), text));
        let small = [
            (CONFIGURATION_JSON, texts.configuration_json.as_ref()),
            (CONFIG_YAML, texts.config_yaml.as_ref()),
            (bert_json.map_or(BERT_JSON, |(name, _)| name), bert_json.map(|(_, text)| text)),
            (VOCABULARY, Some(&self.vocabulary)),
            (TOKENIZER_CONFIG, self.tokenizer_config.as_ref()),
        ];
        for (name, text) in small {
            let path = folder.join(name);
            let Some(text) = text else { continue };
            if let Some(below) = path.parent() {
                std::fs::create_dir_all(below)?;
            }
            std::fs::write(path, text)?;
        }
        Ok(())
    }
}

/// Where the BERT json of a folder lies that is in a folder below it; `None` where it lies in the folder itself, or cannot
/// be determined.
pub fn bert_json_below(folder: &Path) -> Option<PathBuf> {
    let config_yaml = read_text(&folder.join(CONFIG_YAML), MAX_CONFIG_BYTES).ok()??;
    let named = ConfigTexts::bert_json_name(Some(&config_yaml)).ok()??;
    named.contains('/').then(|| folder.join(named))
}

/// Whether a folder has the BERT json that its `config.yaml` names, or without such a file a `configuration.json`.
pub fn has_configuration(folder: &Path) -> bool {
    match read_text(&folder.join(CONFIG_YAML), MAX_CONFIG_BYTES) {
        Ok(Some(config_yaml)) => ConfigTexts::bert_json_name(Some(&config_yaml))
            .is_ok_and(|named| folder.join(named.as_deref().unwrap_or(BERT_JSON)).is_file()),
        _ => folder.join(CONFIGURATION_JSON).is_file(),
    }
}

fn read_texts(folder: &Path) -> Result<ConfigTexts, CheckpointError> {
    let configuration_json = read_text(&folder.join(CONFIGURATION_JSON), MAX_CONFIG_BYTES)?;
    let config_yaml = read_text(&folder.join(CONFIG_YAML), MAX_CONFIG_BYTES)?;
    let bert_json = match ConfigTexts::bert_json_name(config_yaml.as_deref())? {
        Some(named) => Some(read_named(folder, named)?),
        None => {
            read_text(&folder.join(BERT_JSON), MAX_CONFIG_BYTES)?.map(|text| (BERT_JSON.to_owned(), text))
        }
    };
    Ok(ConfigTexts { configuration_json, config_yaml, bert_json })
}

/// The BERT json that `config.yaml` names: it is there, and in the folder wherever links lead.
fn read_named(folder: &Path, named: String) -> Result<(String, String), CheckpointError> {
    let path = folder.join(&named);
    let refused = |problem: String| CheckpointError::Config {
        file: folder.join(CONFIG_YAML).display().to_string(),
        reason: format!("`bert_config: {named}` {problem}"),
    };
    let missing = || {
        refused(format!("names a file that is not there: put it at {}, or correct the name", path.display()))
    };
    if !path.exists() {
        return Err(missing());
    }
    if let Some(real) = leads_out(folder, &path)? {
        return Err(refused(format!(
            "leads out of the model folder, to {}: put the file itself there",
            real.display()
        )));
    }
    let text = read_text(&path, MAX_CONFIG_BYTES)?.ok_or_else(missing)?;
    Ok((named, text))
}

/// Where a file of `folder` really is, if links lead out of the folder to it.
pub(super) fn leads_out(folder: &Path, path: &Path) -> Result<Option<PathBuf>, CheckpointError> {
    let io = |source| CheckpointError::Io { action: "open", path: path.to_owned(), source };
    let (root, real) = (folder.canonicalize().map_err(io)?, path.canonicalize().map_err(io)?);
    let is_inside = real.starts_with(&root) || blobs_of(&root).is_some_and(|blobs| real.starts_with(blobs));
    Ok((!is_inside).then_some(real))
}

/// Where the files of a snapshot in Hugging Face's cache are, whose names in the snapshot are links:
/// `models--owner--name/blobs` for `models--owner--name/snapshots/revision`.
fn blobs_of(root: &Path) -> Option<PathBuf> {
    let snapshots = root.parent().filter(|parent| parent.ends_with("snapshots"))?;
    Some(snapshots.with_file_name("blobs"))
}

/// The text of a small file, `None` when there is no such file.
pub(super) fn read_text(path: &Path, limit: u64) -> Result<Option<String>, CheckpointError> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    let io = |source| CheckpointError::Io { action: "read", path: path.to_path_buf(), source };
    let config = |reason: String| CheckpointError::Config { file: path.display().to_string(), reason };
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if matches!(e.kind(), NotFound | NotADirectory) => return Ok(None),
        Err(e) => return Err(io(e)),
    };
    if !metadata.is_file() {
        return Err(config("expected a file".into()));
    }
    if metadata.len() > limit {
        return Err(config(format!("it has {} bytes, the limit is {limit}", metadata.len())));
    }
    let bytes = std::fs::read(path).map_err(io)?;
    String::from_utf8(bytes).map(Some).map_err(|_| config("it is not UTF-8".into()))
}
