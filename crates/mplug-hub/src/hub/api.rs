//! What the hub says of a model or a dataset: its files at a revision, its revisions, and the small file that names another. Answers are
//! JSON in an envelope (`Code`, `Success`, `Message`, `Data`), read up to a limit. Endpoints and fields are those of
//! ModelScope's Python clients. Downloading is `download`'s matter.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::client::{Answer, Client, HttpError, query_value};
use super::{HubError, ModelId};
use crate::http::Retry;

/// Most bytes of a JSON answer: a full listing has 2 to 3 MB.
const MAX_JSON_BYTES: u64 = 8 << 20;
/// A listing never has more entries than this, however many files there are, and does not say so.
const LISTING_CAP: usize = 3000;
/// Most characters of a server's message that are repeated.
const MAX_MESSAGE: usize = 200;

/// Most pages of a dataset's listing that are read.
const MAX_PAGES: usize = 500;
/// Entries of a page of it.
const PAGE: usize = 200;

/// What a name on the hub stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Model,
    Dataset,
}

impl Kind {
    /// Its part of the hub's addresses.
    fn segment(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
        }
    }
}

/// A file that the hub has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RemoteFile {
    /// Path in the folder of the model or dataset, `/` between its parts.
    pub(super) path: String,
    pub(super) size: u64,
    /// Lower-case hexadecimal; some files are listed without.
    pub(super) sha256: Option<String>,
    /// The commit that last changed it.
    pub(super) commit: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope<T> {
    code: Option<i64>,
    success: Option<bool>,
    message: Option<String>,
    data: Option<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listing {
    files: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    path: String,
    #[serde(rename = "Type")]
    kind: String,
    size: Option<u64>,
    sha256: Option<String>,
    revision: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Revisions {
    revision_map: RevisionMap,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RevisionMap {
    branches: Option<Vec<Named>>,
    tags: Option<Vec<Named>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    revision: String,
}

/// Why a question has no answer.
enum Refusal {
    /// The hub says no: the status, and its words.
    No { status: u16, message: String },
    /// Anything else.
    Error(Box<HubError>),
}

/// A listing in either of the forms in which the hub gives it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Page {
    Bare(Vec<Entry>),
    Listing(Listing),
}

/// Sends requests about one model or dataset at one revision.
pub(super) struct Api<'a> {
    pub(super) client: &'a Client,
    pub(super) kind: Kind,
    pub(super) id: &'a ModelId,
    pub(super) revision: &'a str,
    pub(super) retry: &'a Retry,
    /// Where the model belongs on this machine, for messages.
    pub(super) folder: &'a std::path::Path,
}

impl Api<'_> {
    /// The files in the model's own folder, and those below it unless the listing is cut off: see
    /// [`file_below`](Self::file_below).
    pub(super) fn files(&self) -> Result<Vec<RemoteFile>, HubError> {
        let mut entries = self.entries("Recursive=True")?;
        if entries.len() >= LISTING_CAP {
            // Cut off without a word: what is wanted may be missing. The folder alone is shorter.
            entries = self.entries("Recursive=False")?;
        }
        let files = entries.into_iter().filter(|entry| entry.kind != "tree");
        let file = |entry: Entry| match (entry.path.contains('/'), self.remote_file(entry)) {
            (true, Err(_)) => None, // Of files below the folder one at most is wanted.
            (_, file) => Some(file),
        };
        files.filter_map(file).collect()
    }

    /// All files of a dataset, those in folders included, page by page.
    pub(super) fn dataset_files(&self) -> Result<Vec<RemoteFile>, HubError> {
        let mut files = Vec::new();
        for page in 1..=MAX_PAGES {
            let path = format!(
                "/api/v1/datasets/{}/repo/tree?Revision={}&Recursive=True&PageNumber={page}&PageSize={PAGE}",
                self.id,
                query_value(self.revision)
            );
            let entries = self.listed(self.ask(&path).map(|page: Page| match page {
                Page::Bare(entries) => entries,
                Page::Listing(listing) => listing.files.unwrap_or_default(),
            }))?;
            let is_last = entries.len() < PAGE;
            let blobs = entries.into_iter().filter(|entry| entry.kind != "tree");
            for file in blobs.map(|entry| self.remote_file(entry)) {
                files.push(file?);
            }
            if is_last {
                return Ok(files);
            }
        }
        Err(self.odd(format!("expected at most {} files, found more", MAX_PAGES * PAGE)))
    }

    /// The file at `path` in a folder below the model's own, listed alone.
    pub(super) fn file_below(&self, path: &str) -> Result<Option<RemoteFile>, HubError> {
        let (below, _) = path.rsplit_once('/').unwrap_or_default();
        let entries = self.entries(&format!("Recursive=False&Root={}", query_value(below)))?;
        let found = entries.into_iter().find(|entry| entry.kind != "tree" && entry.path == path);
        found.map(|entry| self.remote_file(entry)).transpose()
    }

    fn entries(&self, which: &str) -> Result<Vec<Entry>, HubError> {
        let path =
            format!("/api/v1/models/{}/repo/files?Revision={}&{which}", self.id, query_value(self.revision));
        self.listed(self.ask(&path).map(|listing: Listing| listing.files.unwrap_or_default()))
    }

    /// The entries of a listing, none of which lies elsewhere.
    fn listed(&self, listing: Result<Vec<Entry>, Refusal>) -> Result<Vec<Entry>, HubError> {
        let entries = match listing {
            Ok(entries) => entries,
            Err(Refusal::No { status, message }) => return Err(self.explain(status, &message)),
            Err(Refusal::Error(error)) => return Err(*error),
        };
        match entries.iter().find(|entry| leads_out(&entry.path)) {
            Some(bad) => Err(HubError::UnsafePath { id: self.id.clone(), path: bad.path.clone() }),
            None => Ok(entries),
        }
    }

    fn remote_file(&self, entry: Entry) -> Result<RemoteFile, HubError> {
        let Some(size) = entry.size else {
            return Err(self.odd(format!("no size is listed for {}", entry.path)));
        };
        let sha256 = entry.sha256.filter(|hash| !hash.is_empty()).map(|hash| hash.to_ascii_lowercase());
        if sha256
            .as_ref()
            .is_some_and(|hash| hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            return Err(self.odd(format!("what is listed for {} is no SHA-256", entry.path)));
        }
        Ok(RemoteFile { path: entry.path, size, sha256, commit: entry.revision.unwrap_or_default() })
    }

    /// Why a listing was refused: is it the model that is unknown, or the revision?
    fn explain(&self, status: u16, message: &str) -> HubError {
        let known = match self.revisions() {
            Ok(known) => known,
            Err(Refusal::Error(error)) => return *error,
            Err(Refusal::No { .. }) => {
                let (endpoint, id) = (self.client.endpoint().to_owned(), self.id.clone());
                return match self.kind {
                    Kind::Model => HubError::NoSuchModel { endpoint, id },
                    Kind::Dataset => HubError::NoSuchDataset { endpoint, id },
                };
            }
        };
        if known.iter().any(|name| name == self.revision) {
            return self.odd(format!("status {status}, {message}"));
        }
        HubError::NoSuchRevision { id: self.id.clone(), revision: self.revision.to_owned(), known }
    }

    /// Branches and tags.
    fn revisions(&self) -> Result<Vec<String>, Refusal> {
        let found: Revisions = self.ask(&format!("/api/v1/{}/{}/revisions", self.kind.segment(), self.id))?;
        let RevisionMap { branches, tags } = found.revision_map;
        let names = branches.into_iter().chain(tags).flatten().map(|named| named.revision);
        Ok(names.collect())
    }

    /// An error where the revision is unknown after all: some hubs list nothing in place of refusing.
    pub(super) fn check_revision(&self) -> Result<(), HubError> {
        match self.revisions() {
            Ok(known) if !known.iter().any(|name| name == self.revision) => Err(HubError::NoSuchRevision {
                id: self.id.clone(),
                revision: self.revision.to_owned(),
                known,
            }),
            _ => Ok(()),
        }
    }

    /// The text of a file of at most `limit` bytes.
    pub(super) fn small_file(&self, path: &str, limit: u64) -> Result<String, HubError> {
        let mut answer = match self.answer(&file_address(self.kind, self.id, self.revision, path)) {
            Ok(answer) => answer,
            Err(Refusal::Error(error)) => return Err(*error),
            Err(Refusal::No { status, message }) => {
                return Err(self.odd(format!("{path}: status {status}, {message}")));
            }
        };
        let read = answer.body.with_config().limit(limit).read_to_vec();
        let bytes = read.map_err(|error| self.odd(format!("{path}: {error}")))?;
        String::from_utf8(bytes).map_err(|_| self.odd(format!("{path} is not UTF-8")))
    }

    fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T, Refusal> {
        let mut answer = self.answer(path)?;
        let status = answer.status.as_u16();
        let read = answer.body.with_config().limit(MAX_JSON_BYTES).read_to_vec();
        let bytes = read.map_err(|error| self.odd_answer(error.to_string()))?;
        let envelope: Envelope<T> = serde_json::from_slice(&bytes)
            .map_err(|error| self.odd_answer(format!("no JSON of the hub: {error}")))?;
        let is_good = envelope.success.unwrap_or(true) && envelope.code.is_none_or(|code| code == 200);
        match envelope.data {
            Some(data) if is_good => Ok(data),
            _ => Err(Refusal::No { status, message: shortened(&envelope.message.unwrap_or_default()) }),
        }
    }

    /// An answer of success; requests it again where that may help.
    fn answer(&self, path: &str) -> Result<Answer, Refusal> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let wait = match self.client.get(path, &[("Snapshot", "True")]) {
                Ok(answer) if answer.status.is_success() => return Ok(answer),
                Ok(answer) if attempts <= self.retry.retries && Retry::is_worth(answer.status) => {
                    answer.retry_after()
                }
                Ok(answer) => return Err(self.refused(answer)),
                Err(error) if attempts > self.retry.retries || !error.is_passing() => {
                    return Err(self.failed(error));
                }
                Err(_) => None,
            };
            self.retry.pause(attempts, wait);
        }
    }

    fn refused(&self, mut answer: Answer) -> Refusal {
        let status = answer.status.as_u16();
        if matches!(status, 401 | 403) {
            return Refusal::Error(Box::new(self.denied(status)));
        }
        let read = answer.body.with_config().limit(MAX_JSON_BYTES).read_to_vec();
        let envelope: Option<Envelope<serde::de::IgnoredAny>> =
            read.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let message = envelope.and_then(|envelope| envelope.message).unwrap_or_default();
        if Retry::is_worth(answer.status) {
            return self.odd_answer(format!("status {status}, {}", shortened(&message)));
        }
        Refusal::No { status, message: shortened(&message) }
    }

    fn failed(&self, error: HttpError) -> Refusal {
        Refusal::Error(Box::new(HubError::Unreachable {
            endpoint: self.client.endpoint().to_owned(),
            id: self.id.clone(),
            folder: self.folder.to_owned(),
            source: Box::new(error),
        }))
    }

    fn denied(&self, status: u16) -> HubError {
        HubError::Denied {
            endpoint: self.client.endpoint().to_owned(),
            id: self.id.clone(),
            status,
            had_token: self.client.has_token(),
        }
    }

    fn odd_answer(&self, problem: String) -> Refusal {
        Refusal::Error(Box::new(self.odd(problem)))
    }

    fn odd(&self, problem: String) -> HubError {
        HubError::Answer { endpoint: self.client.endpoint().to_owned(), id: self.id.clone(), problem }
    }
}

/// Where the hub has a file.
pub(super) fn file_address(kind: Kind, id: &ModelId, revision: &str, path: &str) -> String {
    let (segment, revision, path) = (kind.segment(), query_value(revision), query_value(path));
    format!("/api/v1/{segment}/{id}/repo?Revision={revision}&FilePath={path}")
}

/// Whether a listed path would lie outside the folder that it is joined to, on any system.
fn leads_out(path: &str) -> bool {
    let has_drive = path.as_bytes().get(1) == Some(&b':');
    path.is_empty()
        || has_drive
        || path.starts_with(['/', '\\'])
        || path.split(['/', '\\']).any(|part| part == "..")
}

fn shortened(message: &str) -> String {
    message.chars().take(MAX_MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_out_are_seen() {
        for bad in ["", "/etc/passwd", "../x", "a/../../x", "..", "\\x", "a\\..\\b", "c:x"] {
            assert!(leads_out(bad), "{bad}");
        }
        for good in ["a", "a/b", "..a", "a..b", "模型.bin"] {
            assert!(!leads_out(good), "{good}");
        }
    }

    #[test]
    fn addresses_are_those_of_the_protocol() {
        let id: ModelId = "damo/a.b".parse().unwrap();
        assert_eq!(
            file_address(Kind::Model, &id, "feature/x", "a b.bin"),
            "/api/v1/models/damo/a.b/repo?Revision=feature%2Fx&FilePath=a%20b.bin"
        );
        assert_eq!(
            file_address(Kind::Dataset, &id, "master", "train.csv"),
            "/api/v1/datasets/damo/a.b/repo?Revision=master&FilePath=train.csv"
        );
    }
}
