//! Requests that nobody who means well sends: each is refused with its status, and none harms another.

use std::io::Write;

use mplug_server::ServeOptions;
use serde_json::json;

use crate::support::{Running, picture, read_reply};

/// Method, target, headers, body; status and code of the reply.
type Case<'c> = (&'c str, &'c str, &'c [(&'c str, &'c str)], &'c [u8], u16, &'c str);

#[test]
fn every_mistake_has_its_status() {
    let mut options = ServeOptions::default();
    options.limits.body_bytes = 100_000;
    let server = Running::start(options);
    let json_header = [("Content-Type", "application/json")];
    let cases: &[Case] = &[
        ("POST", "/v1/nothing", &[], b"", 404, "not_found"),
        ("GET", "/v1/caption", &[], b"", 405, "method_not_allowed"),
        ("DELETE", "/", &[], b"", 405, "method_not_allowed"),
        ("POST", "/v1/caption", &[("Content-Type", "text/html")], b"x", 415, "unsupported_media_type"),
        ("POST", "/v1/caption", &json_header, b"{", 400, "invalid_request"),
        ("POST", "/v1/caption", &json_header, b"{}", 422, "invalid_value"),
        ("POST", "/v1/caption", &json_header, br#"{"image": 5}"#, 422, "unreadable_picture"),
        ("POST", "/v1/caption", &json_header, br#"{"image": "a", "images": []}"#, 422, "invalid_value"),
        ("POST", "/v1/caption", &[], b"", 422, "unreadable_picture"),
        ("POST", "/v1/caption?beams=0", &[], b"x", 422, "invalid_value"),
        ("POST", "/v1/caption?beams=1000000", &[], b"x", 422, "invalid_value"),
        ("POST", "/v1/caption?captions=-1", &[], b"x", 422, "invalid_value"),
        ("POST", "/v1/caption?language=fr", &[], b"x", 422, "invalid_value"),
        ("POST", "/v1/caption?nonsense=1", &[], b"x", 400, "invalid_request"),
        ("POST", "/v1/caption?sampling=1", &[], b"x", 422, "invalid_value"),
        ("POST", "/v1/caption", &[], b"\0\0\0\x18ftypheic\0\0\0\0", 415, "unsupported_media_type"),
        ("POST", "/v1/ask", &[], b"x", 422, "invalid_value"),
        ("POST", "/v1/match", &[], b"x", 422, "invalid_value"),
        ("POST", "/v1/explain?method=magic", &[], b"x", 422, "invalid_value"),
        ("GET", "/v1/../../etc/passwd", &[], b"", 404, "not_found"),
        ("GET", "/examples/../../Cargo.toml", &[], b"", 404, "not_found"),
        ("GET", "/livez", &[("Host", "evil.example")], b"", 403, "forbidden_host"),
        ("POST", "/v1/caption", &[("Origin", "http://evil.example")], b"x", 403, "forbidden_origin"),
    ];
    for (method, target, headers, body, status, code) in cases {
        let reply = server.request(method, target, headers, body);
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (*status, *code),
            "{method} {target}: {}",
            reply.text()
        );
        assert!(reply.header("x-request-id").is_some(), "{method} {target}");
        assert!(reply.header("content-security-policy").is_some(), "{method} {target}");
    }
    let large = vec![b'x'; 100_001];
    assert_eq!(server.request("POST", "/v1/caption", &[], &large).status, 413);
    assert_eq!(server.metric("mplug_queue_pictures"), 0, "nothing is left");
    assert_eq!(server.post_picture("/v1/caption", &picture(1)).status, 200);
}

#[test]
fn a_body_that_is_too_large_is_refused_before_it_is_sent() {
    let server = Running::start(ServeOptions::default());
    let mut stream = server.connect();
    let head = format!(
        "POST /v1/caption HTTP/1.1\r\nHost: {}\r\nExpect: 100-continue\r\nContent-Length: 99999999999\r\n\
         Connection: close\r\n\r\n",
        server.address
    );
    stream.write_all(head.as_bytes()).unwrap();
    let reply = read_reply(stream);
    assert_eq!((reply.status, reply.code().as_str()), (413, "too_large"), "not 100");
}

#[test]
fn who_sends_too_much_learns_why() {
    let mut options = ServeOptions::default();
    options.limits.body_bytes = 1000;
    let server = Running::start(options);
    let body = vec![b'x'; 8 << 20];
    let reply = server.request("POST", "/v1/caption", &[], &body);
    assert_eq!((reply.status, reply.code().as_str()), (413, "too_large"));
    let mut stream = server.connect();
    let head = "POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    for _ in 0..100 {
        stream.write_all(&[b"10000\r\n", &body[..0x10000], b"\r\n"].concat()).unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(read_reply(stream).status, 413);
}

#[test]
fn old_and_broken_clients_are_answered() {
    let server = Running::start(ServeOptions::default());
    let send = |bytes: &[u8]| {
        let mut stream = server.connect();
        stream.write_all(bytes).unwrap();
        read_reply(stream).status
    };
    assert_eq!(send(b"GET /livez HTTP/1.0\r\n\r\n"), 200);
    assert_eq!(send(b"GET\0/livez HTTP/1.1\r\n\r\n"), 400);
    assert_eq!(
        send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nBad Header\r\n\r\n"),
        400
    );
}

#[test]
fn no_address_is_fetched_unasked() {
    let server = Running::start(ServeOptions::default());
    let witness = mplug_testing::web_server::Server::start(|_, _| mplug_testing::web_server::ok(b"x"));
    for address in [witness.url("127.0.0.1", "/a.png"), "https://example.org/a.png".to_owned()] {
        let reply = server.post("/v1/caption", &json!({ "image": address }));
        assert_eq!((reply.status, reply.code().as_str()), (422, "unreadable_picture"));
        assert!(reply.text().contains("fetches none"), "{}", reply.text());
    }
    for other in ["file:///etc/passwd", "ftp://a/b", "/etc/passwd"] {
        assert_eq!(server.post("/v1/caption", &json!({ "image": other })).status, 422, "{other}");
    }
    assert_eq!(witness.connections(), 0);
}

/// The list of a server's enemies: names and numbers that lead into its own network.
#[cfg(feature = "urls")]
#[test]
fn no_address_leads_inside() {
    use std::time::Duration;

    let witness = mplug_testing::web_server::Server::start(|_, _| mplug_testing::web_server::ok(b"x"));
    let port = witness.port();
    let mut fetch = mplug_hub::fetch::FetchOptions::default();
    (fetch.timeout, fetch.retries) = (Duration::from_secs(5), 0);
    let server = Running::start(ServeOptions { fetch: Some(fetch), ..ServeOptions::default() });
    let hosts = [
        "127.0.0.1",
        "[::1]",
        "0.0.0.0",
        "169.254.169.254",
        "[fd00::1]",
        "[::ffff:127.0.0.1]",
        "100.64.0.1",
        "2130706433",
        "0177.0.0.1",
        "0x7f.1",
        "localhost",
        "localhost.",
        "me@127.0.0.1",
    ];
    for host in hosts {
        let reply = server.post("/v1/caption", &json!({ "image": format!("http://{host}:{port}/a.png") }));
        assert_eq!(reply.status, 422, "{host}: {}", reply.text());
        assert!(!reply.text().contains("127.0.0.1") && !reply.text().contains("private"), "{}", reply.text());
    }
    assert_eq!(witness.connections(), 0);
    let text = |host: &str| {
        server.post("/v1/caption", &json!({ "image": format!("http://{host}:{port}/a.png") })).text()
    };
    assert_eq!(
        text("localhost"),
        text("no-such-name.invalid"),
        "private and missing names have the same reply"
    );
}
