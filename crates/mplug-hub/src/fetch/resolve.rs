//! From a host to the addresses that may be connected to. A name is looked up once for a connection, every address that it has is
//! judged, and the connection is made to those very addresses: a name server that says something else a moment later says it to
//! nobody. Knows no HTTP.

use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind, SockType, getaddrinfo};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::address::special_use;
use super::{AllowedHost, FetchFault};

/// Addresses that are tried, of those that a host has; what `ureq` has room for.
const MAX_TRIED: usize = 16;

/// Names that are looked up at once by one fetcher. The system's functions have no time limit: one that hangs keeps its thread, and
/// without a limit each further address would take another one.
const LOOK_UPS_AT_ONCE: usize = 16;

/// Looks names up. The system's own is [`SystemResolver`]; tests have others.
pub trait Resolve: Debug + Send + Sync + 'static {
    /// All addresses of a host's name.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when there is no such name, any other kind when it could not be looked up.
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;

    /// The port to connect to, where an address names `port`: that one, but for hosts that stand in for others.
    fn port(&self, host: &str, port: u16) -> u16 {
        let _ = host;
        port
    }
}

/// Names as every program of this machine finds them.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        // The standard library's own look-up distinguishes the two in words alone.
        let hints = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
        let found = getaddrinfo(Some(host), None, Some(hints)).map_err(io_error_of)?;
        found.map(|info| Ok(info?.sockaddr.ip())).collect()
    }
}

fn io_error_of(error: LookupError) -> io::Error {
    let kind = match error.kind() {
        LookupErrorKind::NoName | LookupErrorKind::NoData => io::ErrorKind::NotFound,
        LookupErrorKind::Again => io::ErrorKind::TimedOut,
        _ => return error.into(),
    };
    io::Error::new(kind, io::Error::from(error))
}

/// What `ureq` calls to find where to connect to.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) allowed: Vec<AllowedHost>,
    pub(super) look_ups: LookUps,
}

/// The places of names that are being looked up.
#[derive(Clone, Debug, Default)]
pub(super) struct LookUps(Arc<(Mutex<usize>, Condvar)>);

/// One of these places, free again when dropped.
struct LookUp(LookUps);

impl LookUps {
    /// A place, or none if all are taken for as long as `timeout`.
    fn take(&self, timeout: Duration) -> Option<LookUp> {
        let (taken, one_less) = &*self.0;
        let taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |taken: &mut usize| *taken >= LOOK_UPS_AT_ONCE;
        let waited = one_less.wait_timeout_while(taken, timeout, is_full);
        let (mut taken, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return None;
        }
        *taken += 1;
        Some(LookUp(self.clone()))
    }
}

impl Drop for LookUp {
    fn drop(&mut self) {
        let (taken, one_less) = &*self.0.0;
        *taken.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        one_less.notify_one();
    }
}

impl Guard {
    /// The addresses of a host, all of them public unless the host is an allowed one.
    fn checked(&self, host: &str, port: u16, timeout: Duration) -> Result<Vec<IpAddr>, FetchFault> {
        let addresses = match host.parse() {
            Ok(address) => vec![address],
            Err(_) => self.look_up(host, timeout)?,
        };
        if addresses.is_empty() {
            return Err(FetchFault::NoHost { host: host.to_owned(), source: None });
        }
        if !self.allowed.iter().any(|allowed| allowed.is(host, port)) {
            let special = addresses.iter().find_map(|address| Some((*address, special_use(*address)?)));
            if let Some((address, what)) = special {
                return Err(FetchFault::NotPublic { host: host.to_owned(), address, what });
            }
        }
        Ok(addresses)
    }

    /// Looks a name up on a thread of its own, as the system's functions have no time limit. The thread keeps its place until it
    /// is done, however long nobody has waited for it any more.
    fn look_up(&self, host: &str, timeout: Duration) -> Result<Vec<IpAddr>, FetchFault> {
        let fault = |source| FetchFault::NoHost { host: host.to_owned(), source: Some(source) };
        let begun = Instant::now();
        let place = self.look_ups.take(timeout).ok_or_else(|| fault(io::ErrorKind::TimedOut.into()))?;
        let timeout = timeout.saturating_sub(begun.elapsed());
        let (sender, receiver) = mpsc::sync_channel(1);
        let (resolver, name) = (Arc::clone(&self.resolver), host.to_owned());
        let look = move || {
            let _place = place;
            // Nobody may be waiting any more.
            let _ = sender.send(resolver.resolve(&name));
        };
        std::thread::Builder::new().spawn(look).map_err(fault)?;
        let found = receiver.recv_timeout(timeout).map_err(|_| fault(io::ErrorKind::TimedOut.into()))?;
        found.map_err(fault)
    }
}

impl Resolver for Guard {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = host_of(uri);
        let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(default);
        let addresses =
            self.checked(host, port, *timeout.after).map_err(|fault| ureq::Error::Other(fault.into()))?;
        let port = self.resolver.port(host, port);
        let mut resolved = self.empty();
        for address in addresses.into_iter().take(MAX_TRIED) {
            resolved.push(SocketAddr::new(address, port));
        }
        Ok(resolved)
    }
}

/// The host of an address that was put together by `Url`, without brackets.
pub(super) fn host_of(uri: &Uri) -> &str {
    uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every name has these addresses.
    #[derive(Debug)]
    struct Always(Vec<IpAddr>);

    impl Resolve for Always {
        fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
            Ok(self.0.clone())
        }
    }

    fn guard(addresses: &[&str], allowed: &[&str]) -> Guard {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let allowed = allowed.iter().map(|text| text.parse().unwrap()).collect();
        Guard { resolver: Arc::new(Always(addresses)), allowed, look_ups: LookUps::default() }
    }

    #[test]
    fn one_address_that_is_not_public_is_enough() {
        let soon = Duration::from_secs(5);
        let mixed = guard(&["1.1.1.1", "2606:4700::1111", "10.0.0.7"], &["intra.example:80"]);
        let refused = mixed.checked("example.org", 80, soon).unwrap_err();
        assert!(matches!(&refused, FetchFault::NotPublic { what: "a private address", .. }), "{refused}");
        assert!(refused.to_string().contains("example.org has 10.0.0.7"), "{refused}");
        assert!(mixed.checked("intra.example", 443, soon).is_err());
        assert_eq!(mixed.checked("intra.example", 80, soon).unwrap().len(), 3);
        assert_eq!(guard(&["1.1.1.1", "8.8.8.8"], &[]).checked("example.org", 80, soon).unwrap().len(), 2);
        let none = guard(&[], &[]).checked("example.org", 80, soon).unwrap_err();
        assert!(matches!(none, FetchFault::NoHost { .. }));
        // The last of many is judged too, though it would not be tried.
        let many = [vec!["1.1.1.1"; 40], vec!["127.0.0.1"]].concat();
        assert!(guard(&many, &[]).checked("example.org", 80, soon).is_err());
    }

    #[test]
    fn a_resolver_that_hangs_is_left_behind() {
        #[derive(Debug)]
        struct Hangs;
        impl Resolve for Hangs {
            fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
                std::thread::sleep(Duration::from_secs(3));
                Ok(Vec::new())
            }
        }
        let look_ups = LookUps::default();
        let guard = Guard { resolver: Arc::new(Hangs), allowed: Vec::new(), look_ups };
        let begun = Instant::now();
        let fault = guard.checked("example.org", 80, Duration::from_millis(50)).unwrap_err();
        assert!(matches!(fault, FetchFault::NoHost { source: Some(_), .. }), "{fault}");
        assert!(begun.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn resolvers_that_hang_take_no_more_threads_than_there_are_places() {
        use std::sync::atomic::{AtomicUsize, Ordering};

        #[derive(Debug, Default)]
        struct Hangs(AtomicUsize);
        impl Resolve for Hangs {
            fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
                self.0.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_secs(2));
                Ok(Vec::new())
            }
        }
        let resolver = Arc::new(Hangs::default());
        let look_ups = LookUps::default();
        let guard = Guard { resolver: Arc::clone(&resolver) as _, allowed: Vec::new(), look_ups };
        std::thread::scope(|scope| {
            for _ in 0..10 * LOOK_UPS_AT_ONCE {
                scope.spawn(|| guard.checked("example.org", 80, Duration::from_millis(50)).unwrap_err());
            }
        });
        assert_eq!(resolver.0.load(Ordering::Relaxed), LOOK_UPS_AT_ONCE);
    }
}
