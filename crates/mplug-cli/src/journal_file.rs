//! The file that a run keeps its answers in, so that a run that was stopped goes on: which files are such a journal and which are
//! somebody else's. Knows the first line, not the answers.
//!
//! The first line begins with [`MAGIC`] and the name of the command. Nothing else is taken for a journal, so that nothing else is cut,
//! written to or removed: not a file with another first line, a link (it could lead anywhere), a folder, a pipe or a device. An empty file
//! is taken: there is nothing in it that could be lost. So is a beginning of such a first line, which a killed run leaves.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, Read, Seek, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde::{Serialize, de::DeserializeOwned};

/// How the first line of every journal begins.
const MAGIC: &str = "{\"mplug_journal\":";
/// The form of the lines. Another one is another journal.
const VERSION: u32 = 1;
/// Longest first line.
const MAX_HEAD_BYTES: u64 = 1 << 20;

/// An open journal, locked against other runs.
pub(crate) struct JournalFile {
    path: PathBuf,
    file: File,
    /// The command whose journal it is.
    command: &'static str,
}

impl JournalFile {
    /// Opens the journal of `command` at `path`, or begins one where nothing is; returns what it is of, unless it has just begun.
    ///
    /// # Errors
    /// If what is there is no journal of that command, is in use, or cannot be used. It is left as it is.
    pub(crate) fn open<Run: DeserializeOwned>(
        path: &Path,
        command: &'static str,
    ) -> anyhow::Result<(Self, Option<Run>)> {
        let named = || path.display().to_string();
        let file = open_regular(path)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => bail!("{}: another run is using it", path.display()),
            Err(TryLockError::Error(error)) if error.kind() != io::ErrorKind::Unsupported => {
                return Err(error).with_context(named);
            }
            _ => {}
        }
        let mut head = Vec::new();
        BufReader::new(&file).take(MAX_HEAD_BYTES).read_until(b'\n', &mut head).with_context(named)?;
        let mut journal = Self { path: path.to_owned(), file, command };
        let run = journal.judge(&head)?;
        journal.file.rewind().with_context(named)?;
        Ok((journal, run))
    }

    /// What the journal with this first line is of; nothing if the line has no end.
    fn judge<Run: DeserializeOwned>(&self, head: &[u8]) -> anyhow::Result<Option<Run>> {
        let (path, command) = (self.path.display(), self.command);
        let start = start(command);
        let common = head.len().min(start.len());
        if head[..common] != start.as_bytes()[..common] {
            bail!(
                "{path}: is not a journal of `mplug {command}`, and stays as it is: move it away, or give another name"
            );
        }
        let Some(line) = head.strip_suffix(b"\n") else {
            anyhow::ensure!(
                (head.len() as u64) < MAX_HEAD_BYTES,
                "{path}: its first line is too long for a journal"
            );
            return Ok(None);
        };
        let text = line[start.len().min(line.len())..].strip_suffix(b"}").unwrap_or_default();
        let Some(run) = text.strip_prefix(format!("{VERSION},\"run\":").as_bytes()) else {
            bail!(
                "{path}: is a journal of another version of mplug, and stays as it is: \
                 expected version {VERSION}; move it away, or go on with the mplug that wrote it"
            );
        };
        let run = serde_json::from_slice(run)
            .with_context(|| format!("{path}: its first line is damaged; remove it to begin anew"))?;
        Ok(Some(run))
    }

    /// Empties it and writes the first line of a journal of `run`.
    pub(crate) fn begin(&mut self, run: &impl Serialize) -> anyhow::Result<()> {
        let line = format!("{}{VERSION},\"run\":{}}}\n", start(self.command), serde_json::to_string(run)?);
        let written = self.file.set_len(0).and_then(|()| self.file.rewind());
        written
            .and_then(|()| self.file.write_all(line.as_bytes()))
            .with_context(|| self.path.display().to_string())
    }

    /// The file. What is written goes to where it was read to.
    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Ends the file after `len` bytes, before a line that was being written when the run was stopped, and goes on there.
    pub(crate) fn cut(&mut self, len: u64) -> anyhow::Result<()> {
        let cut = self.file.set_len(len).and_then(|()| self.file.seek(io::SeekFrom::Start(len)));
        cut.map(drop).with_context(|| self.path.display().to_string())
    }

    /// Removes the file, if its name still means it.
    pub(crate) fn remove(self) -> anyhow::Result<()> {
        let named = || self.path.display().to_string();
        let there = fs::symlink_metadata(&self.path).with_context(named)?;
        if !is_same(&self.file.metadata().with_context(named)?, &there) {
            bail!("{}: was replaced during the run, and stays as it is", self.path.display());
        }
        fs::remove_file(&self.path).with_context(named)
    }
}

/// A process that was started meanwhile holds the file open too until it runs its own program, and would keep the lock as long.
impl Drop for JournalFile {
    fn drop(&mut self) {
        let _none = self.file.unlock();
    }
}

/// How the first line of a journal of `command` begins, up to its version.
fn start(command: &str) -> String {
    format!("{MAGIC}\"{command}\",\"version\":")
}

/// Opens a regular file that is no link, or makes it.
fn open_regular(path: &Path) -> anyhow::Result<File> {
    let named = || path.display().to_string();
    let refused = |what: &str| {
        anyhow::anyhow!(
            "{}: is {what}, not a journal, and stays as it is: move it away, or give another name",
            path.display()
        )
    };
    let mut options = File::options();
    options.read(true).write(true);
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => return Err(refused("a link")),
        Ok(found) if found.is_dir() => return Err(refused("a folder")),
        Ok(found) if !found.is_file() => return Err(refused("a pipe or a device")),
        Ok(_) => {}
        // Neither is what appears there meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return options.create_new(true).open(path).with_context(named);
        }
        Err(error) => return Err(error).with_context(named),
    }
    no_link(&mut options);
    let file = options.open(path).with_context(named)?;
    if !file.metadata().with_context(named)?.is_file() {
        return Err(refused("a pipe or a device"));
    }
    Ok(file)
}

/// What takes the file's place between the look and the opening is neither followed nor waited for.
#[cfg(unix)]
fn no_link(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt;

    use rustix::fs::OFlags;

    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
}

#[cfg(not(unix))]
fn no_link(_: &mut OpenOptions) {}

#[cfg(unix)]
fn is_same(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;

    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same(_: &fs::Metadata, other: &fs::Metadata) -> bool {
    other.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> anyhow::Result<Option<String>> {
        JournalFile::open(path, "caption").map(|(_, run)| run)
    }

    #[test]
    fn its_own_first_line_and_every_beginning_of_it_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.part");
        let (mut journal, run) = JournalFile::open::<String>(&path, "caption").unwrap();
        assert_eq!(run, None);
        journal.begin(&"猫\n").unwrap();
        assert!(open(&path).unwrap_err().to_string().contains("another run is using it"));
        // As a process holds it that was started meanwhile.
        let other = journal.file.try_clone().unwrap();
        drop(journal);
        assert_eq!(open(&path).unwrap().as_deref(), Some("猫\n"));
        drop(other);
        let whole = fs::read(&path).unwrap();
        assert!(whole.starts_with(b"{\"mplug_journal\":\"caption\",\"version\":1,"));
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(open(&path).unwrap(), None, "cut at {cut}");
            assert_eq!(fs::read(&path).unwrap(), whole[..cut], "nothing is written before the run is known");
        }
    }

    #[test]
    fn what_is_not_ours_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.json");
        for (bytes, told) in [
            (&b"[{\"image_id\": 1, \"caption\": \"x\"}]"[..], "is not a journal of `mplug caption`"),
            (b"important notes", "is not a journal"),
            (b"a\nb\n", "is not a journal"),
            (b"\n", "is not a journal"),
            (b"{\"captions_of\":\"x\"", "is not a journal"),
            (b"{\"mplug_journal\": \"caption\"}", "is not a journal"),
            (
                b"{\"mplug_journal\":\"eval\",\"version\":1,\"run\":\"x\"}\n",
                "is not a journal of `mplug caption`",
            ),
            (b"{\"mplug_journal\":\"caption\",\"version\":2,\"run\":\"x\"}\n", "another version"),
            (b"{\"mplug_journal\":\"caption\",\"version\":1,\"run\":x}\n", "is damaged"),
            (b"\0\0\0\0", "is not a journal"),
        ] {
            fs::write(&path, bytes).unwrap();
            let error = format!("{:#}", open(&path).unwrap_err());
            assert!(error.contains("results.json: ") && error.contains(told), "{error}");
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
        let error = open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("is a folder, not a journal"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn links_pipes_and_devices_are_no_journals() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("victim"), "").unwrap();
        for (target, name) in [("victim", "a"), ("none", "b")] {
            std::os::unix::fs::symlink(target, at(name)).unwrap();
            assert!(open(&at(name)).unwrap_err().to_string().contains("is a link"));
            assert!(fs::symlink_metadata(at(name)).unwrap().is_symlink());
        }
        assert!(!at("none").exists() && fs::read(at("victim")).unwrap().is_empty());
        assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        for path in [at("pipe"), "/dev/null".into()] {
            assert!(open(&path).unwrap_err().to_string().contains("is a pipe or a device"));
        }
    }

    #[cfg(unix)]
    #[test]
    fn only_the_file_that_was_written_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.part");
        let (mut journal, _) = JournalFile::open::<String>(&path, "caption").unwrap();
        journal.begin(&"x").unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        assert!(journal.remove().unwrap_err().to_string().contains("was replaced"));
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }
}
