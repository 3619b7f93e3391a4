//! A page about a run, written anew after evaluations and checkpoints: curves, figures, what the model writes about its pictures, the
//! recipe and the machine. One file that needs no other. Its history is the run's own `log.jsonl`, so it goes on when a run is resumed.
//!
//! It does not grow without limit: curves have at most some hundred points, 24 evaluations keep their samples, each picture is in it once.

mod page;
mod samples;

use std::time::{Duration, Instant};

use mplug_eval::run_history::RunHistory;
use serde_json::Value;

use self::samples::Pictures;
use super::Progress;
use crate::checkpoint::RunFolder;
use crate::error::TrainError;

/// Checkpoints write the page at most this often; evaluations always do.
const BETWEEN: Duration = Duration::from_secs(20);

/// The page, and what it knows so far.
pub(super) struct ReportPage {
    folder: RunFolder,
    history: RunHistory,
    pictures: Pictures,
    written: Option<Instant>,
}

impl ReportPage {
    /// The page of the run folder `folder`, with what an earlier part of the run logged. A log that cannot be read is none.
    pub(super) fn open(folder: &RunFolder) -> Self {
        let history = RunHistory::read(folder.path()).unwrap_or_else(|_| RunHistory::new(folder.path()));
        Self { folder: folder.clone(), history, pictures: Pictures::default(), written: None }
    }

    /// Adds an event, of which `line` is what the log has.
    pub(super) fn write(&mut self, event: &Progress, line: &Value) -> Result<(), TrainError> {
        self.history.add(line);
        match event {
            Progress::Evaluated { samples, .. } => {
                self.pictures.remember(samples);
                self.write_page()
            }
            Progress::Saved { step } => {
                // A resumed run has the pictures of the samples only from its first evaluation on: the page keeps them until then.
                let has_pictures = self.pictures.are_known()
                    || self.history.evaluations.iter().all(|evaluation| evaluation.samples.is_empty());
                let is_due = self.written.is_none_or(|written| written.elapsed() > BETWEEN);
                let is_last = *step >= self.history.steps;
                if has_pictures && (is_due || is_last) { self.write_page() } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    fn write_page(&mut self) -> Result<(), TrainError> {
        let recipe = std::fs::read_to_string(self.folder.path().join(super::RECIPE)).unwrap_or_default();
        let html = page::render(&self.history, &self.pictures, &recipe);
        self.written = Some(Instant::now());
        self.folder.write_file("report.html", html.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::super::Sample;
    use super::*;

    fn page(folder: &std::path::Path) -> String {
        std::fs::read_to_string(folder.join("report.html")).expect("a page")
    }

    #[test]
    fn a_page_shows_every_curve_and_escapes_texts() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut run = RunFolder::create(folder.path()).expect("made");
        run.claim(false).expect("it is empty");
        let log = concat!(
            r#"{"event":"started","step":0,"steps":30}"#,
            "\n",
            r#"{"event":"step","step":10,"loss":3.0,"learning_rate":0.1}"#,
            "\n",
            r#"{"event":"evaluated","step":10,"metrics":{"loss":4.5},"best":true,"samples":[{"text":"<i>","expected":"狗"}]}"#,
            "\n",
            r#"{"event":"step","step":20,"loss":2.0,"learning_rate":0.1}"#,
            "\n",
            r#"{"event":"st"#,
        );
        std::fs::write(folder.path().join("log.jsonl"), log).expect("written");
        std::fs::write(folder.path().join("recipe.toml"), "seed = 7 # <b>\n").expect("written");
        let mut page_of_run = ReportPage::open(&run);
        let started =
            Progress::Started { step: 10, steps: 30, parameters: 1234, trained: 1234, vocab_size: 2 };
        let line = json!({"event": "started", "step": 10, "steps": 30, "parameters": 1234, "settings": {"objective.kind": "captioning"},
            "machine": {"processor": "Abacus <9>", "threads": 4}});
        page_of_run.write(&started, &line).expect("nothing is written");
        page_of_run
            .write(&Progress::Saved { step: 12 }, &json!({"event": "saved", "step": 12}))
            .expect("well");
        assert!(!folder.path().join("report.html").exists(), "samples without their pictures are not shown");
        let samples = vec![Sample {
            text: "<b>猫".to_owned(),
            expected: "狗".to_owned(),
            score: Some(0.0),
            picture: "data:image/jpeg;base64,AAAA".to_owned(),
            ..Sample::default()
        }];
        let metrics = BTreeMap::from([("cider", 1.5), ("loss", 4.25)]);
        let event = Progress::Evaluated { step: 20, metrics, best: true, classes: Vec::new(), samples };
        let line = serde_json::to_value(&event).expect("plain data");
        page_of_run.write(&event, &line).expect("written");
        let html = page(folder.path());
        for expected in [
            "&lt;b&gt;猫",
            "&lt;i&gt;",
            "狗",
            "training: 3 at step 10, 3 at step 10. held out: 4.5 at step 10, 4.25 at step 20.",
            "CIDEr",
            "seed = 7 # &lt;b&gt;",
            "Abacus &lt;9&gt;",
            "1,234",
        ] {
            assert!(html.contains(expected), "{expected}: {html}");
        }
        assert_eq!(html.matches("data:image/jpeg;base64,AAAA").count(), 1, "each picture is there once");
        assert!(!html.contains("http://") && !html.contains("https://"), "nothing is fetched");
    }

    #[test]
    fn a_page_that_cannot_be_written_is_an_error_for_the_log_to_take() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut run = RunFolder::create(folder.path()).expect("made");
        run.claim(false).expect("it is empty");
        let mut page = ReportPage::open(&run);
        std::fs::create_dir(folder.path().join("report.html")).expect("in the way");
        std::fs::write(folder.path().join("report.html/x"), "").expect("written");
        let saved = page.write(&Progress::Saved { step: 1 }, &json!({"event": "saved", "step": 1}));
        assert!(saved.expect_err("a folder").to_string().contains("report.html"));
    }
}
