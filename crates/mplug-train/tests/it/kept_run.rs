//! A finished run kept in memory: it is trained once, and each test that starts from one gets its own copy.

use std::path::{Path, PathBuf};

/// The files of a run folder, by their paths in it.
pub(crate) struct KeptRun(Vec<(PathBuf, Vec<u8>)>);

impl KeptRun {
    /// The run in `folder`.
    pub(crate) fn read(folder: &Path) -> Self {
        let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
        while let Some(next) = folders.pop() {
            for entry in std::fs::read_dir(next).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(folder).expect("it is in the folder").to_owned();
                    files.push((name, std::fs::read(&path).expect("a file")));
                }
            }
        }
        Self(files)
    }

    /// One of its files.
    pub(crate) fn file(&self, name: &str) -> &[u8] {
        let found = self.0.iter().find(|(path, _)| path == Path::new(name));
        &found.expect(name).1
    }

    /// Writes it to `folder`.
    pub(crate) fn write(&self, folder: &Path) {
        for (name, bytes) in &self.0 {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, bytes).expect("written");
        }
    }
}
