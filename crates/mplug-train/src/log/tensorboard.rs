//! An event file for TensorBoard: losses, figures, samples and settings. `records` has the framing, `messages` what is in it.
//!
//! A run that is resumed begins a new file with the mark that TensorFlow's own writers use (a `SessionLog` of the kind `START`): what
//! earlier files say of that step and of later ones no longer counts, so steps that are done again are shown once.

mod messages;
mod records;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Local};
use mplug_eval::thumbnail::jpeg_of;
use serde_json::Value;

use self::messages::{Event, Summary};
use super::{Progress, Sample, StepReport};
use crate::error::TrainError;

/// How the names of event files begin; the second of their start follows.
const PREFIX: &str = "events.out.tfevents.";

/// An event file, new for each start of a run.
pub(super) struct TensorBoard {
    path: PathBuf,
    file: File,
    /// The pictures that are in the file: the same ones are not written at each evaluation.
    pictures: Vec<String>,
}

impl TensorBoard {
    /// A new file in the folder's `tensorboard`. TensorBoard joins the files of a run in the order of their names.
    pub(super) fn open(folder: &Path, now: &DateTime<Local>) -> Result<Self, TrainError> {
        let folder = folder.join("tensorboard");
        std::fs::create_dir_all(&folder).map_err(TrainError::file(&folder))?;
        // Not before an earlier one's, even if the clock was set back or the run ended within the second.
        let entries = std::fs::read_dir(&folder).map_err(TrainError::file(&folder))?;
        let second = |name: String| name.strip_prefix(PREFIX)?.split('.').next()?.parse::<i64>().ok();
        let seconds = entries.flatten().filter_map(|entry| second(entry.file_name().into_string().ok()?));
        let start = seconds.max().map_or(now.timestamp(), |last| now.timestamp().max(last.saturating_add(1)));
        let path = folder.join(format!("{PREFIX}{start:010}.mplug"));
        let file = OpenOptions::new().create_new(true).append(true).open(&path);
        let mut board = Self { file: file.map_err(TrainError::file(&path))?, path, pictures: Vec::new() };
        board.add(&Event::version(seconds_of(now)))?;
        Ok(board)
    }

    pub(super) fn write(
        &mut self,
        event: &Progress,
        settings: &Value,
        now: &DateTime<Local>,
    ) -> Result<(), TrainError> {
        let time = seconds_of(now);
        match event {
            Progress::Started { step, .. } => {
                // The first step to come; of a run from the beginning also what was found before any step.
                let first = if *step == 0 { 0 } else { step + 1 };
                self.add(&Event::start(time, first))?;
                self.add(&Event::summary(time, *step, &settings_summary(settings, time)))
            }
            Progress::Step(report) => self.add(&Event::summary(time, report.step, &step_summary(report))),
            Progress::Evaluated { step, metrics, classes, samples, .. } => {
                let mut summary = Summary::default();
                for (name, value) in metrics {
                    summary.scalar(&format!("evaluation/{name}"), *value);
                }
                for one in classes {
                    let by = one.by.replace(' ', "_");
                    summary.scalar(
                        &format!("{}_by_{by}/{}", one.figure, one.class.replace(' ', "_")),
                        one.score,
                    );
                }
                self.add_samples(&mut summary, samples);
                self.add(&Event::summary(time, *step, &summary))
            }
            _ => Ok(()),
        }
    }

    /// The samples' texts as one table, and their pictures where they are not those of the last evaluation.
    fn add_samples(&mut self, summary: &mut Summary, samples: &[Sample]) {
        if samples.is_empty() {
            return;
        }
        let asks = samples.iter().any(|sample| !sample.question.is_empty());
        let mut head = vec!["picture", "written", "expected"];
        head.extend(asks.then_some("question"));
        let mut rows = vec![head.into_iter().map(str::to_owned).collect::<Vec<String>>()];
        for (number, sample) in (1..).zip(samples) {
            let mut row = vec![format!("{number}"), escaped(&sample.text), escaped(&sample.expected)];
            row.extend(asks.then(|| escaped(&sample.question)));
            rows.push(row);
        }
        summary.table("samples/texts", &rows);
        let pictures: Vec<String> = samples.iter().map(|sample| sample.picture.clone()).collect();
        if pictures != self.pictures {
            for (number, picture) in (1..).zip(&pictures) {
                if let Some((jpeg, size)) = jpeg_of(picture) {
                    summary.image(&format!("samples/picture_{number}"), size, &jpeg);
                }
            }
            self.pictures = pictures;
        }
    }

    fn add(&mut self, event: &Event) -> Result<(), TrainError> {
        self.file.write_all(&records::record(event.bytes())).map_err(TrainError::file(&self.path))
    }
}

fn seconds_of(now: &DateTime<Local>) -> f64 {
    now.timestamp_micros() as f64 / 1e6
}

fn step_summary(report: &StepReport) -> Summary {
    let mut summary = Summary::default();
    for (name, value) in [
        ("train/loss", report.loss),
        ("train/learning_rate", report.learning_rate),
        ("train/gradient_norm", report.gradient_norm),
        ("train/examples_per_second", report.examples_per_second),
    ] {
        summary.scalar(name, value);
    }
    for (name, value) in &report.parts {
        summary.scalar(&format!("train/{name}"), *value);
    }
    if let Some(reward) = report.reward {
        summary.scalar("train/reward", reward);
    }
    summary
}

/// The recipe's values, as a text and for the page of hyper-parameters.
fn settings_summary(settings: &Value, time: f64) -> Summary {
    let mut summary = Summary::default();
    let settings = settings.as_object().cloned().unwrap_or_default();
    let mut rows = vec![vec!["setting".to_owned(), "value".to_owned()]];
    rows.extend(settings.iter().map(|(key, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        vec![escaped(key), escaped(&text)]
    }));
    summary.table("settings", &rows);
    summary.hyper_parameters(&settings, time);
    summary
}

/// A text that TensorBoard shows as it is: it takes texts for Markdown.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '&' => escaped.push_str("&amp;"),
            character if character.is_ascii_punctuation() && !",.;:'\"?%=/".contains(character) => {
                escaped.extend(['\\', character]);
            }
            character if character.is_control() => escaped.push(' '),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    /// The records of the files of a folder, in the order in which TensorBoard reads them; every checksum holds.
    fn events(folder: &Path) -> Vec<Vec<u8>> {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(folder.join("tensorboard"))
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        paths.sort();
        paths.iter().flat_map(|path| records::read_all(&std::fs::read(path).expect("readable"))).collect()
    }

    fn holds(event: &[u8], text: &str) -> bool {
        event.windows(text.len()).any(|window| window == text.as_bytes())
    }

    #[test]
    fn a_run_and_its_resumed_part_are_two_files_of_whole_records() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let now = Local::now();
        let picture = mplug_eval::thumbnail::data_address(&mplug::preprocess::image::RgbImage::new(20, 10));
        let sample = Sample {
            text: "a *cat*".to_owned(),
            expected: "猫".to_owned(),
            picture: picture.expect("a picture"),
            ..Sample::default()
        };
        let started = |step| Progress::Started { step, steps: 30, parameters: 1, trained: 1, vocab_size: 2 };
        let evaluated = |step| Progress::Evaluated {
            step,
            metrics: BTreeMap::from([("cider", 1.5)]),
            best: true,
            classes: Vec::new(),
            samples: vec![sample.clone()],
        };
        let settings = json!({"run.steps": 30, "seed": true, "objective.kind": "captioning"});
        let mut board = TensorBoard::open(folder.path(), &now).expect("opened");
        for event in [started(0), evaluated(10), evaluated(20)] {
            board.write(&event, &settings, &now).expect("written");
        }
        // Within the same second.
        let mut board = TensorBoard::open(folder.path(), &now).expect("opened");
        board.write(&started(10), &settings, &now).expect("written");
        let events = events(folder.path());
        assert_eq!(events.len(), 5 + 3);
        assert!(holds(&events[0], "brain.Event:2") && holds(&events[5], "brain.Event:2"));
        assert!(holds(&events[2], "hparams") && holds(&events[2], "objective.kind"));
        assert!(
            holds(&events[3], "samples/texts") && holds(&events[3], "a \\*cat\\*") && holds(&events[3], "猫")
        );
        assert!(holds(&events[3], "samples/picture_1") && holds(&events[4], "samples/texts"));
        assert!(!holds(&events[4], "samples/picture_1"), "the same pictures are not written again");
        // `step: 11` and the mark of a start.
        assert!(events[6].ends_with(&[16, 11, 58, 2, 8, 1]), "{:?}", events[6]);
        assert_eq!(std::fs::read_dir(folder.path().join("tensorboard")).expect("a folder").count(), 2);
    }

    #[test]
    fn texts_are_no_markdown() {
        assert_eq!(escaped("a|b *c* <i>&#_\n猫, 5%"), "a\\|b \\*c\\* &lt;i\\>&amp;\\#\\_ 猫, 5%");
    }
}
