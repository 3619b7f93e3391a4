//! Weights in several files: an index (`model.safetensors.index.json`, `pytorch_model.bin.index.json`) says which file has which
//! tensor, as transformers and accelerate write it. Knows nothing of tensors' values.
//!
//! Files lie beside the index, wherever links lead. A tensor that the index names must be where it says; tensors that it does not
//! name are taken too, so that they are listed as any unexpected ones are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::CheckpointError;
use super::small_files::{INDICES, leads_out, read_text};
use super::source::Source;
use super::tensor::TensorView;

/// Largest index; one of 2 400 tensors has about 300 KB.
const MAX_INDEX_BYTES: u64 = 32 << 20;
/// Most files: each stays open while a model is loaded.
const MAX_SHARDS: usize = 256;

/// The part of an index that counts; `metadata` has sums.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// An index that was read: where each tensor is, by its stored name.
pub(super) struct ShardIndex {
    path: PathBuf,
    weight_map: BTreeMap<String, String>,
}

/// Whether a file is called as an index is.
pub(super) fn is_index(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with(".index.json"))
}

/// The index beside a file that is one of its shards by its name, `NAME-00001-of-00002.ENDING`; none where it is no such file.
pub(super) fn index_of_shard(path: &Path) -> Option<PathBuf> {
    let stem = path.file_stem()?.to_str()?;
    let (before, count) = stem.rsplit_once("-of-")?;
    let (_, number) = before.rsplit_once('-')?;
    let is_number = |text: &str| text.len() >= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(number) || !is_number(count) {
        return None;
    }
    let indices = INDICES.map(|name| path.with_file_name(name));
    indices.into_iter().find(|index| {
        let named = path.file_name().and_then(|name| name.to_str());
        ShardIndex::read(index)
            .is_ok_and(|index| index.weight_map.values().any(|file| Some(&file[..]) == named))
    })
}

/// The names of the files that an index names, sorted: those of files beside it. `path` is for messages.
///
/// # Errors
/// [`CheckpointError::Config`] for a text that is no such index, and for names that lead elsewhere.
pub fn shard_names(index: &str, path: &Path) -> Result<Vec<String>, CheckpointError> {
    Ok(ShardIndex::parse(path, index)?.names().into_iter().map(str::to_owned).collect())
}

impl ShardIndex {
    /// Reads an index and checks what it names: files beside it, all of them there.
    pub(super) fn read(path: &Path) -> Result<Self, CheckpointError> {
        let text = read_text(path, MAX_INDEX_BYTES)?.ok_or_else(|| CheckpointError::Io {
            action: "open",
            path: path.to_owned(),
            source: std::io::ErrorKind::NotFound.into(),
        })?;
        let index = Self::parse(path, &text)?;
        let mut missing = Vec::new();
        for name in index.names() {
            let file = index.beside(name);
            if !file.is_file() {
                missing.push(name);
            } else if let Some(real) = leads_out(index.folder(), &file)? {
                return Err(index.wrong(format!(
                    "`{name}` leads out of the model folder, to {}: put the file itself there",
                    real.display()
                )));
            }
        }
        match missing.as_slice() {
            [] => Ok(index),
            [first, more @ ..] => {
                let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
                Err(index
                    .wrong(format!("`{first}`{more}, which it names, is not there: download or copy it too")))
            }
        }
    }

    /// Reads an index whose files need not be there.
    fn parse(path: &Path, text: &str) -> Result<Self, CheckpointError> {
        let mut index = Self { path: path.to_owned(), weight_map: BTreeMap::new() };
        index.weight_map = serde_json::from_str::<Index>(text)
            .map_err(|error| {
                index.wrong(format!("expected an index of shards with a `weight_map`: {error}"))
            })?
            .weight_map;
        let found = index.names().len();
        if found == 0 || found > MAX_SHARDS {
            return Err(
                index.wrong(format!("expected 1 to {MAX_SHARDS} files in `weight_map`, found {found}"))
            );
        }
        let is_beside = |name: &&str| {
            let mut parts = Path::new(name).components();
            let is_plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
            is_plain && !name.contains(['/', '\\'])
        };
        if let Some(name) = index.names().into_iter().find(|name| !is_beside(name)) {
            return Err(index.wrong(format!(
                "`weight_map` names `{}`; expected the name of a file beside the index",
                name.chars().take(200).collect::<String>()
            )));
        }
        Ok(index)
    }

    fn wrong(&self, reason: String) -> CheckpointError {
        CheckpointError::Config { file: self.path.display().to_string(), reason }
    }

    /// The names of the files, each once.
    fn names(&self) -> BTreeSet<&str> {
        self.weight_map.values().map(String::as_str).collect()
    }

    fn folder(&self) -> &Path {
        self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// The files, opened.
    pub(super) fn open(&self) -> Result<Vec<Source>, CheckpointError> {
        self.names().into_iter().map(|name| Source::open(&self.beside(name))).collect()
    }

    /// The tensors of all files under their stored names, `stored[file]` those of each in the order of [`open`](Self::open).
    ///
    /// # Errors
    /// Where a tensor is not in the file that has it by the index, and where two files have one that the index does not place.
    pub(super) fn join(
        &self,
        stored: Vec<Vec<(String, TensorView)>>,
    ) -> Result<Vec<(String, TensorView)>, CheckpointError> {
        let names: Vec<&str> = self.names().into_iter().collect();
        let damaged =
            |reason: String| CheckpointError::Damaged { file: self.path.display().to_string(), reason };
        let mut joined: HashMap<String, (usize, TensorView)> = HashMap::new();
        for (file, tensors) in stored.into_iter().enumerate() {
            for (name, view) in tensors {
                let placed = self.weight_map.get(&name);
                if placed.is_some_and(|place| place != names[file]) {
                    continue;
                }
                if let Some((other, _)) = joined.insert(name.clone(), (file, view.in_file(file))) {
                    let (first, second) = (names[other], names[file]);
                    return Err(damaged(format!("`{name}` is both in {first} and in {second}")));
                }
            }
        }
        for (name, place) in &self.weight_map {
            if !joined.contains_key(name) {
                return Err(damaged(format!(
                    "by it `{name}` is in {place}, which does not have it: the files are not of one model, download or copy them again"
                )));
            }
        }
        let mut joined: Vec<_> = joined.into_iter().map(|(name, (_, view))| (name, view)).collect();
        joined.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Ok(joined)
    }
}
