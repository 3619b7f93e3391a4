//! One file: streamed into `NAME.incomplete` while it is hashed, resumed by range after whatever stopped it, and checked for
//! size and SHA-256. Only a 206 whose range starts where we stopped counts as a resume; everything else starts again. The
//! final name is given by the caller. Knows nothing of models but their name.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use ureq::http::{StatusCode, header};

use super::api::RemoteFile;
use super::client::{Answer, Client, HttpError};
use super::error::Cause;
use super::listener::Listener;
use super::{HubError, ModelId, Progress};
use crate::http::Retry;

/// Bytes read at once.
const CHUNK: usize = 256 << 10;
/// An attempt that brings this much is a success on a bad line: failures are counted anew.
const WORTHWHILE: u64 = 1 << 20;
/// Fewer bytes in the time of the idle limit are no transfer.
const LEAST_BYTES: u64 = 1 << 10;
/// Whole downloads of a file whose hash is wrong.
const HASH_ATTEMPTS: u32 = 3;
/// Whole downloads of a file whose size is wrong.
const SIZE_ATTEMPTS: u32 = 2;

/// What becomes of a file's partial download.
pub(super) fn incomplete(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".incomplete");
    name.into()
}

/// The SHA-256 of a file, lower-case hexadecimal.
pub(super) fn sha256_of(path: &Path) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    hash_into(&mut File::open(path)?, &mut hasher)?;
    Ok(hex(hasher))
}

fn hash_into(file: &mut File, hasher: &mut Sha256) -> std::io::Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let mut len = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(len),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                len += count as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn hex(hasher: Sha256) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or_default();
    hasher.finalize().iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// A file to download.
pub(super) struct Fetch<'a> {
    pub(super) client: &'a Client,
    pub(super) id: &'a ModelId,
    pub(super) file: &'a RemoteFile,
    /// Where the hub has it.
    pub(super) address: &'a str,
    /// One for all files of a download, as the Python clients send it.
    pub(super) snapshot: &'a str,
    /// The partial file.
    pub(super) path: PathBuf,
    pub(super) retry: Retry,
    pub(super) idle_timeout: Duration,
    pub(super) listener: &'a Listener<'a>,
}

/// Why an attempt did not bring the whole file.
enum Failure {
    /// It will not come.
    Final(Box<HubError>),
    /// It may come next time, after a pause.
    Again { reason: Cause, wait: Option<Duration> },
    /// What we have is of no use: begin anew, at once.
    Restart(Cause),
    /// It is announced, or came, with another size.
    Size(u64),
}

impl Failure {
    fn again(reason: impl Into<Cause>) -> Self {
        Self::Again { reason: reason.into(), wait: None }
    }
}

impl Fetch<'_> {
    /// Downloads until the partial file is whole and right. What came is kept where that fails, unless it is wrong.
    pub(super) fn run(&self) -> Result<(), HubError> {
        let mut partial = self.io("open", Partial::open(&self.path))?;
        if partial.len > self.file.size {
            self.io("write", partial.restart())?;
        }
        let (mut failures, mut wrong_sizes, mut wrong_hashes) = (0, 0, 0);
        loop {
            let before = partial.len;
            self.report(&partial)?;
            let failure = match self.attempt(&mut partial) {
                Ok(()) => match self.check(&partial) {
                    None => return self.io("write", partial.file.sync_all()),
                    Some(found) => {
                        wrong_hashes += 1;
                        self.io("write", partial.restart())?;
                        if wrong_hashes >= HASH_ATTEMPTS {
                            return Err(self.damaged(found, wrong_hashes));
                        }
                        continue;
                    }
                },
                Err(failure) => failure,
            };
            if partial.len >= before + WORTHWHILE {
                failures = 0;
            }
            failures += 1;
            let (reason, wait) = match failure {
                Failure::Final(error) => return Err(*error),
                Failure::Again { reason, wait } => (reason, self.retry.wait(failures, wait)),
                Failure::Restart(reason) => {
                    self.io("write", partial.restart())?;
                    (reason, Duration::ZERO)
                }
                Failure::Size(found) => {
                    wrong_sizes += 1;
                    self.io("write", partial.restart())?;
                    if wrong_sizes >= SIZE_ATTEMPTS {
                        return Err(self.wrong_size(found));
                    }
                    continue;
                }
            };
            if failures > self.retry.retries {
                let (id, file) = (self.id.clone(), self.file.path.clone());
                return Err(HubError::Download { id, file, attempts: failures, source: reason });
            }
            let (path, reason) = (&self.file.path, &reason.to_string());
            self.listener.hear(&Progress::Retrying { path, reason, wait })?;
            std::thread::sleep(wait);
        }
    }

    /// Requests what is missing, once.
    fn attempt(&self, partial: &mut Partial) -> Result<(), Failure> {
        if partial.len == self.file.size {
            return Ok(()); // Also the empty file, which is never requested.
        }
        let range = format!("bytes={}-", partial.len);
        let mut headers = vec![("snapshot-identifier", self.snapshot)];
        if partial.len > 0 {
            headers.push(("Range", &range));
        }
        let answer = self.client.get(self.address, &headers).map_err(|error| match error {
            HttpError::Redirect { .. } => self.astray(error),
            // Also what `api` would not ask again: in a long download a network may be gone for a moment.
            HttpError::Transport { .. } => Failure::again(error),
        })?;
        let announced: Option<u64> = answer.header(header::CONTENT_LENGTH).and_then(|len| len.parse().ok());
        match answer.status {
            StatusCode::PARTIAL_CONTENT => {
                let start = content_range_start(answer.header(header::CONTENT_RANGE));
                if start != Some(partial.len) || partial.len == 0 {
                    return Err(Failure::Restart("the server sends another range than was requested".into()));
                }
            }
            // The whole file, whatever was requested.
            StatusCode::OK => partial.restart().map_err(|source| self.cannot_write(source))?,
            StatusCode::RANGE_NOT_SATISFIABLE => {
                return Err(Failure::Restart("the server has no such range (status 416)".into()));
            }
            _ => return Err(self.refused(&answer)),
        }
        match announced.map(|len| partial.len.saturating_add(len)) {
            Some(found) if found != self.file.size => Err(Failure::Size(found)),
            _ => self.stream(answer, partial),
        }
    }

    /// Reads the body to its end, or to where it is too long or too slow.
    fn stream(&self, answer: Answer, partial: &mut Partial) -> Result<(), Failure> {
        let mut body = answer.body.into_reader();
        let mut buffer = vec![0; CHUNK];
        let (mut since, mut bytes_since) = (Instant::now(), 0);
        loop {
            let count = match body.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::again(error)),
            };
            if count == 0 {
                break;
            }
            if partial.len + count as u64 > self.file.size {
                return Err(Failure::Size(partial.len + count as u64));
            }
            partial.append(&buffer[..count]).map_err(|source| self.cannot_write(source))?;
            self.report(partial).map_err(|stopped| Failure::Final(Box::new(stopped)))?;
            bytes_since += count as u64;
            if since.elapsed() >= self.idle_timeout {
                if bytes_since < LEAST_BYTES && partial.len < self.file.size {
                    return Err(Failure::again("the server sends next to nothing"));
                }
                (since, bytes_since) = (Instant::now(), 0);
            }
        }
        if partial.len < self.file.size {
            return Err(Failure::again("the connection ended in the middle of the file"));
        }
        Ok(())
    }

    fn refused(&self, answer: &Answer) -> Failure {
        let status = answer.status.as_u16();
        // Links to where files are stored expire: the hub makes a new one.
        let is_expired = !answer.is_from_hub && matches!(status, 401 | 403 | 404);
        if Retry::is_worth(answer.status) || is_expired {
            let reason = format!("status {status}").into();
            return Failure::Again { reason, wait: answer.retry_after() };
        }
        let endpoint = self.client.endpoint().to_owned();
        let id = self.id.clone();
        Failure::Final(Box::new(if matches!(status, 401 | 403) {
            HubError::Denied { endpoint, id, status, had_token: self.client.has_token() }
        } else {
            let problem = format!("status {status} for {}, which it lists", self.file.path);
            HubError::Answer { endpoint, id, problem }
        }))
    }

    /// A redirect that is not followed now will not be later.
    fn astray(&self, error: HttpError) -> Failure {
        let (id, file) = (self.id.clone(), self.file.path.clone());
        Failure::Final(Box::new(HubError::Download { id, file, attempts: 1, source: Box::new(error) }))
    }

    /// The hash that was found where it is not the listed one.
    fn check(&self, partial: &Partial) -> Option<String> {
        let expected = self.file.sha256.as_ref()?;
        let found = hex(partial.hasher.clone());
        (found != *expected).then_some(found)
    }

    fn report(&self, partial: &Partial) -> Result<(), HubError> {
        let (have, size) = (partial.len, self.file.size);
        self.listener.hear(&Progress::File { path: &self.file.path, have, size })
    }

    fn damaged(&self, found: String, attempts: u32) -> HubError {
        HubError::Checksum {
            id: self.id.clone(),
            file: self.file.path.clone(),
            attempts,
            expected: self.file.sha256.clone().unwrap_or_default(),
            found,
        }
    }

    fn wrong_size(&self, found: u64) -> HubError {
        let (id, file) = (self.id.clone(), self.file.path.clone());
        HubError::Size { id, file, expected: self.file.size, found }
    }

    fn io<T>(&self, action: &'static str, result: std::io::Result<T>) -> Result<T, HubError> {
        result.map_err(|source| HubError::Io { action, path: self.path.clone(), source })
    }

    fn cannot_write(&self, source: std::io::Error) -> Failure {
        Failure::Final(Box::new(HubError::Io { action: "write", path: self.path.clone(), source }))
    }
}

/// The part of a file that is on disk, and its hash so far.
struct Partial {
    file: File,
    len: u64,
    hasher: Sha256,
}

impl Partial {
    /// Opens what an earlier run left, or begins. A link is refused: what it leads to is not ours.
    fn open(path: &Path) -> std::io::Result<Self> {
        let mut options = OpenOptions::new();
        no_link(&mut options);
        let mut file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        let mut hasher = Sha256::new();
        let len = hash_into(&mut file, &mut hasher)?;
        Ok(Self { file, len, hasher })
    }

    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn restart(&mut self) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        (self.len, self.hasher) = (0, Sha256::new());
        Ok(())
    }
}

#[cfg(unix)]
fn no_link(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt;

    options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
}

#[cfg(not(unix))]
fn no_link(_: &mut OpenOptions) {}

/// Where the range of a partial answer starts.
fn content_range_start(header: Option<&str>) -> Option<u64> {
    let (start, _) = header?.trim().strip_prefix("bytes ")?.split_once('-')?;
    start.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_link_in_place_of_a_partial_download_is_refused_and_what_it_leads_to_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (victim, link) = (folder.path().join("victim"), folder.path().join("a.incomplete"));
        std::fs::write(&victim, "mine").unwrap();
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        assert!(Partial::open(&link).is_err());
        assert_eq!(std::fs::read(&victim).unwrap(), b"mine");
    }

    #[test]
    fn ranges_are_read() {
        assert_eq!(content_range_start(Some("bytes 100-199/200")), Some(100));
        assert_eq!(content_range_start(Some("bytes 0-0/*")), Some(0));
        for bad in [None, Some(""), Some("bytes */200"), Some("100-199/200"), Some("bytes -5/10")] {
            assert_eq!(content_range_start(bad), None, "{bad:?}");
        }
    }
}
