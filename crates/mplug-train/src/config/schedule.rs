//! The learning rate over time as a recipe says it: one kind, with no keys but its own.

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};

use super::check::ensure;
use super::optimizer::check_number;
use crate::error::TrainError;

/// The learning rate over time.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ScheduleSection {
    /// A cosine from the peak down to the floor at the last step.
    Cosine(Fall),
    /// Straight down from the peak to the floor at the last step.
    Linear(Fall),
    /// The peak.
    Constant(Plateau),
    /// The research code's (AliceMind's `caption_mplug.py`, timm's cosine): constant inside an epoch, in the first one
    /// from `warmup_rate` towards the peak in steps of 100 (downwards too, where the peak is lower).
    Research(ResearchSchedule),
    /// PyTorch's `StepLR`.
    Step(StepDecay),
    /// PyTorch's `MultiStepLR`.
    MultiStep(MultiStepDecay),
    /// PyTorch's `ExponentialLR`.
    Exponential(ExponentialDecay),
    /// PyTorch's `CosineAnnealingLR`.
    CosineAnnealing(CosineAnnealing),
    /// PyTorch's `LinearLR`.
    LinearFactor(LinearFactor),
}

/// The names of the kinds.
const KINDS: [&str; 9] = [
    "cosine",
    "linear",
    "constant",
    "research",
    "step",
    "multi-step",
    "exponential",
    "cosine-annealing",
    "linear-factor",
];

/// After a straight warm-up from nothing, from the peak to a floor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fall {
    /// Steps of warm-up.
    pub warmup_steps: u64,
    /// The floor as a share of the peak; of every group's own peak.
    #[serde(default)]
    pub min_ratio: f64,
}

/// After a straight warm-up from nothing, the peak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plateau {
    /// Steps of warm-up.
    pub warmup_steps: u64,
}

/// The research code's schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResearchSchedule {
    /// Steps of warm-up: a hundred batches for each of the original's `warmup_epochs`.
    pub warmup_steps: u64,
    /// The learning rate that warm-up starts from (the original's `warmup_lr`).
    #[serde(default = "default_warmup_rate")]
    pub warmup_rate: f64,
    /// The learning rate at the end (the original's `min_lr`).
    #[serde(default = "default_min_rate")]
    pub min_rate: f64,
    /// The length of an epoch in steps; the data's if absent.
    pub epoch_steps: Option<u64>,
    /// The original's batches in a step (its `accum_steps`): its warm-up counts batches.
    #[serde(default = "default_accumulation")]
    pub accumulation: u64,
}

fn default_warmup_rate() -> f64 {
    1e-5
}

fn default_min_rate() -> f64 {
    1e-6
}

fn default_accumulation() -> u64 {
    1
}

/// What a schedule of PyTorch counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Epochs, as ModelScope's `LrSchedulerHook` does by default.
    #[default]
    Epoch,
    /// Optimizer steps.
    Step,
}

/// Multiplies the rate with `gamma` again and again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepDecay {
    /// What is counted.
    #[serde(default)]
    pub by: Unit,
    /// The count from one multiplication to the next.
    pub step_size: u64,
    /// The factor.
    #[serde(default = "default_gamma")]
    pub gamma: f64,
    /// How it begins.
    pub warmup: Option<Warmup>,
}

/// Multiplies the rate with `gamma` at given counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultiStepDecay {
    /// What is counted.
    #[serde(default)]
    pub by: Unit,
    /// The counts.
    pub milestones: Vec<u64>,
    /// The factor.
    #[serde(default = "default_gamma")]
    pub gamma: f64,
    /// How it begins.
    pub warmup: Option<Warmup>,
}

/// Multiplies the rate with `gamma` at every count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExponentialDecay {
    /// What is counted.
    #[serde(default)]
    pub by: Unit,
    /// The factor.
    pub gamma: f64,
    /// How it begins.
    pub warmup: Option<Warmup>,
}

/// Goes down a cosine and up again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CosineAnnealing {
    /// What is counted.
    #[serde(default)]
    pub by: Unit,
    /// The count at which the rate is least (PyTorch's `T_max`).
    pub t_max: u64,
    /// The least rate, of every group.
    #[serde(default)]
    pub eta_min: f64,
    /// How it begins.
    pub warmup: Option<Warmup>,
}

/// Goes straight from one share of the peak to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinearFactor {
    /// What is counted.
    #[serde(default)]
    pub by: Unit,
    /// The first share.
    #[serde(default = "default_start_factor")]
    pub start_factor: f64,
    /// The last share.
    #[serde(default = "default_end_factor")]
    pub end_factor: f64,
    /// The count at which the last share is reached.
    #[serde(default = "default_total_iters")]
    pub total_iters: u64,
    /// How it begins.
    pub warmup: Option<Warmup>,
}

fn default_gamma() -> f64 {
    0.1
}

fn default_start_factor() -> f64 {
    1.0 / 3.0
}

fn default_end_factor() -> f64 {
    1.0
}

fn default_total_iters() -> u64 {
    5
}

/// How a schedule of PyTorch begins in ModelScope's trainer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warmup {
    /// Its shape.
    pub kind: WarmupKind,
    /// How long it lasts, in what the schedule counts (ModelScope's `warmup_iters`).
    pub iters: u64,
    /// The first share of the rate (ModelScope's `warmup_ratio`).
    #[serde(default = "default_ratio")]
    pub ratio: f64,
}

fn default_ratio() -> f64 {
    0.1
}

/// The shape of a warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WarmupKind {
    /// ModelScope's `LinearWarmup`: the share grows evenly.
    Linear,
    /// ModelScope's `ConstantWarmup`: the share stays.
    Constant,
    /// ModelScope's `ExponentialWarmup`: the share grows by one factor.
    Exponential,
}

impl<'de> Deserialize<'de> for ScheduleSection {
    /// Reads the keys of the kind that the section names; without a name it is the cosine.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = toml::Table::deserialize(deserializer)?;
        let kind = table.remove("kind").unwrap_or_else(|| "cosine".into());
        let Some(kind) = kind.as_str() else {
            return Err(D::Error::custom(format!("schedule.kind: expected a name, found {kind}")));
        };
        match kind {
            "cosine" => keys(table).map(Self::Cosine),
            "linear" => keys(table).map(Self::Linear),
            "constant" => keys(table).map(Self::Constant),
            "research" => keys(table).map(Self::Research),
            "step" => keys(table).map(Self::Step),
            "multi-step" => keys(table).map(Self::MultiStep),
            "exponential" => keys(table).map(Self::Exponential),
            "cosine-annealing" => keys(table).map(Self::CosineAnnealing),
            "linear-factor" => keys(table).map(Self::LinearFactor),
            other => return Err(D::Error::unknown_variant(other, &KINDS)),
        }
        .map_err(|problem| D::Error::custom(format!("{problem} (in a schedule of kind \"{kind}\")")))
    }
}

/// The keys of a kind, or what is wrong with them.
fn keys<T: serde::de::DeserializeOwned>(table: toml::Table) -> Result<T, String> {
    table.try_into().map_err(|error: toml::de::Error| error.to_string().trim_end().replace('\n', " "))
}

impl ScheduleSection {
    /// What a schedule of PyTorch counts and how it begins; none for the other kinds.
    pub fn unit_and_warmup(&self) -> Option<(Unit, Option<&Warmup>)> {
        match self {
            Self::Cosine(_) | Self::Linear(_) | Self::Constant(_) | Self::Research(_) => None,
            Self::Step(section) => Some((section.by, section.warmup.as_ref())),
            Self::MultiStep(section) => Some((section.by, section.warmup.as_ref())),
            Self::Exponential(section) => Some((section.by, section.warmup.as_ref())),
            Self::CosineAnnealing(section) => Some((section.by, section.warmup.as_ref())),
            Self::LinearFactor(section) => Some((section.by, section.warmup.as_ref())),
        }
    }

    /// The field that says that epochs are counted, if they are and the section does not say how long they are.
    pub fn counts_epochs(&self) -> Option<&'static str> {
        match self {
            Self::Research(section) if section.epoch_steps.is_none() => Some("schedule.epoch_steps"),
            other => match other.unit_and_warmup() {
                Some((Unit::Epoch, _)) => Some("schedule.by"),
                _ => None,
            },
        }
    }

    /// Checks what types cannot say.
    pub(super) fn check(&self) -> Result<(), TrainError> {
        match self {
            Self::Cosine(Fall { min_ratio, .. }) | Self::Linear(Fall { min_ratio, .. }) => {
                check_number("schedule.min_ratio", *min_ratio, 1.0)?;
            }
            Self::Constant(_) => {}
            Self::Research(section) => {
                check_number("schedule.warmup_rate", section.warmup_rate, f64::MAX)?;
                check_number("schedule.min_rate", section.min_rate, f64::MAX)?;
                at_least_one("schedule.epoch_steps", section.epoch_steps.unwrap_or(1))?;
                at_least_one("schedule.accumulation", section.accumulation)?;
            }
            Self::Step(section) => {
                at_least_one("schedule.step_size", section.step_size)?;
                check_number("schedule.gamma", section.gamma, f64::MAX)?;
            }
            Self::MultiStep(section) => {
                for milestone in &section.milestones {
                    at_least_one("schedule.milestones", *milestone)?;
                }
                check_number("schedule.gamma", section.gamma, f64::MAX)?;
            }
            Self::Exponential(section) => check_number("schedule.gamma", section.gamma, f64::MAX)?,
            Self::CosineAnnealing(section) => {
                at_least_one("schedule.t_max", section.t_max)?;
                check_number("schedule.eta_min", section.eta_min, f64::MAX)?;
            }
            Self::LinearFactor(section) => {
                check_number("schedule.start_factor", section.start_factor, 1.0)?;
                ensure(section.start_factor > 0.0, "schedule.start_factor", || {
                    ("above 0".to_owned(), section.start_factor.to_string())
                })?;
                check_number("schedule.end_factor", section.end_factor, 1.0)?;
                at_least_one("schedule.total_iters", section.total_iters)?;
            }
        }
        match self.unit_and_warmup() {
            Some((_, Some(warmup))) => warmup.check(),
            _ => Ok(()),
        }
    }
}

impl Warmup {
    fn check(&self) -> Result<(), TrainError> {
        at_least_one("schedule.warmup.iters", self.iters)?;
        check_number("schedule.warmup.ratio", self.ratio, f64::MAX)
    }
}

fn at_least_one(field: &'static str, value: u64) -> Result<(), TrainError> {
    ensure(value > 0, field, || ("at least 1".to_owned(), value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ScheduleSection, String> {
        let section: ScheduleSection = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        section.check().map_err(|error| error.to_string())?;
        let again: ScheduleSection = toml::from_str(&toml::to_string(&section).unwrap()).unwrap();
        assert_eq!(section, again, "what is written is read");
        Ok(section)
    }

    #[test]
    fn without_a_kind_it_is_the_cosine() {
        let fall = Fall { warmup_steps: 7, min_ratio: 0.0 };
        assert_eq!(read("warmup_steps = 7").unwrap(), ScheduleSection::Cosine(fall));
    }

    #[test]
    fn every_kind_is_read_with_its_warm_up() {
        for (kind, keys) in [
            ("step", "step_size = 2"),
            ("multi-step", "milestones = [1, 3]\ngamma = 0.5"),
            ("exponential", "gamma = 0.9"),
            ("cosine-annealing", "t_max = 5\neta_min = 1e-6"),
            ("linear-factor", "total_iters = 4"),
        ] {
            for by in ["", "by = \"step\"\n", "by = \"epoch\"\n"] {
                let head = format!("kind = \"{kind}\"\n{by}{keys}\n");
                let unit = if by.contains("step") { Unit::Step } else { Unit::Epoch };
                assert_eq!(read(&head).unwrap().unit_and_warmup(), Some((unit, None)), "{head}");
                let warm = format!("{head}[warmup]\nkind = \"linear\"\niters = 3\n");
                let section = read(&warm).unwrap();
                let (_, warmup) = section.unit_and_warmup().unwrap();
                let expected = Warmup { kind: WarmupKind::Linear, iters: 3, ratio: 0.1 };
                assert_eq!(warmup, Some(&expected), "{warm}");
            }
        }
        assert_eq!(
            read("kind = \"research\"\nwarmup_steps = 0").unwrap().counts_epochs(),
            Some("schedule.epoch_steps")
        );
    }

    #[test]
    fn keys_of_other_kinds_and_senseless_values_are_refused() {
        for (text, word) in [
            ("kind = \"research\"\nwarmup_steps = 4\nmin_ratio = 0.1", "min_ratio"),
            ("warmup_steps = 4\nwarmup_rate = 1e-5", "warmup_rate"),
            ("warmup_steps = 4\nmin_rate = 1e-5", "min_rate"),
            ("warmup_steps = 4\nepoch_steps = 9", "epoch_steps"),
            ("kind = \"constant\"\nwarmup_steps = 4\nmin_ratio = 0.1", "min_ratio"),
            ("kind = \"step\"\nstep_size = 2\nwarmup_steps = 4", "warmup_steps"),
            ("kind = \"step\"\nstep_size = 0", "schedule.step_size"),
            ("kind = \"step\"\nstep_size = \"two\"", "step_size"),
            ("kind = \"step\"", "step_size"),
            ("kind = \"exponential\"\ngamma = nan", "schedule.gamma"),
            ("kind = \"multi-step\"\nmilestones = [0]", "schedule.milestones"),
            ("kind = \"cosine-annealing\"\nt_max = 0", "schedule.t_max"),
            ("kind = \"linear-factor\"\nstart_factor = 0.0", "schedule.start_factor"),
            (
                "kind = \"exponential\"\ngamma = 0.9\n[warmup]\nkind = \"linear\"\niters = 0",
                "schedule.warmup.iters",
            ),
            ("kind = \"exponential\"\ngamma = 0.9\n[warmup]\nkind = \"linear\"\nsteps = 3", "steps"),
            ("kind = \"cosinus\"\nwarmup_steps = 4", "cosinus"),
            ("kind = 7", "schedule.kind"),
        ] {
            let message = read(text).expect_err(text);
            assert!(message.contains(word), "{text}: {message}");
        }
    }
}
