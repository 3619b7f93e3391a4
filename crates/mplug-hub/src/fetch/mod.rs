//! Pictures of web addresses that strangers may have written: the bytes of an `http` or `https` address, and no way into the
//! network that this machine stands in. Feature `fetch`.
//!
//! - An address has one reading (`url`): `http` or `https`, an ASCII host or a plain IP address, nothing before an `@`.
//! - A host's name is looked up once for a connection, *every* address that it has must be public (`address`), and the connection
//!   goes to those addresses (`resolve`); the `Host` header and TLS keep the name. Hosts of one's own can be allowed by name.
//! - Redirects are followed here, each as an address that was never seen before, and never from `https` to `http`.
//! - One deadline is over everything, the pauses between attempts included; a body has a limit, counted while it comes.
//! - No proxy (it would look names up itself), no cookies, no credentials, nothing unpacked.
//!
//! Knows nothing of pictures but that they are bytes.
//!
//! ```no_run
//! use mplug_hub::fetch::{FetchOptions, PictureFetcher};
//!
//! let fetcher = PictureFetcher::new(FetchOptions::default());
//! let bytes = fetcher.get("https://example.org/cat.jpg", 16 << 20)?;
//! # Ok::<(), mplug_hub::fetch::FetchError>(())
//! ```

mod address;
mod error;
mod resolve;
mod url;

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use error::{FetchError, FetchFault};
pub use resolve::{Resolve, SystemResolver};
use ureq::Agent;
use ureq::http::{Response, StatusCode, header};
use ureq::unversioned::transport::DefaultConnector;
pub use url::AllowedHost;

use self::resolve::{Guard, LookUps};
use self::url::Url;
use crate::http::{self, Retry};

/// A host is found, and takes a connection, in this time or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that sends nothing for so long is given up.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// How pictures are fetched.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FetchOptions {
    /// Hosts that may have addresses of any kind. All public hosts are allowed without.
    pub allowed_hosts: Vec<AllowedHost>,
    /// Time for one picture: looking up, connecting, redirects, retries, pauses and the body.
    pub timeout: Duration,
    /// Redirects that one picture may take.
    pub max_redirects: usize,
    /// Attempts after the first, where the server is overloaded or broken, or the connection breaks.
    pub retries: u32,
    /// The pause before the first of them, where the server requests no other; the next is twice as long.
    pub first_pause: Duration,
    /// Who looks names up.
    pub resolver: Arc<dyn Resolve>,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            allowed_hosts: Vec::new(),
            timeout: Duration::from_secs(30),
            max_redirects: 5,
            retries: 2,
            first_pause: Duration::from_millis(500),
            resolver: Arc::new(SystemResolver),
        }
    }
}

/// Fetches pictures, from any number of threads.
#[derive(Clone, Debug)]
pub struct PictureFetcher {
    options: FetchOptions,
    agent: Agent,
}

/// A failed attempt.
struct Failure {
    fault: FetchFault,
    /// Whether the next may succeed.
    is_passing: bool,
    /// The pause before it that the server requests.
    requested: Option<Duration>,
}

impl From<FetchFault> for Failure {
    fn from(fault: FetchFault) -> Self {
        Self { fault, is_passing: false, requested: None }
    }
}

impl PictureFetcher {
    /// Opens no connection yet.
    pub fn new(options: FetchOptions) -> Self {
        let config = http::agent_config(CONNECT_TIMEOUT, IDLE_TIMEOUT).proxy(None).build();
        let guard = Guard {
            resolver: Arc::clone(&options.resolver),
            allowed: options.allowed_hosts.clone(),
            look_ups: LookUps::default(),
        };
        Self { agent: Agent::with_parts(config, DefaultConnector::default(), guard), options }
    }

    /// The bytes at an address, no more than `max_bytes` of them.
    ///
    /// # Errors
    /// A [`FetchError`] that names the address. Whatever it is, it is this address's alone.
    pub fn get(&self, url: &str, max_bytes: u64) -> Result<Vec<u8>, FetchError> {
        let deadline = Instant::now() + self.options.timeout;
        let found = Url::parse(url).and_then(|first| self.get_patiently(&first, max_bytes, deadline));
        found.map_err(|fault| FetchError { url: url::shown(url), fault })
    }

    fn get_patiently(&self, first: &Url, max_bytes: u64, deadline: Instant) -> Result<Vec<u8>, FetchFault> {
        let FetchOptions { retries, first_pause, .. } = self.options;
        let retry = Retry { retries, first_pause };
        let mut failures = 0;
        loop {
            let Failure { fault, is_passing, requested } = match self.follow(first, max_bytes, deadline) {
                Ok(bytes) => return Ok(bytes),
                Err(failure) => failure,
            };
            failures += 1;
            let has_time = || retry.wait(failures, requested) < left(deadline);
            if !is_passing || failures > retry.retries || !has_time() {
                return Err(fault);
            }
            retry.pause(failures, requested);
        }
    }

    /// One attempt, through whatever redirects.
    fn follow(&self, first: &Url, max_bytes: u64, deadline: Instant) -> Result<Vec<u8>, Failure> {
        let mut url = first.clone();
        for _ in 0..=self.options.max_redirects {
            let answer = self.ask(&url, deadline)?;
            match redirect_of(&url, &answer)? {
                Some(next) => url = next,
                None => return self.read(&url, answer, max_bytes),
            }
        }
        Err(FetchFault::Redirect { host: url.host, problem: "once too often" }.into())
    }

    fn ask(&self, url: &Url, deadline: Instant) -> Result<Response<ureq::Body>, Failure> {
        let left = left(deadline);
        if left.is_zero() {
            return Err(FetchFault::Timeout { limit: self.options.timeout }.into());
        }
        let request = self.agent.get(&url.uri).config().timeout_global(Some(left)).build();
        request.call().map_err(|error| self.failure(url, error))
    }

    /// The body of an answer that is what was requested.
    fn read(&self, url: &Url, answer: Response<ureq::Body>, limit: u64) -> Result<Vec<u8>, Failure> {
        let (head, body) = answer.into_parts();
        let host = || url.host.clone();
        if head.status != StatusCode::OK {
            let requested = head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
            return Err(Failure {
                fault: FetchFault::Status {
                    host: host(),
                    code: head.status.as_u16(),
                    status: head.status.to_string(),
                },
                is_passing: Retry::is_worth(head.status),
                requested: requested.and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs),
            });
        }
        let encoding =
            head.headers.get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?").trim());
        if let Some(encoding) = encoding.filter(|encoding| !encoding.is_empty() && *encoding != "identity") {
            let encoding = encoding.chars().take(32).collect();
            return Err(FetchFault::Encoded { host: host(), encoding }.into());
        }
        let found = body.content_length();
        if found.is_some_and(|found| found > limit) {
            return Err(FetchFault::TooManyBytes { found, limit }.into());
        }
        let mut bytes = Vec::new();
        let mut reader = body.into_reader().take(limit.saturating_add(1));
        reader.read_to_end(&mut bytes).map_err(|error| self.failure(url, error.into()))?;
        if bytes.len() as u64 > limit {
            return Err(FetchFault::TooManyBytes { found: None, limit }.into());
        }
        Ok(bytes)
    }

    /// What an error of the connection means.
    fn failure(&self, url: &Url, error: ureq::Error) -> Failure {
        match error {
            ureq::Error::Timeout(ureq::Timeout::Global) => {
                FetchFault::Timeout { limit: self.options.timeout }.into()
            }
            ureq::Error::Other(other) => match other.downcast::<FetchFault>() {
                Ok(fault) => (*fault).into(),
                Err(source) => FetchFault::Transport { host: url.host.clone(), source }.into(),
            },
            error => {
                let is_passing = http::is_passing(&error);
                let fault = FetchFault::Transport { host: url.host.clone(), source: error.into() };
                Failure { fault, is_passing, requested: None }
            }
        }
    }
}

/// Where an answer sends to, if it does.
fn redirect_of(from: &Url, answer: &Response<ureq::Body>) -> Result<Option<Url>, FetchFault> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let refused = |problem| FetchFault::Redirect { host: from.host.clone(), problem };
    let location = answer.headers().get(header::LOCATION).ok_or_else(|| refused("to nowhere"))?;
    // Servers send UTF-8 where only ASCII is allowed.
    let location =
        std::str::from_utf8(location.as_bytes()).map_err(|_| refused("to something that is no address"))?;
    let next = Url::parse(&http::resolve(&from.uri, location))
        .map_err(|_| refused("to something that is no address"))?;
    if from.is_encrypted && !next.is_encrypted {
        return Err(refused("to an unencrypted address"));
    }
    Ok(Some(next))
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirect(from: &str, location: &str) -> Result<Option<String>, String> {
        let answer = Response::builder().status(302).header(header::LOCATION, location);
        let answer = answer.body(ureq::Body::builder().data("")).unwrap();
        let next = redirect_of(&Url::parse(from).unwrap(), &answer);
        next.map(|next| next.map(|url| url.uri.to_string())).map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_redirect_stays_encrypted() {
        let message = redirect("https://a.example/", "http://a.example/").unwrap_err();
        assert_eq!(message, "a.example redirects to an unencrypted address");
        let followed = |from, to| redirect(from, to).unwrap().unwrap();
        assert_eq!(followed("http://a.example/", "https://b.example/c"), "https://b.example/c");
        assert_eq!(followed("https://a.example/b/c?d", "两.jpg"), "https://a.example/b/%E4%B8%A4.jpg");
        assert!(redirect("http://a.example/", "file:///etc/passwd").is_err());
    }
}
