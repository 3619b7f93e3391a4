//! Models that README, docs, recipes and help name are there, or can be had.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::run_in;

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Words behind which a model is named.
const BEFORE_MODELS: [&str; 8] = [
    "--model ",
    "mplug pull ",
    "mplug inspect ",
    "mplug convert ",
    "start.model=",
    "\nmodel = ",
    "Answerer(\"",
    "Matcher(\"",
];

/// The models that a text names, with their quotes.
fn models_of(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for before in BEFORE_MODELS {
        for (at, _) in text.match_indices(before) {
            let rest = text[at + before.len()..].trim_start_matches(['"', '`', '\'']);
            let name: String =
                rest.chars().take_while(|c| !c.is_whitespace() && !"\"`'),;]\\".contains(*c)).collect();
            found.insert(name);
        }
    }
    found
}

/// Folders and files that a reader makes or has: of commands shown before, or obviously the reader's own.
const OWN: [&str; 14] = [
    "base",
    "base_int8",
    "base-zh-bf16",
    "base-zh-int8",
    "base-zh-f16",
    "checkpoint_07.pth",
    "merged",
    "start",
    "mine",
    "small",
    "for_modelscope",
    "runs",
    "models",
    "m",
];
/// Words of a sentence that follow an option's name.
const PROSE: [&str; 3] = ["that", "of", "on"];

/// Names in README, docs, recipes and help are published names, paths that are there, or folders that the reader makes.
#[test]
fn models_that_are_named_resolve() {
    let mut texts = Vec::new();
    let mut files = vec![root().join("README.md")];
    for folder in ["docs", "configs"] {
        files.extend(fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path()));
    }
    for file in files.iter().filter(|file| file.extension().is_some_and(|e| e == "md" || e == "toml")) {
        texts.push((file.display().to_string(), fs::read_to_string(file).unwrap()));
    }
    let main = run_in(Path::new("."), &["--help"]).stdout;
    let commands = main.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    for command in commands.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()) {
        if !command.is_empty() && command != "help" {
            texts.push((command.to_owned(), run_in(Path::new("."), &[command, "--help"]).stdout));
        }
    }
    texts.push(("help".to_owned(), main));
    let mut seen = 0;
    for (file, text) in &texts {
        for name in models_of(text) {
            let is_placeholder = name.is_empty()
                || name.starts_with(['<', '$', '/', '{', '-', '[', '.', '(', '…'])
                || name.chars().all(|c| c.is_ascii_uppercase() || "_|".contains(c))
                || PROSE.contains(&name.as_str())
                || name == "someone/model"
                || name == "path/to/model";
            let first = name.split('/').next().unwrap_or_default();
            let is_there = root().join(&name).exists();
            let is_own = OWN.contains(&first);
            let is_published =
                name.parse::<mplug_hub::ModelId>().is_ok_and(|id| mplug_hub::published_model(&id).is_some());
            seen += usize::from(is_published);
            assert!(
                is_placeholder || is_there || is_own || is_published,
                "{file}: `{name}` resolves nowhere"
            );
        }
        assert!(!text.contains("mplug_base_zh") && !text.contains("mplug_vqa"), "{file}");
    }
    assert!(seen > 20, "only {seen} published names are named");
}
