//! A finished run kept in memory: it is trained once, and each test that starts from one gets its own copy.

use std::path::{Path, PathBuf};

/// The files of a run folder by their paths in it, and its links.
pub(crate) struct KeptRun {
    files: Vec<(PathBuf, Vec<u8>)>,
    links: Vec<(PathBuf, PathBuf)>,
}

impl KeptRun {
    /// The run in `folder`.
    pub(crate) fn read(folder: &Path) -> Self {
        let (mut files, mut links, mut folders) = (Vec::new(), Vec::new(), vec![folder.to_owned()]);
        while let Some(next) = folders.pop() {
            for entry in std::fs::read_dir(next).expect("a folder") {
                let path = entry.expect("an entry").path();
                let name = path.strip_prefix(folder).expect("it is in the folder").to_owned();
                if path.is_symlink() {
                    links.push((name, std::fs::read_link(&path).expect("a link")));
                } else if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push((name, std::fs::read(&path).expect("a file")));
                }
            }
        }
        Self { files, links }
    }

    /// One of its files. The first part of its path may be a link.
    pub(crate) fn file(&self, name: &str) -> &[u8] {
        let (first, rest) = name.split_once('/').unwrap_or((name, ""));
        let target = self.links.iter().find(|(path, _)| path == Path::new(first));
        let name = target.map_or_else(|| PathBuf::from(name), |(_, target)| target.join(rest));
        let found = self.files.iter().find(|(path, _)| *path == name);
        &found.expect("one of its files").1
    }

    /// Writes it to `folder`.
    pub(crate) fn write(&self, folder: &Path) {
        for (name, bytes) in &self.files {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, bytes).expect("written");
        }
        for (name, target) in &self.links {
            link(target, &folder.join(name));
        }
    }
}

#[cfg(unix)]
fn link(target: &Path, path: &Path) {
    std::os::unix::fs::symlink(target, path).expect("a link");
}

#[cfg(not(unix))]
fn link(_: &Path, _: &Path) {
    unreachable!("a run writes links on Unix alone");
}
