//! Which failures of reading pass: the same file or address may be there in a while. Who keeps answers (a journal, a cache) keeps no
//! failure that passes.
//!
//! Judged by the kind and the number that the system gives, never by an error's text.

use std::error::Error;
use std::io::{self, ErrorKind};

/// Whether what failed may succeed later, with nothing changed but the state of this machine, its disks and its network.
///
/// | passes | |
/// |---|---|
/// | too many open files | of this process or this machine |
/// | no memory, no buffers | |
/// | a device's error (`EIO`), a file system that went away (`ESTALE`, not connected) | |
/// | network down or unreachable, connection refused, reset, aborted or broken, no free port | |
/// | timed out, interrupted, would block, busy | |
/// | the disk or the quota is full | |
///
/// Everything else stays: not found, not permitted, a folder, damaged or invalid data, an end that comes too soon.
/// An error in another's place (of an archive's reader, say) is judged too.
pub fn io_error_is_passing(error: &io::Error) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        let io_error = error.downcast_ref::<io::Error>();
        if io_error.is_some_and(|error| is_passing_kind(error.kind()) || is_passing_number(error)) {
            return true;
        }
        // The source of an I/O error is what the error in it has for a source: that error itself would be left out.
        let inner = io_error.and_then(io::Error::get_ref).map(|inner| inner as &(dyn Error + 'static));
        next = inner.or_else(|| error.source());
    }
    false
}

fn is_passing_kind(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::AddrNotAvailable
            | ErrorKind::BrokenPipe
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::HostUnreachable
            | ErrorKind::Interrupted
            | ErrorKind::NetworkDown
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NotConnected
            | ErrorKind::OutOfMemory
            | ErrorKind::QuotaExceeded
            | ErrorKind::ResourceBusy
            | ErrorKind::StaleNetworkFileHandle
            | ErrorKind::StorageFull
            | ErrorKind::TimedOut
            | ErrorKind::WouldBlock
    )
}

/// Errors that the standard library has no kind for.
#[cfg(unix)]
fn is_passing_number(error: &io::Error) -> bool {
    use rustix::io::Errno;

    const PASSING: [Errno; 7] = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::IO,
        Errno::NOBUFS,
        Errno::HOSTDOWN,
        Errno::NETRESET,
        Errno::SHUTDOWN,
    ];
    #[cfg(target_os = "linux")]
    if error.raw_os_error() == Some(Errno::REMOTEIO.raw_os_error()) {
        return true;
    }
    error.raw_os_error().is_some_and(|number| PASSING.iter().any(|errno| errno.raw_os_error() == number))
}

/// Whether a system error passes, on Windows: too many open files, not ready, damaged sector, shared with another program, a network that
/// went away, no resources, the device's error.
#[cfg(windows)]
fn is_passing_number(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(4 | 21 | 23 | 32 | 33 | 51 | 53 | 54 | 59 | 64 | 1117 | 1450 | 1460))
}

#[cfg(not(any(unix, windows)))]
fn is_passing_number(_: &io::Error) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_known_by_its_kind() {
        for kind in
            [ErrorKind::TimedOut, ErrorKind::StorageFull, ErrorKind::OutOfMemory, ErrorKind::Interrupted]
        {
            assert!(io_error_is_passing(&kind.into()), "{kind}");
        }
        for kind in [
            ErrorKind::NotFound,
            ErrorKind::PermissionDenied,
            ErrorKind::InvalidData,
            ErrorKind::UnexpectedEof,
            ErrorKind::IsADirectory,
        ] {
            assert!(!io_error_is_passing(&kind.into()), "{kind}");
        }
        let worded = io::Error::other("Too many open files (os error 24)");
        assert!(!io_error_is_passing(&worded), "words are not judged");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_passes_is_known_by_the_systems_number() {
        // EINTR, EIO, EAGAIN, ENOMEM, EBUSY, ENFILE, EMFILE, ENOSPC, ESHUTDOWN, ETIMEDOUT, ECONNREFUSED, EHOSTDOWN, ESTALE, EREMOTEIO, EDQUOT
        for number in [4, 5, 11, 12, 16, 23, 24, 28, 108, 110, 111, 112, 116, 121, 122] {
            let error = io::Error::from_raw_os_error(number);
            assert!(io_error_is_passing(&error), "{error}");
            // As readers of archives hand it on.
            let wrapped = io::Error::other(io::Error::new(ErrorKind::InvalidData, error));
            assert!(io_error_is_passing(&wrapped), "{wrapped}");
        }
        // ENOENT, EACCES, ENOTDIR, EISDIR, EINVAL, ENAMETOOLONG, ELOOP
        for number in [2, 13, 20, 21, 22, 36, 40] {
            let error = io::Error::from_raw_os_error(number);
            assert!(!io_error_is_passing(&error), "{error}");
        }
    }
}
