//! Why a picture could not be fetched. Messages name hosts and addresses, never a query, a fragment or a password.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Duration;

use ureq::http::StatusCode;

use crate::http::{self, Retry};

/// An address that gave no bytes, and why.
///
/// The fault of [`FetchFault::NotPublic`] says where a name leads: who shows it to strangers reveals his network.
#[derive(Debug, thiserror::Error)]
#[error("{url}: {fault}")]
pub struct FetchError {
    /// The address, without its query, its fragment and what stands before an `@`.
    pub url: String,
    /// What is wrong.
    pub fault: FetchFault,
}

impl FetchError {
    /// Whether the address may give its bytes later: [`FetchFault::is_passing`].
    pub fn is_passing(&self) -> bool {
        self.fault.is_passing()
    }
}

/// What is wrong with an address, its host or its answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchFault {
    /// The text is no address that is fetched from.
    #[error("the address {problem}")]
    Url {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The host, or one of its addresses, is not of the public internet, and it is not among the allowed ones.
    #[error(
        "the host {host} has {address}, {what}: expected a public one, or a host that is allowed by name"
    )]
    NotPublic {
        /// The host.
        host: String,
        /// The address that it has, if not the only one.
        address: IpAddr,
        /// What kind of address that is.
        what: &'static str,
    },
    /// The host has no address.
    #[error("no address is known for the host {host}")]
    NoHost {
        /// The host.
        host: String,
        /// What the machine says, if anything: [`ErrorKind::NotFound`] that there is no such name, anything else that it could not
        /// be looked up.
        source: Option<std::io::Error>,
    },
    /// A redirect that is not followed.
    #[error("{host} redirects {problem}")]
    Redirect {
        /// Who redirects.
        host: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Another answer than a picture.
    #[error("{host} answers {status}; 200 is expected")]
    Status {
        /// Who answers.
        host: String,
        /// The status code.
        code: u16,
        /// The status code with its usual words.
        status: String,
    },
    /// The answer is longer than the limit.
    #[error("has {} bytes, more than the limit of {limit}", .found.map_or("endless".to_owned(), |found| found.to_string()))]
    TooManyBytes {
        /// Its length, where the server gave it.
        found: Option<u64>,
        /// The limit.
        limit: u64,
    },
    /// The answer is compressed, which was not requested; it is not unpacked.
    #[error("{host} sends its answer encoded as `{encoding}`, which was not requested")]
    Encoded {
        /// Who answers.
        host: String,
        /// How.
        encoding: String,
    },
    /// It was not there in time.
    #[error("was not there after {} s", .limit.as_secs_f32())]
    Timeout {
        /// The time that it was given, all attempts and redirects together.
        limit: Duration,
    },
    /// The connection was not made, or broke.
    #[error("{host}: {source}")]
    Transport {
        /// The other side.
        host: String,
        /// What the machine says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl FetchFault {
    /// Whether the address may give its bytes later, so that the fault is no answer.
    ///
    /// | fault | passes |
    /// |---|---|
    /// | [`NoHost`](Self::NoHost) | where the name could not be looked up (no name server, no network); not where there is no such name |
    /// | [`Status`](Self::Status) | 408, 425, 429 and 5xx |
    /// | [`Timeout`](Self::Timeout) | yes |
    /// | [`Transport`](Self::Transport) | refused, unreachable, broken and late connections, and what [`io_error_is_passing`](mplug::io_error_is_passing) says of this machine; not wrong certificates |
    /// | all others | no |
    pub fn is_passing(&self) -> bool {
        match self {
            Self::NoHost { source, .. } => {
                source.as_ref().is_some_and(|error| error.kind() != ErrorKind::NotFound)
            }
            Self::Status { code, .. } => StatusCode::from_u16(*code).is_ok_and(Retry::is_worth),
            Self::Timeout { .. } => true,
            Self::Transport { source, .. } => source.downcast_ref().is_some_and(http::may_pass),
            Self::Url { .. }
            | Self::NotPublic { .. }
            | Self::Redirect { .. }
            | Self::TooManyBytes { .. }
            | Self::Encoded { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_passes() {
        let host = || "h".to_owned();
        let status = |code| FetchFault::Status { host: host(), code, status: String::new() };
        let no_host =
            |source: Option<ErrorKind>| FetchFault::NoHost { host: host(), source: source.map(Into::into) };
        let transport = |error: ureq::Error| FetchFault::Transport { host: host(), source: error.into() };
        let io = |kind: ErrorKind| transport(ureq::Error::Io(kind.into()));
        for passing in [
            status(408),
            status(429),
            status(500),
            status(503),
            no_host(Some(ErrorKind::TimedOut)),
            FetchFault::Timeout { limit: Duration::from_secs(1) },
            io(ErrorKind::ConnectionRefused),
            io(ErrorKind::ConnectionReset),
            io(ErrorKind::UnexpectedEof),
            transport(ureq::Error::Timeout(ureq::Timeout::Connect)),
            transport(ureq::Error::ConnectionFailed),
            transport(ureq::Error::Io(io::Error::from_raw_os_error(if cfg!(windows) { 4 } else { 24 }))),
        ] {
            assert!(passing.is_passing(), "{passing}");
        }
        for staying in [
            status(301),
            status(400),
            status(403),
            status(404),
            status(410),
            no_host(Some(ErrorKind::NotFound)),
            no_host(None),
            FetchFault::Url { problem: "is none" },
            FetchFault::Redirect { host: host(), problem: "to nowhere" },
            FetchFault::TooManyBytes { found: None, limit: 1 },
            FetchFault::Encoded { host: host(), encoding: "gzip".to_owned() },
            io(ErrorKind::InvalidData),
            transport(ureq::Error::Tls("no certificate")),
        ] {
            assert!(!staying.is_passing(), "{staying}");
        }
    }
}
