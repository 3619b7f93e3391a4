//! Web addresses as attackers write them, and the answers that they send: nothing of this machine's network is reached, and
//! nothing takes longer or more memory than allowed. Every server is on this machine, every name is made up; no test needs a network.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mplug_hub::fetch::{FetchError, FetchFault, FetchOptions, PictureFetcher, Resolve};
use mplug_testing::web_server::{Send, Server, answer, ok, redirect};

const PICTURE: &[u8] = b"\x89PNG and so on";
const LIMIT: u64 = 1 << 20;

/// Names and their addresses, in turn where there are several answers; the last one stays.
#[derive(Debug, Default)]
struct Names {
    answers: Mutex<HashMap<&'static str, Vec<Vec<IpAddr>>>>,
    lookups: AtomicUsize,
}

impl Names {
    fn new(names: &[(&'static str, &[&[&str]])]) -> Arc<Self> {
        let parse = |addresses: &&[&str]| addresses.iter().map(|text| text.parse().unwrap()).collect();
        let answers =
            names.iter().map(|(name, answers)| (*name, answers.iter().map(parse).collect())).collect();
        Arc::new(Self { answers: Mutex::new(answers), lookups: AtomicUsize::new(0) })
    }
}

impl Resolve for Names {
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        let mut answers = self.answers.lock().unwrap();
        let answers = answers.get_mut(host).ok_or(io::ErrorKind::NotFound)?;
        Ok(if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() })
    }
}

/// `open.example` is an allowed host on this machine; `inside.example` is this machine too, but not allowed.
fn options() -> FetchOptions {
    let mut options = FetchOptions::default();
    options.allowed_hosts = vec!["open.example".parse().unwrap()];
    options.resolver =
        Names::new(&[("open.example", &[&["127.0.0.1"]]), ("inside.example", &[&["127.0.0.1"]])]);
    options.first_pause = Duration::from_millis(10);
    options
}

fn get(url: &str) -> Result<Vec<u8>, FetchError> {
    PictureFetcher::new(options()).get(url, LIMIT)
}

fn get_within(timeout: Duration, url: &str) -> FetchFault {
    let mut options = options();
    options.timeout = timeout;
    PictureFetcher::new(options).get(url, LIMIT).unwrap_err().fault
}

#[test]
fn a_picture_comes_as_it_is() {
    let server = Server::start(|_, _| ok(PICTURE));
    assert_eq!(get(&server.url("open.example", "/a b.jpg?c=d#e")).unwrap(), PICTURE);
    let request = server.requests().remove(0).to_lowercase();
    assert!(request.starts_with("get /a%20b.jpg?c=d http/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("\r\nhost: open.example:{}\r\n", server.port())), "{request}");
    assert!(request.contains("\r\naccept-encoding: identity\r\n"), "{request}");
    for absent in ["cookie", "authorization", "proxy", "referer"] {
        assert!(!request.contains(absent), "{request}");
    }
}

#[test]
fn no_spelling_of_this_machine_is_connected_to() {
    let server = Server::start(|_, _| ok(PICTURE));
    let fetcher = PictureFetcher::new(FetchOptions::default());
    for host in [
        "127.0.0.1",
        "127.1.2.3",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "017700000001",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1.",
        "localhost",
        "localhost.",
        "LOCALHOST",
        "user@127.0.0.1",
        "example.org@127.0.0.1",
        "127.0.0.1\\@example.org",
        "１２７.0.0.1",
        "127。0。0。1",
    ] {
        let url = server.url(host, "/");
        let error = fetcher.get(&url, LIMIT).unwrap_err();
        let is_reported = match error.fault {
            FetchFault::Url { .. } => true,
            FetchFault::NotPublic { .. } => host.is_ascii(),
            // `localhost.` with a full stop is not known to every system.
            FetchFault::NoHost { .. } => host == "localhost.",
            _ => false,
        };
        assert!(is_reported, "{host}: {error}");
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn no_address_inside_a_network_is_connected_to() {
    let server = Server::start(|_, _| ok(PICTURE));
    for host in [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "[fd00::1]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[fc00::1]",
        "[ff02::1]",
        "[2001:db8::1]",
        "[::ffff:169.254.169.254]",
        "[::ffff:10.0.0.1]",
    ] {
        let error = get(&format!("http://{host}/latest/meta-data/")).unwrap_err();
        assert!(matches!(error.fault, FetchFault::NotPublic { .. }), "{host}: {error}");
    }
    for url in ["file:///etc/passwd", "ftp://open.example/a", "gopher://open.example/", "//open.example/", ""]
    {
        assert!(matches!(get(url).unwrap_err().fault, FetchFault::Url { .. }), "{url}");
    }
    let error = get(&server.url("inside.example", "/a?key=s3cret")).unwrap_err().to_string();
    assert!(error.contains("inside.example") && error.contains("127.0.0.1, a loopback address"), "{error}");
    assert!(!error.contains("s3cret"), "{error}");
    assert_eq!(server.connections(), 0);
}

#[test]
fn an_allowed_host_is_allowed_by_its_own_name_alone() {
    let server = Server::start(|_, _| ok(PICTURE));
    let with = |allowed: String, host: &str| {
        let mut options = options();
        options.allowed_hosts = vec![allowed.parse().unwrap()];
        PictureFetcher::new(options).get(&server.url(host, "/"), LIMIT)
    };
    let port = server.port();
    assert!(with(format!("127.0.0.1:{port}"), "127.0.0.1").is_ok());
    assert!(with("OPEN.example".to_owned(), "open.EXAMPLE").is_ok());
    let before = server.connections();
    assert!(with(format!("127.0.0.1:{}", port ^ 1), "127.0.0.1").is_err());
    assert!(with("127.0.0.1".to_owned(), "inside.example").is_err());
    assert!(with("example".to_owned(), "open.example").is_err());
    assert_eq!(server.connections(), before);
}

#[test]
fn a_redirect_is_judged_like_any_address() {
    let inside = Server::start(|_, _| ok(PICTURE));
    let targets = [
        inside.url("inside.example", "/"),
        inside.url("127.0.0.1", "/"),
        inside.url("[::1]", "/"),
        inside.url("2130706433", "/"),
        inside.url("me@open.example", "/"),
        "http://169.254.169.254/".to_owned(),
        "file:///etc/passwd".to_owned(),
        format!("//inside.example:{}/", inside.port()),
    ];
    for target in targets {
        let location = target.clone();
        let server = Server::start(move |_, _| redirect(&location));
        let error = get(&server.url("open.example", "/")).unwrap_err();
        let is_reported = matches!(error.fault, FetchFault::NotPublic { .. } | FetchFault::Redirect { .. });
        assert!(is_reported, "{target}: {error}");
        assert_eq!(server.connections(), 1, "{target}: what is refused is not tried again");
    }
    assert_eq!(inside.connections(), 0);
}

#[test]
fn redirects_are_followed_five_times() {
    let step = |target: &str| target.trim_start_matches('/').parse::<usize>().unwrap();
    let server = Server::start(move |target, _| match step(target) {
        0 => ok(PICTURE),
        left => redirect(&format!("{}", left - 1)),
    });
    assert_eq!(get(&server.url("open.example", "/5")).unwrap(), PICTURE);
    let error = get(&server.url("open.example", "/6")).unwrap_err();
    assert!(matches!(error.fault, FetchFault::Redirect { problem: "once too often", .. }), "{error}");
    let nowhere = Server::start(|_, _| answer(302, "", b""));
    let error = get(&nowhere.url("open.example", "/")).unwrap_err();
    assert!(matches!(error.fault, FetchFault::Redirect { problem: "to nowhere", .. }), "{error}");
}

#[test]
fn a_name_that_changes_its_mind_changes_nothing() {
    let server = Server::start(|_, _| ok(PICTURE));
    // A public address and this machine's, then this machine's alone: the second of two would be tried if the first fails.
    let names = Names::new(&[("rebinds.example", &[&["1.1.1.1", "127.0.0.1"], &["127.0.0.1"]])]);
    let mut options = options();
    options.resolver = names.clone();
    options.allowed_hosts = Vec::new();
    let fetcher = PictureFetcher::new(options);
    for attempt in 1..=3 {
        let error = fetcher.get(&server.url("rebinds.example", "/"), LIMIT).unwrap_err();
        assert!(matches!(error.fault, FetchFault::NotPublic { .. }), "{error}");
        assert_eq!(names.lookups.load(Ordering::Relaxed), attempt, "a connection looks its host up once");
    }
    assert_eq!(server.connections(), 0);
}

/// The connection goes to the address that was judged, not to the one that the name has when it is made.
#[cfg(target_os = "linux")]
#[test]
fn what_was_judged_is_what_is_dialled() {
    let right = Server::start(|_, _| ok(PICTURE));
    // The port may be somebody else's at one of these addresses, not at all of them.
    let others: [&'static [&'static [&'static str]]; 3] = [
        &[&["127.0.0.1"], &["127.0.0.2"]],
        &[&["127.0.0.1"], &["127.0.0.3"]],
        &[&["127.0.0.1"], &["127.0.0.4"]],
    ];
    let start = |addresses: &&'static [&'static [&'static str]]| {
        let address = format!("{}:{}", addresses[1][0], right.port());
        Some((*addresses, Server::start_at(&address, |_, _| ok(b"wrong")).ok()?))
    };
    let (addresses, wrong) = others.iter().find_map(start).expect("a free port");
    let names = Names::new(&[("rebinds.example", addresses)]);
    let mut options = options();
    options.resolver = names.clone();
    options.allowed_hosts = vec!["rebinds.example".parse().unwrap()];
    assert_eq!(PictureFetcher::new(options).get(&right.url("rebinds.example", "/"), LIMIT).unwrap(), PICTURE);
    assert_eq!((wrong.connections(), names.lookups.load(Ordering::Relaxed)), (0, 1));
}

#[test]
fn long_answers_end_at_the_limit() {
    let announced = Server::start(|_, _| {
        vec![
            Send::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".into()),
            Send::Forever(vec![0; 1 << 16]),
        ]
    });
    let error = get(&announced.url("open.example", "/")).unwrap_err();
    assert!(
        matches!(error.fault, FetchFault::TooManyBytes { found: Some(99_999_999_999), limit: LIMIT }),
        "{error}"
    );
    for head in ["Transfer-Encoding: chunked\r\n\r\n", "\r\n"] {
        let chunk = if head.starts_with('T') {
            [b"1000\r\n".as_slice(), &[7; 4096], b"\r\n"].concat()
        } else {
            vec![7; 4096]
        };
        let endless = Server::start(move |_, _| {
            vec![Send::Bytes(format!("HTTP/1.1 200 OK\r\n{head}").into()), Send::Forever(chunk.clone())]
        });
        let error = get(&endless.url("open.example", "/")).unwrap_err();
        assert!(
            matches!(error.fault, FetchFault::TooManyBytes { found: None, limit: LIMIT }),
            "{head}: {error}"
        );
        assert_eq!(endless.connections(), 1);
    }
    let exact = Server::start(|_, _| ok(&vec![1; LIMIT as usize]));
    assert_eq!(get(&exact.url("open.example", "/")).unwrap().len() as u64, LIMIT);
    let heads = Server::start(|_, _| {
        vec![Send::Bytes(b"HTTP/1.1 200 OK\r\n".into()), Send::Forever(b"A: b\r\n".into())]
    });
    let fault = get_within(Duration::from_secs(5), &heads.url("open.example", "/"));
    assert!(matches!(fault, FetchFault::Transport { .. }), "{fault}");
}

#[test]
fn nothing_is_unpacked() {
    // The beginning of a gzip file; what it would grow to is nobody's business.
    let bomb = [b"\x1f\x8b\x08\0\0\0\0\0\0\xff".as_slice(), &[0; 1000]].concat();
    let packed = bomb.clone();
    let server = Server::start(move |_, _| answer(200, "Content-Encoding: gzip\r\n", &packed));
    let error = get(&server.url("open.example", "/")).unwrap_err();
    assert!(matches!(&error.fault, FetchFault::Encoded { encoding, .. } if encoding == "gzip"), "{error}");
    let unsaid = bomb.clone();
    let server = Server::start(move |_, _| ok(&unsaid));
    assert!(get(&server.url("open.example", "/")).unwrap() == bomb);
}

#[test]
fn slow_answers_end_in_time() {
    let pause = Duration::from_millis(20);
    let second = Duration::from_secs(1);
    let body = Server::start(move |_, _| {
        vec![
            Send::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n".into()),
            Send::Slowly(vec![1; 5000], pause),
        ]
    });
    let head = Server::start(move |_, _| {
        vec![Send::Bytes(b"HTTP/1.1 200 OK\r\n".into()), Send::Slowly(b"A: b\r\n".repeat(1000), pause)]
    });
    let silent = Server::start(|_, _| vec![Send::Slowly(b"H".into(), Duration::from_secs(4))]);
    let turning = Server::start(|_, _| {
        std::thread::sleep(Duration::from_millis(300));
        redirect("/again")
    });
    for server in [&body, &head, &silent] {
        let fault = get_within(second, &server.url("open.example", "/"));
        assert!(matches!(fault, FetchFault::Timeout { limit } if limit == second), "{fault}");
        assert_eq!(server.connections(), 1);
    }
    let fault = get_within(second, &turning.url("open.example", "/"));
    assert!(matches!(fault, FetchFault::Timeout { .. }), "{fault}");
    // The server requests a longer pause than there is time.
    let busy = Server::start(|_, _| answer(429, "Retry-After: 3600\r\n", b""));
    let fault = get_within(second, &busy.url("open.example", "/"));
    assert!(matches!(fault, FetchFault::Status { .. }) && busy.connections() == 1, "{fault}");
}

#[test]
fn what_passes_is_tried_again_and_nothing_else() {
    for status in [429, 500, 503] {
        let server =
            Server::start(move |_, before| if before < 2 { answer(status, "", b"") } else { ok(PICTURE) });
        assert_eq!(get(&server.url("open.example", "/")).unwrap(), PICTURE, "{status}");
        let server = Server::start(move |_, _| answer(status, "", b"not a picture"));
        let error = get(&server.url("open.example", "/")).unwrap_err();
        assert!(error.to_string().contains(&format!("answers {status}")), "{error}");
        assert_eq!(server.connections(), 3);
    }
    let broken = Server::start(|_, before| {
        let mut picture = ok(PICTURE);
        if let (Send::Bytes(bytes), 0) = (&mut picture[0], before) {
            bytes.truncate(bytes.len() - 3);
        }
        picture
    });
    assert_eq!(get(&broken.url("open.example", "/")).unwrap(), PICTURE);
    assert_eq!(broken.connections(), 2);
    for status in [201, 204, 206, 304, 401, 403, 404, 410] {
        let server = Server::start(move |_, _| answer(status, "", b""));
        let error = get(&server.url("open.example", "/")).unwrap_err();
        assert!(matches!(error.fault, FetchFault::Status { .. }), "{status}: {error}");
        assert_eq!(server.connections(), 1, "{status}");
    }
    let nobody = Server::start(|_, _| ok(PICTURE)).url("open.example", "/");
    let fault = get_within(Duration::from_secs(3), &nobody);
    assert!(matches!(fault, FetchFault::Transport { .. }), "{fault}");
    assert!(matches!(get("http://unknown.example/").unwrap_err().fault, FetchFault::NoHost { .. }));
}
