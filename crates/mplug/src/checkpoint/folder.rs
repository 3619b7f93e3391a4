//! A model folder (the original's layout): `configuration.json`, `config.yaml`, the BERT json that it names, `vocab.txt`
//! and one weight file. Opens a folder, a bare weight file with its `vocab.txt` beside it, or parts embedded in a binary;
//! writes a folder whole or not at all. Which small files there are and how they are read is `small_files`' matter.
//!
//! Opening is strict: the weights must hold what the configuration asks for, in its shapes; everything wrong is reported at
//! once. Tensors that are neither needed nor on the written list of superfluous ones are kept in a list, which callers show or
//! refuse. What the original takes and a person should know is a note. This file knows no tokenizer: the vocabulary is counted.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use mplug_kernels::gemm::{Precision, QuantizedWeight};

use super::expected::needed_tensors;
use super::key_names::{TIED, is_never_needed};
use super::small_files::{BERT_JSON, FolderNote, PYTORCH, SAFETENSORS, SmallFiles};
use super::weights::square_grid;
use super::write::{FileFormat, TensorEntry, TensorReader, atomically, write_safetensors};
use super::{
    Checkpoint, CheckpointError, Dtype, Mismatch, NotFinite, StateDict, Values, quantized,
    resize_position_embedding, write_pytorch,
};
use crate::config::{ConfigOverrides, ConfigTexts, ModelConfig};
use crate::smoothing::Smoothings;

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
        let notes = files.notes(&path, &config, overrides);
        if *overrides != ConfigOverrides::default() {
            // What is written from this folder must say what was requested.
            files.texts = ConfigTexts::describing(&config);
        }
        Ok(Self { path, config, checkpoint, files, notes, unexpected })
    }

    /// The weights.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
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

/// The folder and the weight file in it.
fn locate(path: &Path) -> Result<(PathBuf, PathBuf), CheckpointError> {
    let io = |source| CheckpointError::Io { action: "open", path: path.to_path_buf(), source };
    if std::fs::metadata(path).map_err(io)?.is_file() {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return Ok((folder.to_path_buf(), path.to_path_buf()));
    }
    for name in [SAFETENSORS, PYTORCH] {
        let weights = path.join(name);
        if weights.is_file() {
            return Ok((path.to_path_buf(), weights));
        }
    }
    let mut found: Vec<PathBuf> = std::fs::read_dir(path)
        .map_err(io)?
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|p| is_weight_file(p) && p.is_file())
        .collect();
    found.sort();
    match found.as_slice() {
        [only] => Ok((path.to_path_buf(), only.clone())),
        [] => Err(CheckpointError::NotAModelFolder {
            path: path.to_path_buf(),
            reason: format!("it holds no weights; expected {SAFETENSORS} or {PYTORCH}"),
        }),
        many => Err(CheckpointError::NotAModelFolder {
            path: path.to_path_buf(),
            reason: format!(
                "it holds {} weight files and none is called {SAFETENSORS} or {PYTORCH}: name the file itself",
                many.len()
            ),
        }),
    }
}

/// Whether a file is called as weights are: `.safetensors`, `.bin`, `.pth` or `.pt`.
pub fn is_weight_file(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
    ["safetensors", "bin", "pth", "pt"].contains(&extension)
}

/// Whether a folder has weights to open.
pub fn has_weights(folder: &Path) -> bool {
    locate(folder).is_ok()
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

/// Writes a model folder from tensors that are not in a checkpoint, such as drawn or trained ones, with small files that
/// describe `config`. In PyTorch's format the state dict is completed as [`StateDict`] says.
///
/// # Errors
/// When `dest` exists and may not be replaced, and when something cannot be read, converted or written.
pub fn write_model_folder_of(
    dest: &Path,
    config: &ModelConfig,
    vocabulary: &str,
    tensors: &(impl TensorReader + ?Sized),
    options: &WriteOptions,
) -> Result<(), CheckpointError> {
    let (texts, vocabulary) = (ConfigTexts::describing(config), vocabulary.to_owned());
    write_folder(dest, tensors, &SmallFiles { texts, vocabulary, tokenizer_config: None }, *options)
}

fn write_folder(
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
    let temporary =
        tempfile::Builder::new().prefix(".mplug-").suffix(".tmp").tempdir_in(parent).map_err(io)?;
    let folder = temporary.path();
    files.write(folder).map_err(io)?;
    let (safetensors, pytorch) = (folder.join(SAFETENSORS), folder.join(PYTORCH));
    match options.format {
        FileFormat::Safetensors => write_safetensors(&safetensors, tensors, options.dtype)?,
        FileFormat::Pytorch => write_pytorch(&pytorch, &StateDict::new(tensors), options.dtype)?,
        FileFormat::PytorchTrainer => {
            write_pytorch(&pytorch, &StateDict::new(tensors).below("model"), options.dtype)?;
        }
    }
    move_into_place(temporary, parent, dest)
}

/// Gives the finished folder its name. An old folder of that name changes places with it at once where the system can do that,
/// so that a program that is killed here leaves one of the two; elsewhere it steps aside first and comes back if that fails.
fn move_into_place(temporary: tempfile::TempDir, parent: &Path, dest: &Path) -> Result<(), CheckpointError> {
    let io = |source| CheckpointError::Io { action: "write", path: dest.to_path_buf(), source };
    make_listable(temporary.path()).map_err(io)?;
    if exchange(temporary.path(), dest) {
        // What is under the temporary name now, and goes with it, is the old folder.
        return Ok(());
    }
    let old = tempfile::Builder::new().prefix(".mplug-old-").tempdir_in(parent).map_err(io)?;
    let aside = old.path().join("replaced");
    let had_old = dest.symlink_metadata().is_ok();
    if had_old {
        std::fs::rename(dest, &aside).map_err(io)?;
    }
    if let Err(e) = std::fs::rename(temporary.path(), dest) {
        if had_old && let Err(source) = std::fs::rename(&aside, dest) {
            // The old folder must not go with the temporary one that holds it: the message says where it is now.
            let path = old.keep().join("replaced");
            return Err(CheckpointError::Io {
                action: "put back the old model, which is now in",
                path,
                source,
            });
        }
        return Err(io(e));
    }
    // Its content has the final name now: nothing is left to remove.
    let _moved = temporary.keep();
    Ok(())
}

/// Lets two names change places in one step; whether that worked.
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn exchange(one: &Path, other: &Path) -> bool {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_ok()
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn exchange(_one: &Path, _other: &Path) -> bool {
    false
}

/// Temporary folders are private to their owner; a model folder has ordinary permissions.
#[cfg(unix)]
fn make_listable(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn make_listable(_: &Path) -> std::io::Result<()> {
    Ok(())
}

/// The tensors of an opened model, each tied one once.
struct CheckpointTensors<'a> {
    checkpoint: &'a Checkpoint,
    entries: Vec<TensorEntry>,
    /// Names of those that the model's task reads.
    needed: HashSet<String>,
    /// Others that were read and hold values that are not finite.
    not_finite: Mutex<Vec<(String, NotFinite)>>,
}

impl<'a> CheckpointTensors<'a> {
    fn new(source: &'a ModelFolder, keep: Keep) -> Self {
        let checkpoint = &source.checkpoint;
        let needed: HashSet<String> =
            needed_tensors(&source.config).into_iter().map(|(name, _)| name).collect();
        let (mut entries, mut first) = (Vec::new(), HashMap::new());
        for name in checkpoint.names().filter(|name| keep == Keep::All || needed.contains(*name)) {
            let index = entries.len();
            let same_as = checkpoint.identity(name).and_then(|id| match first.entry(id) {
                std::collections::hash_map::Entry::Occupied(earlier) => Some(*earlier.get()),
                std::collections::hash_map::Entry::Vacant(free) => {
                    free.insert(index);
                    None
                }
            });
            entries.push(TensorEntry {
                name: name.to_owned(),
                shape: checkpoint.shape(name).unwrap_or_default().to_vec(),
                fixed_dtype: checkpoint.is_integer(name).then_some(Dtype::I64),
                same_as: same_as.filter(|_| is_restored(name)),
            });
        }
        Self { checkpoint, entries, needed, not_finite: Mutex::default() }
    }

    /// The values of a tensor as they are stored; those of one that the task reads are finite.
    fn values(&self, name: &str) -> Result<Values, CheckpointError> {
        if self.needed.contains(name) {
            return self.checkpoint.read_values(name);
        }
        let (values, not_finite) = self.checkpoint.read_any_values(name)?;
        if let Some(found) = not_finite {
            let mut all = self.not_finite.lock().unwrap_or_else(PoisonError::into_inner);
            all.push((name.to_owned(), found));
        }
        Ok(values)
    }

    /// The same with visual position tables for the configuration's picture size, those of momentum models included.
    fn with_position_tables_of(mut self, config: &ModelConfig) -> Self {
        let grid = config.vision.image_size / config.vision.patch_size;
        let tables = self.entries.iter_mut().filter(|e| e.name.ends_with(".visual.positional_embedding"));
        let is_table = |e: &TensorEntry| e.fixed_dtype.is_none() && e.shape.len() == 2;
        for entry in tables.filter(|e| is_table(e) && square_grid(e.shape[0]).is_some()) {
            entry.shape[0] = 1 + grid * grid;
        }
        self
    }
}

/// Writes a model folder whose linear layers are int8: smaller, and ready in a fraction of the time. Only what the model's
/// task reads is written. Tables keep their type, so that a model whose layers need no smoothing is, bit for bit, what its source
/// is at int8. The folder appears whole or not at all.
pub fn write_int8_model_folder(
    dest: &Path,
    source: &ModelFolder,
    smoothings: &Smoothings,
    overwrite: bool,
) -> Result<(), CheckpointError> {
    let tensors = Int8Tensors::new(source, smoothings);
    let options = WriteOptions { overwrite, keep: Keep::Task, ..WriteOptions::default() };
    write_folder(dest, &tensors, &source.files, options)
}

/// The tensors of a model, those with a smoothing choice as int8.
struct Int8Tensors<'a> {
    checkpoint: &'a Checkpoint,
    smoothings: &'a Smoothings,
    /// The name of each entry's weight, and which of its parts the entry is.
    parts: Vec<(String, Part)>,
    entries: Vec<TensorEntry>,
}

#[derive(Clone, Copy)]
enum Part {
    Whole,
    Bytes,
    Scale,
    Smoothing,
}

impl<'a> Int8Tensors<'a> {
    fn new(source: &'a ModelFolder, smoothings: &'a Smoothings) -> Self {
        let CheckpointTensors { checkpoint, entries, .. } = CheckpointTensors::new(source, Keep::Task);
        let mut tensors = Self { checkpoint, smoothings, parts: Vec::new(), entries: Vec::new() };
        for entry in entries {
            if let Some(choice) = smoothings.get(&entry.name) {
                let (rows, columns) = (vec![entry.shape[0]], vec![entry.shape[1]]);
                tensors.push(&entry.name, Part::Bytes, entry.shape.clone(), Dtype::I8);
                tensors.push(&entry.name, Part::Scale, rows, Dtype::F32);
                if choice.smoothing.is_some() {
                    tensors.push(&entry.name, Part::Smoothing, columns, Dtype::F32);
                }
            } else if entry.same_as.is_none() {
                let dtype = match checkpoint.dtype(&entry.name) {
                    Some(half @ (Dtype::F16 | Dtype::Bf16)) => half,
                    _ => Dtype::F32,
                };
                let dtype = entry.fixed_dtype.unwrap_or(dtype);
                tensors.push(&entry.name, Part::Whole, entry.shape.clone(), dtype);
            }
        }
        tensors
    }

    fn push(&mut self, weight: &str, part: Part, shape: Vec<usize>, dtype: Dtype) {
        let ending = match part {
            Part::Whole => "",
            Part::Bytes => quantized::BYTES,
            Part::Scale => quantized::SCALE,
            Part::Smoothing => quantized::SMOOTHING,
        };
        let name = format!("{weight}{ending}");
        self.entries.push(TensorEntry { name, shape, fixed_dtype: Some(dtype), same_as: None });
        self.parts.push((weight.to_owned(), part));
    }

    fn quantized(&self, name: &str) -> Result<QuantizedWeight, CheckpointError> {
        let in_features = self.checkpoint.shape(name).map_or(1, |shape| shape[1]);
        let smoothing = self.smoothings.get(name).and_then(|choice| choice.smoothing.clone());
        let weight = QuantizedWeight::new(&self.checkpoint.read_f32(name)?, in_features, smoothing);
        if weight.scales.iter().all(|scale| scale.is_finite()) {
            return Ok(weight);
        }
        Err(CheckpointError::CannotWrite {
            what: format!("tensor `{name}`"),
            reason: "its values times their smoothing factors do not fit f32".into(),
        })
    }
}

impl TensorReader for Int8Tensors<'_> {
    fn entries(&self) -> Vec<TensorEntry> {
        self.entries.clone()
    }

    /// A weight is quantised once for each of its parts: twice is cheap beside holding it.
    fn read(&self, index: usize) -> Result<Values, CheckpointError> {
        let (name, part) = &self.parts[index];
        Ok(match part {
            Part::Whole => self.checkpoint.read_values(name)?,
            Part::Bytes => Values::I8(self.quantized(name)?.values),
            Part::Scale => Values::F32(self.quantized(name)?.scales),
            Part::Smoothing => Values::F32(self.quantized(name)?.smoothing.unwrap_or_default()),
        })
    }
}

/// Whether reading a file without this name gives it back: the second names of tied output weights.
fn is_restored(name: &str) -> bool {
    TIED.iter().any(|(later, _)| *later == name)
}

impl TensorReader for CheckpointTensors<'_> {
    fn entries(&self) -> Vec<TensorEntry> {
        self.entries.clone()
    }

    fn read(&self, index: usize) -> Result<Values, CheckpointError> {
        let TensorEntry { name, shape, .. } = &self.entries[index];
        let stored = self.checkpoint.shape(name).unwrap_or_default();
        if stored == shape {
            return self.values(name);
        }
        // Position tables alone are requested in another shape, and only where both are square.
        let grid =
            |shape: &[usize]| square_grid(shape[0]).expect("a table for another picture size is square");
        Ok(match self.values(name)? {
            Values::F32(table) => {
                Values::F32(resize_position_embedding(&table, grid(stored), grid(shape), shape[1]))
            }
            whole_numbers => whole_numbers,
        })
    }
}

/// Writes a text file whole or not at all.
pub fn write_text(path: &Path, text: &str) -> Result<(), CheckpointError> {
    use std::io::Write;
    atomically(path, |file| {
        file.write_all(text.as_bytes()).map_err(|source| CheckpointError::Io {
            action: "write",
            path: path.to_path_buf(),
            source,
        })
    })
}
