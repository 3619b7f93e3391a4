//! Writing model folders: what is written, and how the weights and the small files get into one folder.

use std::path::Path;
use std::sync::PoisonError;

use super::ModelFolder;
use super::place::move_into_place;
use super::tensors::CheckpointTensors;
use crate::checkpoint::small_files::{PYTORCH, SAFETENSORS, SmallFiles};
use crate::checkpoint::write::{FileFormat, TensorReader, write_safetensors};
use crate::checkpoint::{CheckpointError, Dtype, NotFinite, StateDict, write_pytorch};
use crate::config::{ConfigTexts, ModelConfig};
use crate::error::plain_io_error;

/// Which tensors [`write_model_folder`] writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// All of the source, including what the task never reads.
    #[default]
    All,
    /// Those that the model's task reads: half of a captioning checkpoint.
    Task,
}

/// How [`write_model_folder`] writes.
#[derive(Clone, Copy, Debug)]
pub struct WriteOptions {
    /// Stored type of the weights: f32, f16 or bf16.
    pub dtype: Dtype,
    /// Format of the weight file.
    pub format: FileFormat,
    /// Which tensors.
    pub keep: Keep,
    /// Whether an existing destination is replaced.
    pub overwrite: bool,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { dtype: Dtype::F32, format: FileFormat::Safetensors, keep: Keep::All, overwrite: false }
    }
}

/// Writes a model folder: weights in the chosen format and the small files of `source`. The folder appears whole under
/// its name or not at all.
///
/// In PyTorch's format it is a folder for the original: small files that `source` lacks are written as well, as is a
/// `config.yaml` from which the original would not build this model; position tables are resized to the configuration's
/// picture size (the original refuses another), and the state dict is completed ([`StateDict`]). The original builds visual encoders of width 768 with patches of 16, or of width 1024 with patches of
/// 14: of any other shape it loads nothing.
///
/// # Errors
/// When `dest` exists and may not be replaced, and when something cannot be read, converted or written: a tensor that the
/// task reads with values that are not finite, or a value that the chosen type does not reach.
pub fn write_model_folder(
    dest: &Path,
    source: &ModelFolder,
    options: &WriteOptions,
) -> Result<Written, CheckpointError> {
    let mut tensors = CheckpointTensors::new(source, options.keep);
    if options.format == FileFormat::Safetensors {
        write_folder(dest, &tensors, &source.files, *options)?;
    } else {
        tensors = tensors.with_position_tables_of(&source.config);
        let texts = source.files.texts.for_original(&source.config)?;
        write_folder(dest, &tensors, &SmallFiles { texts, ..source.files.clone() }, *options)?;
    }
    let not_finite = tensors.not_finite.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Written { not_finite })
}

/// What there is to say of a folder that was written.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Written {
    /// Tensors with NaN or infinity. The task does not read them (there are masks among such), so they were copied as they are.
    pub not_finite: Vec<(String, NotFinite)>,
}

/// The texts of the files that make a model's tokenizer.
#[derive(Clone, Copy, Debug)]
pub struct TokenizerTexts<'a> {
    /// `vocab.txt`, one token a line.
    pub vocabulary: &'a str,
    /// `tokenizer_config.json`, if there is one.
    pub tokenizer_config: Option<&'a str>,
}

impl<'a> From<&'a str> for TokenizerTexts<'a> {
    fn from(vocabulary: &'a str) -> Self {
        Self { vocabulary, tokenizer_config: None }
    }
}

impl<'a> From<&'a String> for TokenizerTexts<'a> {
    fn from(vocabulary: &'a String) -> Self {
        Self::from(vocabulary.as_str())
    }
}

/// Writes a model folder from tensors that are not in a checkpoint, such as drawn or trained ones, with small files that
/// describe `config`. Of the `tokenizer` a vocabulary alone will do. In PyTorch's format the state dict is completed as
/// [`StateDict`] says.
///
/// # Errors
/// When `dest` exists and may not be replaced, and when something cannot be read, converted or written.
pub fn write_model_folder_of<'t>(
    dest: &Path,
    config: &ModelConfig,
    tokenizer: impl Into<TokenizerTexts<'t>>,
    tensors: &(impl TensorReader + ?Sized),
    options: &WriteOptions,
) -> Result<(), CheckpointError> {
    let TokenizerTexts { vocabulary, tokenizer_config } = tokenizer.into();
    let files = SmallFiles {
        texts: ConfigTexts::describing(config),
        vocabulary: vocabulary.to_owned(),
        tokenizer_config: tokenizer_config.map(str::to_owned),
    };
    write_folder(dest, tensors, &files, *options)
}

/// An error of a file in the folder that is not in its place yet, with the name that the file was to get.
fn named(error: CheckpointError, temporary: &Path, dest: &Path) -> CheckpointError {
    match error {
        CheckpointError::Io { action, path, source } => {
            let path = path.strip_prefix(temporary).map_or(path.clone(), |rest| dest.join(rest));
            CheckpointError::Io { action, path, source }
        }
        other => other,
    }
}

pub(super) fn write_folder(
    dest: &Path,
    tensors: &(impl TensorReader + ?Sized),
    files: &SmallFiles,
    options: WriteOptions,
) -> Result<(), CheckpointError> {
    let io = |source| CheckpointError::Io { action: "write", path: dest.to_path_buf(), source };
    if dest.symlink_metadata().is_ok() && !options.overwrite {
        return Err(CheckpointError::Exists { path: dest.to_path_buf() });
    }
    let parent = dest.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(io)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".mplug-").suffix(".tmp");
    #[cfg(unix)]
    builder.permissions(crate::checkpoint::write::ordinary_permissions(0o777));
    let temporary = builder.tempdir_in(parent).map_err(|error| io(plain_io_error(error)))?;
    let folder = temporary.path();
    files.write(folder).map_err(io)?;
    let (safetensors, pytorch) = (folder.join(SAFETENSORS), folder.join(PYTORCH));
    let written = match options.format {
        FileFormat::Safetensors => write_safetensors(&safetensors, tensors, options.dtype),
        FileFormat::Pytorch => write_pytorch(&pytorch, &StateDict::new(tensors), options.dtype),
        FileFormat::PytorchTrainer => {
            write_pytorch(&pytorch, &StateDict::new(tensors).below("model"), options.dtype)
        }
    };
    written.map_err(|error| named(error, folder, dest))?;
    move_into_place(temporary, parent, dest)
}
