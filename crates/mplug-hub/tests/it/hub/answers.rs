//! What hubs say that is no model: unknown names, closed doors, long, wrong and hostile listings, redirects that lead astray.

use std::fs;
use std::ops::ControlFlow;
use std::time::Duration;

use mplug_hub::HubError;
use mplug_testing::hub_server::{Reply, Repository, Server};
use serde_json::{Value, json};

use super::{ID, Machine, WEIGHTS, check_whole, files, id, repository};

/// A hub that lists these entries, whatever it has.
fn listing(entries: &[Value]) -> Server {
    let (repository, listing) = (repository(), json!({ "Code": 200, "Data": { "Files": entries } }));
    Server::start(move |request, _| {
        if request.path.ends_with("/repo/files") {
            Reply::new(200, listing.to_string())
        } else {
            repository.answer(request)
        }
    })
}

#[test]
fn an_unknown_model_is_reported() {
    let server = Server::of(Repository { id: "someone/else".to_owned(), ..repository() });
    let error = Machine::new(&server).pull().unwrap_err();
    assert!(matches!(error, HubError::NoSuchModel { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains(ID) && message.contains("access token"), "{message}");
}

#[test]
fn an_unknown_revision_is_reported_with_those_known() {
    let server = Server::of(repository());
    let pull = |machine: &Machine, revision| {
        machine.hub().pull(&id(), Some(revision), &|_| ControlFlow::Continue(())).unwrap_err()
    };
    let error = pull(&Machine::new(&server), "v9");
    assert!(matches!(error, HubError::NoSuchRevision { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains("`v9`") && message.contains("master, v1.0.1"), "{message}");

    // Some hubs list nothing in place of refusing.
    let silent = listing(&[]);
    assert!(matches!(pull(&Machine::new(&silent), "v9"), HubError::NoSuchRevision { .. }));
    let before = server.requests().len();
    assert!(matches!(pull(&Machine::new(&server), "../v9"), HubError::Revision { .. }));
    assert_eq!(server.requests().len(), before);
}

#[test]
fn a_closed_door_is_reported() {
    for status in [401, 403] {
        let server = Server::start(move |_, _| Reply::new(status, "{}"));
        let mut machine = Machine::new(&server);
        let message = machine.refused();
        assert!(
            message.contains(&status.to_string()) && message.contains("MODELSCOPE_API_TOKEN"),
            "{message}"
        );
        machine.options.token = Some(mplug_hub::Token::new("s3cret").unwrap());
        let message = machine.refused();
        assert!(message.contains("not valid") && !message.contains("s3cret"), "{message}");
    }
    // The list may be open and the file closed.
    let repository = repository();
    let server = Server::start(move |request, _| match request.file() {
        Some(WEIGHTS) => Reply::new(401, ""),
        _ => repository.answer(request),
    });
    assert!(matches!(Machine::new(&server).pull().unwrap_err(), HubError::Denied { status: 401, .. }));
}

#[test]
fn a_listing_of_three_thousand_entries_is_requested_again_by_folder() {
    let many = (0..3000).map(|n| (format!("aaa/{n:04}.png"), b"x".to_vec()));
    let server = Server::of(Repository::new(ID, files().into_iter().chain(many)));
    check_whole(&Machine::new(&server).pull().unwrap().folder);
    let listed = server.requests().into_iter().filter(|request| request.path.ends_with("/repo/files"));
    let listed: Vec<String> = listed.map(|request| request.query["Recursive"].clone()).collect();
    assert_eq!(listed, ["True", "False", "False"], "all, the folder alone, the folder of the BERT json");
}

#[test]
fn a_name_that_leads_out_of_the_folder_stops_everything() {
    for path in ["../x", "a/../../x", "/etc/x", "..\\x", "C:x"] {
        let mut entries = repository().entries(true);
        entries.push(json!({ "Path": path, "Name": "x", "Type": "blob", "Size": 1, "Sha256": "" }));
        let server = listing(&entries);
        let machine = Machine::new(&server);
        let error = machine.pull().unwrap_err();
        assert!(matches!(error, HubError::UnsafePath { .. }), "{error:?}");
        assert!(error.to_string().contains(path), "{error}");
        assert_eq!(fs::read_dir(machine.folder.path()).unwrap().count(), 0, "nothing was written");
    }
}

#[test]
fn a_configuration_cannot_name_a_file_elsewhere() {
    let mut repository = repository();
    repository.files.insert("config.yaml".to_owned(), b"bert_config: ../../../../x.json\n".to_vec());
    repository.files.insert("x.json".to_owned(), b"{}".to_vec());
    let server = Server::of(repository);
    let machine = Machine::new(&server);
    let refused = machine.refused();
    assert!(
        refused.contains("`bert_config: ../../../../x.json` is no path of a file in the model folder"),
        "{refused}"
    );
    assert_eq!(fs::read_dir(machine.folder.path()).unwrap().count(), 0, "nothing was written");
    assert!(server.requests().iter().all(|request| request.file().is_none_or(|file| !file.contains(".."))));
}

#[test]
fn a_disk_that_is_too_small_is_found_before_the_start() {
    let mut entries = repository().entries(true);
    for entry in &mut entries {
        if entry["Path"] == WEIGHTS {
            entry["Size"] = json!(1_u64 << 60);
        }
    }
    let server = listing(&entries);
    let error = Machine::new(&server).pull().unwrap_err();
    if cfg!(any(target_os = "linux", target_os = "macos")) {
        assert!(matches!(error, HubError::DiskFull { .. }), "{error:?}");
        assert!(error.to_string().contains("1152921504624 MB are needed"), "{error}");
        assert!(server.requests_for(WEIGHTS).is_empty());
    }
}

#[test]
fn what_is_no_model_of_the_family_is_reported() {
    for (missing, expected) in [(WEIGHTS, "no weights"), ("vocab.txt", "no vocab.txt")] {
        let mut repository = repository();
        repository.files.remove(missing);
        let server = Server::of(repository);
        let error = Machine::new(&server).pull().unwrap_err();
        assert!(matches!(error, HubError::NotAModel { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn the_weights_that_the_loader_prefers_are_fetched() {
    let mut repository = repository();
    repository.files.insert("model.safetensors".to_owned(), b"weights".to_vec());
    let server = Server::of(repository);
    let machine = Machine::new(&server);
    let pulled = machine.pull().unwrap();
    assert!(server.requests_for(WEIGHTS).is_empty());
    assert_eq!(fs::read(pulled.folder.join("model.safetensors")).unwrap(), b"weights");
}

#[test]
fn answers_that_make_no_sense_are_errors() {
    let entry = |size: Value, sha256: &str| json!({ "Path": WEIGHTS, "Type": "blob", "Size": size, "Sha256": sha256 });
    for server in [
        Server::start(|_, _| Reply::new(200, "<html>")),
        Server::start(|_, _| Reply::new(200, "")),
        Server::start(|_, _| Reply::new(200, "[".repeat(100_000))),
        Server::start(|_, _| Reply::new(200, vec![b' '; 9 << 20])),
        listing(&[entry(Value::Null, "")]),
        listing(&[entry(json!(1), "not a hash")]),
    ] {
        let error = Machine::new(&server).pull().unwrap_err();
        assert!(matches!(error, HubError::Answer { .. }), "{error:?}");
    }
}

#[test]
fn a_refusal_inside_the_envelope_is_one() {
    let server = Server::start(|_, _| {
        Reply::new(200, r#"{"Code": 10010205001, "Success": false, "Message": "gone", "Data": null}"#)
    });
    assert!(matches!(Machine::new(&server).pull().unwrap_err(), HubError::NoSuchModel { .. }));
}

#[test]
fn a_hub_that_fails_for_a_while_is_tried_again() {
    let repository = repository();
    let server = Server::start(move |request, before| match before {
        0 if request.path.ends_with("/repo/files") => Reply::new(500, ""),
        _ => repository.answer(request),
    });
    check_whole(&Machine::new(&server).pull().unwrap().folder);
}

#[test]
fn redirects_that_lead_nowhere_end() {
    for location in ["/api/v1/models/x/y/round", "ftp://127.0.0.1/x", "http://"] {
        let server = Server::start(move |_, _| Reply::new(302, "").with_header("Location", location));
        let mut machine = Machine::new(&server);
        // They are not followed, so nothing is tried again: this would take minutes.
        machine.options.first_pause = Duration::from_mins(1);
        let error = machine.pull().unwrap_err();
        assert!(matches!(error, HubError::Unreachable { .. }), "{location}: {error:?}");
    }
}
