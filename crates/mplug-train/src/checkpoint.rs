//! Checkpoints: what a run can go on from. Each is one folder, `step-000123`, which the original and the engine read as a model
//! folder and which holds what a resumed run needs besides (`state.safetensors`, the recipe). The weights are in it once: where
//! there is a running average, the model is the average and the state has the weights too. Of an adaptation it is the adapter's
//! folder, and the state has its matrices. `run_folder` knows the files. Knows no training.

mod files;
mod run_folder;
#[cfg(test)]
mod tests;

use std::path::Path;

use burn::tensor::{Tensor, TensorData};
use mplug::checkpoint::{
    Checkpoint, CheckpointError, Dtype, TensorEntry, TensorReader, Values, write_safetensors,
};
use mplug_nn::Mplug;
use mplug_nn::parameter::Parameter;

pub(crate) use self::files::append;
pub use self::run_folder::{BEST, LAST, MODELSCOPE, Mark, RunFolder, SUPERSEDED, Written, step_folder};
use crate::average::WeightAverage;
use crate::error::TrainError;
use crate::loss_scale::LossScale;
use crate::objective::{NamedTensor, Objective};
use crate::optimizer::Optimizer;
use crate::run_length::Origin;

/// The entry of the state file with everything that is no tensor.
const PROGRESS: &str = "progress";
/// The entry with the fingerprint of the weights that an adaptation is beside.
const BASE: &str = "base";

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RunProgress {
    /// Optimizer steps done, those that were skipped included.
    pub steps: u64,
    /// The best evaluation so far: its score and its loss.
    pub best: Option<[f64; 2]>,
    /// The step of the best evaluation, also after its score was dropped because it cannot be compared any more.
    pub best_step: u64,
    /// Evaluations since then.
    pub evaluations_since_best: u64,
    /// What losses are multiplied with.
    pub loss_scale: LossScale,
    /// Steps that changed no weight, for their loss or gradient was not finite.
    pub skipped_steps: u64,
    /// Those since the last step that was not skipped.
    pub skipped_in_a_row: u64,
    /// Examples gone through: where in its data the run is, whatever its batches were.
    pub examples: u64,
    /// Where its batches or its data changed last.
    pub origin: Origin,
    /// The step of the last evaluation.
    pub evaluated_step: Option<u64>,
    /// What the held-out examples were, as [`TrainingData::held_out_hash`](crate::training_data::TrainingData::held_out_hash) has it.
    pub held_out: u64,
}

impl RunProgress {
    /// Steps that changed the weights.
    pub fn applied_steps(self) -> u64 {
        self.steps.saturating_sub(self.skipped_steps)
    }

    /// As whole numbers, the floating-point ones by their bits.
    pub(crate) fn to_numbers(self) -> Vec<i64> {
        let [score, loss] = self.best.unwrap_or_default().map(f64::to_bits);
        let numbers = [
            self.steps,
            u64::from(self.best.is_some()),
            score,
            loss,
            self.best_step,
            self.evaluations_since_best,
            self.skipped_steps,
            self.skipped_in_a_row,
            self.examples,
            self.origin.step,
            self.origin.example,
            // From 1, so that 0 is none.
            self.evaluated_step.map_or(0, |step| step + 1),
            self.held_out,
        ];
        let mut numbers: Vec<i64> = numbers.into_iter().map(|number| number as i64).collect();
        numbers.extend(self.loss_scale.to_numbers());
        numbers
    }

    pub(crate) fn from_numbers(numbers: &[i64]) -> Option<Self> {
        let (numbers, loss_scale) = numbers.split_first_chunk::<13>()?;
        let loss_scale = LossScale::from_numbers(*loss_scale.first_chunk()?);
        let [
            steps,
            has_best,
            score,
            loss,
            best_step,
            evaluations_since_best,
            skipped_steps,
            skipped_in_a_row,
            examples,
            origin_step,
            origin_example,
            evaluated,
            held_out,
        ] = numbers.map(|number| number as u64);
        let best = (has_best != 0).then(|| [score, loss].map(f64::from_bits));
        Some(Self {
            steps,
            best,
            best_step,
            evaluations_since_best,
            loss_scale,
            skipped_steps,
            skipped_in_a_row,
            examples,
            origin: Origin { step: origin_step, example: origin_example },
            evaluated_step: evaluated.checked_sub(1),
            held_out,
        })
    }
}

/// What a run resumes from, beside its recipe.
pub struct State<'a> {
    /// The model as the optimizer left it.
    pub model: &'a mut Mplug,
    /// The optimizer's memory.
    pub optimizer: &'a mut Optimizer,
    /// The running average, if the recipe has one.
    pub average: &'a mut Option<WeightAverage>,
    /// The objective's memory.
    pub objective: &'a mut dyn Objective,
    /// How far the run is.
    pub progress: &'a mut RunProgress,
    /// The fingerprint of the weights that an adaptation is beside: these are not in the state. None where all weights are.
    pub base: Option<&'a str>,
}

impl State<'_> {
    /// Whether a parameter's values are where the run starts, not in the state.
    fn is_left_out(&self, parameter: &Parameter) -> bool {
        self.base.is_some() && parameter.is_frozen()
    }

    /// Writes what a model folder does not hold of it to the new file `path`.
    fn write(&self, path: &Path) -> Result<(), CheckpointError> {
        let objective = self.objective.state();
        write_safetensors(path, &StateTensors::new(self, &objective), Dtype::F32)
    }

    /// Reads it back from a checkpoint of the same model: the state file `state`, and the weight file `model`. An average that the
    /// checkpoint has not begins at its weights.
    fn read(&mut self, state: &Path, model: &Path) -> Result<(), TrainError> {
        let file = Checkpoint::open(state)?;
        // An adapter's folder has no weights but its matrices, which are in the state too.
        let model = if self.base.is_some() { None } else { Some(Checkpoint::open(model)?) };
        let wrong = |file: &Checkpoint, problem: String| {
            let problem = format!("{problem}; resume from another step, or start a new run folder");
            TrainError::content(file.label(), problem)
        };
        let progress = match file.read_values(PROGRESS) {
            Ok(Values::I64(numbers)) => RunProgress::from_numbers(&numbers),
            _ => None,
        };
        *self.progress =
            progress.ok_or_else(|| wrong(&file, "it does not say how far the run is".to_owned()))?;
        self.optimizer.steps = self.progress.applied_steps();
        let read = |file: &Checkpoint, name: &str, len: usize| -> Result<Vec<f32>, TrainError> {
            let values = match file.shape(name) {
                None => return Err(wrong(file, format!("{name} is missing"))),
                Some(shape) if shape.iter().product::<usize>() != len => {
                    return Err(wrong(file, format!("{name}: expected {len} numbers, found {shape:?}")));
                }
                Some(_) => file.read_f32(name)?,
            };
            match values.iter().find(|value| !value.is_finite()) {
                Some(value) => Err(wrong(file, format!("{name}: expected finite numbers, found {value}"))),
                None => Ok(values),
            }
        };
        if let Some(base) = self.base {
            let (found, expected) = (file.read_values(BASE).ok(), base_numbers(base));
            if found != Some(Values::I64(expected)) {
                let problem = "its adapter is of another model than the recipe's `start.model` is now";
                return Err(wrong(&file, problem.to_owned()));
            }
        }
        let is_adapted = self.base.is_some();
        for (index, parameter) in self.model.parameters_mut().into_iter().enumerate() {
            if is_adapted && parameter.is_frozen() {
                continue;
            }
            let (name, len) = (parameter.name().to_owned(), parameter.shape().iter().product());
            let in_state = |kind: &str| read(&file, &format!("{kind}/{name}"), len);
            let in_model = || read(model.as_ref().unwrap_or(&file), &name, len);
            let weights = if file.has(&format!("weight/{name}")) { in_state("weight") } else { in_model() };
            let weights = TensorData::new(weights?, [len]);
            parameter.update(|value| Tensor::from_data(weights, &value.device()));
            self.optimizer.moments[index] = match self.optimizer.moments_kept() {
                _ if !file.has(&format!("first/{name}")) => None,
                0 => None,
                1 => Some([in_state("first")?, Vec::new()]),
                _ => Some([in_state("first")?, in_state("second")?]),
            };
            if let Some(average) = self.average.as_mut().filter(|_| !parameter.is_frozen()) {
                average.values[index] = match (is_adapted, file.has(&format!("average/{name}"))) {
                    (true, true) => in_state("average")?,
                    (true, false) => in_state("weight")?,
                    (false, _) => in_model()?,
                };
            }
        }
        self.objective.restore(&mut |name, len| read(&file, &format!("objective/{name}"), len))
    }
}

/// A fingerprint as whole numbers, a character each.
fn base_numbers(base: &str) -> Vec<i64> {
    base.bytes().map(i64::from).collect()
}

/// Where a tensor of the state comes from.
enum Part<'a> {
    Progress(Vec<i64>),
    Weight(Box<Parameter>),
    Values(&'a [f32]),
}

/// The tensors of a state that its model folder lacks, read one at a time.
struct StateTensors<'a> {
    parts: Vec<(String, usize, Part<'a>)>,
}

impl<'a> StateTensors<'a> {
    fn new(state: &'a State<'_>, objective: &'a [NamedTensor]) -> Self {
        let numbers = state.progress.to_numbers();
        let mut parts = vec![(PROGRESS.to_owned(), numbers.len(), Part::Progress(numbers))];
        if let Some(base) = state.base {
            let numbers = base_numbers(base);
            parts.push((BASE.to_owned(), numbers.len(), Part::Progress(numbers)));
        }
        for (index, parameter) in state.model.parameters().into_iter().enumerate() {
            if state.is_left_out(&parameter) {
                continue;
            }
            let (name, len) = (parameter.name().to_owned(), parameter.shape().iter().product());
            let mut push = |kind: &str, part| parts.push((format!("{kind}/{name}"), len, part));
            if let Some([first, second]) = &state.optimizer.moments[index] {
                push("first", Part::Values(first));
                if !second.is_empty() {
                    push("second", Part::Values(second));
                }
            }
            if let Some(average) = state.average.as_ref().filter(|_| state.base.is_some()) {
                push("average", Part::Values(&average.values[index]));
            }
            if !parameter.is_frozen() && (state.average.is_some() || state.base.is_some()) {
                push("weight", Part::Weight(Box::new(parameter)));
            }
        }
        for (name, _, values) in objective {
            parts.push((format!("objective/{name}"), values.len(), Part::Values(values)));
        }
        Self { parts }
    }
}

impl TensorReader for StateTensors<'_> {
    fn entries(&self) -> Vec<TensorEntry> {
        let entry = |(name, len, part): &(String, usize, Part<'_>)| TensorEntry {
            name: name.clone(),
            shape: vec![*len],
            fixed_dtype: matches!(part, Part::Progress(_)).then_some(Dtype::I64),
            same_as: None,
        };
        self.parts.iter().map(entry).collect()
    }

    fn read(&self, index: usize) -> Result<Values, CheckpointError> {
        Ok(match &self.parts[index].2 {
            Part::Progress(numbers) => Values::I64(numbers.clone()),
            Part::Weight(parameter) => Values::F32(parameter.to_vec()),
            Part::Values(values) => Values::F32(values.to_vec()),
        })
    }
}
