//! Weight files and model folders: names in, tensors out.
//!
//! [`Checkpoint`] opens PyTorch's zip format, PyTorch's older pickle stream and safetensors, whatever the file is called,
//! and gives every tensor under the original's plain name. [`Weights`] is the strict cursor with which a model
//! takes its tensors; [`ModelFolder`] adds the small files beside the weights.
//!
//! Files are read by position, never mapped: pages of an 1.8 GB file do not stay resident, and a file cut short under us
//! is an error instead of a signal. Nothing in a file is ever executed: pickles run on a machine that only builds inert
//! values (see [`pickle`]). Written are safetensors and PyTorch's zip format, the latter as the original reads it
//! ([`StateDict`]). This module knows nothing of what a layer computes.

pub mod adapter;
mod error;
pub mod expected;
mod folder;
pub mod key_names;
pub mod names;
pub mod outliers;
pub mod pickle;
mod position_embedding;
mod pytorch_legacy;
mod pytorch_write;
mod pytorch_zip;
mod quantized;
mod safetensors;
pub mod seeded;
mod shards;
mod small_files;
mod source;
mod state_dict;
mod summary;
mod tensor;
mod weights;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use adapter::Addition;
pub use error::{CheckpointError, Mismatch};
pub use folder::{
    Keep, ModelFolder, ModelParts, TokenizerTexts, WriteOptions, Written, has_weights, is_weight_file,
    write_int8_model_folder, write_model_folder, write_model_folder_of,
};
use mplug_kernels::finite::are_finite;
use mplug_kernels::gemm::QuantizedWeight;
pub use position_embedding::resize_position_embedding;
pub use pytorch_write::write_pytorch;
use shards::ShardIndex;
pub use shards::shard_names;
pub use small_files::{
    BERT_JSON, CONFIG_YAML, CONFIGURATION_JSON, FolderNote, INDICES, PYTORCH, SAFETENSORS, TOKENIZER_CONFIG,
    VOCABULARY, bert_json_below, has_configuration,
};
use source::Source;
pub use state_dict::StateDict;
pub use summary::{Summary, UnusedGroup, summarize};
use tensor::TensorView;
pub use tensor::{Dtype, NotFinite, Values};
pub(crate) use weights::square_grid;
pub use weights::{StoredWeight, Weights};
pub use write::{FileFormat, TensorEntry, TensorReader, safetensors_bytes, write_safetensors, write_text};

/// How a weight file is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointFormat {
    /// `torch.save` since 1.6: a zip archive of a pickle and raw storages.
    PytorchZip,
    /// `torch.save` before 1.6: a stream of pickles, then raw storages.
    PytorchLegacy,
    /// safetensors.
    Safetensors,
}

impl std::fmt::Display for CheckpointFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::PytorchZip => "PyTorch (zip)",
            Self::PytorchLegacy => "PyTorch (legacy pickle)",
            Self::Safetensors => "safetensors",
        })
    }
}

/// Opened weights, one file or several with an index: tensors by their plain names. Opening reads names and shapes alone; values
/// are read when requested. Can be shared between threads.
#[derive(Debug)]
pub struct Checkpoint {
    files: Vec<Source>,
    /// What messages call them all.
    label: String,
    /// The file, or the index of several.
    path: Option<PathBuf>,
    format: CheckpointFormat,
    tensors: BTreeMap<String, TensorView>,
    /// Weights stored as int8, some of them besides another form.
    quantized: BTreeMap<String, quantized::QuantizedView>,
    /// What an adapter adds to weights as they are read.
    additions: BTreeMap<String, Arc<Addition>>,
}

impl Checkpoint {
    /// Opens a weight file, or those that an index (`….index.json`) names. The format is detected by its first bytes; a wrapping
    /// `model` or `module` entry is taken off, and names get their plain form ([`key_names::plain_name`]).
    ///
    /// # Errors
    /// For a file that is damaged, of no known format, or holds Python code; for an index whose files are not all there, lie outside
    /// its folder, or have other tensors than it says.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        if !shards::is_index(path) {
            return Self::from_source(Source::open(path)?);
        }
        let index = ShardIndex::read(path)?;
        let files = index.open()?;
        let read: Vec<_> = files.iter().map(read_stored).collect::<Result<_, _>>()?;
        let format = read.first().map_or(CheckpointFormat::Safetensors, |(format, _)| *format);
        let stored = index.join(read.into_iter().map(|(_, stored)| stored).collect())?;
        Self::from_stored(files, path.display().to_string(), Some(path.to_owned()), format, stored)
    }

    /// Opens a weight file that is already in memory, such as one embedded in a binary.
    pub fn from_static(bytes: &'static [u8]) -> Result<Self, CheckpointError> {
        Self::from_source(Source::from_static(bytes))
    }

    /// Opens a weight file that is already in memory.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, CheckpointError> {
        Self::from_source(Source::from_vec(bytes))
    }

    fn from_source(source: Source) -> Result<Self, CheckpointError> {
        let (format, stored) = read_stored(&source)?;
        let (label, path) = (source.label().to_owned(), source.path().map(Path::to_path_buf));
        Self::from_stored(vec![source], label, path, format, stored)
    }

    fn from_stored(
        files: Vec<Source>,
        label: String,
        path: Option<PathBuf>,
        format: CheckpointFormat,
        stored: Vec<(String, TensorView)>,
    ) -> Result<Self, CheckpointError> {
        let mut tensors = key_names::to_plain_names(&label, stored)?;
        let quantized = quantized::take(&label, &mut tensors)?;
        Ok(Self { files, label, path, format, tensors, quantized, additions: BTreeMap::new() })
    }

    /// The file that a tensor is in.
    fn file_of(&self, view: &TensorView) -> &Source {
        &self.files[view.file]
    }

    /// How the file is laid out; of several the first.
    pub fn format(&self) -> CheckpointFormat {
        self.format
    }

    /// What messages call this file: its path, that of the index of several, or that it is in memory.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The path of the file, or of the index of several, if it has one.
    pub fn path(&self) -> Option<PathBuf> {
        self.path.clone()
    }

    /// Length of the file in bytes, or of several together.
    pub fn file_len(&self) -> u64 {
        self.files.iter().map(Source::len).sum()
    }

    /// How many files it has: 1, or the shards of an index.
    pub fn num_files(&self) -> usize {
        self.files.len()
    }

    /// The plain names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether a tensor of that name is there.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The shape of a tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|t| t.shape.as_slice())
    }

    /// How a tensor's values are stored.
    pub fn dtype(&self, name: &str) -> Option<Dtype> {
        self.tensors.get(name).map(|t| t.dtype)
    }

    /// A key that is equal for tensors that are one and the same stored values (tied weights).
    pub(crate) fn identity(&self, name: &str) -> Option<impl Eq + std::hash::Hash + use<>> {
        self.tensors.get(name).map(TensorView::identity)
    }

    /// The values of a tensor in row-major order, converted to f32.
    ///
    /// # Errors
    /// [`CheckpointError::NotFinite`] where one of them is NaN, infinite, or too large for f32.
    pub fn read_f32(&self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        let (values, not_finite) = self.read_any_f32(name)?;
        match not_finite {
            None => Ok(values),
            Some(found) => Err(self.not_finite(name, found)),
        }
    }

    /// An error that says that a tensor has values that are not finite.
    fn not_finite(&self, name: &str, found: NotFinite) -> CheckpointError {
        let file = self.tensors.get(name).map_or(&self.files[0], |view| self.file_of(view));
        file.not_finite(name, found)
    }

    /// Adds `additions` to the weights of these names whenever they are read. The caller has checked their shapes.
    fn adapt(&mut self, additions: BTreeMap<String, Arc<Addition>>) {
        self.additions = additions;
    }

    /// Whether an adapter adds to the weights.
    fn is_adapted(&self) -> bool {
        !self.additions.is_empty()
    }

    fn read_any_f32(&self, name: &str) -> Result<(Vec<f32>, Option<NotFinite>), CheckpointError> {
        let (mut values, not_finite) = self.read_stored_f32(name)?;
        let Some(addition) = self.additions.get(name) else { return Ok((values, not_finite)) };
        addition.add_to(&mut values);
        let shape = self.shape(name).unwrap_or_default();
        let not_finite = if are_finite(&values) { None } else { NotFinite::among(&values, shape) };
        Ok((values, not_finite))
    }

    fn read_stored_f32(&self, name: &str) -> Result<(Vec<f32>, Option<NotFinite>), CheckpointError> {
        let view = self.view(name)?;
        match self.quantized.get(name) {
            Some(quantized) if view.dtype == Dtype::I8 => {
                let values = quantized.read(&self.files, name)?.dequantize(view.shape[1]);
                let not_finite =
                    if are_finite(&values) { None } else { NotFinite::among(&values, &view.shape) };
                Ok((values, not_finite))
            }
            _ => view.read_any_f32(self.file_of(view), name),
        }
    }

    /// Whether weights are stored as int8, in the layout that [`write_int8_model_folder`] writes.
    pub fn is_quantized(&self) -> bool {
        !self.quantized.is_empty()
    }

    /// A weight that is stored as int8, as it is stored; none where an adapter adds to it.
    pub fn read_quantized(&self, name: &str) -> Result<Option<QuantizedWeight>, CheckpointError> {
        if self.additions.contains_key(name) {
            return Ok(None);
        }
        self.quantized.get(name).map(|quantized| quantized.read(&self.files, name)).transpose()
    }

    /// The values of a tensor in row-major order: integers as i64, everything else as f32.
    ///
    /// # Errors
    /// As [`read_f32`](Self::read_f32).
    pub fn read_values(&self, name: &str) -> Result<Values, CheckpointError> {
        match self.read_any_values(name)? {
            (values, None) => Ok(values),
            (_, Some(found)) => Err(self.not_finite(name, found)),
        }
    }

    /// The values of a tensor, where NaN and infinity are no error, with where they are. Numbers that are too large for f32 still are one.
    pub(crate) fn read_any_values(&self, name: &str) -> Result<(Values, Option<NotFinite>), CheckpointError> {
        let is_changed = self.quantized.contains_key(name) || self.additions.contains_key(name);
        let (values, not_finite) = if is_changed {
            let (values, not_finite) = self.read_any_f32(name)?;
            (Values::F32(values), not_finite)
        } else {
            let view = self.view(name)?;
            view.read_values(self.file_of(view), name)?
        };
        match not_finite {
            Some(found) if found.value.is_finite() => Err(self.not_finite(name, found)),
            not_finite => Ok((values, not_finite)),
        }
    }

    /// Whether a tensor holds whole numbers; int8 weights stand for others.
    pub(crate) fn is_integer(&self, name: &str) -> bool {
        self.dtype(name).is_some_and(Dtype::is_integer) && !self.quantized.contains_key(name)
    }

    fn view(&self, name: &str) -> Result<&TensorView, CheckpointError> {
        self.tensors.get(name).ok_or_else(|| CheckpointError::MissingTensor {
            name: name.to_owned(),
            file: self.label().to_owned(),
        })
    }
}

/// A file's format, and its tensors under their stored names.
type Stored = (CheckpointFormat, Vec<(String, TensorView)>);

/// Reads names, shapes and places of a file's tensors.
fn read_stored(source: &Source) -> Result<Stored, CheckpointError> {
    let head = source.read_vec(0, source.len().min(16))?;
    if head.starts_with(b"PK\x03\x04") {
        Ok((CheckpointFormat::PytorchZip, pytorch_zip::read(source)?))
    } else if pytorch_legacy::starts_like(&head) {
        Ok((CheckpointFormat::PytorchLegacy, pytorch_legacy::read(source)?))
    } else if safetensors::starts_like(&head, source.len()) {
        Ok((CheckpointFormat::Safetensors, safetensors::read(source)?))
    } else {
        Err(CheckpointError::UnknownFormat { file: source.label().to_owned() })
    }
}
