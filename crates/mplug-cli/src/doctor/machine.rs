//! What this machine has for models: memory, room on disks, devices, and the models that are here.

use std::path::Path;

use mplug_data::machine::Machine;

/// Memory and what is free of it.
#[expect(clippy::unnecessary_wraps, reason = "a check like the others")]
pub(super) fn memory() -> anyhow::Result<String> {
    let Machine { memory, free_memory, .. } = Machine::here(Path::new("."));
    Ok(match (free_memory, memory) {
        (Some(free), Some(all)) => format!("{} free of {}", gigabytes(free), gigabytes(all)),
        _ => "not reported by this system".to_owned(),
    })
}

/// Room in this folder, for temporary files and for models.
#[expect(clippy::unnecessary_wraps, reason = "a check like the others")]
pub(super) fn disk() -> anyhow::Result<String> {
    let room = |name: &str, folder: &Path| {
        let free = Machine::here(folder).free_disk.map_or_else(|| "unknown".to_owned(), gigabytes);
        format!("{free} free {name}")
    };
    let mut rooms =
        vec![room("in this folder", Path::new(".")), room("for temporary files", &std::env::temp_dir())];
    if let Some(cache) = cache() {
        rooms.push(room(&format!("for models in {}", cache.display()), &cache));
    }
    Ok(rooms.join(", "))
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

#[cfg(feature = "hub")]
fn cache() -> Option<std::path::PathBuf> {
    Some(mplug_hub::Cache::from_env().ok()?.base().to_owned())
}

#[cfg(not(feature = "hub"))]
fn cache() -> Option<std::path::PathBuf> {
    None
}

/// The models that have names here.
#[cfg(feature = "hub")]
pub(super) fn models() -> anyhow::Result<String> {
    let found = mplug_hub::Cache::from_env()?.models();
    let names: Vec<String> = found
        .iter()
        .map(|(id, _)| {
            mplug_hub::published_model(id).map_or_else(|| id.to_string(), |model| model.short_name.to_owned())
        })
        .collect();
    Ok(if names.is_empty() { format!("none downloaded; {}", crate::hint::MODELS) } else { names.join(", ") })
}

/// The models that have names here.
#[cfg(not(feature = "hub"))]
#[expect(clippy::unnecessary_wraps, reason = "a check like the others")]
pub(super) fn models() -> anyhow::Result<String> {
    Ok("this build knows none by name".to_owned())
}

/// What models run and train on.
#[expect(clippy::unnecessary_wraps, reason = "a check like the others")]
pub(super) fn devices() -> anyhow::Result<String> {
    Ok(format!("the processor; GPUs for training: {}", gpus()))
}

#[cfg(all(feature = "train", feature = "wgpu"))]
fn gpus() -> String {
    match mplug_train::device::find_gpu() {
        Ok(()) => "found".to_owned(),
        Err(error) => format!("none found: {error}"),
    }
}

#[cfg(not(all(feature = "train", feature = "wgpu")))]
fn gpus() -> String {
    "not in this build (its feature `wgpu`)".to_owned()
}
