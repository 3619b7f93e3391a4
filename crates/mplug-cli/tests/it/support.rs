//! What the tests share: the program, a folder of pictures, a tiny model.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use assert_cmd::Command;
use mplug::checkpoint::WriteOptions;
use mplug::checkpoint::seeded::Recipe;
use mplug::config::Task;
use mplug_testing::model::write_tiny_model;
use serde_json::Value;
use tempfile::TempDir;

/// The program, with no setting of this machine's user.
pub(crate) fn mplug() -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("mplug"));
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if ["MPLUG_", "MODELSCOPE_"].iter().any(|ours| name_text.starts_with(ours)) {
            command.env_remove(name);
        }
    }
    command
}

/// What a run left: exit code, standard output, standard error.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `mplug` with `args` in `folder`.
pub(crate) fn run_in(folder: &Path, args: &[&str]) -> Outcome {
    outcome(mplug().current_dir(folder).args(args))
}

/// Runs a command to its end.
pub(crate) fn outcome(command: &mut Command) -> Outcome {
    let output = command.output().unwrap();
    Outcome {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).expect("standard output is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("messages are UTF-8"),
    }
}

impl Outcome {
    /// The objects of JSON lines.
    pub(crate) fn jsonl(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// Every message is one line that begins with the program's name.
    pub(crate) fn check_messages(&self) -> &Self {
        assert!(self.stderr.lines().all(|line| line.starts_with("mplug: ")), "{}", self.stderr);
        self
    }
}

/// A folder with a model in `model` and pictures beside it: red.png, green.png, blue.jpg, 两只 猫.png.
pub(crate) struct Desk {
    folder: TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let desk = Self { folder };
        desk.model("model", Task::ImageCaptioning);
        for (name, colour) in [
            ("red.png", [200, 20, 20]),
            ("green.png", [20, 180, 40]),
            ("blue.jpg", [30, 40, 220]),
            ("两只 猫.png", [9, 9, 9]),
        ] {
            desk.picture(name, colour);
        }
        desk
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A picture of two halves, one of them `colour`.
    pub(crate) fn picture(&self, name: &str, colour: [u8; 3]) {
        let image = image::RgbImage::from_fn(48, 32, |x, y| {
            if x < 24 { image::Rgb(colour) } else { image::Rgb([(x * 5) as u8, (y * 7) as u8, 128]) }
        });
        fs::create_dir_all(self.join(name).parent().unwrap()).unwrap();
        image.save(self.join(name)).unwrap();
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        fs::create_dir_all(self.join(name).parent().unwrap()).unwrap();
        fs::write(self.join(name), bytes).unwrap();
    }

    /// Runs `mplug` here.
    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        run_in(self.path(), args)
    }

    /// Runs `mplug` here with a limit on the size of files, in blocks of 512 bytes: writes fail as they would on a full disk.
    #[cfg(unix)]
    pub(crate) fn run_without_room(&self, blocks: usize, args: &[&str]) -> Outcome {
        // The signal of the limit is ignored, so that the write fails and the program goes on.
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).arg(assert_cmd::cargo::cargo_bin!("mplug")).args(args);
        outcome(shell.current_dir(self.path()))
    }

    /// Runs `mplug` here with a limit on the number of open files.
    #[cfg(unix)]
    pub(crate) fn run_with_open_files(&self, limit: usize, args: &[&str]) -> Outcome {
        let script = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).arg(assert_cmd::cargo::cargo_bin!("mplug")).args(args);
        outcome(shell.current_dir(self.path()))
    }

    /// Captions one picture a batch, again and again: each run goes on with the last one and is killed when `journal` has ten
    /// more lines, until one of them left `is_over`. Returns how many were killed. It goes by progress, not by the clock: a
    /// fast machine would be done too soon, a slow one never.
    pub(crate) fn caption_killed(&self, args: &[&str], journal: &str, is_over: impl Fn() -> bool) -> u32 {
        const MOST: u32 = 200;
        let lines =
            || fs::read(self.join(journal)).map_or(0, |part| part.split(|byte| *byte == b'\n').count());
        for kills in 0..MOST {
            let before = lines();
            let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin!("mplug"))
                .current_dir(self.path())
                .args([
                    "caption",
                    "--model",
                    "model",
                    "--max-new-tokens",
                    "6",
                    "--batch-size",
                    "1",
                    "--resume",
                ])
                .args(args)
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap();
            while child.try_wait().unwrap().is_none() && lines() < before + 10 {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_micros(300) * (kills % 5));
            child.kill().unwrap();
            child.wait().unwrap();
            if is_over() {
                return kills;
            }
        }
        panic!("no run ends");
    }

    /// Runs `mplug caption --model model` here.
    pub(crate) fn caption(&self, args: &[&str]) -> Outcome {
        self.run(&[&["caption", "--model", "model"], args].concat())
    }

    /// A tiny model of `task` with weights drawn from a seed, as a folder.
    pub(crate) fn model(&self, name: &str, task: Task) {
        self.model_with(name, task, WriteOptions::default());
    }

    /// A tiny model of `task`, written as `options` say.
    pub(crate) fn model_with(&self, name: &str, task: Task, options: WriteOptions) {
        self.edited_model(name, task, options, |_| ());
    }

    /// A tiny model of `task` with tensors changed.
    pub(crate) fn edited_model(
        &self,
        name: &str,
        task: Task,
        options: WriteOptions,
        change: impl FnOnce(&mut Recipe),
    ) {
        write_tiny_model(&self.join(name), task, &options, change);
    }
}
