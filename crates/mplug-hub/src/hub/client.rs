//! Requests to the hub and to where it redirects, over `ureq`: headers, the token, time limits, and redirects followed by hand.
//! The token goes to the hub's own address and nowhere else; a transfer that began encrypted stays encrypted. Knows nothing
//! of models.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use ureq::http::{HeaderMap, StatusCode, Uri, header};
use ureq::{Agent, Body};

use super::HubError;
use crate::http;

/// Redirects that one request may take.
const MAX_REDIRECTS: usize = 10;
/// A server that does not take a connection in this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// An access token. Its text is never printed, not even by `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token from its text.
    ///
    /// # Errors
    /// [`HubError::Token`] for an empty one and for characters that would end a header or a cookie.
    pub fn new(text: &str) -> Result<Self, HubError> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte);
        if text.is_empty() || !text.bytes().all(is_plain) {
            return Err(HubError::Token { problem: "is empty or has characters that no token has" });
        }
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// Scheme, host and port: what must be equal for the token to go along.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let default = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?.to_ascii_lowercase();
        Some(Self { scheme, host, port: uri.port_u16().unwrap_or(default) })
    }

    fn is_encrypted(&self) -> bool {
        self.scheme == "https"
    }

    /// Whether it is this very machine.
    fn is_loopback(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// An answer: its head, and a body that is still to be read.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    /// Whether the hub itself answers, not a server that it redirected to.
    pub(super) is_from_hub: bool,
}

impl Answer {
    /// A header's text.
    pub(super) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// How long the server wants no further request.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.header(header::RETRY_AFTER)?.trim().parse().ok().map(Duration::from_secs)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// Of the connection.
    #[error("{host}: {source}")]
    Transport { host: String, source: Box<ureq::Error> },
    /// Of a redirect that is not followed.
    #[error("{host} redirects {problem}")]
    Redirect { host: String, problem: &'static str },
}

impl HttpError {
    /// Whether the same request may be answered in a moment.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Transport { source, .. } if http::is_passing(source))
    }
}

/// Sends requests to one hub.
pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    origin: Origin,
    token: Option<Token>,
}

impl Client {
    /// A client of the hub at `endpoint`, `https` where that does not say.
    ///
    /// # Errors
    /// [`HubError::Endpoint`] where it is no address, [`HubError::Token`] where the token would travel unencrypted.
    pub(super) fn new(
        endpoint: &str,
        token: Option<Token>,
        idle_timeout: Duration,
    ) -> Result<Self, HubError> {
        let (endpoint, origin) = parse_endpoint(endpoint)?;
        if token.is_some() && !origin.is_encrypted() && !origin.is_loopback() {
            let problem = "would travel unencrypted: give an `https` address, or no token";
            return Err(HubError::Token { problem });
        }
        let mut config = http::agent_config(CONNECT_TIMEOUT, idle_timeout);
        if origin.is_loopback() {
            // A proxy cannot know what runs on this machine.
            config = config.proxy(None);
        }
        Ok(Self { agent: config.build().new_agent(), endpoint, origin, token })
    }

    /// The hub's address, without a slash at its end.
    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Whether requests carry a token.
    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Gets `path` (which begins with a slash) of the hub, through whatever redirects. Any status is an answer.
    pub(super) fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer, HttpError> {
        let mut from = self.origin.host.clone();
        let redirect = |host: &str, problem| HttpError::Redirect { host: host.to_owned(), problem };
        let mut address = format!("{}{path}", self.endpoint);
        for _ in 0..=MAX_REDIRECTS {
            let uri: Uri = address.parse().map_err(|_| redirect(&from, "to something that is no address"))?;
            let origin = Origin::of(&uri).ok_or_else(|| redirect(&from, "to another protocol"))?;
            if self.origin.is_encrypted() && !origin.is_encrypted() {
                return Err(redirect(&from, "to an unencrypted address"));
            }
            let answer = self.get_once(&uri, &origin, headers)?;
            let location = answer.header(header::LOCATION).filter(|_| answer.status.is_redirection());
            let Some(location) = location else { return Ok(answer) };
            address = http::resolve(&uri, location);
            from = origin.host;
        }
        Err(redirect(&from, "too many times"))
    }

    fn get_once(&self, uri: &Uri, origin: &Origin, headers: &[(&str, &str)]) -> Result<Answer, HttpError> {
        let is_from_hub = *origin == self.origin;
        let mut request = self.agent.get(uri).header("X-Request-ID", random_id());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let (Some(Token(token)), true) = (&self.token, is_from_hub) {
            request = request
                .header(header::AUTHORIZATION, format!("Bearer {token}"))
                .header(header::COOKIE, format!("m_session_id={token}"));
        }
        let transport = |source| HttpError::Transport { host: origin.host.clone(), source: Box::new(source) };
        let (head, body) = request.call().map_err(transport)?.into_parts();
        Ok(Answer { status: head.status, headers: head.headers, body, is_from_hub })
    }
}

/// The address as text without its last slash, and as what must be equal.
fn parse_endpoint(text: &str) -> Result<(String, Origin), HubError> {
    let bad = |problem| HubError::Endpoint { text: text.to_owned(), problem };
    if text.contains('@') {
        // Not repeated: what stands before the `@` may be a password.
        return Err(HubError::Endpoint { text: "…@…".to_owned(), problem: "has a user name in it" });
    }
    let text = text.trim();
    let address = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let address = address.trim_end_matches('/').to_owned();
    let uri: Uri = address.parse().map_err(|_| bad("is no address"))?;
    if uri.query().is_some() || address.contains('#') {
        return Err(bad("has more than a host and a path in it"));
    }
    let origin = Origin::of(&uri).ok_or_else(|| bad("is neither an http nor an https address"))?;
    Ok((address, origin))
}

/// 32 random hexadecimal digits: a name for a request, not a secret.
pub(super) fn random_id() -> String {
    let draw = || RandomState::new().hash_one(0);
    format!("{:016x}{:016x}", draw(), draw())
}

const HEX: [u8; 16] = *b"0123456789ABCDEF";

/// `text` as the value of a query.
pub(super) fn query_value(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            value.push(byte as char);
        } else {
            value.push('%');
            value.extend([byte >> 4, byte & 15].map(|half| HEX[half as usize] as char));
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_completed_and_checked() {
        let parsed = |text| parse_endpoint(text).map(|(address, _)| address);
        assert_eq!(parsed("www.modelscope.cn/").unwrap(), "https://www.modelscope.cn");
        assert_eq!(parsed("http://127.0.0.1:80/hub//").unwrap(), "http://127.0.0.1:80/hub");
        for bad in ["", "ftp://a", "https://", "https://a/?b=c", "https://a/#b", "https://a b"] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
        let message = parsed("https://me:secret@host").unwrap_err().to_string();
        assert!(!message.contains("secret"), "{message}");
    }

    #[test]
    fn tokens_are_neither_shown_nor_sent_in_the_clear() {
        let token = Token::new("abc-123").unwrap();
        assert!(!format!("{token:?}").contains("abc"));
        let client = |endpoint| Client::new(endpoint, Some(token.clone()), Duration::from_secs(1));
        assert!(client("http://example.org").is_err());
        assert!(client("https://example.org").is_ok());
        assert!(client("http://[::1]:8000").is_ok() && client("http://localhost").is_ok());
        for bad in ["", "a b", "a\r\nX: y", "a;b", "猫"] {
            assert!(Token::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ports_are_part_of_an_origin() {
        let origin = |text: &str| Origin::of(&text.parse().unwrap()).unwrap();
        assert_eq!(origin("https://Host/a"), origin("https://host:443/b"));
        assert_ne!(origin("https://host"), origin("https://host:8443"));
        assert_ne!(origin("https://host"), origin("http://host:443"));
    }

    #[test]
    fn query_values_are_plain() {
        assert_eq!(query_value("a/b c&猫"), "a%2Fb%20c%26%E7%8C%AB");
    }
}
