//! What can go wrong between the name of a model or a dataset and its folder. Messages say what to do; the machine's own reason is the source.

use std::path::PathBuf;

use super::ModelId;

/// An error with its own words, below ours.
pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Everything that finding or fetching a model can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// Neither an id nor a short name.
    #[error("`{text}` is no model's name: expected `owner/name` or a short name")]
    Name {
        /// What was given.
        text: String,
    },
    /// No branch, tag or commit is called so.
    #[error("expected a revision (the name of a branch or tag, or a commit), found `{text}`")]
    Revision {
        /// What was given.
        text: String,
    },
    /// The address of the hub cannot be used.
    #[error("hub `{text}`: {problem}")]
    Endpoint {
        /// What was given.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The token cannot be used. It is not shown.
    #[error("the access token {problem}")]
    Token {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There is no home folder to keep models in.
    #[error("no home folder is known to keep models in: set MODELSCOPE_CACHE")]
    NoCache,
    /// The caller ended the pull.
    #[error("stopped; what was downloaded is kept")]
    Stopped,
    /// A model's name, of a model that is not on this machine.
    #[error("{}: there is no such folder, and no model of this name has been downloaded", .named.display())]
    NotHere {
        /// What was given.
        named: PathBuf,
    },
    /// Nothing answers at the address.
    #[error(
        "cannot reach {endpoint}: download {id} on a machine that can, and copy its folder to `{}` on this one", .folder.display()
    )]
    Unreachable {
        /// The hub.
        endpoint: String,
        /// The model.
        id: ModelId,
        /// Where the model belongs here.
        folder: PathBuf,
        /// What the machine says.
        source: Cause,
    },
    /// Downloading is forbidden, and the model is not here.
    #[error(
        "{id} is not on this machine, and offline nothing is downloaded: download it on a machine with a network, and copy its \
         folder to `{}` on this one", .folder.display()
    )]
    Offline {
        /// The model.
        id: ModelId,
        /// Where the model belongs here.
        folder: PathBuf,
    },
    /// The hub does not know the model.
    #[error("{endpoint} has no model {id} (a private one needs an access token)")]
    NoSuchModel {
        /// The hub.
        endpoint: String,
        /// The model.
        id: ModelId,
    },
    /// The hub does not know the dataset.
    #[error("{endpoint} has no dataset {id} (a private one needs an access token)")]
    NoSuchDataset {
        /// The hub.
        endpoint: String,
        /// The dataset.
        id: ModelId,
    },
    /// The hub does not know the revision.
    #[error("{id} has no revision `{revision}`; it has {}", listed(.known))]
    NoSuchRevision {
        /// The model.
        id: ModelId,
        /// What was requested.
        revision: String,
        /// Its branches and tags.
        known: Vec<String>,
    },
    /// The hub requires a valid access token.
    #[error("{endpoint} refuses {id} (status {status}): {}", if *.had_token {
        "the access token is not valid, or its account may not read this model"
    } else {
        "it needs an access token; put yours into MODELSCOPE_API_TOKEN"
    })]
    Denied {
        /// The hub.
        endpoint: String,
        /// The model.
        id: ModelId,
        /// The status of the answer.
        status: u16,
        /// Whether a token was sent.
        had_token: bool,
    },
    /// The files are not those of a model of this family.
    #[error("{id} at revision `{revision}` is no model of this family: {problem}")]
    NotAModel {
        /// The model.
        id: ModelId,
        /// The revision.
        revision: String,
        /// What is missing.
        problem: String,
    },
    /// The hub names a file that would lie elsewhere.
    #[error("{id} lists the file `{path}`, whose name leads out of its folder: nothing was downloaded")]
    UnsafePath {
        /// The model.
        id: ModelId,
        /// The name.
        path: String,
    },
    /// The disk is too small.
    #[error(
        "not enough space for the download in `{}`: {} MB are needed, {} MB are free; MODELSCOPE_CACHE names another place",
        .folder.display(), .needed.div_ceil(1_000_000), .available / 1_000_000
    )]
    DiskFull {
        /// Where the files go.
        folder: PathBuf,
        /// Bytes to download.
        needed: u64,
        /// Bytes free.
        available: u64,
    },
    /// The content is not what the hub's own list says.
    #[error(
        "{file} of {id} arrived damaged {attempts} times: expected the SHA-256 {expected}, found {found}"
    )]
    Checksum {
        /// The model.
        id: ModelId,
        /// The file.
        file: String,
        /// How often it was downloaded.
        attempts: u32,
        /// The listed hash.
        expected: String,
        /// The hash of what came.
        found: String,
    },
    /// The length is not what the hub's own list says.
    #[error("{file} of {id} has another size than is listed: expected {expected} bytes, found {found}")]
    Size {
        /// The model.
        id: ModelId,
        /// The file.
        file: String,
        /// The listed size.
        expected: u64,
        /// The size of what came, or was announced.
        found: u64,
    },
    /// A file could not be downloaded, however often it was tried. What came is kept for the next time.
    #[error(
        "{file} of {id} cannot be downloaded ({attempts} attempts); the same command goes on where it stopped"
    )]
    Download {
        /// The model.
        id: ModelId,
        /// The file.
        file: String,
        /// How often it was tried.
        attempts: u32,
        /// The last reason.
        source: Cause,
    },
    /// The hub answers something else than the protocol says.
    #[error("{endpoint}: unexpected answer about {id}: {problem}")]
    Answer {
        /// The hub.
        endpoint: String,
        /// The model.
        id: ModelId,
        /// What is odd.
        problem: String,
    },
    /// A file or folder of the cache cannot be used.
    #[error("cannot {action} `{}`", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the machine says.
        source: std::io::Error,
    },
}

/// Names in a sentence; of very many the first.
fn listed(names: &[String]) -> String {
    const MOST: usize = 30;
    match names {
        [] => "none".to_owned(),
        names if names.len() <= MOST => names.join(", "),
        names => format!("{} and {} more", names[..MOST].join(", "), names.len() - MOST),
    }
}
