//! What we depend on: licences and banned crates as `deny.toml` has them, and what a default build leaves out. Asked of cargo,
//! offline: in a build with training all packages are here.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use spdx::{Expression, ParseMode};

/// No default build has these, or any whose name continues so with a hyphen.
const NOT_IN_A_DEFAULT_BUILD: [&str; 5] = ["burn", "cubecl", "tokio", "hyper", "async-std"];

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

/// All packages of the workspace on this kind of machine, as `cargo metadata` describes them.
fn packages() -> Vec<Value> {
    let version = Command::new("rustc").arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let metadata = cargo(&["metadata", "--format-version", "1", "--filter-platform", host]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    metadata["packages"].as_array().unwrap().clone()
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
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        let by_hand = clarified.iter().find(|entry| entry["crate"].as_str() == Some(name));
        let licence = package["license"].as_str().or_else(|| by_hand?["expression"].as_str());
        let licence = licence.unwrap_or_else(|| panic!("{name} names no licence"));
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
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        assert!(!banned.iter().any(|banned| banned == name), "{name} is banned by deny.toml");
        let from = package["source"].as_str();
        let is_known =
            from.is_none_or(|from| from.starts_with("registry+https://github.com/rust-lang/crates.io"));
        assert!(is_known, "{name} comes from {from:?}");
    }
}

/// Burn and async runtimes come with features alone.
#[test]
fn a_default_build_is_lean() {
    let tree = cargo(&["tree", "-p", "mplug-cli", "--prefix", "none", "-e", "normal"]);
    let names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"clap") && names.len() > 100, "{} packages", names.len());
    for name in names {
        for heavy in NOT_IN_A_DEFAULT_BUILD {
            let rest = name.strip_prefix(heavy);
            let is_heavy = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
            assert!(!is_heavy, "a default build has {name}");
        }
    }
}
