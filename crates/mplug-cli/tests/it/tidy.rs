//! What ARCHITECTURE.md promises of the whole source tree: which crate may depend on which, who prints, what the command line
//! may hold, which words are used, and that every file says what it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Crates, each with those of ours that it may depend on.
const ALLOWED: [(&str, &[&str]); 17] = [
    ("caption-metrics", &[]),
    ("mplug-kernels", &[]),
    ("mplug", &["mplug-kernels"]),
    ("mplug-hub", &["mplug"]),
    ("mplug-data", &["mplug"]),
    ("mplug-bulk", &["mplug", "mplug-data", "mplug-hub"]),
    ("mplug-nn", &["mplug"]),
    ("mplug-eval", &["caption-metrics", "mplug", "mplug-data"]),
    ("mplug-train", &["caption-metrics", "mplug", "mplug-data", "mplug-eval", "mplug-nn"]),
    ("mplug-server", &["mplug", "mplug-hub"]),
    ("mplug-testing", &["mplug", "mplug-nn"]),
    ("mplug-demo-ask", &[]),
    ("mplug-demo-caption", &[]),
    ("mplug-demo-match", &[]),
    ("mplug-demo", &["mplug", "mplug-demo-ask", "mplug-demo-caption", "mplug-demo-match"]),
    (
        "mplug-python",
        &["caption-metrics", "mplug", "mplug-bulk", "mplug-data", "mplug-demo", "mplug-hub", "mplug-train"],
    ),
    (
        "mplug-cli",
        &[
            "caption-metrics",
            "mplug",
            "mplug-bulk",
            "mplug-data",
            "mplug-demo",
            "mplug-eval",
            "mplug-hub",
            "mplug-nn",
            "mplug-server",
            "mplug-train",
        ],
    ),
];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The folder of a crate.
fn folder_of(name: &str) -> PathBuf {
    if name == "mplug-python" { crates().join("../python") } else { crates().join(name) }
}

/// All Rust files below `folder`.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(folder) {
        let path = entry.unwrap().into_path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// Libraries of terminals and arguments, which only the command line knows.
const OF_THE_SHELL: [&str; 6] =
    ["anyhow", "clap", "clap_complete", "clap_mangen", "indicatif", "signal-hook"];
/// Most lines of a file of the command line, and of all of them, that are code and no test: some 300 for each of its commands.
const MOST_LINES: usize = 200;
const MOST_LINES_IN_ALL: usize = 4880;
/// Most files of the command line that may import each other in a circle.
const LONGEST_CIRCLE: usize = 5;

/// The names of the dependencies in every table of a manifest, with their table.
fn dependencies(manifest: &str) -> Vec<(String, String)> {
    let mut table = String::new();
    let mut found = Vec::new();
    for line in manifest.lines() {
        if let Some(name) = line.strip_prefix('[') {
            name.trim_end_matches(']').clone_into(&mut table);
        } else if table.ends_with("dependencies") && !line.starts_with('#') && !line.trim().is_empty() {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            found.push((table.clone(), name.to_owned()));
        }
    }
    found
}

#[test]
fn dependencies_go_one_way() {
    let mut found: Vec<String> =
        fs::read_dir(crates()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    let mut known: Vec<&str> =
        ALLOWED.iter().map(|(name, _)| *name).filter(|name| *name != "mplug-python").collect();
    known.sort_unstable();
    assert_eq!(found, known, "a crate is not in the table of allowed dependencies");

    let mut count = 0;
    for (name, allowed) in ALLOWED {
        let manifest = fs::read_to_string(folder_of(name).join("Cargo.toml")).unwrap();
        for (table, dependency) in dependencies(&manifest) {
            let is_test = table.contains("dev-dependencies");
            let is_ours = ALLOWED.iter().any(|(ours, _)| *ours == dependency);
            let is_shared = is_test && dependency == "mplug-testing";
            assert!(
                !is_ours || is_shared || allowed.contains(&dependency.as_str()),
                "{name} must not depend on {dependency} ({table})"
            );
            let knows_burn = ["mplug-nn", "mplug-testing", "mplug-train"].contains(&name);
            assert!(!dependency.starts_with("burn") || knows_burn, "{name} must not know burn");
            let is_shell = OF_THE_SHELL.contains(&dependency.as_str());
            assert!(
                !is_shell || is_test || name == "mplug-cli",
                "{name} must not know {dependency} ({table})"
            );
            count += 1;
        }
    }
    assert!(count > 100, "only {count} dependencies looked at");
}

/// Rust source without its unit tests.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default()
}

#[test]
fn the_command_line_is_thin() {
    let mut in_all = 0;
    for path in rust_files(&crates().join("mplug-cli/src")) {
        let text = fs::read_to_string(&path).unwrap();
        let code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
        let lines = without_tests(&text).lines().filter(code).count();
        assert!(lines <= MOST_LINES, "{} has {lines} lines of code: it does too much", path.display());
        in_all += lines;
    }
    assert!((1000..MOST_LINES_IN_ALL).contains(&in_all), "the command line has {in_all} lines of code");
}

/// The modules of the command line that each of them imports, by `crate::`.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let source = crates().join("mplug-cli/src");
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in rust_files(&source) {
        let below = path.strip_prefix(&source).unwrap().with_extension("");
        let module = below.iter().next().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let imported = imports.entry(module).or_default();
        for after in without_tests(&text).split("crate::").skip(1) {
            // `crate::{a, b::{c, d}, e}` imports a, b and e.
            let group = after.strip_prefix('{').map(|group| group.split("};").next().unwrap_or_default());
            let mut depth = 0;
            let mut parts = vec![String::new()];
            for character in group.unwrap_or(after).chars() {
                match character {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 && group.is_some() => parts.push(String::new()),
                    _ if group.is_none() && !is_of_a_name(character) => break,
                    other => parts.last_mut().unwrap().push(other),
                }
            }
            let name =
                |part: &String| part.trim().chars().take_while(|c| is_of_a_name(*c)).collect::<String>();
            imported.extend(parts.iter().map(name).filter(|name| !name.is_empty()));
        }
    }
    imports
}

fn is_of_a_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[test]
fn few_files_import_each_other_in_a_circle() {
    let imports = imports();
    let reached_from = |start: &String| {
        let mut reached = BTreeSet::new();
        let mut next: Vec<&String> = imports[start].iter().collect();
        while let Some(module) = next.pop() {
            if imports.contains_key(module) && reached.insert(module.clone()) {
                next.extend(&imports[module]);
            }
        }
        reached
    };
    let reached: BTreeMap<&str, BTreeSet<String>> =
        imports.keys().map(|module| (module.as_str(), reached_from(module))).collect();
    assert!(reached["commands"].len() > 15, "imports are found: {:?}", reached["commands"]);
    for (module, others) in &reached {
        let circle: Vec<&String> =
            others.iter().filter(|other| reached[other.as_str()].contains(*module)).collect();
        assert!(circle.len() <= LONGEST_CIRCLE, "{module} is in a circle of {circle:?}");
    }
}

/// What libraries do not name, for they do not know how they are called: the command line adds such hints.
#[test]
fn libraries_name_no_option() {
    for (name, _) in ALLOWED.iter().filter(|(name, _)| !["mplug-cli", "mplug-testing"].contains(name)) {
        for path in rust_files(&folder_of(name).join("src")) {
            let text = fs::read_to_string(&path).unwrap();
            for line in without_tests(&text).lines().filter(|line| !line.trim_start().starts_with("//")) {
                for option in ["`--", "`mplug caption", "`mplug pull", "`mplug models", "--features"] {
                    assert!(!line.contains(option), "{}: {line}", path.display());
                }
            }
        }
    }
}

/// Words of our own where the field has one.
const PRIVATE_WORDS: [(&str, &str); 17] = [
    ("likeness", "similarity"),
    ("likenesses", "similarities"),
    ("shared space", "projection space"),
    ("portion", "micro-batch"),
    ("portions", "micro-batches"),
    ("momentum twin", "momentum model"),
    ("naive twin", "reference implementation"),
    ("asked for", "requested"),
    ("asks for", "requests"),
    ("told by", "detected by"),
    ("told from", "detected by"),
    ("is told", "is reported"),
    ("the system tells", "the system reports"),
    ("so many", "the number of"),
    ("so much", "how much"),
    ("likewise", "too"),
    ("second cache", "L2 cache"),
];

#[test]
fn the_fields_words_are_used() {
    let root = crates().join("..");
    let mut files: Vec<PathBuf> = ALLOWED.iter().flat_map(|(name, _)| rust_files(&folder_of(name))).collect();
    let is_text = |path: &PathBuf| {
        path.extension()
            .is_some_and(|ending| ["json", "md", "py", "pyi"].iter().any(|known| ending == *known))
    };
    for folder in ["docs", "python"] {
        let all =
            walkdir::WalkDir::new(root.join(folder)).into_iter().map(|entry| entry.unwrap().into_path());
        files.extend(all.filter(is_text));
    }
    files.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|name| root.join(name)));
    for path in files.iter().filter(|path| !path.ends_with("tidy.rs")) {
        let text = fs::read_to_string(path).unwrap().to_lowercase();
        for (word, instead) in PRIVATE_WORDS {
            let is_there = text.match_indices(word).any(|(at, _)| {
                let is_letter = |c: Option<char>| c.is_some_and(char::is_alphabetic);
                !is_letter(text[..at].chars().next_back())
                    && !is_letter(text[at + word.len()..].chars().next())
            });
            assert!(!is_there, "{}: `{word}`: the field says `{instead}`", path.display());
        }
    }
}

/// Beginnings of a doc that no reader understands without the item above it.
const LEANING: [&str; 4] = ["/// The same", "/// See above", "/// See there", "/// As above"];

#[test]
fn docs_stand_alone() {
    let mut count = 0;
    for path in ALLOWED.iter().flat_map(|(name, _)| rust_files(&folder_of(name))) {
        let text = fs::read_to_string(&path).unwrap();
        let mut before = "";
        for line in text.lines().map(str::trim_start) {
            if line.starts_with("/// ") && !before.starts_with("///") {
                let leans = LEANING.iter().any(|beginning| line.starts_with(beginning));
                assert!(!leans, "{}: {line}", path.display());
                count += 1;
            }
            before = line;
        }
    }
    assert!(count > 1000, "only {count} docs looked at");
}

#[test]
fn libraries_do_not_print_and_every_file_says_what_it_is() {
    let mut count = 0;
    for (name, _) in ALLOWED {
        for path in rust_files(&folder_of(name).join("src")) {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("//!"), "{} does not say what it is", path.display());
            for call in ["println!(", "eprintln!(", "print!(", "eprint!("] {
                let prints =
                    text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(call));
                assert!(!prints, "{} prints", path.display());
            }
            count += 1;
        }
    }
    assert!(count > 60, "only {count} files looked at");
}

#[test]
fn fixtures_stay_small() {
    let folder = crates().join("../fixtures");
    let size: u64 = walkdir::WalkDir::new(folder)
        .into_iter()
        .map(|entry| entry.unwrap().metadata().unwrap())
        .filter(fs::Metadata::is_file)
        .map(|metadata| metadata.len())
        .sum();
    assert!(size < 9 << 20, "fixtures take {size} bytes");
}

/// One style of imports: a `use` for each module, as `imports_granularity = "Module"` of rustfmt writes them.
#[test]
fn a_use_names_one_module() {
    let mut count = 0;
    for path in ALLOWED.iter().flat_map(|(name, _)| rust_files(&folder_of(name))) {
        let text = fs::read_to_string(&path).unwrap();
        let is_use =
            |line: &&str| ["use ", "pub use ", "pub(crate) use "].iter().any(|u| line.starts_with(u));
        let starts = text.split_inclusive('\n').scan(0, |at, line| {
            *at += line.len();
            Some((*at - line.len(), line))
        });
        for (at, _) in starts.filter(|(_, line)| is_use(&line.trim_start())) {
            let statement = text[at..].split(';').next().unwrap_or_default();
            assert!(statement.matches('{').count() <= 1, "{}: {statement}", path.display());
            count += 1;
        }
    }
    assert!(count > 1000, "only {count} imports looked at");
}
