//! Opens the model that a command needs, and says which command fits where the model is of another task.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use mplug::checkpoint::{CheckpointError, ModelFolder, bert_json_below};
use mplug::config::{ConfigOverrides, Task};
use mplug::tasks::OpenOptions;
use mplug_data::message::about;

use crate::args::{OptionalModelArg, OptionalModelsArg, StrictArg};
use crate::{demo, environment, hint, report};

/// Opens the model at `path`, which must be of the task `wanted`, with its adapter if it has one.
///
/// # Errors
/// When it is no model folder, is damaged, or does something else.
pub(crate) fn open(
    path: &Path,
    image_size: Option<usize>,
    wanted: Task,
    strict: StrictArg,
    adapter: Option<&PathBuf>,
) -> anyhow::Result<ModelFolder> {
    let found_at = find(path)?;
    let options = OpenOptions { image_size, is_strict: strict.strict, adapter: adapter.cloned() };
    let folder = mplug::open(&found_at, wanted, &options).map_err(|error| {
        let error = worded(error);
        anyhow!(about(path, &report::chain(&error)))
    })?;
    announce(&folder);
    Ok(folder)
}

/// An error with the command that uses such a model.
fn worded(error: mplug::Error) -> anyhow::Error {
    match error {
        mplug::Error::WrongTask { expected, found } => anyhow!(
            "expected a model for {}, found one for {}, which `mplug {}` uses",
            task_name(expected),
            task_name(found),
            command_of(found)
        ),
        error => error.into(),
    }
}

/// Opens a model of any task; an error names `path` first. Weights that it does not know are reported, or refused.
pub(crate) fn open_folder(
    path: &Path,
    overrides: &ConfigOverrides,
    strict: StrictArg,
    adapter: Option<&PathBuf>,
) -> anyhow::Result<ModelFolder> {
    let path = &find(path)?;
    let open = || {
        let folder = ModelFolder::open(path, overrides)?;
        if strict.strict {
            folder.refuse_unexpected()?;
        }
        match adapter {
            Some(adapter) => folder.with_adapter(adapter),
            None => Ok(folder),
        }
    };
    let folder =
        open().map_err(|error: CheckpointError| anyhow!(about(path, &report::chain(&error.into()))))?;
    announce(&folder);
    Ok(folder)
}

/// Says what a user of the model should know.
fn announce(folder: &ModelFolder) {
    for note in folder.notes() {
        report::message(format!("note: {note}"));
    }
    if !folder.unexpected().is_empty() {
        report::message(unexpected(folder.checkpoint().label(), folder.unexpected()));
    }
}

/// What is said of weights that a model does not know.
pub(crate) fn unexpected(file: &str, names: &[String]) -> String {
    let what = if names.len() == 1 { "tensor is" } else { "tensors are" };
    format!(
        "warning: {file}: {} unexpected {what} not used: {} (`--strict` refuses such a model)",
        names.len(),
        report::names(names.iter().map(String::as_str))
    )
}

/// What to do about a build that knows no hub.
#[cfg(not(feature = "hub"))]
pub(crate) const NO_HUB: &str = "this build knows no models by name; build one that does: \
    `cargo build --release -p mplug-cli` (its feature `hub` is on by default)";

/// Where the model is that was named: a path that is there, or else a model by its name in the folders of ModelScope's
/// clients. Nothing is downloaded: gigabytes come only where they were requested.
///
/// # Errors
/// When the name is that of a model which is not here, or of nothing.
pub(crate) fn find(named: &Path) -> anyhow::Result<PathBuf> {
    let found = if named.exists() { named.to_owned() } else { find_by_name(named)? };
    if matches!(found.try_exists(), Ok(false)) {
        let origin = environment::origin_of_model(named);
        bail!("{}{origin}: there is no such file or folder; {}", named.display(), hint::MODELS);
    }
    Ok(found)
}

#[cfg(feature = "hub")]
fn find_by_name(named: &Path) -> anyhow::Result<PathBuf> {
    mplug_hub::find_model(named).map_err(hint::of_hub)
}

#[cfg(not(feature = "hub"))]
fn find_by_name(named: &Path) -> anyhow::Result<PathBuf> {
    let looks_like_a_name = named.components().count() == 2 && named.is_relative();
    if looks_like_a_name && named.extension().is_none() {
        anyhow::bail!("{}: there is no such folder; {NO_HUB}", named.display());
    }
    Ok(named.to_owned())
}

/// Opens the models that were named, or the built-in demo model for the task, which says so on standard error.
pub(crate) fn open_all_or_demo(
    models: &OptionalModelsArg,
    image_size: Option<usize>,
    wanted: Task,
) -> anyhow::Result<Vec<ModelFolder>> {
    let adapters = models.adapters()?;
    if models.model.is_empty() {
        return Ok(vec![open_demo(image_size, wanted, adapters[0].as_ref())?]);
    }
    let pairs = models.model.iter().zip(&adapters);
    pairs.map(|(path, adapter)| open(path, image_size, wanted, models.strict, adapter.as_ref())).collect()
}

/// Opens the model that was named, or the built-in demo model for the task, which says so on standard error.
pub(crate) fn open_or_demo(
    model: &OptionalModelArg,
    image_size: Option<usize>,
    wanted: Task,
) -> anyhow::Result<ModelFolder> {
    if let Some(path) = &model.model {
        return open(path, image_size, wanted, model.strict, model.adapter.as_ref());
    }
    open_demo(image_size, wanted, model.adapter.as_ref())
}

fn open_demo(
    image_size: Option<usize>,
    wanted: Task,
    adapter: Option<&PathBuf>,
) -> anyhow::Result<ModelFolder> {
    let folder = demo::open(wanted, image_size)?;
    demo::announce(wanted);
    Ok(match adapter {
        Some(adapter) => folder.with_adapter(adapter)?,
        None => folder,
    })
}

/// A model and its adapter in words that change with their files.
pub(crate) fn in_words(model: Option<&PathBuf>, adapter: Option<&PathBuf>) -> anyhow::Result<String> {
    let model = match model {
        Some(path) => format!("model {}", stamp(&find(path)?)?),
        None => "the demo model".to_owned(),
    };
    let adapter = adapter.map(|adapter| Ok::<_, anyhow::Error>(format!(" with adapter {}", stamp(adapter)?)));
    Ok(model + &adapter.transpose()?.unwrap_or_default())
}

/// A file's path, size and time of change; a folder's are those of its files together, and of the BERT json of a model that
/// lies in a folder below.
pub(crate) fn stamp(path: &Path) -> anyhow::Result<String> {
    let (mut bytes, mut newest) = (0, None);
    let own = walkdir::WalkDir::new(path).max_depth(1).into_iter();
    let paths = own.map(|entry| entry.map(walkdir::DirEntry::into_path)).chain(bert_json_below(path).map(Ok));
    for path in paths {
        // Of a link that file counts to which it leads; one that leads nowhere is no file.
        let Ok(metadata) = path?.metadata() else { continue };
        if metadata.is_file() {
            bytes += metadata.len();
            newest = newest.max(metadata.modified().ok());
        }
    }
    let seconds = newest.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let seconds = seconds.map_or(0, |since| since.as_secs());
    Ok(format!("{} ({bytes} bytes of {seconds})", std::path::absolute(path)?.display()))
}

/// The task in words.
pub(crate) fn task_name(task: Task) -> &'static str {
    match task {
        Task::ImageCaptioning => "image captioning",
        Task::VisualQuestionAnswering => "visual question answering",
        Task::ImageTextRetrieval => "image-text retrieval",
    }
}

/// The command that uses models of the task.
pub(crate) fn command_of(task: Task) -> &'static str {
    match task {
        Task::ImageCaptioning => "caption",
        Task::VisualQuestionAnswering => "ask",
        Task::ImageTextRetrieval => "match",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_stamp_is_also_of_the_bert_json_in_a_folder_below() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        fs::create_dir(file("configs")).unwrap();
        fs::write(file("config.yaml"), "bert_config: configs/bert.json\n").unwrap();
        fs::write(file("configs/bert.json"), "{}").unwrap();
        fs::write(file("configs/other.json"), "{}").unwrap();
        let before = stamp(folder.path()).unwrap();
        fs::write(file("configs/other.json"), "{ }").unwrap();
        assert_eq!(stamp(folder.path()).unwrap(), before);
        fs::write(file("configs/bert.json"), "{ }").unwrap();
        assert_ne!(stamp(folder.path()).unwrap(), before);
    }
}
