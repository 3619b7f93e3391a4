//! The two logs of ModelScope's trainer, so that what reads them goes on working: text (`TextLoggerHook`) in `{time}.log`, and
//! JSON lines in `{time}.log.json`.

use std::path::Path;

use chrono::{DateTime, Local};
use serde_json::{Map, Value, json};

use super::{Appended, Progress, StepReport};
use crate::error::TrainError;

/// Both files.
pub(super) struct ModelScopeLog {
    text: Appended,
    json: Appended,
    /// Where the last step was.
    epoch: u64,
}

impl ModelScopeLog {
    pub(super) fn open(folder: &Path, now: &DateTime<Local>) -> Result<Self, TrainError> {
        let name = now.format("%Y%m%d_%H%M%S").to_string();
        Ok(Self {
            text: Appended::open(folder.join(format!("{name}.log")))?,
            json: Appended::open(folder.join(format!("{name}.log.json")))?,
            epoch: 1,
        })
    }

    pub(super) fn write(&mut self, event: &Progress, now: &DateTime<Local>) -> Result<(), TrainError> {
        let (text, json) = match event {
            Progress::Step(report) => {
                self.epoch = report.epoch;
                (step_text(report), step_json(report))
            }
            Progress::Evaluated { step, metrics, .. } => {
                let values: Vec<String> =
                    metrics.iter().map(|(name, value)| format!("evaluation/{name}: {value:.4}")).collect();
                let mut json = Map::from_iter([
                    ("mode".to_owned(), json!("evaluate")),
                    ("epoch".to_owned(), json!(self.epoch)),
                    ("iter".to_owned(), json!(step)),
                ]);
                json.extend(
                    metrics.iter().map(|(name, value)| (format!("evaluation/{name}"), rounded(*value))),
                );
                (format!("epoch(eval) [{}][{step}]\t{}", self.epoch, values.join(", ")), json)
            }
            _ => return Ok(()),
        };
        self.text.line(&format!("{} - modelscope - INFO - {text}", now.format("%Y-%m-%d %H:%M:%S,%3f")))?;
        self.json.line(&Value::Object(json).to_string())
    }
}

/// The text of a step.
fn step_text(report: &StepReport) -> String {
    let StepReport { epoch, epoch_step, epoch_steps, learning_rate, loss, .. } = report;
    format!(
        "epoch [{epoch}][{epoch_step}/{epoch_steps}]\tlr: {}, eta: {}, iter_time: {:.3}, data_load_time: {:.3}, loss: \
         {loss:.4}",
        exponent(*learning_rate),
        duration(report.seconds_left),
        report.step_seconds,
        report.data_seconds,
    )
}

/// The JSON of a step, in the original's order of keys.
fn step_json(report: &StepReport) -> Map<String, Value> {
    Map::from_iter([
        ("mode".to_owned(), json!("train")),
        ("epoch".to_owned(), json!(report.epoch)),
        ("iter".to_owned(), json!(report.epoch_step)),
        ("lr".to_owned(), json!(report.learning_rate)),
        ("data_load_time".to_owned(), rounded(report.data_seconds)),
        ("loss".to_owned(), rounded(report.loss)),
        ("iter_time".to_owned(), rounded(report.step_seconds)),
    ])
}

/// A number to five digits.
fn rounded(value: f64) -> Value {
    json!((value * 1e5).round() / 1e5)
}

/// As Python's `:.3e` writes it: `5.000e-05`.
fn exponent(value: f64) -> String {
    let text = format!("{value:.3e}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let (sign, size) = exponent.strip_prefix('-').map_or(('+', exponent), |size| ('-', size));
    format!("{digits}e{sign}{size:0>2}")
}

/// As Python prints a `timedelta` of whole seconds: `1 day, 2:03:04`.
fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    let clock = format!("{hours}:{minutes:02}:{:02}", seconds % 60);
    match days {
        0 => clock,
        1 => format!("1 day, {clock}"),
        days => format!("{days} days, {clock}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_originals() {
        let report = StepReport {
            epoch: 1,
            epoch_step: 10,
            epoch_steps: 100,
            loss: 2.345_612,
            learning_rate: 5e-5,
            step_seconds: 0.512,
            data_seconds: 0.01,
            seconds_left: 83.9,
            ..StepReport::default()
        };
        assert_eq!(
            step_text(&report),
            "epoch [1][10/100]\tlr: 5.000e-05, eta: 0:01:23, iter_time: 0.512, data_load_time: 0.010, loss: 2.3456"
        );
        assert_eq!(
            Value::Object(step_json(&report)).to_string(),
            r#"{"mode":"train","epoch":1,"iter":10,"lr":0.00005,"data_load_time":0.01,"loss":2.34561,"iter_time":0.512}"#
        );
    }

    #[test]
    fn numbers_look_as_pythons() {
        assert_eq!(
            [exponent(0.0), exponent(12.5), exponent(1e-120)],
            ["0.000e+00", "1.250e+01", "1.000e-120"]
        );
        assert_eq!(duration(93_784.2), "1 day, 2:03:04");
        assert_eq!(duration(2.0 * 86400.0 + 1.0), "2 days, 0:00:01");
    }
}
