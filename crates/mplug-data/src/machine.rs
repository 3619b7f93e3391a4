//! What the machine has for a run: memory, and room on the disk of its folder. What the system does not report is not known, and
//! then nothing is held against a run.

use std::path::Path;

/// What a machine has, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Memory of this process in all: the machine's, or what its container may use.
    pub memory: Option<u64>,
    /// Memory that is free.
    pub free_memory: Option<u64>,
    /// Room on the disk.
    pub free_disk: Option<u64>,
}

impl Machine {
    /// This one, with the disk that the folder `output` is on, or would be.
    pub fn here(output: &Path) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let found = read("/proc/meminfo").map(|text| of_meminfo(&text)).unwrap_or_default();
        let limit =
            read("/sys/fs/cgroup/memory.max").or_else(|| read("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
        let used = read("/sys/fs/cgroup/memory.current")
            .or_else(|| read("/sys/fs/cgroup/memory/memory.usage_in_bytes"));
        let number = |text: Option<String>| text?.trim().parse::<u64>().ok();
        found.within(number(limit), number(used)).with_disk(free_space(existing(output)))
    }

    /// With what a container allows.
    fn within(self, limit: Option<u64>, used: Option<u64>) -> Self {
        let Some(limit) = limit.filter(|limit| self.memory.is_none_or(|memory| *limit < memory)) else {
            return self;
        };
        let left = limit.saturating_sub(used.unwrap_or(0));
        let free_memory = self.free_memory.map_or(left, |free| free.min(left));
        Self { memory: Some(limit), free_memory: Some(free_memory), ..self }
    }

    fn with_disk(self, free_disk: Option<u64>) -> Self {
        Self { free_disk, ..self }
    }
}

/// What Linux reports in `/proc/meminfo`.
fn of_meminfo(text: &str) -> Machine {
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kibibytes| 1024 * kibibytes)
    };
    Machine { memory: bytes("MemTotal"), free_memory: bytes("MemAvailable"), free_disk: None }
}

/// The folder, or the nearest above it that is there.
fn existing(folder: &Path) -> &Path {
    let there = folder.ancestors().find(|folder| folder.exists());
    // The last of a relative path's ancestors has no name.
    there.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
fn free_space(folder: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn free_space(_folder: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_may_have_less_than_its_machine() {
        let text = "MemTotal:        8000 kB\nMemFree:          100 kB\nMemAvailable:    4000 kB\n";
        let machine = of_meminfo(text);
        assert_eq!((machine.memory, machine.free_memory), (Some(8_192_000), Some(4_096_000)));
        assert_eq!(machine.within(None, None), machine);
        assert_eq!(machine.within(Some(u64::MAX), Some(5)), machine);
        let small = machine.within(Some(3_000_000), Some(1_000_000));
        assert_eq!((small.memory, small.free_memory), (Some(3_000_000), Some(2_000_000)));
        assert_eq!(of_meminfo("nothing of the kind").free_memory, None);
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_on_a_disk_all_the_same() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(existing(&folder.path().join("runs/x")), folder.path());
        assert_eq!(existing(Path::new("no-such-folder/x")), Path::new("."));
        if cfg!(any(target_os = "linux", target_os = "macos")) {
            assert!(Machine::here(&folder.path().join("runs")).free_disk.is_some());
        }
    }
}
