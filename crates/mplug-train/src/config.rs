//! The recipe of a training run: a typed TOML file. Unknown keys are errors. Knows no tensors.

mod changes;
mod check;
mod data;
mod evaluation;
mod fields;
mod fine_tuning;
mod generation;
mod model;
mod objective;
mod optimizer;
mod run;
mod schedule;
mod unused;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use changes::Change;
pub use data::{
    AnnotationsSection, AugmentSection, ColumnsSection, DataSection, DrawnLanguage, MaxSkipped, OverflowKind,
    Unreadable,
};
pub use evaluation::{BestBy, EvaluationSection};
pub use fine_tuning::{FeaturesSection, LoraSection};
pub use generation::GenerationSection;
pub(crate) use model::default_shared_size;
pub use model::{ModelSection, StartSection};
pub use mplug::config::Language;
use mplug_nn::DropoutRates;
pub use objective::{
    AnsweringSection, BaselineKind, CiderSection, ContrastSection, Frequencies, ObjectiveSection,
    PretrainingSection, WrittenBy,
};
pub use optimizer::{Groups, Moments, OptimizerSection, UpdateRule};
pub use run::{DeviceKind, ExportKind, PrecisionKind, RunSection};
pub use schedule::{
    CosineAnnealing, ExponentialDecay, Fall, LinearFactor, MultiStepDecay, Plateau, ResearchSchedule,
    ScheduleSection, StepDecay, Unit, Warmup, WarmupKind,
};
use serde::{Deserialize, Serialize};

use self::check::{check_dropout, ensure};
use self::fields::{parse_value, remove, set};
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
    /// Beginnings of names of tensors, to a dot, that are not trained: no gradient, no moments, no decay.
    #[serde(default)]
    pub freeze: Vec<String>,
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
    /// Low-rank adaptation in place of training the weights; none if absent.
    pub lora: Option<LoraSection>,
    /// What a frozen visual encoder makes of pictures is kept on disk; it is not if absent.
    pub features: Option<FeaturesSection>,
    /// How long, and in what micro-batches.
    pub run: RunSection,
    /// How gradients change weights.
    pub optimizer: OptimizerSection,
    /// The learning rate over time.
    pub schedule: ScheduleSection,
    /// When and on what to evaluate.
    pub evaluation: EvaluationSection,
    /// How the finished model writes.
    #[serde(default)]
    pub generation: GenerationSection,
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
        Self::from_table(
            toml::from_str(text).map_err(|error| TrainError::Recipe(error.to_string()))?,
            overrides,
        )
    }

    /// Reads a recipe from its table; `overrides` as of [`from_toml`](Self::from_toml).
    ///
    /// # Errors
    /// When it is no recipe, or has what its run does not use.
    pub fn from_table(mut table: toml::Table, overrides: &[(String, String)]) -> Result<Self, TrainError> {
        let names = |name: &str| overrides.iter().any(|(key, _)| key == name);
        for (key, value) in overrides {
            // A length in one measure takes the place of the recipe's in the other.
            match key.as_str() {
                "run.steps" if !names("run.epochs") => {
                    remove(&mut table, "run.epochs");
                    remove(&mut table, "run.drop_last");
                }
                "run.epochs" if !names("run.steps") => remove(&mut table, "run.steps"),
                _ => {}
            }
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
            start.check_kept(self.objective.task())?;
        }
        self.check_data()?;
        let writes_captions = matches!(self.objective.reading(), Reading::Captions | Reading::Pictures);
        ensure(self.prompts.is_empty() || writes_captions, "prompts", || {
            ("none where no captions are written".to_owned(), format!("{:?}", self.prompts))
        })?;
        if let Some(augment) = &self.augment {
            augment.check()?;
        }
        self.check_fine_tuning()?;
        self.objective.check(self.run.micro_batch_size)?;
        let run = &self.run;
        for (field, value) in [
            ("run.batch_size", run.batch_size),
            ("run.micro_batch_size", run.micro_batch_size),
            ("run.threads", run.threads),
            ("run.data_threads", run.data_threads),
            ("run.data_memory", run.data_memory),
            ("run.steps", run.steps.unwrap_or(1) as usize),
            ("run.epochs", run.epochs.unwrap_or(1) as usize),
            ("run.log_every", run.log_every as usize),
            ("run.checkpoint_every", run.checkpoint_every as usize),
            ("run.keep_last", run.keep_last),
            ("run.max_skipped_steps", run.max_skipped_steps as usize),
        ] {
            ensure(value > 0, field, || ("at least 1".to_owned(), value.to_string()))?;
        }
        ensure(run.steps.is_some() != run.epochs.is_some(), "run.steps", || {
            let found = if run.steps.is_some() { "both" } else { "neither" };
            ("one of `run.steps` and `run.epochs`".to_owned(), found.to_owned())
        })?;
        ensure(!run.drop_last || run.epochs.is_some(), "run.drop_last", || {
            ("no such key without `run.epochs`".to_owned(), "true".to_owned())
        })?;
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
        // Without evaluations nothing is held out.
        ensure(is_apart || self.evaluation.every == 0, "data.held_out", || {
            ("another file or another split than what is learned from".to_owned(), "the same".to_owned())
        })?;
        let has_captions = matches!(self.objective.reading(), Reading::Captions | Reading::Pairs);
        ensure(!data.clean_captions || has_captions, "data.clean_captions", || {
            ("no such key where no captions are read or written".to_owned(), "true".to_owned())
        })?;
        ensure(data.vocabulary.is_some() == self.model.is_some(), "data.vocabulary", || {
            let expected = "a file with [model], none with [start], which has its own";
            (expected.to_owned(), if data.vocabulary.is_some() { "one" } else { "none" }.to_owned())
        })
    }

    fn check_rates(&self) -> Result<(), TrainError> {
        self.optimizer.check()?;
        self.schedule.check()?;
        self.generation.check(&self.objective)?;
        self.evaluation.check(&self.objective)
    }

    /// The dropout of training.
    pub fn dropout(&self) -> DropoutRates {
        let of_start = self.start.as_ref().map(|start| [start.dropout, start.visual_attention_dropout]);
        let of_model = self.model.as_ref().map(|model| [model.dropout, model.visual_attention_dropout]);
        let [text, visual_attention] = of_start.or(of_model).unwrap_or_default();
        DropoutRates { text, visual_attention }
    }

    /// The recipe as TOML, without what its run does not use.
    ///
    /// # Panics
    /// Never: a recipe has only string keys and finite numbers.
    pub fn to_toml(&self) -> String {
        let mut table =
            toml::Table::try_from(self).expect("a recipe has only string keys and finite numbers");
        for unused in unused::unused(self) {
            remove(&mut table, unused.key);
        }
        table.to_string()
    }
}
