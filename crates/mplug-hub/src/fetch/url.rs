//! A web address as typed, taken apart and put together again: stricter than a browser, so that what is checked and what is requested
//! cannot be two things. Hosts are ASCII names or plain IP addresses; no other spelling of a number is one; nothing may stand before
//! an `@`. Uses no network.

use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr};

use ureq::http::Uri;

use super::FetchFault;

/// Longest address, as in servers.
const MAX_BYTES: usize = 8192;
/// Longest host name of the domain name system.
const MAX_HOST_BYTES: usize = 253;
/// Longest part of an address that a message repeats.
const MAX_SHOWN: usize = 200;

/// An address that may be requested, once its host's addresses are known to be public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    /// The address, written so that it has one reading.
    pub(super) uri: Uri,
    /// In lower case; an IPv6 address without its brackets.
    pub(super) host: String,
    pub(super) is_encrypted: bool,
}

impl Url {
    /// Takes an address apart.
    ///
    /// # Errors
    /// [`FetchFault::Url`] with what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, FetchFault> {
        let fault = |problem| FetchFault::Url { problem };
        if text.len() > MAX_BYTES {
            return Err(fault("is longer than 8192 bytes"));
        }
        if text.contains(char::is_control) {
            return Err(fault("has control characters in it"));
        }
        let text = text.split('#').next().unwrap_or_default();
        let (scheme, rest) = text.split_once("://").ok_or_else(|| fault(SCHEMES))?;
        let scheme = scheme.to_ascii_lowercase();
        let is_encrypted = match scheme.as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(fault(SCHEMES)),
        };
        let (authority, target) = rest.split_at(rest.find(['/', '?', '\\']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(fault("has a user name or password in it, which is sent to nobody"));
        }
        let (host, port) = split_port(authority)?;
        let address = checked_host(&host)?;
        let host = address.map_or(host, |address| address.to_string());
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let slash = if target.starts_with('/') { "" } else { "/" };
        let port = port.map_or_else(String::new, |port| format!(":{port}"));
        let uri = format!("{scheme}://{bracketed}{port}{slash}{}", encoded(target));
        let uri = uri.parse().map_err(|_| fault("has characters in it that no address has"))?;
        Ok(Self { uri, host, is_encrypted })
    }
}

const SCHEMES: &str = "is neither an http nor an https address";

/// `host:port`; the host in lower case and without brackets.
fn split_port(authority: &str) -> Result<(String, Option<u16>), FetchFault> {
    let fault = |problem| FetchFault::Url { problem };
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or_else(|| fault("has a bracket that is not closed"))?;
        if host.parse::<Ipv6Addr>().is_err() {
            return Err(fault("has something else than an IPv6 address in brackets"));
        }
        (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').unwrap_or_default()) })
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let number = |port: &str| {
        let is_plain = port.bytes().all(|byte| byte.is_ascii_digit());
        port.parse().ok().filter(|port: &u16| is_plain && *port > 0)
    };
    let port = port
        .map(|port| number(port).ok_or_else(|| fault("has no port number behind its colon")))
        .transpose()?;
    Ok((host.to_ascii_lowercase(), port))
}

/// The IP address that a host is, if it is one.
fn checked_host(host: &str) -> Result<Option<IpAddr>, FetchFault> {
    let fault = |problem| FetchFault::Url { problem };
    if let Ok(address) = host.parse() {
        return Ok(Some(address));
    }
    if host.is_empty() {
        return Err(fault("has no host"));
    }
    if !host.is_ascii() {
        return Err(fault("has a host that is not ASCII; write it as `xn--…`"));
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let labels = host.strip_suffix('.').unwrap_or(host);
    if host.len() > MAX_HOST_BYTES || !host.bytes().all(is_plain) || labels.split('.').any(str::is_empty) {
        return Err(fault("has a host that is no host's name"));
    }
    if is_number(labels.rsplit('.').next().unwrap_or_default()) {
        return Err(fault("has a number for its host that is no plain IPv4 address, such as 192.0.2.1"));
    }
    Ok(None)
}

/// Whether old programs take a host that ends so for an IPv4 address: decimal, octal or hexadecimal.
fn is_number(label: &str) -> bool {
    label.strip_prefix("0x").map_or_else(
        || label.bytes().all(|byte| byte.is_ascii_digit()),
        |digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
    )
}

/// A path and query with everything percent-encoded that has no place there; what is encoded already stays.
fn encoded(target: &str) -> String {
    let mut text = String::with_capacity(target.len());
    for byte in target.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            text.push(byte as char);
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// An address for messages, which land in logs: without its query and fragment, which may hold a signature or a key, and without
/// what stands before an `@`.
pub(super) fn shown(text: &str) -> String {
    let plain = text.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = plain.split_once("://").unwrap_or(("", plain));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let authority = authority.rsplit_once('@').map_or(authority.to_owned(), |(_, host)| format!("…@{host}"));
    let whole = format!("{scheme}{}{authority}{path}", if scheme.is_empty() { "" } else { "://" });
    let query = if plain.len() < text.len() { "?…" } else { "" };
    match whole.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &whole[..end]),
        None => whole + query,
    }
}

/// A host that may have addresses that are not public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost {
    host: String,
    /// Any if none.
    port: Option<u16>,
}

impl AllowedHost {
    /// Whether it is this host and port.
    pub(super) fn is(&self, host: &str, port: u16) -> bool {
        self.host == host && self.port.is_none_or(|allowed| allowed == port)
    }
}

impl std::str::FromStr for AllowedHost {
    type Err = FetchFault;

    /// `host`, `host:port`; an IPv6 address in brackets where it has a port.
    fn from_str(text: &str) -> Result<Self, FetchFault> {
        let (host, port) = match text.parse::<Ipv6Addr>() {
            Ok(address) => (address.to_string(), None),
            Err(_) => split_port(text)?,
        };
        let address = checked_host(&host)?;
        Ok(Self { host: address.map_or(host, |address| address.to_string()), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<String, String> {
        Url::parse(text).map(|url| url.uri.to_string()).map_err(|fault| fault.to_string())
    }

    #[test]
    fn addresses_have_one_form() {
        for (text, expected) in [
            ("https://Example.org", "https://example.org/"),
            ("HTTP://example.org:8080/a.jpg#part", "http://example.org:8080/a.jpg"),
            (
                "https://example.org/两 只.jpg?a=b&c=%20",
                "https://example.org/%E4%B8%A4%20%E5%8F%AA.jpg?a=b&c=%20",
            ),
            ("https://example.org?a", "https://example.org/?a"),
            ("https://example.org\\@evil.org/", "https://example.org/%5C@evil.org/"),
            ("https://example.org/a@b", "https://example.org/a@b"),
            ("http://[2606:4700:0::1111]:80/", "http://[2606:4700::1111]:80/"),
            ("http://1.1.1.1/", "http://1.1.1.1/"),
            ("http://localhost./", "http://localhost./"),
        ] {
            assert_eq!(parsed(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_reported() {
        for (text, problem) in [
            ("file:///etc/passwd", "neither an http nor"),
            ("ftp://example.org/a", "neither an http nor"),
            ("gopher://example.org/", "neither an http nor"),
            ("example.org/a.jpg", "neither an http nor"),
            ("http:/example.org", "neither an http nor"),
            ("https://me:secret@example.org/", "user name"),
            ("https://example.org@127.0.0.1/", "user name"),
            ("https://", "no host"),
            ("https:///a", "no host"),
            ("https://:80/", "no host"),
            ("https://a..b/", "no host's name"),
            ("https://a b/", "no host's name"),
            ("https://a%2eb/", "no host's name"),
            ("https://例子.org/", "xn--"),
            ("https://example.org:/", "port"),
            ("https://example.org:0/", "port"),
            ("https://example.org:65536/", "port"),
            ("https://example.org:+80/", "port"),
            ("https://[::1]x/", "port"),
            ("https://[::1/", "bracket"),
            ("https://[fe80::1%25eth0]/", "brackets"),
            ("https://example.org/\r\nX: y", "control"),
        ] {
            let message = parsed(text).unwrap_err();
            assert!(message.contains(problem) && !message.contains("secret"), "{text}: {message}");
        }
        assert!(parsed(&format!("https://a/{}", "x".repeat(8192))).unwrap_err().contains("8192"));
    }

    #[test]
    fn numbers_that_are_no_plain_address_are_no_hosts() {
        for host in [
            "2130706433",
            "0x7f000001",
            "0X7F000001",
            "017700000001",
            "0177.0.0.1",
            "127.1",
            "127.0.1",
            "0x7f.0.0.1",
            "127.0.0.1.",
            "127.0.0.01",
            "1.2.3.4.5",
            "256.1.1.1",
            "0",
            "0x",
            "10.0x1",
        ] {
            assert!(host.parse::<std::net::Ipv4Addr>().is_err());
            assert!(parsed(&format!("http://{host}/")).unwrap_err().contains("number"), "{host}");
        }
    }

    #[test]
    fn messages_have_no_secrets() {
        for (text, expected) in [
            ("https://h/a.jpg?X-Amz-Signature=s3cret", "https://h/a.jpg?…"),
            ("https://me:s3cret@h/a.jpg", "https://…@h/a.jpg"),
            ("https://h/a.jpg#s3cret", "https://h/a.jpg?…"),
            ("https://h/a@b.jpg", "https://h/a@b.jpg"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(shown(text), expected);
        }
        assert_eq!(shown(&"猫".repeat(1000)).chars().count(), MAX_SHOWN + 1);
    }

    #[test]
    fn allowed_hosts_are_exact() {
        let allowed = |text: &str| text.parse::<AllowedHost>().unwrap();
        assert!(
            allowed("Intra.example").is("intra.example", 80)
                && allowed("intra.example").is("intra.example", 1)
        );
        assert!(!allowed("intra.example").is("a.intra.example", 80));
        assert!(allowed("127.0.0.1:81").is("127.0.0.1", 81) && !allowed("127.0.0.1:81").is("127.0.0.1", 80));
        assert!(allowed("::1").is("::1", 80) && allowed("[0::1]:80").is("::1", 80));
        for bad in ["", "*", "http://a", "a/b", "me@a", "0x7f000001", "10.0.0.0/8", "a:b"] {
            assert!(bad.parse::<AllowedHost>().is_err(), "{bad}");
        }
    }
}
