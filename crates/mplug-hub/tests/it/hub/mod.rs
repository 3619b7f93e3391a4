//! Models from a hub: whole, resumed, damaged, redirected, listed wrongly, by two at once, and found without a hub.

mod answers;
mod resume;

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use mplug_hub::{Cache, Hub, HubError, HubOptions, ModelId, Progress, Pulled, Token};
use mplug_testing::hub_server::{self as server, Repository, Server};
use tempfile::TempDir;

const ID: &str = "damo/mplug_test_v1.0";
const WEIGHTS: &str = "pytorch_model.bin";
/// More than one chunk, and no round number.
const WEIGHTS_LEN: usize = 600_011;

/// The files of a model, among others that nobody needs. The weights are noise: nothing here opens them.
fn files() -> BTreeMap<String, Vec<u8>> {
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let small = [
        ("configuration.json", r#"{"task": "image-captioning"}"#),
        ("config.yaml", "bert_config: folder/config_bert_zh.json\n"),
        ("folder/config_bert_zh.json", "{}"),
        ("vocab.txt", "[PAD]\n猫\n"),
        ("tokenizer_config.json", ""),
        ("README.md", "a card"),
        ("resources/model.png", "a picture"),
    ];
    let small = small.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()));
    let weights = (0..WEIGHTS_LEN).map(|_| noise()).collect();
    small.into_iter().chain([(WEIGHTS.to_owned(), weights)]).collect()
}

fn repository() -> Repository {
    Repository::new(ID, files())
}

fn id() -> ModelId {
    ID.parse().unwrap()
}

/// A machine with a cache, and patience for a test.
struct Machine {
    folder: TempDir,
    options: HubOptions,
}

impl Machine {
    fn new(server: &Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = HubOptions::new(Cache::new(folder.path()));
        options.endpoint = server.url();
        options.first_pause = Duration::from_millis(1);
        Self { folder, options }
    }

    fn hub(&self) -> Hub {
        Hub::new(self.options.clone()).unwrap()
    }

    fn pull(&self) -> Result<Pulled, HubError> {
        self.hub().pull(&id(), None, &|_| ControlFlow::Continue(()))
    }

    /// The error of a pull, in its own words.
    fn refused(&self) -> String {
        self.pull().unwrap_err().to_string()
    }

    fn snapshot(&self) -> PathBuf {
        self.folder.path().join("models/damo--mplug_test_v1.0/snapshots/master")
    }

    /// Leaves a partial download.
    fn leave(&self, bytes: &[u8]) {
        fs::create_dir_all(self.snapshot()).unwrap();
        fs::write(self.snapshot().join("pytorch_model.bin.incomplete"), bytes).unwrap();
    }
}

/// The folder holds what a model needs, right and whole, and nothing else.
fn check_whole(folder: &Path) {
    let files = files();
    let names = |folder: PathBuf, below: &str| -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
        files.map(|entry| format!("{below}{}", entry.file_name().into_string().unwrap())).collect()
    };
    let mut found = [names(folder.to_owned(), ""), names(folder.join("folder"), "folder/")].concat();
    found.sort();
    let mut expected = vec![
        ".mplug-hub.json",
        "config.yaml",
        "configuration.json",
        "folder/config_bert_zh.json",
        WEIGHTS,
        "tokenizer_config.json",
        "vocab.txt",
    ];
    expected.sort_unstable();
    assert_eq!(found, expected);
    for name in &expected[1..] {
        assert!(fs::read(folder.join(name)).unwrap() == files[*name], "{name}");
    }
}

#[test]
fn a_model_is_pulled_whole_and_once() {
    let server = Server::of(repository());
    let machine = Machine::new(&server);
    let events = Mutex::new(Vec::new());
    let pulled = machine
        .hub()
        .pull(&id(), None, &|event| {
            if let Progress::Planned { files, bytes } = event {
                events.lock().unwrap().push((*files, *bytes));
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(pulled.folder, machine.snapshot());
    assert_eq!((pulled.id, pulled.revision.as_str()), (id(), "master"));
    check_whole(&pulled.folder);
    assert_eq!(events.into_inner().unwrap(), [(6, pulled.downloaded)]);
    assert!(server.requests_for("tokenizer_config.json").is_empty(), "an empty file is not requested");

    let before = server.requests().len();
    assert_eq!(machine.pull().unwrap().downloaded, 0);
    let later: Vec<_> =
        server.requests().into_iter().skip(before).filter_map(|r| r.file().map(str::to_owned)).collect();
    assert_eq!(later, ["config.yaml"], "which names a file that is needed");
    assert_eq!(machine.hub().find_cached(&id(), None).unwrap().folder, pulled.folder);
}

#[test]
fn a_bert_json_that_is_named_and_not_there_or_not_below_stops_a_pull() {
    for (named, part) in [
        ("folder/other.json", "its config.yaml names folder/other.json, which it does not have"),
        ("config_bert_zh.json", "its config.yaml names config_bert_zh.json"),
        ("../config_bert_zh.json", "is no path of a file in the model folder"),
        ("/etc/config_bert_zh.json", "is no path of a file in the model folder"),
    ] {
        let mut repository = repository();
        repository.files.insert("config.yaml".to_owned(), format!("bert_config: {named}\n").into_bytes());
        let server = Server::of(repository);
        let machine = Machine::new(&server);
        let refused = machine.refused();
        assert!(refused.contains(part), "{named}: {refused}");
        assert!(server.requests_for(WEIGHTS).is_empty(), "nothing large is downloaded");
    }
}

#[test]
fn a_revision_has_its_own_folder_and_shares_what_is_equal() {
    let server = Server::of(repository());
    let machine = Machine::new(&server);
    let first = machine.hub().pull(&id(), Some("v1.0.1"), &|_| ControlFlow::Continue(())).unwrap();
    assert!(first.folder.ends_with("snapshots/v1.0.1"), "{first:?}");
    fs::write(first.folder.join("vocab.txt"), "changed").unwrap();
    let second = machine.pull().unwrap();
    check_whole(&second.folder);
    assert_eq!(server.requests_for(WEIGHTS).len(), 1, "the same weights are here");
    assert_eq!(second.folder, machine.snapshot());
}

#[test]
fn a_branch_that_moved_is_noticed() {
    let mut old = repository();
    old.files.insert("vocab.txt".to_owned(), b"[PAD]\n\xe7\x8b\x97\n".to_vec());
    let old = Server::of(old);
    let mut machine = Machine::new(&old);
    machine.pull().unwrap();
    let new = Server::of(repository());
    machine.options.endpoint = new.url();
    check_whole(&machine.pull().unwrap().folder);
    assert_eq!((new.requests_for("vocab.txt").len(), new.requests_for(WEIGHTS).len()), (1, 0));
}

/// A folder with all that a model needs.
fn write_model(folder: &Path) {
    fs::create_dir_all(folder.join("folder")).unwrap();
    for (name, bytes) in files().iter().filter(|(name, _)| !name.starts_with("resources/")) {
        fs::write(folder.join(name), bytes).unwrap();
    }
}

#[test]
fn both_python_clients_folders_are_used() {
    let server = Server::of(repository());
    for place in [
        "models/damo--mplug_test_v1.0/snapshots/master",
        "hub/models/damo/mplug_test_v1___0",
        "hub/iic/mplug_test_v1___0",
    ] {
        let machine = Machine::new(&server);
        let folder = machine.folder.path().join(place);
        write_model(&folder);
        assert_eq!(machine.hub().find_cached(&id(), None).unwrap().folder, folder, "{place}");
        let pulled = machine.pull().unwrap();
        assert_eq!((pulled.folder, pulled.downloaded), (folder, 0), "{place}");
    }
    assert!(server.requests_for(WEIGHTS).is_empty());
}

#[test]
fn a_damaged_python_folder_is_completed_elsewhere() {
    let server = Server::of(repository());
    let machine = Machine::new(&server);
    let legacy = machine.folder.path().join("hub/damo/mplug_test_v1___0");
    write_model(&legacy);
    fs::write(legacy.join("folder/config_bert_zh.json"), "[]").unwrap();
    let pulled = machine.pull().unwrap();
    check_whole(&pulled.folder);
    assert_eq!(pulled.folder, machine.snapshot());
    assert!(server.requests_for(WEIGHTS).is_empty(), "the weights were right");
    assert_eq!(fs::read(legacy.join("folder/config_bert_zh.json")).unwrap(), b"[]", "theirs is left alone");
}

#[test]
fn both_names_of_a_renamed_owner_work() {
    let server = Server::of(Repository { id: "iic/mplug_test_v1.0".to_owned(), ..repository() });
    let machine = Machine::new(&server);
    let pulled = machine.pull().unwrap();
    assert_eq!(pulled.id.to_string(), "iic/mplug_test_v1.0");
    check_whole(&pulled.folder);
    assert_eq!(machine.hub().find_cached(&id(), None).unwrap().folder, pulled.folder);
}

#[test]
fn two_at_once_download_once() {
    let server = Server::of(repository());
    let machine = Machine::new(&server);
    std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..4).map(|_| scope.spawn(|| machine.pull().unwrap())).collect();
        for pull in pulls {
            check_whole(&pull.join().unwrap().folder);
        }
    });
    assert_eq!(server.requests_for(WEIGHTS).len(), 1);
}

#[test]
fn offline_nothing_is_requested() {
    let server = Server::of(repository());
    let mut machine = Machine::new(&server);
    machine.options.offline = true;
    let message = machine.refused();
    assert!(message.contains("damo/mplug_test_v1.0") && message.contains("snapshots/master"), "{message}");
    assert!(server.requests().is_empty());
    machine.options.offline = false;
    let pulled = machine.pull().unwrap();
    machine.options.offline = true;
    drop(server);
    assert_eq!(machine.pull().unwrap(), Pulled { downloaded: 0, ..pulled });
}

#[test]
fn without_a_network_the_way_around_is_reported() {
    let server = Server::of(repository());
    let machine = Machine::new(&server);
    drop(server);
    let error = machine.pull().unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains("damo/mplug_test_v1.0") && message.contains("snapshots/master"), "{message}");
}

#[test]
fn the_token_goes_to_the_hub_alone() {
    let repository = repository();
    let storage = Server::start(move |request, _| server::send(&files()[WEIGHTS], request));
    let address = format!("{}/where/it/is?signature=s", storage.url());
    let server = Server::start(move |request, _| match request.file() {
        Some(WEIGHTS) => server::Reply::new(302, "").with_header("Location", &address),
        _ => repository.answer(request),
    });
    let mut machine = Machine::new(&server);
    machine.options.token = Some(Token::new("s3cret").unwrap());
    machine.leave(&files()[WEIGHTS][..1000]);
    check_whole(&machine.pull().unwrap().folder);

    for request in server.requests() {
        assert_eq!(request.headers["authorization"], "Bearer s3cret");
        assert_eq!(request.headers["cookie"], "m_session_id=s3cret");
    }
    let redirected = storage.requests();
    assert_eq!(redirected.len(), 1);
    assert_eq!(redirected[0].range_start(), Some(1000), "the range goes along");
    assert!(!format!("{redirected:?}").contains("s3cret"));
}

#[test]
fn weights_in_several_files_are_pulled_by_their_index() {
    const INDEX: &str = "model.safetensors.index.json";
    let parts = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let mut files = files();
    let weights = files.remove(WEIGHTS).unwrap();
    let (first, second) = weights.split_at(300_000);
    files.insert(parts[0].to_owned(), first.to_vec());
    files.insert(parts[1].to_owned(), second.to_vec());
    files.insert("model-00003-of-00002.safetensors".to_owned(), vec![1; 10]);
    let index = |second: &str| format!(r#"{{"weight_map": {{"a": "{}", "b": "{second}"}}}}"#, parts[0]);
    files.insert(INDEX.to_owned(), index(parts[1]).into_bytes());
    let server = Server::of(Repository::new(ID, files.clone()));
    let machine = Machine::new(&server);
    let pulled = machine.pull().unwrap();
    for name in [parts[0], parts[1], INDEX] {
        assert!(fs::read(pulled.folder.join(name)).unwrap() == files[name], "{name}");
    }
    assert!(!pulled.folder.join("model-00003-of-00002.safetensors").exists(), "no index names it");
    assert_eq!(machine.pull().unwrap().downloaded, 0);
    assert!(machine.options.cache.find(&id(), None).is_some());
    fs::remove_file(pulled.folder.join(parts[1])).unwrap();
    assert!(machine.options.cache.find(&id(), None).is_none(), "a part is missing");
    for (name, expected) in [
        (
            "model-00009-of-00002.safetensors",
            "names model-00009-of-00002.safetensors, which it does not have",
        ),
        ("../a.safetensors", "expected the name of a file beside the index"),
    ] {
        files.insert(INDEX.to_owned(), index(name).into_bytes());
        let server = Server::of(Repository::new(ID, files.clone()));
        let refused = Machine::new(&server).refused();
        assert!(refused.contains(expected), "{refused}");
    }
}
