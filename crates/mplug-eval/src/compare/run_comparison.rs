//! What two runs of training have in common and where they differ, from their logs.

use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};

use super::VERSION;
use crate::run_history::{NotedEvaluation, RunHistory};

/// Two runs, `a` and `b`.
#[derive(Debug, Serialize)]
pub struct RunComparison {
    /// Version of this form.
    pub version: u32,
    /// The first run.
    pub a: RunFacts,
    /// The second run.
    pub b: RunFacts,
    /// The settings that differ, by key.
    pub settings: Vec<SettingDifference>,
    /// Figures of the evaluations, and the training loss.
    pub figures: Vec<RunFigure>,
    /// What both wrote about the same pictures in their last evaluations, where it differs.
    pub samples: Vec<SampleDifference>,
    /// What a reader should know.
    pub notes: Vec<String>,
    /// What the logs say, for the curves.
    #[serde(skip)]
    pub histories: [RunHistory; 2],
}

/// One run in short.
#[derive(Debug, Serialize)]
pub struct RunFacts {
    /// Its folder as it was given.
    pub path: String,
    /// Steps done, and in all.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// Learnable numbers.
    pub parameters: u64,
    /// Seconds that it took.
    pub seconds: f64,
    /// How often it was started or resumed.
    pub starts: usize,
    /// Examples a second, in the last log line.
    pub examples_per_second: Option<f64>,
    /// The most memory that it held, in bytes.
    pub peak_memory: Option<f64>,
    /// Steps that changed no weight.
    pub skipped_steps: u64,
    /// The step of the best evaluation.
    pub best_step: Option<u64>,
    /// The machine.
    pub machine: Map<String, Value>,
}

/// A setting of the recipe that differs.
#[derive(Debug, Serialize)]
pub struct SettingDifference {
    /// Its key.
    pub key: String,
    /// The first run's value; null if it has none.
    pub a: Value,
    /// The second run's.
    pub b: Value,
}

/// A figure of both runs.
#[derive(Debug, Serialize)]
pub struct RunFigure {
    /// Its name: `train.loss`, or as evaluations have it.
    pub key: String,
    /// Whether less is better.
    pub less_is_better: bool,
    /// The first run's.
    pub a: RunValues,
    /// The second run's.
    pub b: RunValues,
}

/// A figure of one run; null where it has none.
#[derive(Debug, Serialize)]
pub struct RunValues {
    /// In the last log line or evaluation.
    pub last: Option<f64>,
    /// The best of all.
    pub best: Option<f64>,
    /// The step of the best.
    pub best_step: Option<u64>,
    /// At the last step at which both have one.
    pub at_common_step: Option<f64>,
}

/// Two texts about one picture.
#[derive(Debug, Serialize)]
pub struct SampleDifference {
    /// What a person wrote.
    pub expected: String,
    /// What the first run's model wrote.
    pub a: String,
    /// What the second run's model wrote.
    pub b: String,
}

impl RunComparison {
    /// Compares the runs of two folders.
    pub(super) fn of(paths: [&Path; 2], histories: [RunHistory; 2]) -> Self {
        let [a, b] = &histories;
        let mut names: Vec<String> = vec!["train.loss".to_owned(), "train.reward".to_owned()];
        names.extend(a.figures().into_iter().map(str::to_owned));
        names.extend(b.figures().into_iter().filter(|name| !a.figures().contains(name)).map(str::to_owned));
        let figures = names.iter().map(|name| figure(name, &histories));
        let mut notes = vec![
            "one run a side: whether a difference could be an accident of the seed or of the held-out pictures is not computed; \
             results of the models on single pictures can be compared for the latter"
                .to_owned(),
        ];
        let measured = [
            "data.held_out",
            "data.held_out_seed",
            "evaluation.pictures",
            "evaluation.num_beams",
            "generation.num_beams",
        ];
        let settings = differences(a, b);
        let others: Vec<&str> =
            settings.iter().map(|one| one.key.as_str()).filter(|key| measured.contains(key)).collect();
        if !others.is_empty() {
            notes.push(format!(
                "evaluations differ in {}: their figures cannot be compared",
                others.join(", ")
            ));
        }
        Self {
            version: VERSION,
            a: RunFacts::of(paths[0], a),
            b: RunFacts::of(paths[1], b),
            settings,
            figures: figures.filter(|figure| figure.a.last.is_some() || figure.b.last.is_some()).collect(),
            samples: samples(a, b),
            notes,
            histories,
        }
    }
}

impl RunFacts {
    fn of(path: &Path, history: &RunHistory) -> Self {
        Self {
            path: path.display().to_string(),
            step: history.step,
            steps: history.steps,
            parameters: history.parameters,
            seconds: history.seconds,
            starts: history.starts,
            examples_per_second: history.last("examples_per_second"),
            peak_memory: history.last("peak_memory"),
            skipped_steps: history.skipped_step_count,
            best_step: history.best().map(|best| best.step),
            machine: history.machine.clone(),
        }
    }
}

/// The settings that differ. The folder of the run always does.
fn differences(a: &RunHistory, b: &RunHistory) -> Vec<SettingDifference> {
    let mut keys: Vec<&String> =
        a.settings.keys().chain(b.settings.keys()).filter(|key| *key != "output").collect();
    keys.sort();
    keys.dedup();
    let value = |history: &RunHistory, key: &str| history.settings.get(key).cloned().unwrap_or(Value::Null);
    let all = keys.into_iter().map(|key| SettingDifference {
        key: key.clone(),
        a: value(a, key),
        b: value(b, key),
    });
    all.filter(|one| one.a != one.b).collect()
}

/// The curve of a figure: of training or of evaluations.
pub(super) fn curve_name(figure: &str) -> String {
    figure.strip_prefix("train.").map_or_else(|| format!("held_out.{figure}"), str::to_owned)
}

fn figure(name: &str, histories: &[RunHistory; 2]) -> RunFigure {
    let less_is_better = name.ends_with("loss");
    let curves = histories.each_ref().map(|history| history.curve(&curve_name(name)));
    let common = curves[0].iter().rev().map(|(step, _)| *step);
    let common = common.into_iter().find(|step| curves[1].iter().any(|(other, _)| other == step));
    let [a, b] = curves.map(|curve| {
        let better = |x: &&(u64, f64), y: &&(u64, f64)| {
            // The first of equals.
            let order = x.1.total_cmp(&y.1).then(x.0.cmp(&y.0));
            if less_is_better { order } else { y.1.total_cmp(&x.1).then(x.0.cmp(&y.0)) }
        };
        let best = curve.iter().min_by(better);
        RunValues {
            last: curve.last().map(|(_, value)| *value),
            best: best.map(|(_, value)| *value),
            best_step: best.map(|(step, _)| *step),
            at_common_step: common
                .and_then(|common| curve.iter().find(|(step, _)| *step == common).map(|(_, value)| *value)),
        }
    });
    RunFigure { key: name.to_owned(), less_is_better, a, b }
}

/// Texts of the last evaluations about the same pictures, which are known by their place and by what a person wrote.
fn samples(a: &RunHistory, b: &RunHistory) -> Vec<SampleDifference> {
    let last = |history: &RunHistory| {
        let sampled = history.evaluations.iter().rev().find(|evaluation| !evaluation.samples.is_empty());
        sampled.map_or_else(Vec::new, |evaluation: &NotedEvaluation| evaluation.samples.clone())
    };
    let both = last(a).into_iter().zip(last(b));
    let both = both.filter(|(a, b)| a.expected == b.expected && a.text != b.text);
    both.map(|(a, b)| SampleDifference { expected: a.expected, a: a.text, b: b.text }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn history(rate: f64, losses: &[(u64, f64)], said: &str) -> RunHistory {
        let mut history = RunHistory::default();
        history.add(&json!({"event": "started", "step": 0, "steps": 40, "parameters": 7,
            "settings": {"output": said, "optimizer.learning_rate": rate, "seed": 1}}));
        for (step, loss) in losses {
            history.add(&json!({"event": "step", "step": step, "loss": loss}));
            history.add(&json!({"event": "evaluated", "step": step, "metrics": {"loss": loss, "cider": 10.0 - loss},
                "best": true, "samples": [{"text": said, "expected": "x"}, {"text": "same", "expected": "y"}]}));
        }
        history
    }

    #[test]
    fn settings_figures_and_samples_that_differ_are_found() {
        let a = history(0.1, &[(10, 3.0), (20, 1.0), (30, 2.0)], "a cat");
        let b = history(0.2, &[(10, 2.5), (20, 1.5)], "a dog");
        let found = RunComparison::of([Path::new("a"), Path::new("b")], [a, b]);
        let keys: Vec<&str> = found.settings.iter().map(|one| one.key.as_str()).collect();
        assert_eq!(keys, ["optimizer.learning_rate"]);
        let cider = found.figures.iter().find(|figure| figure.key == "cider").unwrap();
        assert_eq!((cider.a.last, cider.a.best, cider.a.best_step), (Some(8.0), Some(9.0), Some(20)));
        assert_eq!((cider.a.at_common_step, cider.b.at_common_step), (Some(9.0), Some(8.5)));
        let loss = found.figures.iter().find(|figure| figure.key == "loss").unwrap();
        assert_eq!((loss.a.best, loss.b.best), (Some(1.0), Some(1.5)));
        assert_eq!((found.samples.len(), &found.samples[0].b[..]), (1, "a dog"));
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(json["a"]["steps"], 40);
        assert!(json.get("histories").is_none());
    }
}
