//! Which folders may be replaced.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use mplug::checkpoint::bert_json_below;

/// `--force` replaces a whole folder, so it must be one of ours and not somebody's home, nor the model being read.
pub(super) fn check_replaceable(dest: &Path, source: &Path) -> anyhow::Result<()> {
    let Ok(entries) = fs::read_dir(dest) else {
        if dest.exists() {
            bail!("{}: is not a folder; `--force` replaces model folders only", dest.display());
        }
        return Ok(());
    };
    if fs::canonicalize(dest)? == fs::canonicalize(source)? {
        bail!("{}: is the model to be converted; write to another folder", dest.display());
    }
    let entries = entries.collect::<Result<Vec<_>, _>>().with_context(|| dest.display().to_string())?;
    let bert_json = bert_json_below(dest);
    let has_folder = entries.iter().any(|entry| {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        is_folder && !bert_json.as_ref().is_some_and(|bert_json| holds_only(&entry.path(), bert_json))
    });
    let is_model = ["model.safetensors", "pytorch_model.bin"].iter().any(|name| dest.join(name).is_file());
    if !entries.is_empty() && (has_folder || !is_model || !dest.join("vocab.txt").is_file()) {
        bail!(
            "{}: is not a model folder (or holds more than one); `--force` replaces nothing else",
            dest.display()
        );
    }
    Ok(())
}

/// Whether `folder` holds `file` and nothing else, at any depth.
fn holds_only(folder: &Path, file: &Path) -> bool {
    let mut entries = walkdir::WalkDir::new(folder).into_iter();
    entries.all(|entry| entry.is_ok_and(|entry| file.starts_with(entry.path())))
}
