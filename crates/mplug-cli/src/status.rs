//! How a command ended, as the exit codes of the command line's contract. Knows nothing of what the commands do.

use std::io;
use std::process::ExitCode;

use crate::interrupt;

/// The end of a command that ran through. A command that could not run ends in an `Err`, exit code 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Every input was answered: exit code 0.
    Good,
    /// Some inputs failed, each with its message; the others are unharmed: exit code 1.
    SomeFailed,
    /// Somebody stopped it; what was done is kept: exit code 130 or 143.
    Interrupted,
}

impl Status {
    /// The status of a run in which `failed` inputs failed.
    pub(crate) fn of_failures(failed: usize) -> Self {
        if failed == 0 { Self::Good } else { Self::SomeFailed }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        match status {
            Status::Good => Self::SUCCESS,
            Status::SomeFailed => Self::from(1),
            Status::Interrupted => Self::from(interrupt::exit_code()),
        }
    }
}

/// Whether `error` only says that nobody reads our output any more.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_closed_pipe_is_recognised_below_its_context() {
        let closed = Err::<(), _>(io::Error::from(io::ErrorKind::BrokenPipe)).context("standard output");
        assert!(is_closed_pipe(&closed.unwrap_err()));
        let full = Err::<(), _>(io::Error::from(io::ErrorKind::StorageFull)).context("standard output");
        assert!(!is_closed_pipe(&full.unwrap_err()));
    }

    #[test]
    fn one_failure_is_enough() {
        assert_eq!(Status::of_failures(0), Status::Good);
        assert_eq!(Status::of_failures(1), Status::SomeFailed);
    }
}
