//! Where models and datasets lie on this machine: the folders of ModelScope's Python clients, of both generations, so that nobody downloads
//! twice. Both are read; the newer one is written:
//!
//! - new: `models/OWNER--NAME/snapshots/REVISION/`
//! - old: `[hub/][models/]OWNER/NAME/`, a `.` of the name as `___`, the revision in a file `.mv`
//!
//! and of datasets `datasets/` in the place of `models/`.
//!
//! Beside the files that we download lies a record of what was verified, so that a later look need not hash gigabytes. Knows
//! no network.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use mplug::checkpoint;
use serde::{Deserialize, Serialize};

use super::api::{Kind, RemoteFile};
use super::download::sha256_of;
use super::{DEFAULT_REVISION, HubError, ModelId, PUBLISHED, PublishedModel};

/// The record of what was verified.
const RECORD: &str = ".mplug-hub.json";
/// Largest record, and largest `.mv`.
const MAX_RECORD_BYTES: u64 = 1 << 20;
/// Between two looks whether another program is done.
const POLL_PAUSE: Duration = Duration::from_millis(200);
/// Most snapshots of one model that are looked at.
const MAX_SNAPSHOTS: usize = 1000;

/// Which client's folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheLayout {
    /// `models/OWNER--NAME/snapshots/REVISION/`: the newer client's, and ours.
    Snapshot,
    /// `OWNER/NAME/`: the older client's.
    Legacy,
}

/// A model on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedModel {
    /// A model folder.
    pub folder: PathBuf,
    /// Its revision, where that is known.
    pub revision: Option<String>,
    /// Whose folder it is.
    pub layout: CacheLayout,
}

/// The folder with all models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    base: PathBuf,
}

impl Cache {
    /// The cache in a folder, which need not exist.
    pub fn new(base: impl Into<PathBuf>) -> Self {
        Self { base: base.into() }
    }

    /// The Python clients' cache: `MODELSCOPE_CACHE`, or else `.cache/modelscope` in the home folder.
    ///
    /// # Errors
    /// [`HubError::NoCache`] where there is neither.
    pub fn from_env() -> Result<Self, HubError> {
        if let Some(base) = std::env::var_os("MODELSCOPE_CACHE").filter(|base| !base.is_empty()) {
            return Ok(Self::new(base));
        }
        let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
        Ok(Self::new(home.ok_or(HubError::NoCache)?.join(".cache").join("modelscope")))
    }

    /// The model on this machine, under either name of a renamed owner. Of several revisions, where none is requested, it is
    /// `master`, or else the one that changed last; the older client's folder comes after these.
    pub fn find(&self, id: &ModelId, revision: Option<&str>) -> Option<CachedModel> {
        self.folders(id, revision).into_iter().find(|found| is_whole(&found.folder))
    }

    /// The folder below which models lie.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Every model here that can be opened by its name, sorted by it: those that the newer client's folders hold, and of the older
    /// client's the published ones.
    pub fn models(&self) -> Vec<(ModelId, CachedModel)> {
        let entries =
            fs::read_dir(self.base.join("models")).into_iter().flatten().flatten().take(MAX_SNAPSHOTS);
        let named = entries.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let (owner, name) = name.split_once("--")?;
            format!("{owner}/{name}").parse::<ModelId>().ok()
        });
        let published = PUBLISHED.iter().map(PublishedModel::id);
        let mut found: Vec<(String, ModelId, CachedModel)> = Vec::new();
        for id in named.chain(published) {
            if let Some(model) = self.find(&id, None)
                && found.iter().all(|(_, _, other)| other.folder != model.folder)
            {
                found.push((id.to_string(), id, model));
            }
        }
        found.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        found.into_iter().map(|(_, id, model)| (id, model)).collect()
    }

    /// Where a revision belongs that we download.
    pub fn snapshot(&self, id: &ModelId, revision: &str) -> PathBuf {
        self.snapshots(id).join(revision)
    }

    /// Where a revision of a model or a dataset belongs that we download.
    pub(super) fn place(&self, kind: Kind, id: &ModelId, revision: &str) -> PathBuf {
        match kind {
            Kind::Model => self.snapshot(id, revision),
            Kind::Dataset => self.dataset_snapshot(id, revision),
        }
    }

    /// Where a revision of a dataset belongs that we download.
    pub fn dataset_snapshot(&self, id: &ModelId, revision: &str) -> PathBuf {
        let name = format!("{}--{}", id.owner(), id.name());
        self.base.join("datasets").join(name).join("snapshots").join(revision)
    }

    /// A dataset that a Python client downloaded, or we did: its folder, if all of it is there. The older client's
    /// has no revision.
    pub fn find_dataset(&self, id: &ModelId, revision: &str) -> Option<PathBuf> {
        let ours = self.dataset_snapshot(id, revision);
        let roots = [self.base.join("datasets"), self.base.join("hub").join("datasets")];
        let old = roots.into_iter().map(|root| root.join(id.owner()).join(id.name()));
        std::iter::once(ours).chain(old).find(|folder| has_finished(folder))
    }

    /// Every folder of the model, whole or not; those of `revision` alone where one is given.
    pub(super) fn folders(&self, id: &ModelId, revision: Option<&str>) -> Vec<CachedModel> {
        let ids: Vec<ModelId> = std::iter::once(id.clone()).chain(id.with_renamed_owner()).collect();
        let snapshots = ids.iter().flat_map(|id| self.snapshot_folders(id, revision));
        let legacy = ids
            .iter()
            .flat_map(|id| self.legacy_folders(id))
            .filter(|found| revision.is_none_or(|wanted| found.revision.as_deref() == Some(wanted)));
        snapshots.chain(legacy).collect()
    }

    /// Waits until no other program downloads this revision, and keeps others out as long as the file lives. Where the file
    /// system knows no locks there is none.
    pub(super) fn lock(
        &self,
        id: &ModelId,
        revision: &str,
        mut waiting: impl FnMut() -> Result<(), HubError>,
    ) -> Result<File, HubError> {
        let folder = self.base.join(".lock");
        let revision = revision.replace('/', "--");
        let path = folder.join(format!("mplug-{}--{}--{revision}.lock", id.owner(), id.name()));
        let io = |source| HubError::Io { action: "lock", path: path.clone(), source };
        fs::create_dir_all(&folder).map_err(io)?;
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(io)?;
        loop {
            match file.try_lock() {
                Err(fs::TryLockError::WouldBlock) => {
                    waiting()?;
                    std::thread::sleep(POLL_PAUSE);
                }
                Err(fs::TryLockError::Error(error)) if error.kind() != ErrorKind::Unsupported => {
                    return Err(io(error));
                }
                _ => return Ok(file),
            }
        }
    }

    fn snapshots(&self, id: &ModelId) -> PathBuf {
        self.base.join("models").join(format!("{}--{}", id.owner(), id.name())).join("snapshots")
    }

    fn snapshot_folders(&self, id: &ModelId, revision: Option<&str>) -> Vec<CachedModel> {
        let snapshot = |folder: PathBuf, revision: &str| CachedModel {
            folder,
            revision: Some(revision.to_owned()),
            layout: CacheLayout::Snapshot,
        };
        let all = self.snapshots(id);
        if let Some(revision) = revision {
            let folder = all.join(revision);
            return if folder.is_dir() { vec![snapshot(folder, revision)] } else { Vec::new() };
        }
        let entries = fs::read_dir(&all).into_iter().flatten().flatten().take(MAX_SNAPSHOTS);
        let mut found: Vec<(SystemTime, CachedModel)> = entries
            .filter_map(|entry| {
                let folder = entry.path();
                let changed = fs::metadata(&folder).ok().filter(fs::Metadata::is_dir)?.modified().ok()?;
                let name = entry.file_name().into_string().ok()?;
                Some((changed, snapshot(folder, &name)))
            })
            .collect();
        let rank = |(changed, found): &(SystemTime, CachedModel)| {
            (found.revision.as_deref() == Some(DEFAULT_REVISION), *changed, found.revision.clone())
        };
        found.sort_by_key(|found| std::cmp::Reverse(rank(found)));
        found.into_iter().map(|(_, found)| found).collect()
    }

    fn legacy_folders(&self, id: &ModelId) -> Vec<CachedModel> {
        let escaped = id.name().replace('.', "___");
        let names: Vec<&str> = if escaped == id.name() { vec![id.name()] } else { vec![&escaped, id.name()] };
        let mut found = Vec::new();
        for root in [self.base.join("hub"), self.base.clone()] {
            for owners in [root.join("models"), root] {
                for name in &names {
                    let folder = owners.join(id.owner()).join(name);
                    if folder.is_dir() {
                        let revision = legacy_revision(&folder);
                        found.push(CachedModel { folder, revision, layout: CacheLayout::Legacy });
                    }
                }
            }
        }
        found
    }
}

/// The revision in the older client's `.mv`: `Revision:v1.0.1,CreatedAt:1679…`.
fn legacy_revision(folder: &Path) -> Option<String> {
    let text = read_limited(&folder.join(".mv")).ok()?;
    let (_, rest) = text.split_once("Revision:")?;
    let revision = rest.split([',', '\n']).next().unwrap_or_default().trim();
    (!revision.is_empty()).then(|| revision.to_owned())
}

/// Whether a folder has files and none of them is a part of a download. Clients download into a folder of another name, or into
/// files that are called so.
fn has_finished(folder: &Path) -> bool {
    let (mut folders, mut has_files) = (vec![folder.to_owned()], false);
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder) else { return false };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".incomplete") || name.starts_with("._____temp") {
                return false;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            } else {
                has_files |= !name.starts_with('.');
            }
        }
    }
    has_files
}

/// Whether a folder has all that a model of this family is opened with. Files get their names when they are whole.
fn is_whole(folder: &Path) -> bool {
    checkpoint::has_weights(folder)
        && folder.join(checkpoint::VOCABULARY).is_file()
        && checkpoint::has_configuration(folder)
}

/// Whether `folder` has the file as the hub lists it. What the record does not vouch for is hashed.
pub(super) fn holds(folder: &Path, file: &RemoteFile, record: &Record, hashing: impl FnOnce()) -> bool {
    let path = folder.join(&file.path);
    if !fs::metadata(&path).is_ok_and(|found| found.is_file() && found.len() == file.size) {
        return false;
    }
    let Some(expected) = &file.sha256 else { return true };
    if record.files.get(&file.path).is_some_and(|known| known.sha256.as_ref() == Some(expected)) {
        return true;
    }
    hashing();
    sha256_of(&path).is_ok_and(|found| found == *expected)
}

/// What was downloaded into a folder and verified.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Record {
    model: String,
    revision: String,
    endpoint: String,
    files: BTreeMap<String, RecordedFile>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct RecordedFile {
    size: u64,
    sha256: Option<String>,
    /// The commit that last changed it.
    commit: String,
}

impl Record {
    /// A record of `files`.
    pub(super) fn new<'a>(
        id: &ModelId,
        revision: &str,
        endpoint: &str,
        files: impl Iterator<Item = &'a RemoteFile>,
    ) -> Self {
        let recorded = |file: &RemoteFile| RecordedFile {
            size: file.size,
            sha256: file.sha256.clone(),
            commit: file.commit.clone(),
        };
        Self {
            model: id.to_string(),
            revision: revision.to_owned(),
            endpoint: endpoint.to_owned(),
            files: files.map(|file| (file.path.clone(), recorded(file))).collect(),
        }
    }

    /// The record of a folder; an empty one where there is none that can be read.
    pub(super) fn read(folder: &Path) -> Self {
        let text = read_limited(&folder.join(RECORD)).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Writes it, whole or not at all.
    pub(super) fn write(&self, folder: &Path) -> Result<(), HubError> {
        let path = folder.join(RECORD);
        let io = |source| HubError::Io { action: "write", path: path.clone(), source };
        let text = serde_json::to_string_pretty(self).map_err(|error| io(error.into()))?;
        let mut temporary = tempfile::Builder::new();
        let temporary = temporary.prefix(".mplug-").suffix(".tmp").tempfile_in(folder);
        let mut temporary = temporary.map_err(|error| io(mplug::plain_io_error(error)))?;
        std::io::Write::write_all(&mut temporary, text.as_bytes()).map_err(io)?;
        temporary.persist(&path).map_err(|error| io(error.error))?;
        Ok(())
    }
}

fn read_limited(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_RECORD_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// Bytes that may still be written where `folder` is, if the system reports them.
#[cfg(any(target_os = "linux", target_os = "macos"))]
pub(super) fn free_space(folder: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Bytes that may still be written where `folder` is, if the system reports them.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
pub(super) fn free_space(_folder: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model's files, with nothing in them.
    fn put_model(folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        for name in ["pytorch_model.bin", "vocab.txt", "configuration.json"] {
            fs::write(folder.join(name), "{}").unwrap();
        }
    }

    #[test]
    fn folders_of_both_clients_are_found() {
        let id: ModelId = "damo/mplug_v1.0".parse().unwrap();
        for place in [
            "models/damo--mplug_v1.0/snapshots/master",
            "models/iic--mplug_v1.0/snapshots/v2",
            "hub/models/damo/mplug_v1___0",
            "models/damo/mplug_v1___0",
            "hub/damo/mplug_v1___0",
            "iic/mplug_v1___0",
            "damo/mplug_v1.0",
        ] {
            let folder = tempfile::tempdir().unwrap();
            let cache = Cache::new(folder.path());
            assert_eq!(cache.find(&id, None), None);
            let model = folder.path().join(place);
            fs::create_dir_all(&model).unwrap();
            fs::write(model.join("vocab.txt"), "").unwrap();
            assert_eq!(cache.find(&id, None), None, "{place}: half a model is none");
            put_model(&model);
            let found = cache.find(&id, None).unwrap();
            assert_eq!(found.folder, model);
            let is_new = place.contains("snapshots");
            assert_eq!(found.layout == CacheLayout::Snapshot, is_new, "{place}");
            assert_eq!(cache.find(&id.with_renamed_owner().unwrap(), None).unwrap().folder, model);
        }
    }

    #[test]
    fn datasets_of_both_clients_are_found() {
        let id: ModelId = "modelscope/coco_captions_small_slice".parse().unwrap();
        for place in [
            "datasets/modelscope--coco_captions_small_slice/snapshots/master",
            "datasets/modelscope/coco_captions_small_slice",
            "hub/datasets/modelscope/coco_captions_small_slice",
        ] {
            let folder = tempfile::tempdir().unwrap();
            let cache = Cache::new(folder.path());
            let dataset = folder.path().join(place);
            fs::create_dir_all(&dataset).unwrap();
            assert_eq!(cache.find_dataset(&id, "master"), None, "{place}: an empty folder is none");
            fs::write(dataset.join("train.csv"), "a").unwrap();
            assert_eq!(cache.find_dataset(&id, "master"), Some(dataset.clone()), "{place}");
            fs::create_dir(dataset.join("images")).unwrap();
            fs::write(dataset.join("images/a.png.incomplete"), "a").unwrap();
            assert_eq!(cache.find_dataset(&id, "master"), None, "{place}: half a dataset is none");
        }
    }

    #[test]
    fn revisions_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let id: ModelId = "damo/m".parse().unwrap();
        let legacy = folder.path().join("hub/damo/m");
        put_model(&legacy);
        assert_eq!(cache.find(&id, Some("v1")), None, "nobody knows which it is");
        fs::write(legacy.join(".mv"), "Revision:v1,CreatedAt:1679000000").unwrap();
        assert_eq!(cache.find(&id, Some("v1")).unwrap().folder, legacy);
        put_model(&cache.snapshot(&id, "v2"));
        assert_eq!(cache.find(&id, None).unwrap().revision.as_deref(), Some("v2"));
        put_model(&cache.snapshot(&id, "master"));
        put_model(&cache.snapshot(&id, "v3"));
        assert_eq!(cache.find(&id, None).unwrap().revision.as_deref(), Some("master"));
        assert_eq!(cache.find(&id, Some("v1")).unwrap().folder, legacy);
    }

    #[test]
    fn a_config_that_names_a_missing_file_makes_no_model() {
        let folder = tempfile::tempdir().unwrap();
        put_model(folder.path());
        assert!(is_whole(folder.path()));
        fs::write(folder.path().join("config.yaml"), "bert_config: other.json\n").unwrap();
        assert!(!is_whole(folder.path()));
        fs::write(folder.path().join("other.json"), "{}").unwrap();
        assert!(is_whole(folder.path()));
    }

    #[test]
    fn a_record_vouches_for_what_it_names() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "abc").unwrap();
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let file = RemoteFile { path: "a".into(), size: 3, sha256: Some(sha256.into()), commit: "c".into() };
        let hashed = std::cell::Cell::new(false);
        let holds = |file: &RemoteFile| {
            hashed.set(false);
            let held = holds(folder.path(), file, &Record::read(folder.path()), || hashed.set(true));
            (held, hashed.get())
        };
        assert_eq!(holds(&file), (true, true));
        let id: ModelId = "a/b".parse().unwrap();
        Record::new(&id, "master", "https://hub", [&file].into_iter()).write(folder.path()).unwrap();
        assert_eq!(holds(&file), (true, false));
        let other = RemoteFile { sha256: Some("0".repeat(64)), ..file.clone() };
        assert_eq!(holds(&other), (false, true));
        assert_eq!(holds(&RemoteFile { size: 4, ..file }), (false, false));
    }
}
