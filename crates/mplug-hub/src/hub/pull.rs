//! One pull of a model or a dataset, start to end: which files are needed, which of them this machine has, the download of the others, and their names
//! at the end. Files get their names when all are there and right, so that a model of two revisions mixed cannot come about.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use mplug::checkpoint::{
    self, BERT_JSON, CONFIG_YAML, CONFIGURATION_JSON, INDICES, PYTORCH, SAFETENSORS, TOKENIZER_CONFIG,
    VOCABULARY,
};
use mplug::config::ConfigTexts;

use super::api::{Api, Kind, RemoteFile, file_address};
use super::cache::{CachedModel, Record, free_space, holds};
use super::client::{Client, random_id};
use super::download::{Fetch, incomplete};
use super::listener::Listener;
use super::{HubError, HubOptions, ModelId, Progress, Pulled};
use crate::http::Retry;

/// Largest of the small files; the loader's own limits are no wider.
const MAX_SMALL_BYTES: u64 = 64 << 20;
/// Largest `config.yaml`.
const MAX_CONFIG_BYTES: u64 = 4 << 20;
/// Largest index of weights in several files.
const MAX_INDEX_BYTES: u64 = 32 << 20;
/// Bytes that a download leaves free on the disk.
const SPARE_BYTES: u64 = 16 << 20;

/// A model or a dataset to pull from the hub.
pub(super) struct Pull<'a> {
    pub(super) options: &'a HubOptions,
    pub(super) client: &'a Client,
    pub(super) kind: Kind,
    pub(super) id: &'a ModelId,
    pub(super) revision: &'a str,
    pub(super) listener: &'a Listener<'a>,
}

/// What becomes of the files that the folder lacks.
#[derive(Default)]
struct Plan<'a> {
    /// Another folder of this machine has it.
    to_link: Vec<(&'a RemoteFile, PathBuf)>,
    to_download: Vec<&'a RemoteFile>,
}

impl Pull<'_> {
    pub(super) fn run(&self) -> Result<Pulled, HubError> {
        let folder = self.options.cache.place(self.kind, self.id, self.revision);
        let retry = self.retry();
        let api = Api {
            client: self.client,
            kind: self.kind,
            id: self.id,
            revision: self.revision,
            retry: &retry,
            folder: &folder,
        };
        let needed = match self.kind {
            Kind::Model => self.needed(&api)?,
            Kind::Dataset => Self::dataset_files(&api)?,
        };
        // Nothing is written where nothing is missing: the cache may be a read-only one.
        if let Err(whole) = self.plan(&folder, &needed) {
            return Ok(self.pulled(whole, 0));
        }
        let _others_wait =
            self.options.cache.lock(self.id, self.revision, || self.listener.hear(&Progress::Waiting))?;
        let plan = match self.plan(&folder, &needed) {
            Ok(plan) => plan,
            Err(whole) => return Ok(self.pulled(whole, 0)),
        };
        let io = |source| HubError::Io { action: "create", path: folder.clone(), source };
        fs::create_dir_all(&folder).map_err(io)?;
        let downloaded = total(&plan.to_download);
        Self::check_space(&folder, &plan.to_download)?;
        self.download(&folder, &plan.to_download)?;
        Self::name(&folder, &plan)?;
        Record::new(self.id, self.revision, self.client.endpoint(), needed.iter()).write(&folder)?;
        Ok(self.pulled(folder, downloaded))
    }

    fn retry(&self) -> Retry {
        Retry { retries: self.options.retries, first_pause: self.options.first_pause }
    }

    fn pulled(&self, folder: PathBuf, downloaded: u64) -> Pulled {
        Pulled { folder, id: self.id.clone(), revision: self.revision.to_owned(), downloaded }
    }

    /// Every file of a dataset but those that git alone reads.
    fn dataset_files(api: &Api<'_>) -> Result<Vec<RemoteFile>, HubError> {
        let mut files = api.dataset_files()?;
        files.retain(|file| !file.path.split('/').any(|part| part.starts_with(".git")));
        if files.is_empty() {
            api.check_revision()?;
        }
        Ok(files)
    }

    /// The files that a model is opened with: of all weight files the one that the loader would choose.
    fn needed(&self, api: &Api<'_>) -> Result<Vec<RemoteFile>, HubError> {
        let files = api.files()?;
        let listed = |name: &str| files.iter().find(|file| file.path == name);
        let weights = self.weights(api, &files)?;
        if listed(VOCABULARY).is_none() {
            return Err(self.no_model(api, format!("it has no {VOCABULARY}")));
        }
        let bert_json = self.bert_json(api, &files)?;
        let names = [CONFIGURATION_JSON, CONFIG_YAML, VOCABULARY, TOKENIZER_CONFIG];
        let small: Vec<RemoteFile> = names.into_iter().filter_map(listed).cloned().chain(bert_json).collect();
        if let Some(large) = small.iter().find(|file| file.size > MAX_SMALL_BYTES) {
            return Err(self.no_model(api, format!("{} has {} bytes", large.path, large.size)));
        }
        Ok(small.into_iter().chain(weights).collect())
    }

    /// The weight file that the loader would choose; of a model in several files all of them, with the index last.
    fn weights(&self, api: &Api<'_>, files: &[RemoteFile]) -> Result<Vec<RemoteFile>, HubError> {
        let listed = |name: &str| files.iter().find(|file| file.path == name);
        let is_whole = [SAFETENSORS, PYTORCH].into_iter().any(|name| listed(name).is_some());
        let Some(index) = INDICES.into_iter().find_map(listed).filter(|_| !is_whole) else {
            let file = weight_file(files).map_err(|problem| self.no_model(api, problem))?;
            return Ok(vec![file.clone()]);
        };
        let text = api.small_file(&index.path, MAX_INDEX_BYTES)?;
        let names = checkpoint::shard_names(&text, Path::new(&index.path));
        let names = names.map_err(|error| self.no_model(api, error.to_string()))?;
        let mut weights = Vec::with_capacity(names.len() + 1);
        for name in names {
            let problem =
                || self.no_model(api, format!("its {} names {name}, which it does not have", index.path));
            weights.push(listed(&name).ok_or_else(problem)?.clone());
        }
        weights.push(index.clone());
        Ok(weights)
    }

    /// The BERT json that `config.yaml` names, which the hub must have; or the one of the usual name, if there is one.
    fn bert_json(&self, api: &Api<'_>, files: &[RemoteFile]) -> Result<Option<RemoteFile>, HubError> {
        let listed = |name: &str| files.iter().find(|file| file.path == name).cloned();
        let named = match listed(CONFIG_YAML) {
            Some(file) if file.size > 0 => {
                let text = api.small_file(CONFIG_YAML, MAX_CONFIG_BYTES)?;
                ConfigTexts::bert_json_name(Some(&text))
                    .map_err(|error| self.no_model(api, error.to_string()))?
            }
            _ => None,
        };
        let Some(named) = named else { return Ok(listed(BERT_JSON)) };
        let found = match listed(&named) {
            None if named.contains('/') => api.file_below(&named)?,
            found => found,
        };
        let problem =
            || self.no_model(api, format!("its {CONFIG_YAML} names {named}, which it does not have"));
        found.map(Some).ok_or_else(problem)
    }

    /// What is missing, or, if the hub knows no such revision, that.
    fn no_model(&self, api: &Api<'_>, problem: String) -> HubError {
        let (id, revision) = (self.id.clone(), self.revision.to_owned());
        api.check_revision().err().unwrap_or(HubError::NotAModel { id, revision, problem })
    }

    /// What to do for each missing file; `Err` with a folder that has them all.
    fn plan<'a>(&self, folder: &Path, needed: &'a [RemoteFile]) -> Result<Plan<'a>, PathBuf> {
        let record = Record::read(folder);
        let missing: Vec<&RemoteFile> =
            needed.iter().filter(|file| !self.holds(folder, file, &record)).collect();
        if missing.is_empty() {
            return Err(folder.to_owned());
        }
        let others: Vec<CachedModel> = match self.kind {
            Kind::Model => self.options.cache.folders(self.id, None),
            Kind::Dataset => Vec::new(),
        };
        // Only the folder that the model's name stands for is an answer; from others, files are taken.
        let named = self.options.cache.find(self.id, None).map(|found| found.folder);
        let mut plan = Plan { to_download: missing, ..Plan::default() };
        for other in others.into_iter().map(|other| other.folder).filter(|other| other != folder) {
            let record = Record::read(&other);
            let (there, not_there): (Vec<&RemoteFile>, Vec<&RemoteFile>) =
                needed.iter().partition(|file| self.holds(&other, file, &record));
            if not_there.is_empty() && named.as_ref() == Some(&other) {
                return Err(other);
            }
            for file in there {
                if let Some(index) = plan.to_download.iter().position(|missing| missing.path == file.path) {
                    plan.to_download.remove(index);
                    plan.to_link.push((file, other.join(&file.path)));
                }
            }
        }
        Ok(plan)
    }

    fn holds(&self, folder: &Path, file: &RemoteFile, record: &Record) -> bool {
        // A break ends the pull at its next event: what is here is compared all the same.
        holds(folder, file, record, || drop(self.listener.hear(&Progress::Checking { path: &file.path })))
    }

    fn check_space(folder: &Path, files: &[&RemoteFile]) -> Result<(), HubError> {
        let missing = files.iter().map(|file| {
            let partial = fs::metadata(incomplete(&folder.join(&file.path))).map_or(0, |found| found.len());
            file.size.saturating_sub(partial)
        });
        let needed = missing.fold(0, u64::saturating_add).saturating_add(SPARE_BYTES);
        match free_space(folder) {
            Some(available) if available < needed && !files.is_empty() => {
                Err(HubError::DiskFull { folder: folder.to_owned(), needed, available })
            }
            _ => Ok(()),
        }
    }

    /// Downloads files side by side. One that fails does not stop the others; its error comes when all are done.
    fn download(&self, folder: &Path, files: &[&RemoteFile]) -> Result<(), HubError> {
        if files.is_empty() {
            return Ok(());
        }
        self.listener.hear(&Progress::Planned { files: files.len(), bytes: total(files) })?;
        let snapshot = random_id();
        let queue: Mutex<VecDeque<&RemoteFile>> = Mutex::new(files.iter().copied().collect());
        let first_error = Mutex::new(None);
        let work = || {
            while let Some(file) = next(&queue) {
                if let Err(error) = self.fetch(folder, file, &snapshot) {
                    first_error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..self.options.parallel_files.clamp(1, files.len()) {
                scope.spawn(work);
            }
        });
        first_error.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    fn fetch(&self, folder: &Path, file: &RemoteFile, snapshot: &str) -> Result<(), HubError> {
        create_parent(&folder.join(&file.path))?;
        Fetch {
            client: self.client,
            id: self.id,
            file,
            address: &file_address(self.kind, self.id, self.revision, &file.path),
            snapshot,
            path: incomplete(&folder.join(&file.path)),
            retry: self.retry(),
            idle_timeout: self.options.idle_timeout,
            listener: self.listener,
        }
        .run()
    }

    /// Gives every file its name, the weights last.
    fn name(folder: &Path, plan: &Plan<'_>) -> Result<(), HubError> {
        for (file, source) in &plan.to_link {
            let path = folder.join(&file.path);
            create_parent(&path)?;
            let temporary = folder.join(format!(".mplug-{}.tmp", random_id()));
            let linked = fs::hard_link(source, &temporary)
                .or_else(|_| fs::copy(source, &temporary).map(|_| ()))
                .and_then(|()| fs::rename(&temporary, &path));
            linked.map_err(|source| HubError::Io { action: "write", path, source })?;
        }
        for file in &plan.to_download {
            let path = folder.join(&file.path);
            let named = fs::rename(incomplete(&path), &path);
            named.map_err(|source| HubError::Io { action: "write", path, source })?;
        }
        Ok(())
    }
}

/// Creates the folder of a file, which may lie in one below the model's.
fn create_parent(path: &Path) -> Result<(), HubError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    let io = |source| HubError::Io { action: "create", path: parent.to_owned(), source };
    fs::create_dir_all(parent).map_err(io)
}

fn total(files: &[&RemoteFile]) -> u64 {
    files.iter().map(|file| file.size).fold(0, u64::saturating_add)
}

fn next<'a>(queue: &Mutex<VecDeque<&'a RemoteFile>>) -> Option<&'a RemoteFile> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

/// The weight file that the loader would choose, or why there is none.
fn weight_file(files: &[RemoteFile]) -> Result<&RemoteFile, String> {
    let listed = |name: &str| files.iter().find(|file| file.path == name);
    if let Some(file) = listed(SAFETENSORS).or_else(|| listed(PYTORCH)) {
        return Ok(file);
    }
    let mut others = files
        .iter()
        .filter(|file| !file.path.contains('/') && checkpoint::is_weight_file(Path::new(&file.path)));
    match (others.next(), others.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(format!("it has no weights, {SAFETENSORS} or {PYTORCH}")),
        _ => Err(format!("it has several weight files, and none is called {SAFETENSORS} or {PYTORCH}")),
    }
}
