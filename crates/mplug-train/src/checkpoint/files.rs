//! What changes a run folder, one function each, so that a test can let a run end before any of them. Knows no run.

use std::fs::File;
use std::io::{ErrorKind, Result, Write};
use std::path::Path;

/// Makes a folder that is not there yet.
pub(super) fn create_folder(path: &Path) -> Result<()> {
    before_change()?;
    std::fs::create_dir(path)
}

/// Writes a file that is not there yet and hands it to the disk.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    before_change()?;
    let mut file = File::create_new(path)?;
    before_change()?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Comes before a file that another writes whole.
pub(super) fn before_file() -> Result<()> {
    before_change()
}

/// Appends to a file.
pub(crate) fn append(mut file: &File, bytes: &[u8]) -> Result<()> {
    // A test ends a run in the middle of a line, too.
    #[cfg(test)]
    let bytes = {
        before_change()?;
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        file.write_all(first)?;
        rest
    };
    before_change()?;
    file.write_all(bytes)
}

/// Makes the new symbolic link `path`, which leads to its neighbour `target`; whether the system can do that here.
pub(super) fn link(target: &str, path: &Path) -> Result<bool> {
    before_change()?;
    #[cfg(test)]
    if faults::cannot_exchange() {
        return Ok(false);
    }
    Ok(linked(target, path))
}

#[cfg(unix)]
fn linked(target: &str, path: &Path) -> bool {
    std::os::unix::fs::symlink(target, path).is_ok()
}

/// Elsewhere links need rights that users do not have.
#[cfg(not(unix))]
fn linked(_target: &str, _path: &Path) -> bool {
    false
}

/// Copies a file to a new one and hands it to the disk.
pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    before_change()?;
    let (mut from, mut to) = (File::open(from)?, File::create_new(to)?);
    std::io::copy(&mut from, &mut to)?;
    to.sync_all()
}

/// Removes a folder and all that is in it, the file `mark` last: a process that is killed on the way leaves a folder with its
/// mark, or an empty one.
pub(super) fn remove_marked_folder(path: &Path, mark: &str) -> Result<()> {
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name() == mark {
            continue;
        }
        // Of a link `file_type` says that it is one: it is removed, not what it leads to.
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    before_removal();
    match std::fs::remove_file(path.join(mark)) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        removed => removed?,
    }
    before_removal();
    std::fs::remove_dir(path)
}

/// Gives a file or folder another name.
pub(super) fn rename(from: &Path, to: &Path) -> Result<()> {
    before_change()?;
    std::fs::rename(from, to)
}

/// Lets two names change places in one step; whether the system can do that here.
pub(super) fn exchange(one: &Path, other: &Path) -> Result<bool> {
    before_change()?;
    Ok(exchanged(one, other))
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
fn exchanged(one: &Path, other: &Path) -> bool {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    #[cfg(test)]
    if faults::cannot_exchange() {
        return false;
    }
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_ok()
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn exchanged(_one: &Path, _other: &Path) -> bool {
    false
}

/// Hands the names in a folder to the disk.
pub(super) fn sync_folder(path: &Path) -> Result<()> {
    before_change()?;
    sync_names(path)
}

/// Hands a folder of files, with their content and names, to the disk.
pub(super) fn sync_content(folder: &Path) -> Result<()> {
    before_change()?;
    for entry in std::fs::read_dir(folder)? {
        File::options().write(true).open(entry?.path())?.sync_all()?;
    }
    sync_names(folder)
}

/// Only Unix opens folders as files.
fn sync_names(folder: &Path) -> Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "its form in tests can fail")]
fn before_change() -> Result<()> {
    Ok(())
}

#[cfg(not(test))]
fn before_removal() {}

#[cfg(test)]
use faults::{before_change, before_removal};

/// Ends of a run before a change of its folder that a test chooses.
#[cfg(test)]
pub(crate) mod faults {
    use std::cell::Cell;
    use std::io::{Error, ErrorKind, Result};

    /// How a run ends.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Fault {
        /// As by SIGKILL: nothing is tidied up.
        Kill,
        /// As by a full disk: this change and all later ones fail.
        FullDisk,
    }

    /// The exit code of a process that [`Fault::Kill`] ended.
    pub(crate) const KILLED: i32 = 86;

    thread_local! {
        static CHANGES: Cell<u64> = const { Cell::new(0) };
        static REMOVALS: Cell<u64> = const { Cell::new(0) };
        static FAULT: Cell<Option<(u64, Fault)>> = const { Cell::new(None) };
        static CANNOT_EXCHANGE: Cell<bool> = const { Cell::new(false) };
    }

    /// Counts changes from 0 again; `fault` comes before the change of that number.
    pub(crate) fn expect(fault: Option<(u64, Fault)>) {
        CHANGES.set(0);
        REMOVALS.set(0);
        FAULT.set(fault);
    }

    /// Changes since [`expect`].
    pub(crate) fn changes() -> u64 {
        CHANGES.get()
    }

    /// Whether this thread has a system without exchange and without links.
    pub(crate) fn set_cannot_exchange(cannot: bool) {
        CANNOT_EXCHANGE.set(cannot);
    }

    pub(super) fn cannot_exchange() -> bool {
        CANNOT_EXCHANGE.get()
    }

    /// How many of the changes are removals. A full disk does not hinder them, and its changes are counted without them.
    pub(crate) fn removals() -> u64 {
        REMOVALS.get()
    }

    pub(super) fn before_removal() {
        if matches!(FAULT.get(), Some((_, Fault::FullDisk))) {
            return;
        }
        REMOVALS.set(REMOVALS.get() + 1);
        before_change().expect("only a full disk hinders");
    }

    pub(super) fn before_change() -> Result<()> {
        let number = CHANGES.get();
        CHANGES.set(number + 1);
        match FAULT.get() {
            Some((at, Fault::Kill)) if number == at => std::process::exit(KILLED),
            Some((at, Fault::FullDisk)) if number >= at => Err(Error::from(ErrorKind::StorageFull)),
            _ => Ok(()),
        }
    }
}
