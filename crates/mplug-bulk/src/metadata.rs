//! The `metadata.jsonl` of Hugging Face's image folders: a picture's name, from the file's folder on, and its text. Pictures without a
//! caption have no line: the loader would want the file of each.

use std::fs;
use std::path::{Component, Path, PathBuf};

use mplug::config::Language;
use mplug_data::source::PictureSource;
use serde::Serialize;

use crate::error::BulkError;
use crate::inputs::Input;
use crate::record::CaptionRecord;

/// A line.
#[derive(Serialize)]
pub(crate) struct MetadataRow<'r> {
    file_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<Language>,
    text: &'r str,
}

impl<'r> MetadataRow<'r> {
    /// What of a record such a file has; nothing of a failure. `folder` is the file's; names are as they were given where there is none.
    pub(crate) fn new(input: &Input, record: &'r CaptionRecord, folder: Option<&Path>) -> Option<Self> {
        let best = record.best.as_ref()?;
        let file_name = file_name(input, folder)?;
        Some(Self { file_name, language: record.language, text: &best.caption })
    }
}

/// Refuses pictures that are not below the folder of the file: their names would lead nowhere.
pub(crate) fn check<'i>(inputs: impl Iterator<Item = &'i Input>, output: &Path) -> Result<(), BulkError> {
    let folder = folder_of(output);
    for input in inputs.filter(|input| input.source.is_ok()) {
        if file_name(input, Some(&folder)).is_none() {
            return Err(BulkError::NotBelow { path: input.path.clone(), folder });
        }
    }
    Ok(())
}

/// The folder of a file that may not be there yet.
pub(crate) fn folder_of(output: &Path) -> PathBuf {
    match output.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The name of a picture from `folder` on, with slashes. Pictures of archives and of the web are in no folder.
fn file_name(input: &Input, folder: Option<&Path>) -> Option<String> {
    let Ok(PictureSource::File(path)) = &input.source else { return None };
    let Some(folder) = folder else { return Some(plain(&input.path)) };
    let absolute = [path, folder].map(std::path::absolute);
    if let [Ok(path), Ok(folder)] = &absolute
        && let Ok(name) = path.strip_prefix(folder)
        && !name.components().any(|part| part == Component::ParentDir)
    {
        return Some(plain(name));
    }
    // One of them leads through a link or upwards.
    let [parent, folder] = [path.parent()?, folder].map(fs::canonicalize);
    Some(plain(parent.ok()?.join(path.file_name()?).strip_prefix(folder.ok()?).ok()?))
}

fn plain(name: &Path) -> String {
    let parts: Vec<_> = name.iter().map(|part| part.to_string_lossy()).filter(|part| part != ".").collect();
    parts.join("/").replacen("//", "/", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_begin_at_the_files_folder() {
        let name = |input: &str, output: &str| {
            file_name(&Input::file(input.into()), Some(&folder_of(Path::new(output))))
        };
        assert_eq!(name("photos/a/猫.jpg", "photos/metadata.jsonl").as_deref(), Some("a/猫.jpg"));
        assert_eq!(name("./a.jpg", "metadata.jsonl").as_deref(), Some("a.jpg"));
        assert_eq!(name("photos/a.jpg", "other/metadata.jsonl"), None);
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("p/q")).unwrap();
        let at = |name: &str| folder.path().join(name);
        let inputs = [Input::file(at("p/q/../a.jpg"))];
        assert!(check(inputs.iter(), &at("p/q/metadata.jsonl")).is_err());
        assert!(check(inputs.iter(), &at("p/metadata.jsonl")).is_ok());
        assert_eq!(file_name(&inputs[0], None).unwrap().chars().next(), Some('/'));
    }
}
