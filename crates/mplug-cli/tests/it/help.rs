//! Help, version, completions and man pages.

use std::path::Path;

use crate::support::run_in;

fn run(args: &[&str]) -> crate::support::Outcome {
    run_in(Path::new("."), args)
}

/// The commands that the program itself lists.
fn commands() -> Vec<String> {
    let main = run(&["--help"]);
    assert_eq!(main.code, 0);
    let (_, list) = main.stdout.split_once("\nCommands:\n").expect("a list of commands");
    let (list, _) = list.split_once("\n\n").expect("its end");
    let named = list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let commands =
        named.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect::<Vec<_>>();
    assert!(commands.len() >= 14 && commands.iter().any(|name| name == "bench"), "{commands:?}");
    commands
}

#[test]
fn every_command_has_help_with_examples() {
    for command in commands() {
        let command = command.as_str();
        let help = run(&[command, "--help"]);
        assert_eq!(help.code, 0, "{command}");
        assert!(help.stdout.contains(&format!("Usage: mplug {command}")), "{}", help.stdout);
        assert!(help.stdout.contains("Examples:\n"), "{command}:\n{}", help.stdout);
    }
}

#[test]
fn the_version_is_printed() {
    let version = run(&["--version"]);
    assert_eq!((version.code, version.stdout), (0, format!("mplug {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn completions_of_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = run(&["completions", shell]);
        assert_eq!(script.code, 0);
        assert!(script.stdout.contains("max-new-tokens"), "{shell}");
    }
}

#[test]
fn man_pages_of_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    assert_eq!(run(&["man", pages.to_str().unwrap()]).code, 0);
    for command in commands() {
        let page = std::fs::read_to_string(pages.join(format!("mplug-{command}.1"))).unwrap();
        assert!(page.contains(".TH"), "{command}");
    }
    assert!(std::fs::read_to_string(pages.join("mplug.1")).unwrap().contains("caption"));
    assert!(run(&["man"]).stdout.contains(".TH"));
}
