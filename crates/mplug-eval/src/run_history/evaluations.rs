//! The evaluations of a run: all their figures, and the samples of a bounded number of them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Evaluations that keep their samples and errors by class, at most.
pub(super) const SAMPLED: usize = 24;
/// Evaluations whose figures are kept, at most.
const FIGURES: usize = 2048;

/// An evaluation as the log has it.
#[derive(Clone, Debug, Default)]
pub struct NotedEvaluation {
    /// Steps done.
    pub step: u64,
    /// The figures by name.
    pub metrics: Map<String, Value>,
    /// Whether its model was kept as the best, and no later one was.
    pub is_best: bool,
    /// Texts that the model wrote; empty where they were not kept.
    pub samples: Vec<NotedSample>,
    /// Figures of kinds of examples; empty where the data has none, or they were not kept.
    pub classes: Vec<ClassFigure>,
}

/// A text that the model wrote in an evaluation.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct NotedSample {
    /// The text.
    #[serde(default)]
    pub text: String,
    /// What a person wrote.
    #[serde(default)]
    pub expected: String,
    /// What was asked, if anything.
    #[serde(default)]
    pub question: String,
    /// How right the text is, 0 to 1, if the dataset judged it.
    #[serde(default)]
    pub score: Option<f64>,
}

/// How good what the model wrote is about one kind of examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassFigure {
    /// What the kinds divide by: `scene`, `question`, `reference length`.
    pub by: String,
    /// The kind.
    pub class: String,
    /// Examples of it.
    pub examples: u64,
    /// The mean of their scores.
    pub score: f64,
    /// What the score is: `truth` and `accuracy` (shares that are right), `cider` (0 to 10).
    pub figure: String,
}

impl NotedEvaluation {
    /// That of an event.
    pub(super) fn of(event: &Value, step: u64) -> Self {
        let list = |name: &str| event[name].as_array().cloned().unwrap_or_default().into_iter();
        Self {
            step,
            metrics: event["metrics"].as_object().cloned().unwrap_or_default(),
            is_best: event["best"] == true,
            samples: list("samples").filter_map(|one| serde_json::from_value(one).ok()).collect(),
            classes: list("classes").filter_map(|one| serde_json::from_value(one).ok()).collect(),
        }
    }

    fn is_sampled(&self) -> bool {
        !self.samples.is_empty() || !self.classes.is_empty()
    }
}

/// Drops samples, and then whole evaluations, where there are too many: of those between the first, the best and the last, that
/// which is nearest to its neighbours.
pub(super) fn bound(evaluations: &mut Vec<NotedEvaluation>) {
    let sampled: Vec<usize> =
        (0..evaluations.len()).filter(|index| evaluations[*index].is_sampled()).collect();
    if sampled.len() > SAMPLED
        && let Some(index) = most_crowded(evaluations, &sampled)
    {
        evaluations[index].samples = Vec::new();
        evaluations[index].classes = Vec::new();
    }
    if evaluations.len() > FIGURES {
        let unsampled: Vec<usize> = (0..evaluations.len()).collect();
        if let Some(index) = most_crowded(evaluations, &unsampled) {
            evaluations.remove(index);
        }
    }
}

/// The one whose neighbours are closest together; never the first, the best or the last.
fn most_crowded(evaluations: &[NotedEvaluation], among: &[usize]) -> Option<usize> {
    let inner = among.windows(3).filter(|three| !evaluations[three[1]].is_best);
    let room = |three: &&[usize]| evaluations[three[2]].step - evaluations[three[0]].step;
    inner.min_by_key(room).map(|three| three[1])
}
