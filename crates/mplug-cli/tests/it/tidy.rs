//! What ARCHITECTURE.md promises of the whole source tree: which crate may depend on which, who prints, and that every
//! file says what it is.

use std::fs;
use std::path::{Path, PathBuf};

/// Crates, each with those of ours that it may depend on.
const ALLOWED: [(&str, &[&str]); 11] = [
    ("caption-metrics", &[]),
    ("mplug-kernels", &[]),
    ("mplug", &["mplug-kernels"]),
    ("mplug-hub", &["mplug"]),
    ("mplug-data", &["mplug"]),
    ("mplug-bulk", &["mplug", "mplug-data", "mplug-hub"]),
    ("mplug-nn", &["mplug"]),
    ("mplug-eval", &["caption-metrics", "mplug", "mplug-data"]),
    ("mplug-train", &["caption-metrics", "mplug", "mplug-data", "mplug-eval", "mplug-nn"]),
    ("mplug-testing", &["mplug"]),
    (
        "mplug-cli",
        &[
            "caption-metrics",
            "mplug",
            "mplug-bulk",
            "mplug-data",
            "mplug-eval",
            "mplug-hub",
            "mplug-nn",
            "mplug-train",
        ],
    ),
];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
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

#[test]
fn dependencies_go_one_way() {
    let mut found: Vec<String> =
        fs::read_dir(crates()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    let mut known: Vec<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    known.sort_unstable();
    assert_eq!(found, known, "a crate is not in the table of allowed dependencies");

    for (name, allowed) in ALLOWED {
        let manifest = fs::read_to_string(crates().join(name).join("Cargo.toml")).unwrap();
        let (_, dependencies) = manifest.split_once("[dependencies]").expect("every crate has dependencies");
        let dependencies = dependencies.split("\n[").next().unwrap_or_default();
        for line in dependencies.lines() {
            let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
            let is_ours = ALLOWED.iter().any(|(ours, _)| *ours == dependency);
            assert!(!is_ours || allowed.contains(&dependency), "{name} must not depend on {dependency}");
            let knows_burn = ["mplug-nn", "mplug-train"].contains(&name);
            assert!(!dependency.starts_with("burn") || knows_burn, "{name} must not know burn");
        }
    }
}

#[test]
fn libraries_do_not_print_and_every_file_says_what_it_is() {
    let mut count = 0;
    for (name, _) in ALLOWED {
        for path in rust_files(&crates().join(name).join("src")) {
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
    assert!(size < 8 << 20, "fixtures take {size} bytes");
}
