//! The end of a server: what was accepted is answered, idle connections hold nothing up.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use mplug_server::{Ended, ServeOptions};

use crate::support::{Running, picture, read_reply, wait_until};

/// Many texts of many tokens, so that an answer takes a while.
const SLOW: &str = "/v1/caption?captions=16&beams=16&max_new_tokens=14&min_new_tokens=13";

#[test]
fn an_idle_server_with_open_connections_ends_at_once() {
    let server = Running::start(ServeOptions::default());
    let silent = server.connect();
    let mut idle = server.connect();
    let request = format!("GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
    idle.write_all(request.as_bytes()).unwrap();
    let mut answer = [0; 4096];
    assert!(idle.read(&mut answer).unwrap() > 0, "the connection is kept");
    let begun = Instant::now();
    assert_eq!(server.end(), Ended { lost: 0 });
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    drop(silent);
}

#[test]
fn what_was_accepted_is_answered_and_the_rest_is_refused() {
    let server = Running::start(ServeOptions::default());
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..12)
            .map(|number| {
                let server = &server;
                scope.spawn(move || server.post_picture(SLOW, &picture(number)))
            })
            .collect();
        wait_until("the first request", || server.metric("mplug_queue_pictures") >= 1);
        server.drain();
        wait_until("the drain", || server.get("/readyz").status == 503);
        let refused = server.post_picture("/v1/caption", &picture(99));
        assert_eq!((refused.status, refused.code().as_str()), (503, "draining"));
        let mut kept = server.connect();
        let request = format!("GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
        kept.write_all(request.as_bytes()).unwrap();
        let reply = read_reply(kept);
        assert_eq!(reply.header("connection"), Some("close"), "no next request is sent on it");
        assert_eq!(server.get("/livez").status, 200, "a server that drains is alive");
        for client in clients {
            let reply = client.join().unwrap();
            assert!(reply.status == 200 || reply.code() == "draining", "{}", reply.text());
        }
    });
    assert_eq!(server.end(), Ended { lost: 0 });
}

#[test]
fn who_connects_last_is_answered() {
    for round in 0..20 {
        let server = Running::start(ServeOptions::default());
        server.get("/livez");
        let mut last: Vec<_> = (0..8).map(|_| server.connect()).collect();
        let address = server.address;
        let head = format!("POST /v1/caption HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n");
        for stream in &mut last {
            stream.write_all(head.as_bytes()).unwrap();
        }
        assert_eq!(server.end(), Ended { lost: 0 });
        for stream in last {
            let reply = read_reply(stream);
            assert!([422, 503].contains(&reply.status), "round {round}: {}", reply.text());
        }
    }
}

#[test]
fn the_deadline_ends_what_is_not_finished() {
    let mut options = ServeOptions::default();
    options.limits.drain_deadline = Duration::from_millis(50);
    let server = Running::start(options);
    // A body that never comes: accepted, and never to be answered.
    let mut stuck = server.connect();
    let head = format!("POST /v1/caption HTTP/1.1\r\nHost: {}\r\nContent-Length: 10\r\n\r\n", server.address);
    stuck.write_all(head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let begun = Instant::now();
    assert_eq!(server.end(), Ended { lost: 1 });
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[test]
fn connections_that_say_nothing_end() {
    let mut options = ServeOptions::default();
    options.limits.head_timeout = Duration::from_millis(300);
    options.limits.body_timeout = Duration::from_millis(300);
    let server = Running::start(options);
    let is_closed = |sent: &[u8]| {
        let mut stream = server.connect();
        stream.write_all(sent).unwrap();
        let begun = Instant::now();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", String::from_utf8_lossy(sent));
    };
    is_closed(b"");
    is_closed(b"GET /livez HT");
    is_closed(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: ");
    let mut slow = server.connect();
    slow.write_all(
        b"POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nConnection: close\r\n\r\nabc",
    )
    .unwrap();
    let reply = read_reply(slow);
    assert_eq!((reply.status, reply.code().as_str()), (408, "request_timeout"));
    assert_eq!(server.metric("mplug_queue_pictures"), 0);
}
