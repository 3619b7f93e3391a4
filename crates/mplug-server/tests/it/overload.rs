//! More than a server can do: it refuses in time, forgets who hung up, and recovers.

use std::io::Write;
use std::time::Duration;

use mplug_server::ServeOptions;

use crate::support::{Running, picture, wait_until};

/// Many texts of many tokens, so that an answer takes a while.
const SLOW: &str = "/v1/caption?captions=32&beams=32&max_new_tokens=14&min_new_tokens=13";

fn small() -> ServeOptions {
    let mut options = ServeOptions::default();
    (options.limits.queue, options.limits.images) = (2, 2);
    options
}

#[test]
fn a_full_queue_refuses_with_a_time() {
    let server = Running::start(small());
    let replies: Vec<_> = std::thread::scope(|scope| {
        let server = &server;
        let clients: Vec<_> =
            (0..24).map(|number| scope.spawn(move || server.post_picture(SLOW, &picture(number)))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let refused: Vec<_> = replies.iter().filter(|reply| reply.status == 429).collect();
    assert!(replies.iter().any(|reply| reply.status == 200), "some are served");
    assert!(!refused.is_empty(), "24 at once do not fit into 2 places");
    for reply in &refused {
        let wait: u64 = reply.header("retry-after").expect("a time").parse().unwrap();
        assert!((1..=120).contains(&wait), "{wait}");
        assert_eq!(reply.json()["error"]["type"], "rate_limit_error");
    }
    assert_eq!(replies.len(), refused.len() + replies.iter().filter(|reply| reply.status == 200).count());
    assert_eq!(server.post_picture("/v1/caption", &picture(1)).status, 200, "it recovers");
    assert_eq!(server.metric("mplug_queue_pictures"), 0);
}

#[test]
fn who_hangs_up_frees_the_place() {
    let server = Running::start(small());
    let begin = |number| {
        let mut stream = server.connect();
        let picture = picture(number);
        let head = format!(
            "POST {SLOW} HTTP/1.1\r\nHost: {}\r\nContent-Type: image/png\r\nContent-Length: {}\r\n\r\n",
            server.address,
            picture.len()
        );
        stream.write_all(&[head.as_bytes(), &picture].concat()).unwrap();
        stream
    };
    // A tiny model is fast: sooner or later a client hangs up while it works.
    for round in 0..200 {
        let clients = [begin(round), begin(round + 1000)];
        std::thread::sleep(Duration::from_millis(u64::from(round % 8)));
        drop(clients);
        wait_until("a free queue", || server.metric("mplug_queue_pictures") == 0);
        if server.metric("mplug_given_up_total") > 0 {
            break;
        }
    }
    assert!(server.metric("mplug_given_up_total") > 0, "somebody was given up");
    assert_eq!(server.metric("mplug_texts_in_progress"), 0);
    assert_eq!(server.post_picture("/v1/caption", &picture(1)).status, 200);
}

#[test]
fn an_answer_that_is_late_is_given_up() {
    let mut options = ServeOptions::default();
    options.limits.answer_timeout = Duration::ZERO;
    let server = Running::start(options);
    let reply = server.post_picture(SLOW, &picture(1));
    assert_eq!((reply.status, reply.code().as_str()), (504, "timeout"));
    wait_until("a free queue", || server.metric("mplug_queue_pictures") == 0);
}

#[test]
fn a_request_takes_all_of_its_places_or_none() {
    let server = Running::start(small());
    let body = r#"{"images": ["a", "b", "c"]}"#;
    let reply =
        server.request("POST", "/v1/caption", &[("Content-Type", "application/json")], body.as_bytes());
    assert_eq!((reply.status, reply.code().as_str()), (400, "too_many_images"));
    assert!(reply.text().contains("at most 2"), "{}", reply.text());
}
