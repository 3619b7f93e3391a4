//! What can be known before a run's first step, found out then and not after hours: whether the data are there and fit the model,
//! whether memory and disk suffice. Writes nothing.

pub mod cost;

use std::fmt;

use mplug::config::ModelConfig;
pub use mplug_data::machine;
use mplug_data::machine::Machine;
use serde::Serialize;

use self::cost::Cost;
use crate::config::{DeviceKind, TrainConfig};
use crate::error::TrainError;
use crate::log::Progress;
use crate::training_data::DataFacts;

/// What is known of a run before its first step.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Checked {
    /// Its data.
    #[serde(flatten)]
    pub data: DataFacts,
    /// Times that every example is seen; none if they never end.
    pub epochs: Option<f64>,
    /// Steps in all.
    pub steps: u64,
    /// Longest text in tokens.
    pub max_len: usize,
    /// Memory that weights, gradients and moments take, in bytes.
    pub fixed_memory: u64,
    /// Memory of a step in all, an estimate, in bytes.
    pub memory: u64,
    /// Memory that is free, in bytes, where the system reports it.
    pub free_memory: Option<u64>,
    /// What a checkpoint takes on the disk, an estimate, in bytes.
    pub checkpoint: u64,
    /// What all that the run keeps takes there, with the best checkpoint and one that is being written, an estimate, in bytes.
    pub disk: u64,
    /// What is free there, in bytes, where the system reports it.
    pub free_disk: Option<u64>,
    /// What may go wrong all the same, a sentence each.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

impl Checked {
    /// Looks at what a run of `config` needs of a machine, with a network of this shape and data of these facts.
    ///
    /// # Errors
    /// [`TrainError::Value`] where weights, gradients and moments alone are larger than the machine's memory, or a checkpoint
    /// than what is free on its disk.
    pub fn new(
        config: &TrainConfig,
        shape: &ModelConfig,
        max_len: usize,
        steps: u64,
        data: DataFacts,
        machine: &Machine,
    ) -> Result<Self, TrainError> {
        let cost = Cost::of(shape, config, max_len);
        let run = &config.run;
        let seen = steps as f64 * run.batch_size as f64;
        let mut checked = Self {
            epochs: data.examples.map(|examples| seen / examples.max(1) as f64),
            steps,
            max_len,
            fixed_memory: cost.fixed_memory(),
            memory: cost.fixed_memory().saturating_add(cost.passing_memory()),
            free_memory: machine.free_memory,
            checkpoint: cost.state().saturating_add(cost.model()),
            disk: (run.keep_last as u64 + 2).saturating_mul(cost.state().saturating_add(cost.model())),
            free_disk: machine.free_disk,
            warnings: Vec::new(),
            data,
        };
        checked.check_memory(config, machine)?;
        checked.check_disk()?;
        checked.look_at_texts();
        Ok(checked)
    }

    /// What a run says of it: the facts, and each warning.
    pub(crate) fn events(&self) -> Vec<Progress> {
        let facts = Progress::Checked(Box::new(self.clone()));
        let warnings = self.warnings.iter().map(|text| Progress::Warning { text: text.clone() });
        [facts].into_iter().chain(warnings).collect()
    }

    fn check_memory(&mut self, config: &TrainConfig, machine: &Machine) -> Result<(), TrainError> {
        if let Some(total) = machine.memory.filter(|total| self.fixed_memory > *total) {
            return Err(TrainError::Value {
                field: "run.threads",
                expected: format!(
                    "a run that fits {} of memory: fewer threads, each of which has gradients of its own, or a smaller model",
                    gigabytes(total)
                ),
                found: format!(
                    "{}, with which weights, gradients and moments alone take {}",
                    config.run.threads,
                    gigabytes(self.fixed_memory)
                ),
            });
        }
        if let Some(free) = self.free_memory.filter(|free| self.memory > *free) {
            let on_cpu = config.run.device == DeviceKind::Cpu;
            let helps = if on_cpu {
                "smaller run.micro_batch_size, run.threads or run.data_memory, or run.gradient_checkpointing = true, need less"
            } else {
                "smaller run.data_memory needs less"
            };
            self.warnings.push(format!(
                "a step takes about {} of memory (an estimate), and {} are free; {helps}",
                gigabytes(self.memory),
                gigabytes(free)
            ));
        }
        Ok(())
    }

    fn check_disk(&mut self) -> Result<(), TrainError> {
        let Some(free) = self.free_disk else { return Ok(()) };
        if self.checkpoint > free {
            return Err(TrainError::Value {
                field: "output",
                expected: format!(
                    "a folder on a disk with {} free for a checkpoint",
                    gigabytes(self.checkpoint)
                ),
                found: format!("{} free", gigabytes(free)),
            });
        }
        if self.disk > free {
            self.warnings.push(format!(
                "the run folder will take about {} (an estimate), and {} are free; a smaller run.keep_last needs less",
                gigabytes(self.disk),
                gigabytes(free)
            ));
        }
        Ok(())
    }

    /// Shares that are no error, and worth a look.
    fn look_at_texts(&mut self) {
        const NOTABLE: f64 = 0.02;

        let texts = &self.data.texts;
        if texts.unknown_share() > NOTABLE {
            self.warnings.push(format!(
                "the vocabulary lacks {:.1} % of the tokens to learn, such as {}",
                100.0 * texts.unknown_share(),
                texts.unknown_words.join(", ")
            ));
        }
        if texts.cut_share() > NOTABLE {
            self.warnings.push(format!(
                "{:.1} % of the texts are cut at {} tokens",
                100.0 * texts.cut_share(),
                self.max_len
            ));
        }
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = &self.data;
        write!(f, "before the first step: {} steps", self.steps)?;
        if let (Some(examples), Some(pictures), Some(epochs)) = (data.examples, data.pictures, self.epochs) {
            write!(f, ", {epochs:.2} epochs of {examples} examples of {pictures} pictures")?;
        }
        if data.missing > 0 {
            write!(f, ", {} of which are not there ({})", data.missing, data.missing_names.join(", "))?;
        }
        if data.opened > 0 {
            write!(f, "; {} held-out examples, {} pictures opened", data.held_out, data.opened)?;
        }
        let texts = &data.texts;
        if texts.looked_at > 0 {
            write!(
                f,
                "; of {} texts looked at ({} in all) {} are longer than {} tokens, and {} of {} tokens unknown",
                texts.looked_at, texts.all, texts.cut, self.max_len, texts.unknown, texts.tokens
            )?;
        }
        write!(f, "; estimates: {} of memory", gigabytes(self.memory))?;
        if let Some(free) = self.free_memory {
            write!(f, " ({} free)", gigabytes(free))?;
        }
        write!(f, ", {} on the disk", gigabytes(self.disk))?;
        match self.free_disk {
            Some(free) => write!(f, " ({} free)", gigabytes(free)),
            None => Ok(()),
        }
    }
}

/// Bytes as people read them.
fn gigabytes(bytes: u64) -> String {
    format!("{:.2} GB", bytes as f64 / 1e9)
}
