//! Downloads that stop, and servers that are bad at ranges: what arrives is whole and right, or an error.

use std::fs;
use std::ops::ControlFlow;
use std::time::Duration;

use mplug_hub::{HubError, Progress};
use mplug_testing::hub_server::{Reply, Request, Server, send};

use super::{Machine, WEIGHTS, WEIGHTS_LEN, check_whole, files, id, repository};

/// A hub that sends everything well but the weights, which are sent by `weights`: the request, how many came before, the bytes.
fn with_weights(weights: impl Fn(&Request, usize, &[u8]) -> Reply + Send + Sync + 'static) -> Server {
    let (repository, bytes) = (repository(), files()[WEIGHTS].clone());
    Server::start(move |request, before| match request.file() {
        Some(WEIGHTS) => weights(request, before, &bytes),
        _ => repository.answer(request),
    })
}

/// Where each request for the weights began.
fn starts(server: &Server) -> Vec<usize> {
    server.requests_for(WEIGHTS).iter().map(|request| request.range_start().unwrap_or(0)).collect()
}

#[test]
fn a_download_goes_on_at_every_tenth() {
    let weights = files()[WEIGHTS].clone();
    let server = Server::of(repository());
    for tenth in 0..=10 {
        let have = WEIGHTS_LEN * tenth / 10;
        let machine = Machine::new(&server);
        machine.leave(&weights[..have]);
        check_whole(&machine.pull().unwrap().folder);
        let requested = starts(&server);
        match tenth {
            10 => assert_eq!(requested.len(), 10, "nothing is missing, nothing is requested"),
            _ => assert_eq!(requested[tenth..], [have]),
        }
    }
}

#[test]
fn a_connection_that_ends_early_is_taken_up_at_every_tenth() {
    for tenth in 0..10 {
        let have = WEIGHTS_LEN * tenth / 10;
        let server = with_weights(move |request, before, bytes| Reply {
            cut_after: (before == 0).then_some(have),
            ..send(bytes, request)
        });
        check_whole(&Machine::new(&server).pull().unwrap().folder);
        assert_eq!(starts(&server), [0, have], "{tenth}");
    }
}

#[test]
fn what_stopped_for_good_goes_on_with_the_next_call() {
    let server = with_weights(|request, before, bytes| match before {
        0 => Reply { cut_after: Some(200_000), ..send(bytes, request) },
        1..=3 => Reply::new(503, ""),
        _ => send(bytes, request),
    });
    let mut machine = Machine::new(&server);
    machine.options.retries = 2;
    let message = machine.refused();
    assert!(message.contains(WEIGHTS) && message.contains("same command"), "{message}");
    assert!(!machine.snapshot().join(WEIGHTS).exists(), "no half file has the name");
    assert!(!machine.snapshot().join("vocab.txt").exists(), "nor has a file of half a model");
    check_whole(&machine.pull().unwrap().folder);
    assert_eq!(*starts(&server).last().unwrap(), 200_000);
}

#[test]
fn a_whole_file_instead_of_a_range_starts_anew() {
    let server = with_weights(|_, _, bytes| Reply::new(200, bytes));
    let machine = Machine::new(&server);
    machine.leave(&files()[WEIGHTS][..1234]);
    check_whole(&machine.pull().unwrap().folder);
}

#[test]
fn another_range_than_was_requested_does_not_count() {
    for range in ["bytes 0-600010/600011", "bytes 1235-600010/600011", "nonsense"] {
        let server = with_weights(move |request, _, bytes| match request.range_start() {
            Some(start) => Reply::new(206, &bytes[start..]).with_header("Content-Range", range),
            None => send(bytes, request),
        });
        let machine = Machine::new(&server);
        machine.leave(&files()[WEIGHTS][..1234]);
        check_whole(&machine.pull().unwrap().folder);
        assert_eq!(starts(&server), [1234, 0], "{range}");
    }
}

#[test]
fn a_range_that_the_server_lacks_starts_anew() {
    let server = with_weights(|request, before, bytes| match before {
        0 => Reply::new(416, ""),
        _ => send(bytes, request),
    });
    let machine = Machine::new(&server);
    machine.leave(&files()[WEIGHTS][..500]);
    check_whole(&machine.pull().unwrap().folder);
    assert_eq!(starts(&server), [500, 0]);
}

#[test]
fn more_than_a_whole_file_is_no_start() {
    let server = Server::of(repository());
    let machine = Machine::new(&server);
    machine.leave(&vec![7; WEIGHTS_LEN + 1]);
    check_whole(&machine.pull().unwrap().folder);
}

#[test]
fn a_wrong_start_is_found_by_the_hash() {
    let server = Server::of(repository());
    for len in [5000, WEIGHTS_LEN] {
        let machine = Machine::new(&server);
        machine.leave(&vec![7; len]);
        check_whole(&machine.pull().unwrap().folder);
    }
}

#[test]
fn a_wrong_hash_is_an_error_that_tells_both() {
    let server = with_weights(|request, _, bytes| {
        let mut bytes = bytes.to_vec();
        bytes[300_000] ^= 1;
        send(&bytes, request)
    });
    let machine = Machine::new(&server);
    let message = machine.refused();
    let expected = mplug_testing::hub_server::sha256(&files()[WEIGHTS]);
    assert!(
        message.contains(WEIGHTS) && message.contains(&expected) && message.contains("3 times"),
        "{message}"
    );
    assert!(!machine.snapshot().join(WEIGHTS).exists());
    let left = fs::metadata(machine.snapshot().join("pytorch_model.bin.incomplete")).unwrap().len();
    assert_eq!(left, 0, "what is wrong is not kept");
    assert_eq!(starts(&server), [0, 0, 0]);
}

#[test]
fn a_hash_that_was_wrong_once_is_forgiven() {
    let server = with_weights(|request, before, bytes| {
        let mut bytes = bytes.to_vec();
        bytes[0] ^= u8::from(before == 0);
        send(&bytes, request)
    });
    check_whole(&Machine::new(&server).pull().unwrap().folder);
}

#[test]
fn a_wrong_size_is_an_error_that_tells_both() {
    for len in [WEIGHTS_LEN - 1, WEIGHTS_LEN + 1, 0] {
        let server = with_weights(move |_, _, bytes| {
            let mut bytes = bytes.to_vec();
            bytes.resize(len, 0);
            Reply::new(200, bytes)
        });
        let message = Machine::new(&server).refused();
        assert!(
            message.contains(&WEIGHTS_LEN.to_string()) && message.contains(&len.to_string()),
            "{message}"
        );
        assert_eq!(starts(&server), [0, 0]);
    }
}

#[test]
fn a_server_that_fails_is_tried_again() {
    for status in [500, 502, 429] {
        let server = with_weights(move |request, before, bytes| match before {
            0 | 1 => Reply::new(status, "").with_header("Retry-After", "0"),
            _ => send(bytes, request),
        });
        check_whole(&Machine::new(&server).pull().unwrap().folder);
        assert_eq!(server.requests_for(WEIGHTS).len(), 3);
    }
}

#[test]
fn a_server_that_goes_on_failing_is_given_up() {
    let server = with_weights(|_, _, _| Reply::new(500, ""));
    let mut machine = Machine::new(&server);
    machine.options.retries = 2;
    assert!(machine.refused().contains("3 attempts"));
    assert_eq!(server.requests_for(WEIGHTS).len(), 3);
}

#[test]
fn a_server_that_drips_is_left_and_tried_again() {
    let server = with_weights(|request, before, bytes| Reply {
        drip: (before == 0).then_some(Duration::from_millis(20)),
        ..send(bytes, request)
    });
    let mut machine = Machine::new(&server);
    machine.options.idle_timeout = Duration::from_secs(3);
    check_whole(&machine.pull().unwrap().folder);
    let starts = starts(&server);
    assert!((1..1024).contains(&starts[1]), "{starts:?}");
}

#[test]
fn a_server_that_falls_silent_is_left_and_tried_again() {
    let server = with_weights(|request, before, bytes| Reply {
        drip: (before == 0).then_some(Duration::from_secs(10)),
        ..send(bytes, request)
    });
    let mut machine = Machine::new(&server);
    machine.options.idle_timeout = Duration::from_secs(3);
    check_whole(&machine.pull().unwrap().folder);
    assert_eq!(starts(&server)[..2], [0, 1]);
}

/// A caller that has enough gets what came, and the next pull goes on there.
#[test]
fn a_pull_that_is_stopped_keeps_what_came() {
    let server = Server::of(repository());
    let machine = Machine::new(&server);
    let at_first_bytes = |event: &Progress<'_>| match event {
        Progress::File { path: WEIGHTS, have: 1.., .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let error = machine.hub().pull(&id(), None, &at_first_bytes).unwrap_err();
    assert!(matches!(error, HubError::Stopped), "{error}");
    let partial = fs::metadata(machine.snapshot().join(format!("{WEIGHTS}.incomplete"))).unwrap().len();
    assert!(partial > 0 && !machine.snapshot().join(WEIGHTS).exists());
    check_whole(&machine.pull().unwrap().folder);
    let starts: Vec<_> = server.requests_for(WEIGHTS).iter().map(Request::range_start).collect();
    assert_eq!(starts.len(), if partial == WEIGHTS_LEN as u64 { 1 } else { 2 }, "{starts:?}");
    assert!(starts.get(1).is_none_or(|start| *start == Some(partial as usize)), "{starts:?}");
}
