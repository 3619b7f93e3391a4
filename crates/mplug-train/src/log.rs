//! What a run reports: events for a callback, and the same in the run folder: as JSON lines, in the original's two formats,
//! for TensorBoard, and as a page. Prints nothing.

mod machine;
mod modelscope;
mod report;
mod tensorboard;
mod text;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::PathBuf;

use chrono::{DateTime, Local};
use mplug_eval::run_history::ClassFigure;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use self::modelscope::ModelScopeLog;
use self::report::ReportPage;
use self::tensorboard::TensorBoard;
use crate::checkpoint::{RunFolder, SUPERSEDED, append};
use crate::config::Change;
use crate::error::TrainError;
pub use crate::estimate::Estimate;
pub use crate::preflight::Checked;

/// The events of a run, one a line.
const LOG: &str = "log.jsonl";
/// Those of its starts alone.
const HISTORY: &str = "history.jsonl";

/// An event of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Progress {
    /// The weights to start from have tensors that the model does not know. They are not used.
    Unexpected {
        /// The weight file.
        file: String,
        /// Their names, sorted.
        names: Vec<String>,
    },
    /// The run starts or resumes.
    Started {
        /// The first step to come.
        step: u64,
        /// Steps in all.
        steps: u64,
        /// Learnable numbers.
        parameters: usize,
        /// Those that are trained.
        trained: usize,
        /// Tokens in the vocabulary.
        vocab_size: usize,
    },
    /// What a frozen visual encoder makes of the pictures is kept on disk.
    Features {
        /// Where.
        folder: PathBuf,
        /// What all pictures of the data take, in bytes.
        bytes: u64,
    },
    /// A run goes on with another recipe, or from an earlier step.
    Resumed {
        /// Steps done.
        step: u64,
        /// What differs from the recipe of the checkpoint.
        changes: Vec<Change>,
        /// Whether the score of the best evaluation was dropped, for it cannot be compared with those to come.
        best_is_reset: bool,
        /// The steps whose checkpoints are in [`SUPERSEDED`] from now on.
        set_aside: Vec<u64>,
    },
    /// In a resumed run `last` or `best` did not lead to their checkpoints.
    Mended {
        /// Steps done.
        step: u64,
        /// Which do now.
        written: Vec<String>,
        /// What is gone, a sentence each.
        lost: Vec<String>,
    },
    /// A log cannot be written that the run goes on without.
    Unwritten {
        /// What is wrong, with the file.
        problem: String,
    },
    /// What was found out before the first step.
    Checked(Box<Checked>),
    /// What may go wrong, in a sentence.
    Warning {
        /// The sentence.
        text: String,
    },
    /// A picture could not be read and was skipped.
    PictureSkipped {
        /// Steps done.
        step: u64,
        /// The picture.
        picture: String,
        /// Why it could not be read.
        reason: String,
        /// Pictures skipped in all.
        skipped: usize,
    },
    /// The time of the whole run is known, roughly.
    Estimated(Box<Estimate>),
    /// A micro-batch of the step at hand is done. Not logged.
    MicroBatchDone {
        /// Micro-batches done.
        done: usize,
        /// Micro-batches of the step.
        of: usize,
    },
    /// One step is done. Not logged.
    StepDone {
        /// Steps done.
        step: u64,
    },
    /// Some steps are done.
    Step(StepReport),
    /// A step changed no weight, for its loss or gradient was not finite.
    Skipped {
        /// Steps done, this one included.
        step: u64,
        /// The loss.
        #[serde(serialize_with = "number_or_text")]
        loss: f64,
        /// The gradient's norm.
        #[serde(serialize_with = "number_or_text")]
        gradient_norm: f64,
        /// Steps skipped in all.
        skipped_steps: u64,
        /// Steps skipped since the last that was not.
        in_a_row: u64,
        /// The pictures of the batch, the first of many.
        pictures: String,
    },
    /// An evaluation is done.
    Evaluated {
        /// Steps done.
        step: u64,
        /// The figures, as [`crate::evaluate::Evaluation`] names them.
        metrics: BTreeMap<&'static str, f64>,
        /// Whether it is the best so far; then the model is kept in `best`.
        best: bool,
        /// Figures of kinds of examples, the worst kinds first.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        classes: Vec<ClassFigure>,
        /// Some of the texts that the model wrote.
        samples: Vec<Sample>,
    },
    /// The state is saved.
    Saved {
        /// Steps done.
        step: u64,
    },
}

impl Progress {
    /// Whether the logs have it: all but what every step says.
    pub fn is_logged(&self) -> bool {
        !matches!(self, Self::StepDone { .. } | Self::MicroBatchDone { .. })
    }

    /// Whether the run's history has it: how and when it was started.
    fn is_of_history(&self) -> bool {
        matches!(self, Self::Started { .. } | Self::Resumed { .. } | Self::Mended { .. })
    }
}

/// What some steps found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StepReport {
    /// Steps done.
    pub step: u64,
    /// Epochs begun; data that never ends is one.
    pub epoch: u64,
    /// Steps done in this epoch.
    pub epoch_step: u64,
    /// Steps of an epoch.
    pub epoch_steps: u64,
    /// Mean loss since the last event.
    pub loss: f64,
    /// Its parts, where the objective has several.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<&'static str, f64>,
    /// The mean reward of the captions that the model wrote, in CIDEr optimisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward: Option<f64>,
    /// Norm of the last gradient, before clipping.
    pub gradient_norm: f64,
    /// Steps skipped since the run began.
    #[serde(skip_serializing_if = "is_zero")]
    pub skipped_steps: u64,
    /// The learning rate of everything but the visual encoder.
    pub learning_rate: f64,
    /// Examples per second since the last event.
    pub examples_per_second: f64,
    /// Seconds that a step took.
    pub step_seconds: f64,
    /// Seconds of a step that were spent waiting for data.
    pub data_seconds: f64,
    /// Seconds to the end of the run, evaluations left out.
    pub seconds_left: f64,
    /// The most memory that the process has held, in bytes, where the system reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_memory: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// JSON has no number for infinity or NaN.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields so")]
fn number_or_text<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    if value.is_finite() { to.serialize_f64(*value) } else { to.serialize_str(&value.to_string()) }
}

/// A text that the model wrote in an evaluation.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Sample {
    /// The text.
    pub text: String,
    /// What a person wrote, or the first of the right answers.
    pub expected: String,
    /// What was asked about the picture, if anything.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub question: String,
    /// How right the text is, 0 to 1, if the dataset judges it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// The picture as a `data:` address, for pages.
    #[serde(skip)]
    pub picture: String,
}

/// The most memory that this process has held, in bytes, where the system reports it (Linux).
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kibibytes)
}

/// The logs of a run folder. Without its `log.jsonl` and `history.jsonl` a run does not go on; without the others it does.
pub struct RunLog {
    folder: RunFolder,
    lines: Appended,
    /// One line for each time that the run was started, with the time. Nothing is ever taken from it.
    history: Appended,
    original: Option<ModelScopeLog>,
    tensorboard: Option<TensorBoard>,
    page: ReportPage,
    /// Whether it was said that the page cannot be written.
    page_is_reported: bool,
    warnings: Vec<Progress>,
}

impl RunLog {
    /// Opens the logs in `folder`. Of `log.jsonl` the first `len` bytes are the run's so far, and the line after them if it says
    /// that they are saved; what a run wrote later that was not saved itself is put into the folder of what was set aside.
    ///
    /// # Errors
    /// When `log.jsonl` or `history.jsonl` cannot be opened or mended.
    pub fn open(folder: &RunFolder, len: u64) -> Result<Self, TrainError> {
        let (now, path) = (Local::now(), folder.path());
        let mut lines = Appended::open(path.join(LOG))?;
        let later = lines.cut_back(len)?;
        if !later.is_empty() {
            folder.make_superseded()?;
            Appended::open(path.join(SUPERSEDED).join(LOG))?.bytes(&later)?;
            lines.truncate(&later)?;
        }
        let mut history = Appended::open(path.join(HISTORY))?;
        history.cut_back(u64::MAX)?;
        let mut log = Self {
            folder: folder.clone(),
            lines,
            history,
            original: None,
            tensorboard: None,
            page: ReportPage::open(folder),
            page_is_reported: false,
            warnings: Vec::new(),
        };
        log.original = log.or_warning(ModelScopeLog::open(path, &now))?;
        log.tensorboard = log.or_warning(TensorBoard::open(path, &now))?;
        Ok(log)
    }

    /// Writes an event into all of them. One that cannot be written is given up with a warning, but the page, which is tried again
    /// each time.
    ///
    /// # Errors
    /// When `log.jsonl` or `history.jsonl` cannot be written.
    pub fn write(&mut self, event: &Progress) -> Result<(), TrainError> {
        let now = Local::now();
        let mut line = self.line_of(event, &now);
        self.lines.line(&line.to_string())?;
        let written = self.original.as_mut().map(|log| log.write(event, &now));
        if self.or_warning(written.transpose())?.is_none() {
            self.original = None;
        }
        let settings = &line["settings"];
        let written = self.tensorboard.as_mut().map(|board| board.write(event, settings, &now));
        if self.or_warning(written.transpose())?.is_none() {
            self.tensorboard = None;
        }
        let written = self.page.write(event, &line);
        if written.is_err() && !std::mem::replace(&mut self.page_is_reported, true) {
            self.or_warning(written)?;
        }
        if event.is_of_history() {
            line["program"] = json!(concat!("mplug ", env!("CARGO_PKG_VERSION")));
            self.history.line(&line.to_string())?;
        }
        Ok(())
    }

    /// Hands `log.jsonl` to the disk; gives its length in bytes.
    ///
    /// # Errors
    /// When that fails.
    pub fn synced_len(&mut self) -> Result<u64, TrainError> {
        let io = || TrainError::file(&self.lines.path);
        self.lines.file.sync_all().map_err(io())?;
        Ok(self.lines.file.metadata().map_err(io())?.len())
    }

    /// The warnings since they were last taken.
    pub(crate) fn warnings(&mut self) -> Vec<Progress> {
        std::mem::take(&mut self.warnings)
    }

    /// What could be done, or a warning.
    fn or_warning<T>(&mut self, done: Result<T, TrainError>) -> Result<Option<T>, TrainError> {
        match done {
            Ok(done) => Ok(Some(done)),
            Err(error) => {
                let event = Progress::Unwritten { problem: error.to_string() };
                self.lines.line(&self.line_of(&event, &Local::now()).to_string())?;
                self.warnings.push(event);
                Ok(None)
            }
        }
    }

    /// An event as the lines have it: with its time in seconds since 1970 and, at a start, with the recipe's values and the machine.
    ///
    /// # Panics
    /// Never: events are plain data.
    fn line_of(&self, event: &Progress, now: &DateTime<Local>) -> Value {
        let mut line = serde_json::to_value(event).expect("events are plain data");
        line["time"] = json!(now.timestamp_millis() as f64 / 1e3);
        if matches!(event, Progress::Started { .. }) {
            let recipe = std::fs::read_to_string(self.folder.path().join(RECIPE)).ok();
            let recipe = recipe.and_then(|recipe| toml::from_str::<toml::Table>(&recipe).ok());
            let mut settings = Map::new();
            flatten("", recipe.unwrap_or_default(), &mut settings);
            line["settings"] = Value::Object(settings);
            line["machine"] = Value::Object(machine::facts());
        }
        line
    }
}

/// The recipe's name in a run folder.
const RECIPE: &str = "recipe.toml";

/// The values of a table by the path of their keys, `run.steps`.
fn flatten(path: &str, table: toml::Table, into: &mut Map<String, Value>) {
    for (key, value) in table {
        let path = if path.is_empty() { key } else { format!("{path}.{key}") };
        match value {
            toml::Value::Table(table) => flatten(&path, table, into),
            value => {
                into.insert(path, serde_json::to_value(value).unwrap_or_default());
            }
        }
    }
}

/// A file to which lines are appended.
struct Appended {
    path: PathBuf,
    file: File,
}

impl Appended {
    fn open(path: PathBuf) -> Result<Self, TrainError> {
        let mut options = OpenOptions::new();
        let file =
            options.create(true).read(true).append(true).open(&path).map_err(TrainError::file(&path))?;
        Ok(Self { path, file })
    }

    /// Removes the part of a line that a run left which was killed, or whose disk was full, while it wrote; gives the whole lines
    /// after the first `len` bytes and the line that says that they are saved.
    fn cut_back(&mut self, len: u64) -> Result<Vec<u8>, TrainError> {
        let io = || TrainError::file(&self.path);
        let mut whole = Vec::new();
        self.file.read_to_end(&mut whole).map_err(io())?;
        let written = whole.len();
        whole.truncate(whole.iter().rposition(|byte| *byte == b'\n').map_or(0, |index| index + 1));
        if whole.len() < written {
            self.file.set_len(whole.len() as u64).map_err(io())?;
        }
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let is_ours = len == 0 || whole.get(len - 1) == Some(&b'\n');
        if !is_ours {
            // Somebody changed it.
            return Ok(Vec::new());
        }
        let later = whole.split_off(len);
        let first_line = later.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
        let first: Option<Value> = serde_json::from_slice(first_line).ok();
        let is_saved = len > 0 && first.is_some_and(|line| line["event"] == "saved");
        Ok(later[if is_saved { first_line.len() } else { 0 }..].to_vec())
    }

    /// Removes the end of it.
    fn truncate(&mut self, end: &[u8]) -> Result<(), TrainError> {
        let io = || TrainError::file(&self.path);
        let len = self.file.metadata().map_err(io())?.len();
        self.file.set_len(len.saturating_sub(end.len() as u64)).map_err(io())
    }

    fn line(&mut self, line: &str) -> Result<(), TrainError> {
        self.bytes(format!("{line}\n").as_bytes())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), TrainError> {
        append(&self.file, bytes).map_err(TrainError::file(&self.path))
    }
}
