//! Which file of a folder holds the model's weights.

use std::path::{Path, PathBuf};

use crate::checkpoint::CheckpointError;
use crate::checkpoint::shards::{ShardIndex, index_of_shard, is_index};
use crate::checkpoint::small_files::{INDICES, PYTORCH, SAFETENSORS};

/// The folder and the weight file in it, or the index of several.
pub(super) fn locate(path: &Path) -> Result<(PathBuf, PathBuf), CheckpointError> {
    let io = |source| CheckpointError::Io { action: "open", path: path.to_path_buf(), source };
    if std::fs::metadata(path).map_err(io)?.is_file() {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if let Some(index) = index_of_shard(path) {
            let reason =
                format!("it is one file of a model's several: name its folder, or {}", index.display());
            return Err(CheckpointError::NotAModelFolder { path: path.to_path_buf(), reason });
        }
        return Ok((folder.to_path_buf(), path.to_path_buf()));
    }
    for name in [SAFETENSORS, PYTORCH].into_iter().chain(INDICES) {
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
                "it holds {} weight files and none is called {SAFETENSORS} or {PYTORCH}: name the file itself, or add {} if \
                 they are parts of one model",
                many.len(),
                INDICES.join(" or ")
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
    let is_whole = |index: &Path| ShardIndex::read(index).is_ok();
    locate(folder).is_ok_and(|(_, weights)| !is_index(&weights) || is_whole(&weights))
}
