//! The files in `packaging/` against the server that they start: its deadlines, options, variables, routes and metrics, and the
//! requests of the photo library that they connect.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mplug_server::{Limits, ServeOptions};
use serde_json::{Value, json};

use crate::support::{Reply, Running};

/// The name by which the other containers call the server.
const NAME: &str = "mplug";
/// Options of other programs that these files name.
const OF_OTHERS: [&str; 26] = [
    "build",
    "cap-drop",
    "chown",
    "config.file",
    "env",
    "file",
    "filename",
    "from",
    "from-file",
    "interval",
    "locked",
    "models",
    "mount",
    "now",
    "offline",
    "package",
    "publish",
    "read-only",
    "release",
    "retries",
    "rm",
    "start-period",
    "storage.tsdb.path",
    "tag",
    "test",
    "volume",
];
/// Variables with our prefix that are no option: the unit's further options, and what Kubernetes would set.
const NO_OPTIONS: [&str; 2] = ["OPTIONS", "PORT"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The documents of a YAML file.
fn documents(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn document(path: &str) -> Value {
    documents(path).into_iter().next().unwrap()
}

/// The document of a kind.
fn manifest(kind: &str) -> Value {
    let found = documents("packaging/kubernetes.yaml").into_iter().find(|document| document["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind}"))
}

/// Every file of the folder, with its text.
fn files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for folder in ["packaging", "packaging/photoprism"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = format!("{folder}/{}", path.file_name().unwrap().to_str().unwrap());
                files.push((name.clone(), text(&name)));
            }
        }
    }
    assert!(files.len() >= 8, "{files:?}");
    files
}

/// The words of a text that begin with `prefix` and go on with what `is_part` takes, without the prefix.
fn words<'t>(text: &'t str, prefix: &str, is_part: fn(char) -> bool) -> BTreeSet<&'t str> {
    let starts = text.match_indices(prefix).filter(|(at, _)| {
        let before = text[..*at].chars().next_back();
        !before.is_some_and(|before| is_part(before) || before == '-')
    });
    let word = |(at, _): (usize, &str)| {
        let after = &text[at + prefix.len()..];
        after[..after.find(|c| !is_part(c)).unwrap_or(after.len())].trim_end_matches('.')
    };
    starts.map(word).filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic())).collect()
}

/// The source of a command's arguments: the structs of `mplug serve` alone, for `args.rs` has those of other commands too.
fn source_of_arguments() -> String {
    let structs = [
        ("serve/mod.rs", "ServeArgs"),
        ("serve/limits.rs", "ServeLimitArgs"),
        ("args.rs", "EngineArgs"),
        ("args.rs", "OptionalModelsArg"),
        ("args.rs", "StrictArg"),
        ("args.rs", "MessageArgs"),
        ("web.rs", "WebArgs"),
    ];
    let body = |(file, name): (&str, &str)| {
        let source = text(&format!("crates/mplug-cli/src/{file}"));
        let after = source.split_once(&format!("struct {name} {{")).unwrap_or_else(|| panic!("no {name}")).1;
        after.split_once("\n}").unwrap().0.to_owned()
    };
    structs.map(body).join("\n")
}

/// Names of options: the fields below `#[arg(long …)]`, of one line or several.
fn options_of_serve() -> BTreeSet<String> {
    let source = source_of_arguments();
    let field = |after: &str| {
        let (attribute, field) = after.split_once(")]\n")?;
        let is_long = attribute.split([',', ' ', '\n']).any(|word| word == "long");
        let name = field.trim_start().trim_start_matches("pub(crate) ").split(':').next()?;
        is_long.then(|| name.replace('_', "-"))
    };
    source.split("#[arg(").skip(1).filter_map(field).collect()
}

fn seconds(text: &str) -> u64 {
    text.trim_end_matches('s').parse().unwrap_or_else(|_| panic!("no seconds: {text}"))
}

#[test]
fn whoever_ends_the_server_waits_longer_than_it_drains() {
    let drain = Limits::default().drain_deadline.as_secs();
    let unit = text("packaging/mplug.service");
    let stop = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
    assert!(seconds(stop) > drain, "TimeoutStopSec={stop}");
    let pod = &manifest("Deployment")["spec"]["template"]["spec"];
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    let before = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
    assert!(grace - before > drain, "terminationGracePeriodSeconds: {grace}, preStop: {before}");
    for path in ["packaging/compose.yaml", "packaging/photoprism/compose.yaml"] {
        let service = &document(path)["services"][NAME];
        assert!(seconds(service["stop_grace_period"].as_str().unwrap()) > drain, "{path}: {service}");
    }
}

#[test]
fn options_and_variables_are_those_of_the_command() {
    let options = options_of_serve();
    for known in ["listen", "ollama", "no-auth", "drain-deadline", "model", "threads", "allow-urls"] {
        assert!(options.contains(known), "{known} is not in {options:?}");
    }
    let source = source_of_arguments();
    let variables = words(&source, "MPLUG_", |c| c.is_ascii_uppercase() || c == '_');
    assert!(variables.contains("API_KEY_FILE"), "{variables:?}");
    let (mut count, mut others) = (0, BTreeSet::new());
    let files = files();
    for (path, text) in &files {
        for option in words(text, "--", |c| c.is_ascii_alphanumeric() || ['-', '.'].contains(&c)) {
            if options.contains(option) {
                count += 1;
            } else {
                let is_listed = OF_OTHERS.contains(&option);
                assert!(
                    is_listed,
                    "{path}: --{option} is no option of `mplug serve`, nor a listed one of others"
                );
                others.insert(option);
            }
        }
        for name in words(text, "MPLUG_", |c| c.is_ascii_uppercase() || c == '_') {
            let is_known = variables.contains(name) || NO_OPTIONS.contains(&name);
            assert!(is_known, "{path}: MPLUG_{name} means nothing to `mplug serve`");
            count += 1;
        }
    }
    assert!(count > 15, "only {count} looked at");
    assert_eq!(others, BTreeSet::from(OF_OTHERS), "the list has what nobody uses");
}

#[test]
fn the_image_has_no_root_and_no_secret() {
    let dockerfile = text("packaging/Dockerfile");
    let lines: Vec<&str> = dockerfile.lines().map(str::trim).filter(|line| !line.starts_with('#')).collect();
    let value = |name: &str| lines.iter().filter_map(|line| line.strip_prefix(name)).next_back().unwrap();
    assert!(value("FROM ").ends_with(":nonroot"));
    assert_eq!(value("USER "), "65532:65532");
    assert_eq!(value("EXPOSE "), "8080");
    let check = lines.iter().find(|line| line.starts_with("HEALTHCHECK")).unwrap();
    assert!(check.ends_with(r#"CMD ["/usr/local/bin/mplug","serve","--probe"]"#), "{check}");
    // A program needs the glibc with which it was built, or a newer one.
    let debian = |line: &&&str| line.contains("bookworm") || line.contains("debian12");
    let stages: Vec<&&str> = lines.iter().filter(|line| line.starts_with("FROM ")).collect();
    assert_eq!(stages.iter().copied().filter(debian).count(), stages.len(), "{stages:?}");
    let secret = ["KEY", "TOKEN", "PASSWORD", "SECRET", "CREDENTIAL"];
    for line in lines.iter().filter(|line| !line.starts_with("LABEL")) {
        assert!(secret.iter().all(|word| !line.to_uppercase().contains(word)), "{line}");
    }
    // Nor does a layer of the builder: what it copies is listed.
    assert_eq!(text(".dockerignore").lines().find(|line| !line.starts_with('#')), Some("*"));
    let unit = text("packaging/mplug.service");
    assert!(unit.contains("\nLoadCredential=api-key:") && unit.contains("\nDynamicUser=yes"));
}

#[test]
fn pods_can_do_nothing_else() {
    let pod = &manifest("Deployment")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["automountServiceAccountToken"], false);
    // Its variables would have the prefix of our options.
    assert_eq!(pod["enableServiceLinks"], false);
    let can = &container["securityContext"];
    assert_eq!(
        (&can["readOnlyRootFilesystem"], &can["allowPrivilegeEscalation"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(can["capabilities"]["drop"], json!(["ALL"]));
    let network = &manifest("NetworkPolicy")["spec"];
    assert_eq!((&network["egress"], &network["policyTypes"]), (&json!([]), &json!(["Ingress", "Egress"])));
    for path in ["packaging/compose.yaml", "packaging/photoprism/compose.yaml"] {
        let service = &document(path)["services"][NAME];
        assert_eq!((&service["read_only"], &service["cap_drop"]), (&json!(true), &json!(["ALL"])), "{path}");
    }
}

#[test]
fn what_probes_and_scalers_read_is_there() {
    let server = Running::start(ServeOptions::default());
    let pod = &manifest("Deployment")["spec"]["template"]["spec"];
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let path = pod["containers"][0][probe]["httpGet"]["path"].as_str().unwrap();
        assert_eq!(server.get(path).status, 200, "{probe}: {path}");
    }
    let scaler = &manifest("HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"];
    let metric = scaler["metric"]["name"].as_str().unwrap();
    let metrics = server.get("/metrics").text();
    assert!(metrics.lines().any(|line| line.starts_with(&format!("{metric} "))), "{metric}: {metrics}");
    // As soon as pictures wait.
    let target = scaler["target"]["averageValue"].as_str().unwrap();
    assert_eq!(target.parse(), Ok(Limits::default().texts_at_once));
    let job = &document("packaging/prometheus.yml")["scrape_configs"][0];
    assert_eq!(job["static_configs"][0]["targets"], json!([format!("{NAME}:8080")]));
}

/// The models of `vision.yml` that this server answers for.
fn vision_models() -> Vec<Value> {
    let mut vision = document("packaging/photoprism/vision.yml");
    let Value::Array(models) = vision["Models"].take() else { panic!("no models: {vision}") };
    models.into_iter().filter(|model| model["Engine"] == "ollama").collect()
}

fn fixture(kind: &str) -> Value {
    serde_json::from_str(&text(&format!("fixtures/serve/photoprism-{kind}.json"))).unwrap()
}

/// A server with the options of the example.
fn server_of_the_example() -> Running {
    let compose = document("packaging/photoprism/compose.yaml");
    let service = &compose["services"][NAME];
    assert_eq!(service["command"], json!(["serve", "--ollama", "--no-auth", "--host", NAME]));
    // Without keys: in a network that leads nowhere, and at no port of the machine.
    assert_eq!(service["networks"], json!(["vision"]));
    assert_eq!((&compose["networks"]["vision"]["internal"], &service["ports"]), (&json!(true), &Value::Null));
    Running::start(ServeOptions { ollama: true, hosts: vec![NAME.to_owned()], ..ServeOptions::default() })
}

/// Sends a request to an address as it is written in `vision.yml`.
fn send(server: &Running, uri: &str, body: &Value) -> Reply {
    let (host, path) = uri.strip_prefix("http://").and_then(|rest| rest.split_once('/')).unwrap();
    let headers = [("Host", host), ("Content-Type", "application/json")];
    server.request("POST", &format!("/{path}"), &headers, body.to_string().as_bytes())
}

/// What PhotoPrism takes from a reply: the caption and the labels of `result`, or else `response`, which has labels if it is JSON
/// with labels and is a caption otherwise.
fn read(reply: &Reply, wants_json: bool) -> (Option<String>, Vec<Value>) {
    assert_eq!(reply.status, 200, "{}", reply.text());
    let reply = reply.json();
    let time = reply["created_at"].as_str().unwrap();
    assert!(time.len() == 20 && time.ends_with('Z'), "its parser takes RFC 3339 alone: {time}");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (mut caption, mut labels) =
        (reply["result"]["caption"]["text"].as_str(), list(&reply["result"]["labels"]));
    let response = reply["response"].as_str().unwrap_or_default().trim();
    if labels.is_empty() && (wants_json || response.starts_with('{')) {
        labels =
            serde_json::from_str(response).map(|value: Value| list(&value["labels"])).unwrap_or_default();
    }
    if labels.is_empty() && caption.is_none() && !response.is_empty() {
        caption = Some(response);
    }
    (caption.map(str::to_owned), labels)
}

#[test]
fn photoprism_gets_captions_and_labels() {
    let server = server_of_the_example();
    let models = vision_models();
    assert_eq!(models.len(), 2, "{models:?}");
    for model in &models {
        let kind = model["Type"].as_str().unwrap();
        let request = fixture(kind);
        // The fixture is what PhotoPrism makes of this model.
        assert_eq!(request["model"], format!("{}:latest", model["Model"].as_str().unwrap()));
        assert!(request["prompt"].as_str().unwrap().starts_with(model["Prompt"].as_str().unwrap()));
        assert_eq!(
            (&request["format"], &request["options"]["top_k"]),
            (&model["Format"], &model["Options"]["TopK"])
        );
        let uri = model["Service"]["Uri"].as_str().unwrap();
        let reply = send(&server, uri, &request);
        let (caption, labels) = read(&reply, request["format"] == "json");
        if kind == "caption" {
            let caption = caption.unwrap_or_else(|| panic!("no caption: {}", reply.text()));
            assert!(labels.is_empty() && !caption.starts_with('{'), "{caption}");
            let again = read(&send(&server, uri, &request), false).0;
            assert_eq!(again.as_ref(), Some(&caption), "nothing is left to chance");
        } else {
            assert!(!labels.is_empty(), "{}", reply.text());
            for label in &labels {
                assert!(label["name"].as_str().is_some_and(|name| !name.is_empty()), "{label}");
                for field in ["confidence", "topicality"] {
                    let value = label[field].as_f64().unwrap_or_else(|| panic!("{label}"));
                    assert!(value > 0.0 && value < 1.0 + 1e-6, "{label}");
                }
            }
        }
    }
}

#[test]
fn photoprism_reads_what_went_wrong() {
    let server = server_of_the_example();
    let uri = vision_models()[0]["Service"]["Uri"].as_str().unwrap().to_owned();
    let mut broken = fixture("caption");
    broken["images"] = json!(["AAAA"]);
    let mut unknown = fixture("caption");
    unknown["model"] = json!("gemma3:latest");
    for (body, status) in [(broken, 422), (unknown, 404)] {
        let reply = send(&server, &uri, &body);
        assert_eq!(reply.status, status, "{}", reply.text());
        assert!(reply.json()["error"].is_string(), "its parser takes a text alone: {}", reply.text());
    }
    // By another name than the one that it was started with.
    assert_eq!(send(&server, "http://other:8080/api/generate", &fixture("caption")).status, 403);
}
