//! What a run of training logged, read back from its folder's `log.jsonl`: curves, evaluations with their samples, settings,
//! machine, time. For the run's page and for comparisons; bounded, however long the run was. Knows nothing of how models are trained.

mod curve;
mod evaluations;

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::Path;

use serde_json::{Map, Value};

pub use self::curve::Curve;
pub use self::evaluations::{ClassFigure, NotedEvaluation, NotedSample};
use crate::error::EvalError;

/// The log's name in a run folder.
pub const LOG: &str = "log.jsonl";
/// The longest line that is read: longer ones are not a run's.
const MAX_LINE_BYTES: u64 = 16 << 20;
/// Skipped steps and pictures that are kept by name; all are counted.
const SKIPS: usize = 20;
/// Names of log lines' values that become curves.
const CURVES: [&str; 6] =
    ["loss", "learning_rate", "gradient_norm", "reward", "examples_per_second", "step_seconds"];

/// A run as its log has it.
#[derive(Clone, Debug, Default)]
pub struct RunHistory {
    /// The name of its folder.
    pub name: String,
    /// The last step that a line is about.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// Learnable numbers.
    pub parameters: u64,
    /// Tokens in the vocabulary.
    pub vocab_size: u64,
    /// The recipe's values by key (`run.steps`), those of the last start.
    pub settings: Map<String, Value>,
    /// The machine of the last start: `processor`, `threads`, `memory_bytes`, `system`.
    pub machine: Map<String, Value>,
    /// How often the run was started or resumed.
    pub starts: usize,
    /// Seconds that the run took, from each start to the last line before the next.
    pub seconds: f64,
    /// The last log line of steps.
    pub last_step: Map<String, Value>,
    /// The evaluations, of which a bounded number keeps its samples.
    pub evaluations: Vec<NotedEvaluation>,
    /// The last steps that changed no weight: step and what was said.
    pub skipped_steps: VecDeque<(u64, String)>,
    /// Steps that changed no weight.
    pub skipped_step_count: u64,
    /// The last pictures that were passed over, each with the reason.
    pub skipped_pictures: VecDeque<String>,
    /// Pictures that were passed over.
    pub skipped_picture_count: u64,
    /// The last warnings, each once.
    pub warnings: VecDeque<String>,
    curves: BTreeMap<String, Curve>,
    /// The time of the last line.
    last_time: Option<f64>,
}

impl RunHistory {
    /// An empty one of the run in `folder`.
    pub fn new(folder: &Path) -> Self {
        // `runs/x/` and `.` have no last part of their own.
        let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let name = whole.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Self { name, ..Self::default() }
    }

    /// Reads the log of the run in `folder`. A line that was cut off when the run was killed says nothing.
    ///
    /// # Errors
    /// [`EvalError::NoRun`] if there is no log, or it has no line of a run; [`EvalError::Report`] if it cannot be read.
    pub fn read(folder: &Path) -> Result<Self, EvalError> {
        let path = folder.join(LOG);
        let no_run = || EvalError::NoRun { path: folder.to_owned() };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {
                return Err(no_run());
            }
            Err(source) => return Err(EvalError::File { path, source }),
        };
        let mut history = Self::new(folder);
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut limited = std::io::Read::take(&mut reader, MAX_LINE_BYTES);
            let read = limited.read_until(b'\n', &mut line);
            if read.map_err(|source| EvalError::File { path: path.clone(), source })? == 0 {
                break;
            }
            if let Ok(event) = serde_json::from_slice::<Value>(&line) {
                history.add(&event);
            }
        }
        if history.starts == 0 { Err(no_run()) } else { Ok(history) }
    }

    /// Adds an event as the log has it. What a resumed run does again takes the place of what it did before.
    pub fn add(&mut self, event: &Value) {
        self.add_time(event);
        let Some(step) = event["step"].as_u64() else {
            self.add_other(event);
            return;
        };
        match event["event"].as_str() {
            Some("started") => self.add_start(event, step),
            Some("skipped") => self.add_skipped_step(event, step),
            Some("step") => self.add_step(event, step),
            Some("evaluated") => self.add_evaluation(event, step),
            _ => self.add_other(event),
        }
        self.step = step;
    }

    fn add_time(&mut self, event: &Value) {
        let Some(time) = event["time"].as_f64() else { return };
        let is_start = event["event"] == "started";
        if let Some(last) = self.last_time.filter(|_| !is_start) {
            // A clock that was set back takes no time.
            self.seconds += (time - last).max(0.0);
        }
        self.last_time = Some(time);
    }

    fn add_start(&mut self, event: &Value, step: u64) {
        for curve in self.curves.values_mut() {
            curve.cut(step);
        }
        self.evaluations.retain(|evaluation| evaluation.step <= step);
        self.skipped_steps.retain(|(skipped, _)| *skipped <= step);
        self.starts += 1;
        let number = |name: &str| event[name].as_u64().unwrap_or_default();
        (self.steps, self.parameters, self.vocab_size) =
            (number("steps"), number("parameters"), number("vocab_size"));
        for (name, to) in [("settings", &mut self.settings), ("machine", &mut self.machine)] {
            if let Some(found) = event[name].as_object() {
                to.clone_from(found);
            }
        }
    }

    fn add_step(&mut self, event: &Value, step: u64) {
        for name in CURVES {
            self.push(name, step, &event[name]);
        }
        for (name, value) in event["parts"].as_object().into_iter().flatten() {
            self.push(&format!("parts.{name}"), step, value);
        }
        if let Some(skipped) = event["skipped_steps"].as_u64() {
            self.skipped_step_count = skipped;
        }
        self.last_step = event.as_object().cloned().unwrap_or_default();
    }

    fn add_evaluation(&mut self, event: &Value, step: u64) {
        for (name, value) in event["metrics"].as_object().into_iter().flatten() {
            self.push(&format!("held_out.{name}"), step, value);
        }
        self.evaluations.retain(|evaluation| evaluation.step < step);
        if event["best"] == true {
            self.evaluations.iter_mut().for_each(|evaluation| evaluation.is_best = false);
        }
        self.evaluations.push(NotedEvaluation::of(event, step));
        evaluations::bound(&mut self.evaluations);
    }

    /// Its loss is that of no weights that a curve goes through.
    fn add_skipped_step(&mut self, event: &Value, step: u64) {
        let text = |name: &str| match &event[name] {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        let said = format!(
            "loss {}, gradient norm {}; pictures {}",
            text("loss"),
            text("gradient_norm"),
            text("pictures")
        );
        self.skipped_steps.retain(|(skipped, _)| *skipped < step);
        bounded_push(&mut self.skipped_steps, (step, said));
        self.skipped_step_count = event["skipped_steps"].as_u64().unwrap_or(self.skipped_step_count + 1);
    }

    /// A picture that was passed over, by whatever name the event has; a warning.
    fn add_other(&mut self, event: &Value) {
        let is_picture = event["event"].as_str().is_some_and(|name| name.contains("picture"));
        let text = |names: &[&str]| {
            let found = names.iter().find_map(|name| event[*name].as_str().filter(|text| !text.is_empty()));
            found.map(str::to_owned)
        };
        if let (true, Some(name)) = (is_picture, text(&["picture", "name", "path"])) {
            let reason = text(&["reason", "error", "problem"]).unwrap_or_default();
            // Reasons of files name them.
            let said = if reason.contains(&name) { reason } else { format!("{name}: {reason}") };
            bounded_push(&mut self.skipped_pictures, said);
            self.skipped_picture_count = event["skipped"].as_u64().unwrap_or(self.skipped_picture_count + 1);
        }
        if let (Some("warning" | "unwritten" | "given_up"), Some(said)) =
            (event["event"].as_str(), text(&["text", "problem"]))
        {
            self.warnings.retain(|warning| *warning != said);
            bounded_push(&mut self.warnings, said);
        }
    }

    fn push(&mut self, name: &str, step: u64, value: &Value) {
        if let Some(value) = value.as_f64().filter(|value| value.is_finite()) {
            if !self.curves.contains_key(name) {
                self.curves.insert(name.to_owned(), Curve::default());
            }
            self.curves.get_mut(name).expect("it is there").push(step, value);
        }
    }

    /// The points of a curve: `loss`, `learning_rate`, `parts.…` of several losses, `held_out.…` of evaluations. Empty where
    /// nothing was logged.
    pub fn curve(&self, name: &str) -> Vec<(u64, f64)> {
        self.curves.get(name).map_or_else(Vec::new, Curve::points)
    }

    /// The names of all curves, sorted.
    pub fn curve_names(&self) -> impl Iterator<Item = &str> {
        self.curves.keys().map(String::as_str)
    }

    /// The names of the evaluations' figures, sorted, the loss first.
    pub fn figures(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.curve_names().filter_map(|name| name.strip_prefix("held_out.")).collect();
        names.sort_by_key(|name| (*name != "loss", *name));
        names
    }

    /// The evaluation whose model is kept as the best.
    pub fn best(&self) -> Option<&NotedEvaluation> {
        self.evaluations.iter().rev().find(|evaluation| evaluation.is_best)
    }

    /// A value of the last log line of steps.
    pub fn last(&self, name: &str) -> Option<f64> {
        self.last_step.get(name)?.as_f64()
    }
}

/// Keeps the last [`SKIPS`].
fn bounded_push<T>(kept: &mut VecDeque<T>, new: T) {
    if kept.len() == SKIPS {
        kept.pop_front();
    }
    kept.push_back(new);
}

/// A time for people: `2 d 3 h`, `3 h 20 min`, `4 min 5 s`, `12 s`.
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn step(step: u64, loss: f64, time: f64) -> Value {
        json!({"event": "step", "step": step, "loss": loss, "learning_rate": 0.1, "seconds_left": 5.0, "time": time})
    }

    #[test]
    fn what_a_resumed_run_does_again_takes_the_place_of_what_it_did() {
        let mut history = RunHistory::default();
        history.add(&json!({"event": "started", "step": 0, "steps": 40, "parameters": 7, "vocab_size": 9, "time": 100.0,
            "settings": {"run.steps": 40}, "machine": {"threads": 2}}));
        history.add(&step(10, 3.0, 110.0));
        history.add(&step(20, 2.0, 120.0));
        history.add(
            &json!({"event": "evaluated", "step": 20, "metrics": {"loss": 2.5, "cider": 1.0}, "best": true,
            "samples": [{"text": "a", "expected": "b"}], "time": 121.0}),
        );
        history.add(
            &json!({"event": "skipped", "step": 21, "loss": "NaN", "gradient_norm": 2.0, "skipped_steps": 1}),
        );
        history.add(&json!({"event": "started", "step": 10, "steps": 40, "time": 500.0}));
        assert_eq!(history.curve("loss"), [(10, 3.0)]);
        assert!(history.evaluations.is_empty() && history.skipped_steps.is_empty());
        history.add(&step(20, 1.5, 507.0));
        assert_eq!(history.curve("loss"), [(10, 3.0), (20, 1.5)]);
        assert_eq!((history.starts, history.seconds, history.step), (2, 28.0, 20));
        assert_eq!(history.last("seconds_left"), Some(5.0));
        assert_eq!((&history.settings["run.steps"], &history.machine["threads"]), (&json!(40), &json!(2)));
    }

    #[test]
    fn a_long_run_stays_small() {
        let mut history = RunHistory::default();
        history.add(&json!({"event": "started", "step": 0, "steps": 9}));
        for n in 1..20_000_u64 {
            history.add(&step(n, n as f64, n as f64));
            if n % 20 == 0 {
                let best = n == 2_000;
                history.add(&json!({"event": "evaluated", "step": n, "metrics": {"loss": 1.0}, "best": best,
                    "samples": [{"text": "a", "expected": "b"}]}));
                history.add(&json!({"event": "skipped_picture", "picture": "a.jpg", "reason": "no JPEG"}));
            }
        }
        let loss = history.curve("loss");
        assert!((2_000..=5_000).contains(&loss.len()), "{}", loss.len());
        assert_eq!((loss[0], loss[loss.len() - 1]), ((1, 1.0), (19_999, 19_999.0)));
        let sampled: Vec<u64> =
            history.evaluations.iter().filter(|e| !e.samples.is_empty()).map(|e| e.step).collect();
        assert!(sampled.len() <= evaluations::SAMPLED, "{}", sampled.len());
        assert!(
            sampled.contains(&20) && sampled.contains(&2_000) && sampled.contains(&19_980),
            "{sampled:?}"
        );
        assert_eq!((history.skipped_pictures.len(), history.skipped_picture_count), (SKIPS, 999));
        assert_eq!(history.skipped_pictures[0], "a.jpg: no JPEG");
        assert_eq!(history.best().map(|best| best.step), Some(2_000));
        for _ in 0..2 {
            history.add(&json!({"event": "given_up", "file": "report.html", "problem": "disk full"}));
        }
        assert_eq!(history.warnings, ["disk full"]);
    }

    #[test]
    fn a_folder_without_a_log_and_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let error = RunHistory::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("expected a run folder, which has a log.jsonl"), "{error}");
        let log = "{\"event\":\"started\",\"step\":0,\"steps\":4}\n{\"event\":\"step\",\"step\":2,\"loss\":1.5}\n{\"ev";
        std::fs::write(folder.path().join(LOG), log).unwrap();
        let history = RunHistory::read(folder.path()).unwrap();
        assert_eq!((history.curve("loss"), history.steps), (vec![(2, 1.5)], 4));
        std::fs::write(folder.path().join(LOG), "hello\n").unwrap();
        assert!(RunHistory::read(folder.path()).is_err());
    }

    #[test]
    fn times_are_for_people() {
        let times = [0.4, 65.0, 7_322.0, 200_000.0].map(duration);
        assert_eq!(times, ["0 s", "1 min 5 s", "2 h 2 min", "2 d 7 h"]);
    }
}
