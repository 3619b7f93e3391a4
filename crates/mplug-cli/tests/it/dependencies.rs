//! What we depend on: licences and banned crates as `deny.toml` has them, and what a default build leaves out. Cargo is asked,
//! offline: in a build with training all packages are here.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use spdx::{Expression, ParseMode};

/// No default build has these, or any whose name continues so with a hyphen.
const NOT_IN_A_DEFAULT_BUILD: [&str; 2] = ["burn", "cubecl"];
/// Async runtimes and their kin, which the server alone has.
const OF_THE_SERVER: [&str; 4] = ["tokio", "hyper", "axum", "async-std"];
/// What programs build upon; the Python package has training, and no server.
const LIBRARIES: [&str; 6] =
    ["mplug", "mplug-bulk", "mplug-eval", "mplug-hub", "mplug-train", "mplug-python"];

/// What cargo prints.
fn cargo(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(args)
        .args(["--offline", "--locked"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .output()
        .unwrap();
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {args:?} (`cargo fetch` brings packages): {messages}");
    String::from_utf8(output.stdout).unwrap()
}

/// A package that this machine builds for something of the workspace.
struct Package {
    name: String,
    /// As its manifest says it; empty if that names none.
    licence: String,
    /// The folder or address that it comes from, if it is not crates.io.
    origin: Option<String>,
}

/// All of them, those of training, of Parquet and of tests included. (`cargo metadata` would also list what no feature builds.)
fn packages() -> Vec<Package> {
    let features = "mplug-cli/train,mplug-cli/parquet";
    let format = ["--prefix", "none", "--format", "{p}\t{l}"];
    let tree = cargo(
        &[&["tree", "--workspace", "-e", "normal,build,dev", "--features", features][..], &format].concat(),
    );
    let mut lines: Vec<&str> = tree.lines().filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    lines.dedup();
    // `name v1.2.3 (proc-macro) (/a/path)`, a tab, the licence
    let package = |line: &str| {
        let (package, licence) = line.split_once('\t').unwrap();
        let origin = package.split_once('(').map(|(_, rest)| rest.replace("proc-macro) (", ""));
        Package {
            name: package.split(' ').next().unwrap().to_owned(),
            licence: licence.trim_end_matches(" (*)").to_owned(),
            origin: origin.filter(|origin| origin.contains('/')),
        }
    };
    lines.into_iter().map(package).collect()
}

fn rules() -> toml::Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deny.toml");
    fs::read_to_string(path).unwrap().parse().unwrap()
}

/// The texts in a table's list; of a table in that list, its `crate`.
fn texts(rules: &toml::Table, section: &str, key: &str) -> Vec<String> {
    let text = |value: &toml::Value| value.get("crate").unwrap_or(value).as_str().unwrap().to_owned();
    rules[section][key].as_array().unwrap().iter().map(text).collect()
}

#[test]
fn licences_are_those_that_we_allow() {
    let rules = rules();
    let allowed = texts(&rules, "licenses", "allow");
    let clarified = rules["licenses"]["clarify"].as_array().unwrap();
    let mut count = 0;
    for Package { name, licence, .. } in packages() {
        let by_hand = clarified.iter().find(|entry| entry["crate"].as_str() == Some(&name));
        let licence = match by_hand {
            Some(entry) if licence.is_empty() => entry["expression"].as_str().unwrap(),
            _ => &licence,
        };
        let expression = Expression::parse_mode(licence, ParseMode::LAX)
            .unwrap_or_else(|error| panic!("{name}: `{licence}`: {error}"));
        let is_allowed = expression.evaluate(|requirement| allowed.contains(&requirement.to_string()));
        assert!(is_allowed, "{name}: `{licence}` is not among the licences of deny.toml");
        count += 1;
    }
    assert!(count > 300, "only {count} packages looked at");
}

#[test]
fn banned_crates_are_not_there() {
    let banned = texts(&rules(), "bans", "deny");
    assert!(banned.len() > 3);
    for Package { name, origin, .. } in packages() {
        assert!(!banned.contains(&name), "{name} is banned by deny.toml");
        let is_ours = name.starts_with("mplug") || name == "caption-metrics";
        assert_eq!(origin.is_some(), is_ours, "{name} comes from {origin:?}");
    }
}

/// The names of all packages that a crate is built from.
fn built_from(name: &str) -> BTreeSet<String> {
    let tree = cargo(&["tree", "-p", name, "--prefix", "none", "-e", "normal"]);
    tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// Whether a package is one of `kinds`, or a part of one.
fn is_of(name: &str, kinds: &[&str]) -> bool {
    let rest = |kind| name.strip_prefix(kind);
    kinds.iter().filter_map(rest).any(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Burn comes with a feature alone.
#[test]
fn a_default_build_is_lean() {
    let names = built_from("mplug-cli");
    assert!(names.contains("clap") && names.len() > 100, "{} packages", names.len());
    let heavy: Vec<&String> = names.iter().filter(|name| is_of(name, &NOT_IN_A_DEFAULT_BUILD)).collect();
    assert!(heavy.is_empty(), "a default build has {heavy:?}");
}

#[test]
fn libraries_have_no_async_runtime() {
    assert!(built_from("mplug-server").contains("tokio"), "the names are those of packages");
    for library in LIBRARIES {
        let names = built_from(library);
        let found: Vec<&String> = names.iter().filter(|name| is_of(name, &OF_THE_SERVER)).collect();
        assert!(found.is_empty(), "{library} has {found:?}");
    }
}

/// The Python package is built from what the tests of training build: burn takes minutes. Features of shared dependencies that differ
/// would mean a second burn; `mplug-nn` names those that it does not need itself.
#[test]
fn the_python_package_shares_the_build_of_burn() {
    let with_features = |args: &[&str]| {
        let format = ["-e", "normal,build", "--prefix", "none", "--format", "{p}\t{f}"];
        let tree = cargo(&[&["tree"], args, &format].concat());
        tree.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect::<BTreeSet<String>>()
    };
    let tested = [
        &["-p", "mplug-nn", "-p", "mplug-train", "-p", "mplug-data", "-p", "mplug-bulk", "-p", "mplug-cli"][..],
        &["-p", "mplug-python", "--features", "mplug-cli/train,mplug-cli/parquet", "-e", "dev"],
    ];
    let tested = with_features(&tested.concat());
    let of_burn = with_features(&["-p", "burn"]);
    let names: BTreeSet<&str> = of_burn.iter().filter_map(|line| line.split('\t').next()).collect();
    let package = with_features(&["-p", "mplug-python"]);
    let shared =
        package.iter().filter(|line| line.split('\t').next().is_some_and(|name| names.contains(name)));
    let others: Vec<&String> = shared.filter(|line| !tested.contains(*line)).collect();
    assert!(names.len() > 50 && others.is_empty(), "built with other features: {others:?}");
}
