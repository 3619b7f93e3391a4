//! What every request passes before a route sees it, and every reply on its way back: who may come in, what browsers may do with
//! what is sent, and the line in the log.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{self, AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::ollama::{OllamaError, is_ollamas};
use super::request_id::{RequestId, X_REQUEST_ID};
use crate::error::{ApiError, Code};
use crate::event::{Event, RequestLine};
use crate::options::ServeOptions;
use crate::service::Service;

/// What a browser may do with our page: show it, run its own files, talk to this server, and nothing else.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; img-src 'self' blob: data:; script-src 'self'; style-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const SECURITY_HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(self), microphone=(), geolocation=()"),
];

/// Lets a request in, or answers it.
pub(crate) async fn gate(State(service): State<Arc<Service>>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = RequestId::of(&request);
    let method = request.method().clone();
    let matched = request.extensions().get::<MatchedPath>();
    // What no route matches may be any text.
    let route = matched.map_or_else(|| "other".to_owned(), |path| path.as_str().to_owned());
    request.extensions_mut().insert(id.clone());
    let path = request.uri().path().to_owned();
    let admitted = admit(&service.options, request.headers(), request.uri());
    let mut response = match admitted {
        Ok(()) => next.run(request).await,
        Err(error) if is_ollamas(&path) => OllamaError(error).into_response(),
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if service.is_draining() {
        // A client that kept the connection would send its next request to a server that is gone.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        headers.insert(X_REQUEST_ID, value);
    }
    let (status, time) = (response.status().as_u16(), begun.elapsed());
    service.metrics.request(&route, status, time);
    let code = response.extensions().get::<Code>().copied();
    service.report(Event::Request(RequestLine {
        id: &id.0,
        method: method.as_str(),
        route: &route,
        status,
        code,
        time,
    }));
    response
}

fn admit(options: &ServeOptions, headers: &HeaderMap, uri: &Uri) -> Result<(), ApiError> {
    let host = host(headers, uri);
    check_origin(headers, host)?;
    if options.api_keys.is_empty() {
        return check_host(options, host);
    }
    if is_open(uri.path()) { Ok(()) } else { check_key(options, headers) }
}

/// What a client without a key may see where keys are needed: that the server is alive, and the page, which then requests a key.
fn is_open(path: &str) -> bool {
    !["/v1/", "/api/", "/metrics"].iter().any(|closed| path.starts_with(closed))
}

/// The host that the client named: its header's, or that of an absolute target.
fn host<'r>(headers: &'r HeaderMap, uri: &'r Uri) -> Option<&'r str> {
    let named = uri.authority().map(axum::http::uri::Authority::as_str);
    named.or_else(|| headers.get(HOST)?.to_str().ok())
}

/// The host without its port.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Refuses names that are not ours. Where no key protects the server, a page of the web could otherwise give this machine's address
/// to a name of its own and talk to the server from the visitor's browser (DNS rebinding). Plain addresses cannot be rebound.
fn check_host(options: &ServeOptions, host: Option<&str>) -> Result<(), ApiError> {
    // Clients of HTTP/1.0 name no host; browsers always do.
    let Some(host) = host else { return Ok(()) };
    let name = without_port(host).trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let is_known = name == "localhost"
        || name.parse::<IpAddr>().is_ok()
        || options.hosts.iter().any(|known| known == "*" || known.eq_ignore_ascii_case(&name));
    if is_known {
        return Ok(());
    }
    let name: String = name.chars().take(64).collect();
    let message = format!(
        "host: expected an address, `localhost` or a name that this server was started with, found `{name}`"
    );
    Err(ApiError::new(Code::ForbiddenHost, message))
}

/// Refuses requests that a page of another site sends: the page of this server is the only one that may.
fn check_origin(headers: &HeaderMap, host: Option<&str>) -> Result<(), ApiError> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or("?");
    let own = origin.split_once("://").map(|(_, authority)| authority);
    if own.is_some() && own == host {
        return Ok(());
    }
    Err(ApiError::new(Code::ForbiddenOrigin, "origin: expected this server's own page, found another site"))
}

/// Compares hashes in constant time, and with every key, so that the time of a refusal says nothing of the keys.
fn check_key(options: &ServeOptions, headers: &HeaderMap) -> Result<(), ApiError> {
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    let given_hash = Sha256::digest(given.unwrap_or_default().as_bytes());
    let mut is_good = subtle::Choice::from(0);
    for key in &options.api_keys {
        is_good |= Sha256::digest(key.as_bytes()).as_slice().ct_eq(given_hash.as_slice());
    }
    if given.is_some() && bool::from(is_good) {
        return Ok(());
    }
    let found = if given.is_some() { "another one" } else { "none" };
    let message = format!("authorization: expected `Bearer KEY` with a key of this server, found {found}");
    Err(ApiError::new(Code::InvalidApiKey, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(options: &ServeOptions, path: &str, headers: &[(HeaderName, &str)]) -> Option<Code> {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        admit(options, &headers, &path.parse().unwrap()).err().map(|error| error.code)
    }

    #[test]
    fn hosts_that_are_not_ours_are_refused() {
        let options = ServeOptions { hosts: vec!["mplug".to_owned()], ..ServeOptions::default() };
        for good in [
            "localhost:8080",
            "LOCALHOST",
            "127.0.0.1:80",
            "[::1]:8080",
            "192.168.1.7",
            "mplug:8080",
            "Mplug",
        ] {
            assert_eq!(code(&options, "/", &[(HOST, good)]), None, "{good}");
        }
        for bad in ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io:8080", "", "a:b"] {
            assert_eq!(code(&options, "/", &[(HOST, bad)]), Some(Code::ForbiddenHost), "{bad}");
        }
        assert_eq!(code(&options, "/", &[]), None);
        let any = ServeOptions { hosts: vec!["*".to_owned()], ..ServeOptions::default() };
        assert_eq!(code(&any, "/", &[(HOST, "evil.example")]), None);
    }

    #[test]
    fn other_sites_pages_are_refused() {
        let options = ServeOptions::default();
        let with = |origin| code(&options, "/v1/caption", &[(HOST, "localhost:8080"), (ORIGIN, origin)]);
        assert_eq!(with("http://localhost:8080"), None);
        for bad in ["http://localhost:8081", "http://evil.example", "null", "", "localhost:8080"] {
            assert_eq!(with(bad), Some(Code::ForbiddenOrigin), "{bad}");
        }
    }

    #[test]
    fn a_key_is_needed_where_there_are_keys() {
        let keys = vec!["first".to_owned(), "second".to_owned()];
        let options = ServeOptions { api_keys: keys, ..ServeOptions::default() };
        let with = |value| code(&options, "/v1/models", &[(AUTHORIZATION, value)]);
        assert_eq!((with("Bearer second"), with("bearer first")), (None, None));
        for bad in ["Bearer third", "Bearer ", "Basic first", "first", "Bearer firstsecond"] {
            assert_eq!(with(bad), Some(Code::InvalidApiKey), "{bad}");
        }
        assert_eq!(code(&options, "/metrics", &[]), Some(Code::InvalidApiKey));
        for open in ["/", "/livez", "/readyz", "/page.js"] {
            assert_eq!(code(&options, open, &[]), None, "{open}");
        }
    }
}
