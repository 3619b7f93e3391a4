//! The file that a long run keeps its answers in, one JSON object a line, so that a run that was stopped goes on. Knows which
//! files are such a journal and which are somebody else's, not what the answers are.
//!
//! The first line begins with `{"mplug_journal":` and the kind of run. Nothing else is taken for a journal, so that nothing else is cut,
//! written to or removed: not a file with another first line, a link (it could lead anywhere), a folder, a pipe or a device. An
//! empty file is taken: there is nothing in it that could be lost. So is a beginning of such a first line, which a killed run
//! leaves. A last line without its end is one that was being written when the run was stopped: it is dropped.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// How the first line of every journal begins.
const MAGIC: &str = "{\"mplug_journal\":";
/// The form of the lines. Another one is another journal.
const VERSION: u32 = 1;
/// Longest first line.
const MAX_HEAD_BYTES: u64 = 1 << 20;
/// Longest line of an answer: the captions of one picture, many times over.
const MAX_LINE_BYTES: u64 = 16 << 20;

/// What can go wrong with a journal. Whatever it is, the file stays as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The system refused.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something else is there.
    #[error("{}: is {found}, not a journal, and stays as it is: move it away, or give another name", path.display())]
    NotAFile {
        /// What is there.
        path: PathBuf,
        /// `a link`, `a folder`.
        found: &'static str,
    },
    /// Somebody else's file, or a journal of another kind of run.
    #[error("{}: is not a journal of the kind `{kind}`, and stays as it is: move it away, or give another name", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The kind of run whose journal was expected.
        kind: &'static str,
    },
    /// A journal of another version of this program.
    #[error(
        "{}: is a journal of another version of mplug, and stays as it is: expected version {VERSION}; move it away, or go on \
         with the mplug that wrote it",
        path.display()
    )]
    OtherVersion {
        /// The file.
        path: PathBuf,
    },
    /// Another run has it open.
    #[error("{}: another run is using it", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A line that is no answer.
    #[error("{}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which line, and what is wrong with it.
        what: String,
    },
    /// Its name means another file now.
    #[error("{}: was replaced during the run, and stays as it is", path.display())]
    Replaced {
        /// What is there now.
        path: PathBuf,
    },
}

/// An open journal, locked against other runs.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// The kind of run whose journal it is.
    kind: &'static str,
    /// Lines that the system does not have yet.
    pending: Vec<u8>,
    /// Where the last line ends, pending ones included.
    end: u64,
}

impl Journal {
    /// Opens the journal of a run of `kind` at `path`, or makes an empty file where nothing is; returns what its first line says
    /// of the run, if it has one. Before anything else, [`begin`](Self::begin) it or read its [`lines`](Self::lines) and
    /// [`cut`](Self::cut) it where the last whole one ends.
    ///
    /// # Errors
    /// If what is there is no journal of that kind, is in use, or cannot be used.
    pub fn open<Run: DeserializeOwned>(
        path: &Path,
        kind: &'static str,
    ) -> Result<(Self, Option<Run>), JournalError> {
        let file = open_regular(path)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(JournalError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) if source.kind() != io::ErrorKind::Unsupported => {
                return Err(JournalError::Io { path: path.to_owned(), source });
            }
            _ => {}
        }
        let mut journal = Self { path: path.to_owned(), file, kind, pending: Vec::new(), end: 0 };
        let mut head = Vec::new();
        let read = BufReader::new(&journal.file).take(MAX_HEAD_BYTES).read_until(b'\n', &mut head);
        read.map_err(|source| journal.io(source))?;
        let run = journal.judge(&head)?;
        journal.file.rewind().map_err(|source| journal.io(source))?;
        Ok((journal, run))
    }

    /// What the journal with this first line is of; nothing if the line has no end.
    fn judge<Run: DeserializeOwned>(&self, head: &[u8]) -> Result<Option<Run>, JournalError> {
        let path = || self.path.clone();
        let start = start(self.kind);
        let common = head.len().min(start.len());
        if head[..common] != start.as_bytes()[..common] {
            return Err(JournalError::Foreign { path: path(), kind: self.kind });
        }
        let Some(line) = head.strip_suffix(b"\n") else {
            if head.len() as u64 == MAX_HEAD_BYTES {
                return Err(self.damaged("its first line is too long for a journal".to_owned()));
            }
            return Ok(None);
        };
        let text = line[start.len().min(line.len())..].strip_suffix(b"}").unwrap_or_default();
        let Some(run) = text.strip_prefix(format!("{VERSION},\"run\":").as_bytes()) else {
            return Err(JournalError::OtherVersion { path: path() });
        };
        let damaged =
            |error| self.damaged(format!("its first line is damaged; remove it to begin anew: {error}"));
        serde_json::from_slice(run).map(Some).map_err(damaged)
    }

    /// Empties it and writes the first line of a journal of `run`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn begin(&mut self, run: &impl Serialize) -> Result<(), JournalError> {
        let run = serde_json::to_string(run).map_err(|error| self.io(error.into()))?;
        let line = format!("{}{VERSION},\"run\":{run}}}\n", start(self.kind));
        let written = self.file.set_len(0).and_then(|()| self.file.rewind());
        written.and_then(|()| self.file.write_all(line.as_bytes())).map_err(|source| self.io(source))?;
        self.end = line.len() as u64;
        Ok(())
    }

    /// Its answers, from the first one on.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn lines(&mut self) -> Result<Lines<'_>, JournalError> {
        let Self { path, file, .. } = self;
        let mut lines = Lines { path, reader: BufReader::new(file), line: Vec::new(), begin: 0, end: 0 };
        lines.seek(SeekFrom::Start(0))?;
        lines.read()?;
        Ok(lines)
    }

    /// Ends the file at `end`, where a line ends, and goes on there.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn cut(&mut self, end: u64) -> Result<(), JournalError> {
        let cut = self.file.set_len(end).and_then(|()| self.file.seek(SeekFrom::Start(end)));
        cut.map_err(|source| self.io(source))?;
        self.end = end;
        Ok(())
    }

    /// Adds a line; returns where in the file it begins. [`flush`](Self::flush) hands it to the system.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn push(&mut self, line: &impl Serialize) -> Result<u64, JournalError> {
        let mut bytes = serde_json::to_vec(line).map_err(|error| self.io(error.into()))?;
        bytes.push(b'\n');
        let begin = self.end;
        self.end += bytes.len() as u64;
        self.pending.extend(bytes);
        Ok(begin)
    }

    /// Hands what was added to the system.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn flush(&mut self) -> Result<(), JournalError> {
        // Reading lines may have moved on in the file.
        let begin = SeekFrom::Start(self.end - self.pending.len() as u64);
        let written = self.file.seek(begin).and_then(|_| self.file.write_all(&self.pending));
        written.map_err(|source| self.io(source))?;
        self.pending.clear();
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the file, if its name still means it.
    ///
    /// # Errors
    /// If it does not, or the system refuses.
    pub fn remove(self) -> Result<(), JournalError> {
        let there = fs::symlink_metadata(&self.path).map_err(|source| self.io(source))?;
        let own = self.file.metadata().map_err(|source| self.io(source))?;
        if !is_same(&own, &there) {
            return Err(JournalError::Replaced { path: self.path.clone() });
        }
        fs::remove_file(&self.path).map_err(|source| self.io(source))
    }

    /// An error of this file's content.
    pub fn damaged(&self, what: String) -> JournalError {
        JournalError::Damaged { path: self.path.clone(), what }
    }

    fn io(&self, source: io::Error) -> JournalError {
        JournalError::Io { path: self.path.clone(), source }
    }
}

/// A process that was started meanwhile holds the file open too until it runs its own program, and would keep the lock as long.
impl Drop for Journal {
    fn drop(&mut self) {
        let _none = self.file.unlock();
    }
}

/// Reads the answers of a journal.
#[derive(Debug)]
pub struct Lines<'a> {
    path: &'a Path,
    reader: BufReader<&'a mut File>,
    /// The line that was read last.
    line: Vec<u8>,
    /// Where it begins.
    begin: u64,
    /// Where it ends, if it is whole.
    end: u64,
}

impl Lines<'_> {
    /// The next whole line; nothing at the end, or where one was being written.
    ///
    /// # Errors
    /// If it cannot be read, or is no `Line`.
    #[expect(clippy::should_implement_trait, reason = "each line may be of another type")]
    pub fn next<Line: DeserializeOwned>(&mut self) -> Result<Option<Line>, JournalError> {
        if !self.read()? {
            return Ok(None);
        }
        let damaged = |error| self.damaged(&format!("byte {}: {error}", self.begin));
        serde_json::from_slice(&self.line).map(Some).map_err(damaged)
    }

    /// The line that begins at `begin`, after which reading goes on where it was.
    ///
    /// # Errors
    /// As [`next`](Self::next), and if there is none.
    pub fn at<Line: DeserializeOwned>(&mut self, begin: u64) -> Result<Line, JournalError> {
        let back = self.end;
        self.seek(SeekFrom::Start(begin))?;
        let line = self.next()?.ok_or_else(|| self.damaged("has fewer answers than before"))?;
        self.seek(SeekFrom::Start(back))?;
        Ok(line)
    }

    /// Where the line that was read last begins.
    pub fn begin(&self) -> u64 {
        self.begin
    }

    /// Where the last whole line that was read ends.
    pub fn end(&self) -> u64 {
        self.end
    }

    fn seek(&mut self, to: SeekFrom) -> Result<(), JournalError> {
        self.end = self.reader.seek(to).map_err(|source| self.io(source))?;
        Ok(())
    }

    /// Whether there is another whole line.
    fn read(&mut self) -> Result<bool, JournalError> {
        self.line.clear();
        let read = (&mut self.reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut self.line);
        read.map_err(|source| self.io(source))?;
        if self.line.len() as u64 >= MAX_LINE_BYTES {
            return Err(self.damaged("a line is longer than any answer"));
        }
        let is_whole = self.line.last() == Some(&b'\n');
        if is_whole {
            self.begin = self.end;
            self.end += self.line.len() as u64;
        }
        Ok(is_whole)
    }

    fn damaged(&self, what: &str) -> JournalError {
        JournalError::Damaged { path: self.path.to_owned(), what: format!("is damaged: {what}") }
    }

    fn io(&self, source: io::Error) -> JournalError {
        JournalError::Io { path: self.path.to_owned(), source }
    }
}

/// How the first line of a journal of `kind` begins, up to its version.
fn start(kind: &str) -> String {
    format!("{MAGIC}\"{kind}\",\"version\":")
}

/// Opens a regular file that is no link, or makes it.
fn open_regular(path: &Path) -> Result<File, JournalError> {
    let io = |source| JournalError::Io { path: path.to_owned(), source };
    let refused = |found| Err(JournalError::NotAFile { path: path.to_owned(), found });
    let mut options = File::options();
    options.read(true).write(true);
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => return refused("a link"),
        Ok(found) if found.is_dir() => return refused("a folder"),
        Ok(found) if !found.is_file() => return refused("a pipe or a device"),
        Ok(_) => {}
        // What appears there meanwhile is not taken either.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return options.create_new(true).open(path).map_err(io);
        }
        Err(error) => return Err(io(error)),
    }
    no_link(&mut options);
    let file = options.open(path).map_err(io)?;
    if !file.metadata().map_err(io)?.is_file() {
        return refused("a pipe or a device");
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

    fn open(path: &Path) -> Result<Option<String>, JournalError> {
        Journal::open(path, "caption").map(|(_, run)| run)
    }

    #[test]
    fn its_own_first_line_and_every_beginning_of_it_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.part");
        let (mut journal, run) = Journal::open::<String>(&path, "caption").unwrap();
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
    fn lines_come_back_in_order_and_by_their_offset() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.part");
        let (mut journal, _) = Journal::open::<String>(&path, "caption").unwrap();
        journal.begin(&"x").unwrap();
        let offsets = ["猫", "", "dog"].map(|text| journal.push(&text).unwrap());
        journal.flush().unwrap();
        let end = journal.end;
        let mut lines = journal.lines().unwrap();
        assert_eq!(lines.next::<String>().unwrap().as_deref(), Some("猫"));
        assert_eq!(lines.at::<String>(offsets[2]).unwrap(), "dog");
        assert_eq!(lines.next::<String>().unwrap().as_deref(), Some(""));
        assert_eq!((lines.begin(), lines.end()), (offsets[1], offsets[2]));
        assert_eq!(lines.next::<String>().unwrap().as_deref(), Some("dog"));
        assert_eq!((lines.next::<String>().unwrap(), lines.end()), (None, end));
        let error = lines.at::<u8>(offsets[0]).unwrap_err().to_string();
        assert!(error.contains("a.part: is damaged: byte"), "{error}");
    }

    #[test]
    fn what_is_not_ours_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.json");
        for (bytes, reported) in [
            (&b"[{\"image_id\": 1, \"caption\": \"x\"}]"[..], "is not a journal of the kind `caption`"),
            (b"important notes", "is not a journal"),
            (b"a\nb\n", "is not a journal"),
            (b"\n", "is not a journal"),
            (b"{\"captions_of\":\"x\"", "is not a journal"),
            (b"{\"mplug_journal\": \"caption\"}", "is not a journal"),
            (
                b"{\"mplug_journal\":\"eval\",\"version\":1,\"run\":\"x\"}\n",
                "is not a journal of the kind `caption`",
            ),
            (b"{\"mplug_journal\":\"caption\",\"version\":2,\"run\":\"x\"}\n", "another version"),
            (b"{\"mplug_journal\":\"caption\",\"version\":1,\"run\":x}\n", "is damaged"),
            (b"\0\0\0\0", "is not a journal"),
        ] {
            fs::write(&path, bytes).unwrap();
            let error = open(&path).unwrap_err().to_string();
            assert!(error.contains("results.json: ") && error.contains(reported), "{error}");
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

    #[test]
    fn only_the_file_that_was_written_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.part");
        let (mut journal, _) = Journal::open::<String>(&path, "caption").unwrap();
        journal.begin(&"x").unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        assert!(journal.remove().unwrap_err().to_string().contains("was replaced"));
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }
}
