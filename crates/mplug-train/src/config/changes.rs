//! What differs between the recipe of a checkpoint and the one that it is resumed with, and what of it a run may not change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::fields::flatten;
use super::{ObjectiveSection, TrainConfig};

/// Fields and tables that define the model, or memory that belongs to it: they stay what they are as long as the run.
const OF_THE_MODEL: [&str; 8] = [
    "model",
    "start",
    "prompts",
    "lora",
    // What was frozen has no moments, and an optimizer that is far along would take its first steps too large.
    "freeze",
    "objective.kind",
    "objective.queue_size",
    "optimizer.kind",
];
/// What of these tables changes no weight that is there.
const OF_TRAINING: [&str; 6] = [
    "lora.dropout",
    "model.dropout",
    "model.visual_attention_dropout",
    "start.dropout",
    "start.keep_encoders",
    "start.visual_attention_dropout",
];
/// What an evaluation measures. Scores by another measure cannot be compared.
const OF_THE_MEASURE: [&str; 5] = [
    "data.clean_captions",
    "evaluation.metric",
    "evaluation.num_beams",
    "evaluation.pictures",
    "evaluation.rerank",
];

/// A field of a recipe that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its name with its tables.
    pub field: String,
    /// Its value in TOML before; none where it was absent.
    pub before: Option<String>,
    /// Its value now.
    pub now: Option<String>,
}

impl Change {
    /// Whether the model would be another one, or memory of it that a checkpoint holds.
    pub fn is_of_the_model(&self) -> bool {
        let is_below = |table: &str| {
            self.field.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let is_of_training = OF_TRAINING.contains(&&self.field[..]);
        !is_of_training && OF_THE_MODEL.iter().any(|table| is_below(table))
    }

    /// Whether scores before and after it cannot be compared.
    pub fn is_of_the_measure(&self) -> bool {
        OF_THE_MEASURE.contains(&&self.field[..]) || self.field.starts_with("generation.")
    }
}

/// As `field: value before -> value now`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [before, now] = [&self.before, &self.now].map(|value| value.as_deref().unwrap_or("nothing"));
        write!(f, "{}: {before} -> {now}", self.field)
    }
}

impl TrainConfig {
    /// Whether a run of the recipe `before` can go on with this one in spite of `change`: its model is the one that it was, and so
    /// is what a checkpoint holds.
    pub fn allows(&self, before: &Self, change: &Change) -> bool {
        let momentum_model = |config: &Self| match &config.objective {
            ObjectiveSection::Answering(section) => section.distillation > 0.0,
            _ => true,
        };
        let is_of_memory =
            change.field == "objective.distillation" && momentum_model(self) != momentum_model(before);
        !change.is_of_the_model() && !is_of_memory
    }

    /// What differs from the recipe `before`, by the names of the fields. Where the run is written is no difference.
    ///
    /// # Panics
    /// Never: recipes that are written can be read.
    pub fn changes_since(&self, before: &Self) -> Vec<Change> {
        let [before, now] = [before, self].map(|config| {
            let mut fields = BTreeMap::new();
            // What a run does not use is in no recipe that is written.
            let table = toml::from_str(&config.to_toml()).expect("what is written is read");
            flatten("", &toml::Value::Table(table), &mut fields);
            fields
        });
        let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        names
            .into_iter()
            .filter(|name| before.get(*name) != now.get(*name) && *name != "output")
            .map(|name| Change {
                field: name.clone(),
                before: before.get(name).cloned(),
                now: now.get(name).cloned(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(field: &str, before: &str, now: &str) -> Change {
        let [before, now] = [before, now].map(|value| (!value.is_empty()).then(|| value.to_owned()));
        Change { field: field.to_owned(), before, now }
    }

    #[test]
    fn the_model_is_what_a_run_may_not_change() {
        for (field, before, now, is_fixed) in [
            ("model.text_width", "32", "64", true),
            ("model.dropout", "0.1", "0.0", false),
            ("models", "1", "2", false),
            ("freeze", "[\"visual_encoder\"]", "[]", true),
            ("prompts.en", "", "\"a\"", true),
            ("objective.kind", "\"cider\"", "\"captioning\"", true),
            ("objective.temperature", "1.0", "0.5", false),
            ("optimizer.learning_rate", "1.0", "0.5", false),
            ("data.train", "\"a\"", "\"b\"", false),
        ] {
            let change = change(field, before, now);
            assert_eq!(change.is_of_the_model(), is_fixed, "{change}");
        }
        assert!(change("evaluation.metric", "", "\"loss\"").is_of_the_measure());
        assert!(!change("evaluation.every", "1", "2").is_of_the_measure());
        assert_eq!(change("run.steps", "", "2").to_string(), "run.steps: nothing -> 2");
    }
}
