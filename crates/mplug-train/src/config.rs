//! The recipe of a training run: a typed TOML file. Unknown keys are errors. Knows no tensors.

mod check;
mod data;
mod fields;
mod model;
mod objective;
mod run;
mod unused;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub use data::{
    AnnotationsSection, AugmentSection, ColumnsSection, DataSection, DrawnLanguage, MaxSkipped, OverflowKind,
    Unreadable,
};
pub(crate) use model::default_shared_size;
pub use model::{ModelSection, StartSection};
pub use mplug::config::Language;
use mplug_nn::DropoutRates;
pub use objective::{
    AnsweringSection, BaselineKind, CiderSection, ContrastSection, Frequencies, ObjectiveSection,
    PretrainingSection, WrittenBy,
};
pub use run::{
    BestBy, DeviceKind, EvaluationSection, Groups, OptimizerSection, PrecisionKind, RunSection, ScheduleKind,
    ScheduleSection,
};
use serde::{Deserialize, Serialize};

use self::check::{check_dropout, ensure};
use self::fields::{flatten, parse_value, set};
use crate::error::TrainError;
use crate::training_data::Reading;

/// A recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// The run folder, relative to the working directory.
    pub output: PathBuf,
    /// Seed of the fresh weights and of the order of examples.
    #[serde(default)]
    pub seed: u64,
    /// The shape of a network that is trained from scratch; or else `start`.
    pub model: Option<ModelSection>,
    /// The model whose training goes on.
    pub start: Option<StartSection>,
    /// What is given before a caption, by its language (`zh`, `en`), so that one model writes several; those of the model to
    /// start from if absent.
    #[serde(default)]
    pub prompts: BTreeMap<String, String>,
    /// What training minimises.
    #[serde(default)]
    pub objective: ObjectiveSection,
    /// What it learns from.
    pub data: DataSection,
    /// How its pictures are varied; not at all if absent.
    pub augment: Option<AugmentSection>,
    /// How long, and in what micro-batches.
    pub run: RunSection,
    /// AdamW.
    pub optimizer: OptimizerSection,
    /// The learning rate over time.
    pub schedule: ScheduleSection,
    /// When and on what to evaluate.
    pub evaluation: EvaluationSection,
    /// Whether a model to start from is refused for weights that it does not know. No part of the recipe.
    #[serde(skip)]
    pub strict: bool,
}

impl TrainConfig {
    /// Reads a recipe.
    pub fn open(path: &Path, overrides: &[(String, String)]) -> Result<Self, TrainError> {
        let text = std::fs::read_to_string(path).map_err(TrainError::file(path))?;
        Self::from_toml(&text, overrides)
    }

    /// Reads a recipe from text; `overrides` are pairs such as `("run.steps", "100")` whose values are TOML, or text
    /// where they are not.
    pub fn from_toml(text: &str, overrides: &[(String, String)]) -> Result<Self, TrainError> {
        let mut table: toml::Table =
            toml::from_str(text).map_err(|error| TrainError::Recipe(error.to_string()))?;
        for (key, value) in overrides {
            set(&mut table, key, parse_value(value))?;
        }
        let read = |table| toml::Value::Table(table).try_into::<Self>();
        let config = read(table.clone()).map_err(|error| {
            let message = |table| read(table).err().map(|error| error.message().to_owned());
            let problem = fields::problem(&table, &message);
            TrainError::Recipe(problem.unwrap_or_else(|| error.message().to_owned()))
        })?;
        unused::refuse(&config, &table)?;
        config.check()?;
        Ok(config)
    }

    /// Checks what types cannot say.
    pub fn check(&self) -> Result<(), TrainError> {
        if self.model.is_some() == self.start.is_some() {
            let found = if self.model.is_some() { "both" } else { "neither" };
            let problem = format!("expected one of the tables [model] and [start], found {found}");
            return Err(TrainError::Recipe(problem));
        }
        if let Some(model) = &self.model {
            model.check(self.objective.parts())?;
        }
        if let Some(start) = &self.start {
            let [model, clip, bert] = [&start.model, &start.clip, &start.bert].map(Option::is_some);
            ensure(model != clip && clip == bert, "start", || {
                let found = [(model, "model"), (clip, "clip"), (bert, "bert")];
                let found = found.into_iter().filter(|(is_there, _)| *is_there).map(|(_, name)| name);
                let found: Vec<&str> = found.collect();
                ("`model`, or `clip` and `bert`".to_owned(), found.join(" and "))
            })?;
            ensure(
                start.image_size.is_none_or(|size| (1..=8192).contains(&size)),
                "start.image_size",
                || ("1 to 8192".to_owned(), start.image_size.unwrap_or_default().to_string()),
            )?;
            check_dropout("start.dropout", start.dropout)?;
            check_dropout("start.visual_attention_dropout", start.visual_attention_dropout)?;
        }
        self.check_data()?;
        let writes_captions = matches!(self.objective.reading(), Reading::Captions | Reading::Pictures);
        ensure(self.prompts.is_empty() || writes_captions, "prompts", || {
            ("none where no captions are written".to_owned(), format!("{:?}", self.prompts))
        })?;
        if let Some(augment) = &self.augment {
            augment.check()?;
        }
        self.objective.check(self.run.micro_batch_size)?;
        let run = &self.run;
        for (field, value) in [
            ("run.batch_size", run.batch_size),
            ("run.micro_batch_size", run.micro_batch_size),
            ("run.threads", run.threads),
            ("run.data_threads", run.data_threads),
            ("run.data_memory", run.data_memory),
            ("run.steps", run.steps as usize),
            ("run.log_every", run.log_every as usize),
            ("run.checkpoint_every", run.checkpoint_every as usize),
            ("run.keep_last", run.keep_last),
            ("run.max_skipped_steps", run.max_skipped_steps as usize),
        ] {
            ensure(value > 0, field, || ("at least 1".to_owned(), value.to_string()))?;
        }
        let on_cpu = run.device == DeviceKind::Cpu;
        ensure(on_cpu || run.threads == 1, "run.threads", || {
            ("1, for one worker feeds a GPU".to_owned(), run.threads.to_string())
        })?;
        ensure(on_cpu || !run.gradient_checkpointing, "run.gradient_checkpointing", || {
            ("false on a GPU: it is made for the processor".to_owned(), "true".to_owned())
        })?;
        self.check_metric()?;
        self.check_rates()
    }

    /// Checks that evaluations find the figure that decides what is best.
    fn check_metric(&self) -> Result<(), TrainError> {
        let Some(metric) = self.evaluation.metric else { return Ok(()) };
        let is_drawn = matches!(self.data, DataSection::Synth { .. });
        let figures = self.objective.figures().into_iter();
        let figures: Vec<BestBy> = figures.filter(|figure| is_drawn || *figure != BestBy::Truth).collect();
        ensure(figures.contains(&metric), "evaluation.metric", || {
            let names: Vec<&str> = figures.iter().map(|figure| figure.name()).collect();
            let kind = self.objective.kind();
            (
                format!("a figure of these data for {kind}: one of {}", names.join(", ")),
                metric.name().to_owned(),
            )
        })
    }

    /// Checks that pictures to learn from and to evaluate on are told apart, and that there is one vocabulary.
    fn check_data(&self) -> Result<(), TrainError> {
        let data = match &self.data {
            DataSection::Annotations(data) => data,
            DataSection::Synth { pictures, .. } => {
                return ensure(*pictures != Some(0), "data.pictures", || {
                    ("at least 1".to_owned(), "0".to_owned())
                });
            }
        };
        data.check()?;
        let is_apart = data.held_out.as_ref().is_some_and(|path| *path != data.train)
            || data.held_out_split != data.train_split;
        ensure(is_apart, "data.held_out", || {
            ("another file or another split than what is learned from".to_owned(), "the same".to_owned())
        })?;
        ensure(data.vocabulary.is_some() == self.model.is_some(), "data.vocabulary", || {
            let expected = "a file with [model], none with [start], which has its own";
            (expected.to_owned(), if data.vocabulary.is_some() { "one" } else { "none" }.to_owned())
        })
    }

    fn check_rates(&self) -> Result<(), TrainError> {
        let optimizer = &self.optimizer;
        let rates = [
            ("optimizer.learning_rate", optimizer.learning_rate, f64::MAX),
            ("optimizer.vision_learning_rate", optimizer.vision_learning_rate.unwrap_or(0.0), f64::MAX),
            ("optimizer.eps", optimizer.eps, f64::MAX),
            ("optimizer.weight_decay", optimizer.weight_decay, f64::MAX),
            ("optimizer.clip_norm", optimizer.clip_norm, f64::MAX),
            ("optimizer.average_decay", optimizer.average_decay, 1.0),
            ("schedule.min_ratio", self.schedule.min_ratio, 1.0),
            ("schedule.warmup_rate", self.schedule.warmup_rate, f64::MAX),
            ("schedule.min_rate", self.schedule.min_rate, f64::MAX),
            ("optimizer.betas", optimizer.betas[0].max(optimizer.betas[1]), 1.0),
            ("optimizer.betas", optimizer.betas[0].min(optimizer.betas[1]), 1.0),
        ];
        for (field, value, limit) in rates {
            let good = value.is_finite() && (0.0..=limit).contains(&value);
            ensure(good, field, || (format!("a number from 0 to {limit:e}"), value.to_string()))?;
        }
        let is_research = self.schedule.kind == ScheduleKind::Research;
        ensure(!is_research || self.schedule.epoch_steps > 0, "schedule.epoch_steps", || {
            ("the length of an epoch in steps, for the research code's schedule".to_owned(), "0".to_owned())
        })?;
        let beams = self.evaluation.num_beams;
        ensure((1..=256).contains(&beams), "evaluation.num_beams", || {
            ("1 to 256".to_owned(), beams.to_string())
        })
    }

    /// The dropout of training.
    pub fn dropout(&self) -> DropoutRates {
        let of_start = self.start.as_ref().map(|start| [start.dropout, start.visual_attention_dropout]);
        let of_model = self.model.as_ref().map(|model| [model.dropout, model.visual_attention_dropout]);
        let [text, visual_attention] = of_start.or(of_model).unwrap_or_default();
        DropoutRates { text, visual_attention }
    }

    /// What differs in the recipe `other` of a run that is to go on, as `field: value there, value here`. What changes no
    /// weight is left out.
    ///
    /// # Panics
    /// Never: a recipe has only string keys.
    pub fn differences(&self, other: &str) -> Vec<String> {
        let harmless = [
            "output",
            "run.threads",
            "run.data_threads",
            "run.data_memory",
            "data.max_skipped",
            "data.max_unknown",
            "data.max_cut",
            "run.log_every",
            "run.checkpoint_every",
            "run.keep_last",
            "run.max_skipped_steps",
        ];
        let harmless = |field: &str| harmless.contains(&field) || field.starts_with("evaluation.");
        let Ok(other) = toml::from_str::<Self>(other) else {
            return vec!["the recipe in the run folder cannot be read".to_owned()];
        };
        let [theirs, ours] = [&other, self].map(|config| {
            let mut fields = BTreeMap::new();
            let table = toml::Value::try_from(config).expect("a recipe has only string keys");
            flatten("", &table, &mut fields);
            fields
        });
        let names: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
        let absent = "nothing".to_owned();
        names
            .into_iter()
            .filter(|name| theirs.get(*name) != ours.get(*name) && !harmless(name))
            .map(|name| {
                let [there, here] = [&theirs, &ours].map(|fields| fields.get(name).unwrap_or(&absent));
                format!("{name}: {there} there, {here} here")
            })
            .collect()
    }

    /// The recipe as TOML, without what its run does not use.
    ///
    /// # Panics
    /// Never: a recipe has only string keys and finite numbers.
    pub fn to_toml(&self) -> String {
        let mut table =
            toml::Table::try_from(self).expect("a recipe has only string keys and finite numbers");
        for unused in unused::unused(self) {
            fields::remove(&mut table, unused.key);
        }
        table.to_string()
    }
}
