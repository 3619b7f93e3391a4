//! Why a picture could not be fetched. Messages name hosts and addresses, never a query, a fragment or a password.

use std::net::IpAddr;
use std::time::Duration;

/// An address that gave no bytes, and why.
///
/// The fault of [`FetchFault::NotPublic`] says where a name leads: who shows it to strangers tells them of his network.
#[derive(Debug, thiserror::Error)]
#[error("{url}: {fault}")]
pub struct FetchError {
    /// The address, without its query, its fragment and what stands before an `@`.
    pub url: String,
    /// What is wrong.
    pub fault: FetchFault,
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
        "the host {host} has {address}, {what}: only public ones are asked (`--allow-url-host` for one of yours)"
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
        /// What the machine says, if anything.
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
        /// The status code, with its usual words.
        status: String,
    },
    /// The answer is longer than the limit.
    #[error("has {} bytes, more than the limit of {limit}", .found.map_or("endless".to_owned(), |found| found.to_string()))]
    TooManyBytes {
        /// Its length, where the server told it.
        found: Option<u64>,
        /// The limit.
        limit: u64,
    },
    /// The answer is compressed, which was not asked for; it is not unpacked.
    #[error("{host} sends its answer encoded as `{encoding}`, which was not asked for")]
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
