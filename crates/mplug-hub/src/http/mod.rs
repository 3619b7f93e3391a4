//! What everything that opens connections has in common, over `ureq`: whom TLS trusts, which failures pass, where a redirect
//! leads, and the pauses between attempts (`retry`). Knows neither the hub nor pictures, and sends no request itself.

mod retry;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "fetch")]
use mplug::io_error_is_passing;
pub(crate) use retry::Retry;
use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::http::Uri;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::typestate::AgentScope;

/// How everything here sends requests: every status is an answer, redirects are left to the caller, nothing is compressed; a host is found and
/// takes a connection in `connect_timeout`, and a server that sends nothing for `idle_timeout` is given up. TLS is rustls's, with the
/// system's certificates: networks that add their own put them there.
pub(crate) fn agent_config(connect_timeout: Duration, idle_timeout: Duration) -> ConfigBuilder<AgentScope> {
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::PlatformVerifier);
    Agent::config_builder()
        .tls_config(tls.build())
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("mplug/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("identity")
        .timeout_resolve(Some(connect_timeout))
        .timeout_connect(Some(connect_timeout))
        .timeout_recv_response(Some(idle_timeout))
        .timeout_per_read(Some(idle_timeout))
}

/// Whether the same question may be answered in a moment: the connection broke, or took too long. A name that cannot be
/// looked up, a refused connection and a wrong certificate stay what they are.
pub(crate) fn is_passing(error: &ureq::Error) -> bool {
    use ureq::{Error, Timeout};

    match error {
        Error::Io(error) => matches!(
            error.kind(),
            ErrorKind::TimedOut
                | ErrorKind::WouldBlock
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof
        ),
        Error::Timeout(which) => !matches!(which, Timeout::Connect | Timeout::Resolve),
        _ => false,
    }
}

/// Whether the same question may be answered later, by a server or a network that is not there now: all of [`is_passing`], and a
/// refused connection, an unreachable host, a machine without files to open. A wrong certificate stays what it is.
#[cfg(feature = "fetch")]
pub(crate) fn may_pass(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(io) => is_passing(error) || io_error_is_passing(io),
        ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed => true,
        _ => is_passing(error),
    }
}

/// The address that a `Location` means, seen from `base`.
pub(crate) fn resolve(base: &Uri, location: &str) -> String {
    let location = location.split('#').next().unwrap_or_default();
    let scheme = base.scheme_str().unwrap_or_default();
    let authority = base.authority().map_or("", |authority| authority.as_str());
    // A colon further on is a query's or a path's own affair.
    let is_whole = location.split(['/', '?']).next().is_some_and(|first| first.ends_with(':'));
    if is_whole {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.starts_with('?') {
        format!("{scheme}://{authority}{}{location}", base.path())
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_seen_from_where_they_stand() {
        let base: Uri = "https://host:8443/a/b?c=d".parse().unwrap();
        for (location, address) in [
            ("https://other/x#y", "https://other/x"),
            ("//other/x", "https://other/x"),
            ("/x?y", "https://host:8443/x?y"),
            ("/x?to=https://other/", "https://host:8443/x?to=https://other/"),
            ("x", "https://host:8443/a/x"),
            ("?e=f", "https://host:8443/a/b?e=f"),
            ("file:///x", "file:///x"),
        ] {
            assert_eq!(resolve(&base, location), address);
        }
    }
}
