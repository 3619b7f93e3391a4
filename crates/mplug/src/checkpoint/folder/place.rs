//! How a finished folder gets its name, in the place of an old one where there is one.

use std::path::Path;

use crate::checkpoint::CheckpointError;
use crate::error::plain_io_error;

/// Gives the finished folder its name. An old folder of that name changes places with it at once where the system can do that,
/// so that a program that is killed here leaves one of the two; elsewhere it steps aside first and comes back if that fails.
pub(super) fn move_into_place(
    temporary: tempfile::TempDir,
    parent: &Path,
    dest: &Path,
) -> Result<(), CheckpointError> {
    let io = |source| CheckpointError::Io { action: "write", path: dest.to_path_buf(), source };
    if exchange(temporary.path(), dest) {
        // What is under the temporary name now, and goes with it, is the old folder.
        return Ok(());
    }
    let old = tempfile::Builder::new().prefix(".mplug-old-").tempdir_in(parent);
    let old = old.map_err(|error| io(plain_io_error(error)))?;
    let aside = old.path().join("replaced");
    let had_old = dest.symlink_metadata().is_ok();
    if had_old {
        std::fs::rename(dest, &aside).map_err(io)?;
    }
    if let Err(e) = std::fs::rename(temporary.path(), dest) {
        if had_old && let Err(source) = std::fs::rename(&aside, dest) {
            // The old folder must not go with the temporary one that holds it: the message says where it is now.
            let path = old.keep().join("replaced");
            return Err(CheckpointError::Io {
                action: "put back the old model, which is now in",
                path,
                source,
            });
        }
        return Err(io(e));
    }
    // Its content has the final name now: nothing is left to remove.
    let _moved = temporary.keep();
    Ok(())
}

/// Lets two names change places in one step; whether that worked.
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn exchange(one: &Path, other: &Path) -> bool {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_ok()
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn exchange(_one: &Path, _other: &Path) -> bool {
    false
}
