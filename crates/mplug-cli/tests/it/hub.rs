//! Models by name: `pull`, `models`, and `--model owner/name` of the other commands, against a hub on this machine.

use std::fs;

use mplug::checkpoint::{FileFormat, WriteOptions};
use mplug::config::Task;
use mplug_testing::hub_server::{Reply, Repository, Server};
use serde_json::Value;

use crate::support::{Desk, Outcome, mplug, outcome};

const ID: &str = "damo/mplug_image-captioning_coco_base_zh";

/// A desk beside whose pictures there is a hub with one model, as the original published it.
struct HubDesk {
    desk: Desk,
    server: Server,
}

impl HubDesk {
    fn new() -> Self {
        let desk = Desk::new();
        let options = WriteOptions { format: FileFormat::Pytorch, ..WriteOptions::default() };
        desk.model_with("published", Task::ImageCaptioning, options);
        let server = Server::of(Repository::new(ID, files(&desk, "published")));
        Self { desk, server }
    }

    /// Runs `mplug` with the hub and an empty cache, and as little else of this machine as may be.
    fn run(&self, args: &[&str]) -> Outcome {
        self.run_with(args, &[])
    }

    fn run_with(&self, args: &[&str], variables: &[(&str, &str)]) -> Outcome {
        let mut command = mplug();
        command.current_dir(self.desk.path()).args(args);
        command
            .env("MODELSCOPE_CACHE", self.desk.join("cache"))
            .env("MODELSCOPE_ENDPOINT", self.server.url());
        outcome(command.envs(variables.iter().copied()))
    }
}

/// The files of a folder and a card that nobody needs.
fn files(desk: &Desk, folder: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(desk.join(folder)).unwrap().map(Result::unwrap);
    let files =
        entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()));
    files.chain([("README.md".to_owned(), b"a card".to_vec())]).collect()
}

#[test]
fn a_pulled_model_captions_by_its_name() {
    let hub = HubDesk::new();
    let before = hub.run(&["caption", "--model", ID, "red.png"]);
    assert_eq!((before.code, before.stdout.as_str()), (2, ""), "{before:?}");
    assert!(before.check_messages().stderr.contains(&format!("`mplug pull {ID}`")), "{}", before.stderr);
    assert!(hub.server.requests().is_empty(), "nothing is downloaded unasked");

    let pulled = hub.run(&["pull", "caption-base-zh"]);
    assert_eq!(pulled.code, 0, "{pulled:?}");
    let folder = pulled.stdout.trim_end();
    assert!(fs::metadata(folder).unwrap().is_dir() && pulled.stdout.lines().count() == 1, "{pulled:?}");
    assert!(pulled.check_messages().stderr.contains("100 % of"), "{}", pulled.stderr);
    assert!(hub.server.requests_for("README.md").is_empty());

    let before = hub.server.requests().len();
    let expected = hub.run(&["caption", "--model", "published", "red.png", "--format", "jsonl"]).stdout;
    assert!(!expected.is_empty());
    for name in [ID, "iic/mplug_image-captioning_coco_base_zh", "caption-base-zh", folder] {
        let found = hub.run(&["caption", "--model", name, "red.png", "--format", "jsonl"]);
        assert_eq!((found.code, &found.stdout), (0, &expected), "{name}: {found:?}");
        assert!(hub.run(&["inspect", name]).stdout.contains("PyTorch (zip)"), "{name}");
    }
    assert_eq!(hub.run(&["convert", ID, "converted"]).code, 0);
    assert_eq!(hub.server.requests().len(), before, "no command but `pull` opens a connection");

    let again = hub.run(&["pull", ID]);
    assert_eq!((again.code, again.stdout.trim_end()), (0, folder), "{again:?}");
    assert!(again.check_messages().stderr.contains("on this machine already"), "{}", again.stderr);
}

#[test]
fn a_path_wins_over_a_name() {
    let hub = HubDesk::new();
    hub.desk.model(ID, Task::ImageCaptioning);
    let found = hub.run(&["caption", "--model", ID, "red.png"]);
    assert_eq!(found.code, 0, "{found:?}");
    assert!(hub.run(&["inspect", ID]).stdout.contains("safetensors"));
}

#[test]
fn models_are_listed_with_what_is_here() {
    let hub = HubDesk::new();
    let listed = |hub: &HubDesk| -> Vec<Value> {
        let outcome = hub.run(&["models", "--format", "json"]);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{outcome:?}");
        serde_json::from_str(&outcome.stdout).unwrap()
    };
    let before = listed(&hub);
    assert!(before.iter().all(|model| model["is_cached"] == false && model["folder"].is_null()));
    let legacy = hub.desk.join("cache/hub").join(ID);
    fs::create_dir_all(&legacy).unwrap();
    for (name, bytes) in files(&hub.desk, "published") {
        fs::write(legacy.join(name), bytes).unwrap();
    }
    let after = listed(&hub);
    let model = after.iter().find(|model| model["id"] == ID).unwrap();
    assert_eq!(model["name"], "caption-base-zh");
    assert_eq!(
        (&model["task"], &model["language"], &model["size"]),
        (&"image-captioning".into(), &"zh".into(), &"base".into())
    );
    assert_eq!(model["folder"], legacy.to_str().unwrap());
    let text = hub.run(&["models"]).stdout;
    assert_eq!(text.lines().count(), after.len());
    assert!(
        text.lines().any(|line| line.contains("caption-base-zh") && line.ends_with(legacy.to_str().unwrap()))
    );
    assert_eq!(text.matches("not downloaded").count(), after.len() - 1);
}

#[test]
fn what_goes_wrong_is_reported_in_a_line() {
    let hub = HubDesk::new();
    let closed = Server::start(|_, _| Reply::new(401, ""));
    let closed_url = closed.url();
    let gone = Server::start(|_, _| Reply::new(200, "")).url();
    let cases: [(&[&str], &str); 10] = [
        (&["pull", "caption"], "`mplug models` lists the short names"),
        (&["pull", "someone/else"], "has no model someone/else"),
        (&["pull", ID, "--revision", "v9"], "no revision `v9`; it has master, v1.0.1"),
        (&["pull", ID, "--revision", "../x"], "expected a revision"),
        (&["pull", ID, "--endpoint", "ftp://x"], "neither an http nor an https"),
        (&["pull", ID, "--endpoint", &closed_url], "put yours into MODELSCOPE_API_TOKEN"),
        (&["pull", ID, "--endpoint", &gone], "cannot reach"),
        (&["pull", ID, "--offline"], "and copy its folder to"),
        (&["pull", ID, "--token-env", "NO_SUCH_VARIABLE"], "NO_SUCH_VARIABLE"),
        (&["pull", ID, "--endpoint", "http://example.invalid", "--token-env", "MY_TOKEN"], "unencrypted"),
    ];
    for (args, reason) in cases {
        let refused = hub.run_with(args, &[("MY_TOKEN", "s3cret")]);
        assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{args:?}: {refused:?}");
        assert!(refused.check_messages().stderr.contains(reason), "{args:?}: {}", refused.stderr);
        assert_eq!(refused.stderr.lines().count(), 1, "{args:?}: {}", refused.stderr);
        assert!(!refused.stderr.contains("s3cret"), "{args:?}");
    }
}

#[test]
fn the_token_is_read_from_the_variable_named() {
    let hub = HubDesk::new();
    let pulled = hub.run_with(&["pull", ID, "--token-env", "MY_TOKEN"], &[("MY_TOKEN", "s3cret")]);
    assert_eq!(pulled.code, 0, "{pulled:?}");
    assert!(hub.server.requests().iter().all(|request| request.headers["authorization"] == "Bearer s3cret"));
    assert!(!format!("{pulled:?}").contains("s3cret"));
}

#[test]
fn the_environment_can_forbid_downloads() {
    let hub = HubDesk::new();
    let refused = hub.run_with(&["pull", ID], &[("MPLUG_OFFLINE", "1")]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(hub.server.requests().is_empty());
    assert_eq!(hub.run_with(&["pull", ID], &[("MPLUG_OFFLINE", "0")]).code, 0);
    assert_eq!(hub.run_with(&["pull", ID], &[("MPLUG_OFFLINE", "1")]).code, 0);
}

#[test]
fn a_damaged_download_names_file_and_hashes() {
    let hub = HubDesk::new();
    let repository = Repository::new(ID, files(&hub.desk, "published"));
    let bad = Server::start(move |request, _| {
        let mut reply = repository.answer(request);
        if request.file() == Some("vocab.txt") {
            reply.body[0] ^= 1;
        }
        reply
    });
    let refused = hub.run(&["pull", ID, "--endpoint", &bad.url()]);
    assert_eq!(refused.code, 2, "{refused:?}");
    let message = refused.check_messages().stderr.lines().last().unwrap();
    for part in ["vocab.txt", "expected the SHA-256", "found"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(bad.requests_for("vocab.txt").len(), 3);
}
