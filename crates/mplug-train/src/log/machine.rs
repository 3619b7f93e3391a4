//! What a run ran on.

use std::path::Path;

use serde_json::{Map, Value};

use crate::preflight::machine::Machine;

/// `processor`, `threads`, `memory_bytes` where the system reports them (Linux), `system` and the `version` of this program.
pub(super) fn facts() -> Map<String, Value> {
    let mut facts = Map::new();
    let mut add = |name: &str, value: Value| {
        if !value.is_null() {
            facts.insert(name.to_owned(), value);
        }
    };
    add("processor", field("/proc/cpuinfo", "model name").into());
    add("threads", std::thread::available_parallelism().ok().map(usize::from).into());
    add("memory_bytes", Machine::here(Path::new(".")).memory.into());
    add("system", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH).into());
    add("version", env!("CARGO_PKG_VERSION").into());
    facts
}

/// The first value of that name in a file of `name: value`.
fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(found, _)| found.trim() == name).map(|(_, value)| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_has_threads_and_a_system() {
        let facts = facts();
        assert!(facts["threads"].as_u64().is_some_and(|threads| threads > 0));
        assert!(facts["system"].as_str().is_some_and(|system| system.contains(' ')));
    }
}
