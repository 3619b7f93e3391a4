//! Models and datasets of ModelScope's hub: found in the folders of its Python clients, or downloaded there. Feature `hub`.
//!
//! [`Hub::pull`] makes a model folder of a model's name: it requests its list of files from the hub (`api`), takes what this
//! machine has already (`cache`), downloads the rest in parallel (`download`) and gives the files their names when all of
//! them are there and right. Only the files that a model is opened with are fetched. The protocol was read in the Python clients' code.

mod api;
mod cache;
mod client;
mod download;
mod error;
mod listener;
mod names;
mod open;
mod pull;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use cache::{Cache, CacheLayout, CachedModel};
pub use client::Token;
pub use error::HubError;
pub use names::{ModelId, PUBLISHED, PublishedModel, published_model};
pub use open::{OpenError, open};

use self::api::Kind;
use self::client::Client;
use self::listener::Listener;
use self::pull::Pull;

/// The revision that is meant where none is given.
pub const DEFAULT_REVISION: &str = "master";
/// The hub that is meant where none is given.
pub const DEFAULT_ENDPOINT: &str = "https://www.modelscope.cn";

/// The environment variable in which the Python clients look for an access token.
pub const TOKEN_VARIABLE: &str = "MODELSCOPE_API_TOKEN";

/// The folder of the model that was named: a path that is there, or else the folder of a downloaded model of that name. Nothing
/// is downloaded. What is neither is returned as it is: opening it says what is wrong.
///
/// # Errors
/// [`HubError::NotHere`] for the name of a model that has not been downloaded, [`HubError::NoCache`].
pub fn find_model(named: &Path) -> Result<PathBuf, HubError> {
    if named.exists() {
        return Ok(named.to_owned());
    }
    let Some(Ok(id)) = named.to_str().map(str::parse::<ModelId>) else { return Ok(named.to_owned()) };
    match Cache::from_env()?.find(&id, None) {
        Some(found) => Ok(found.folder),
        None => Err(HubError::NotHere { named: named.to_owned() }),
    }
}

/// How models are found and downloaded.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HubOptions {
    /// The hub's address; `https` where it does not say.
    pub endpoint: String,
    /// Sent to the hub, and to nobody that it redirects to.
    pub token: Option<Token>,
    /// Where models lie.
    pub cache: Cache,
    /// Whether nothing may be downloaded.
    pub offline: bool,
    /// Files that are downloaded at once.
    pub parallel_files: usize,
    /// Attempts after the first; those of a file count anew after each that brought a MiB.
    pub retries: u32,
    /// The pause before the first of them; each later one is twice as long, up to a minute.
    pub first_pause: Duration,
    /// A server that sends nothing, or next to nothing, for so long is given up.
    pub idle_timeout: Duration,
}

impl HubOptions {
    /// ModelScope's hub and the given cache.
    pub fn new(cache: Cache) -> Self {
        Self {
            endpoint: DEFAULT_ENDPOINT.to_owned(),
            token: None,
            cache,
            offline: false,
            parallel_files: 4,
            retries: 5,
            first_pause: Duration::from_secs(1),
            idle_timeout: Duration::from_mins(1),
        }
    }

    /// What the environment says, in the Python clients' variables: `MODELSCOPE_ENDPOINT` (or `MODELSCOPE_DOMAIN`),
    /// `MODELSCOPE_CACHE`, and the token in [`TOKEN_VARIABLE`].
    ///
    /// # Errors
    /// [`HubError::NoCache`] where no folder is known, [`HubError::Token`] for a token that is none.
    pub fn from_env() -> Result<Self, HubError> {
        Self::from_env_with_token_in(TOKEN_VARIABLE)
    }

    /// What the environment says, with the token in another variable; no token where that is not set.
    ///
    /// # Errors
    /// As [`Self::from_env`].
    pub fn from_env_with_token_in(variable: &str) -> Result<Self, HubError> {
        let set = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let mut options = Self::new(Cache::from_env()?);
        if let Some(endpoint) = set("MODELSCOPE_ENDPOINT").or_else(|| set("MODELSCOPE_DOMAIN")) {
            options.endpoint = endpoint;
        }
        options.token = set(variable).map(|text| Token::new(text.trim())).transpose()?;
        Ok(options)
    }
}

/// What happens while a model is pulled; reported from several threads.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// Another program downloads the same revision: it is waited for. Reported several times a second.
    Waiting,
    /// A file that is here already is compared with the hub's hash.
    Checking {
        /// The file.
        path: &'a str,
    },
    /// What is to be downloaded; of some of it a part may be here from an earlier run.
    Planned {
        /// The number of files.
        files: usize,
        /// Their size.
        bytes: u64,
    },
    /// How much of a file is here. It may become less: a file that came wrong begins anew.
    File {
        /// The file.
        path: &'a str,
        /// Bytes on disk.
        have: u64,
        /// Bytes in all.
        size: u64,
    },
    /// A file is tried again.
    Retrying {
        /// The file.
        path: &'a str,
        /// Why.
        reason: &'a str,
        /// After this pause.
        wait: Duration,
    },
}

/// A model that is on this machine now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The model folder.
    pub folder: PathBuf,
    /// Under which name the hub knows the model; its owner may have been renamed.
    pub id: ModelId,
    /// The revision that was meant.
    pub revision: String,
    /// Bytes of the files that had to be downloaded; 0 where all was here.
    pub downloaded: u64,
}

/// A hub, and the models on this machine.
pub struct Hub {
    options: HubOptions,
    client: Client,
}

impl Hub {
    /// A hub, to which nothing is sent yet.
    ///
    /// # Errors
    /// [`HubError::Endpoint`] where its address is none, [`HubError::Token`] where the token would travel unencrypted.
    pub fn new(options: HubOptions) -> Result<Self, HubError> {
        let client = Client::new(&options.endpoint, options.token.clone(), options.idle_timeout)?;
        Ok(Self { options, client })
    }

    /// The model on this machine; the network is not used.
    pub fn find_cached(&self, id: &ModelId, revision: Option<&str>) -> Option<CachedModel> {
        self.options.cache.find(id, revision)
    }

    /// Makes sure that the model is on this machine, whole and as the hub has it at `revision` ([`DEFAULT_REVISION`] if none).
    /// Goes on where an earlier call stopped. Offline, what is here is taken as it is. `progress` hears what happens; when it
    /// breaks, the pull ends at the next event of each file.
    ///
    /// # Errors
    /// Every [`HubError`]; what was downloaded by then is kept for the next call, unless it is wrong.
    pub fn pull(
        &self,
        id: &ModelId,
        revision: Option<&str>,
        progress: &(dyn Fn(&Progress<'_>) -> ControlFlow<()> + Sync),
    ) -> Result<Pulled, HubError> {
        if let Some(text) = revision.filter(|text| !names::is_revision(text)) {
            return Err(HubError::Revision { text: text.to_owned() });
        }
        if self.options.offline {
            return self.pull_offline(id, revision);
        }
        let revision = revision.unwrap_or(DEFAULT_REVISION);
        let listener = &Listener::new(progress);
        let pull = |id: &ModelId| {
            let (options, client) = (&self.options, &self.client);
            Pull { options, client, kind: Kind::Model, id, revision, listener }.run()
        };
        match (pull(id), id.with_renamed_owner()) {
            (Err(first @ HubError::NoSuchModel { .. }), Some(renamed)) => match pull(&renamed) {
                Err(HubError::NoSuchModel { .. }) => Err(first),
                other => other,
            },
            (pulled, _) => pulled,
        }
    }

    /// Makes sure that a dataset is on this machine: all files of its repository. What a Python client downloaded, or an earlier
    /// call, is taken as it is, and then the network is not used. Files that are in the hub's object storage and not in the
    /// repository do not come. `progress` as for [`pull`](Self::pull).
    ///
    /// # Errors
    /// Every [`HubError`]; what was downloaded by then is kept for the next call, unless it is wrong.
    pub fn pull_dataset(
        &self,
        id: &ModelId,
        revision: Option<&str>,
        progress: &(dyn Fn(&Progress<'_>) -> ControlFlow<()> + Sync),
    ) -> Result<PathBuf, HubError> {
        let revision = revision.unwrap_or(DEFAULT_REVISION);
        if !names::is_revision(revision) {
            return Err(HubError::Revision { text: revision.to_owned() });
        }
        if let Some(found) = self.options.cache.find_dataset(id, revision) {
            return Ok(found);
        }
        if self.options.offline {
            let folder = self.options.cache.dataset_snapshot(id, revision);
            return Err(HubError::Offline { id: id.clone(), folder });
        }
        let listener = &Listener::new(progress);
        let (options, client) = (&self.options, &self.client);
        Pull { options, client, kind: Kind::Dataset, id, revision, listener }
            .run()
            .map(|pulled| pulled.folder)
    }

    fn pull_offline(&self, id: &ModelId, revision: Option<&str>) -> Result<Pulled, HubError> {
        let Some(found) = self.find_cached(id, revision) else {
            let folder = self.options.cache.snapshot(id, revision.unwrap_or(DEFAULT_REVISION));
            return Err(HubError::Offline { id: id.clone(), folder });
        };
        let revision = found.revision.as_deref().or(revision).unwrap_or(DEFAULT_REVISION).to_owned();
        Ok(Pulled { folder: found.folder, id: id.clone(), revision, downloaded: 0 })
    }
}
