//! What a run can go on from: `state.safetensors` is all that a resumed run needs besides its recipe, `last/` and `best/` are model
//! folders as the original and the engine read them (`run_folder`). The state is written first and holds the weights, so
//! that a model folder that a killed run did not come to write is written when it is resumed. Knows no training.

mod files;
mod run_folder;
#[cfg(test)]
mod tests;

use burn::tensor::{Tensor, TensorData};
use mplug::checkpoint::{
    Checkpoint, CheckpointError, Dtype, TensorEntry, TensorReader, Values, write_safetensors,
};
use mplug_nn::Mplug;
use mplug_nn::parameter::Parameter;

pub use self::run_folder::{BEST, LAST, MODELSCOPE, Mark, RunFolder, Written, step_folder};
use self::run_folder::{STATE, at_its_name};
use crate::average::WeightAverage;
use crate::error::TrainError;
use crate::loss_scale::LossScale;
use crate::objective::{NamedTensor, Objective};
use crate::optimizer::Optimizer;

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
    /// The step of that evaluation.
    pub best_step: u64,
    /// Evaluations since then.
    pub evaluations_since_best: u64,
    /// What losses are multiplied with.
    pub loss_scale: LossScale,
    /// Steps that changed no weight, for their loss or gradient was not finite.
    pub skipped_steps: u64,
    /// Those since the last step that was not skipped.
    pub skipped_in_a_row: u64,
}

impl RunProgress {
    /// Steps that changed the weights.
    pub fn applied_steps(self) -> u64 {
        self.steps.saturating_sub(self.skipped_steps)
    }

    /// As whole numbers, the floating-point ones by their bits.
    pub(crate) fn to_numbers(self) -> Vec<i64> {
        let [score, loss] = self.best.unwrap_or_default();
        let mut numbers = vec![
            self.steps as i64,
            i64::from(self.best.is_some()),
            score.to_bits() as i64,
            loss.to_bits() as i64,
            self.evaluations_since_best as i64,
        ];
        numbers.extend(self.loss_scale.to_numbers());
        let later = [self.best_step, self.skipped_steps, self.skipped_in_a_row];
        numbers.extend(later.map(|number| number as i64));
        numbers
    }

    pub(crate) fn from_numbers(numbers: &[i64]) -> Option<Self> {
        let [steps, has_best, score, loss, since, ref later @ ..] = *numbers else { return None };
        // Runs from before there was mixed precision have no scale, and older ones than this nothing after it.
        let loss_scale =
            later.first_chunk::<3>().map(|scale| LossScale::from_numbers(*scale)).unwrap_or_default();
        let number = |index: usize| later.get(index).map_or(0, |number| *number as u64);
        let best = [score, loss].map(|bits| f64::from_bits(bits as u64));
        Some(Self {
            steps: steps as u64,
            best: (has_best != 0).then_some(best),
            best_step: number(3),
            evaluations_since_best: since as u64,
            loss_scale,
            skipped_steps: number(4),
            skipped_in_a_row: number(5),
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
}

impl RunFolder {
    /// Writes the state.
    pub fn write_state(&self, state: &State<'_>) -> Result<(), TrainError> {
        let objective = state.objective.state();
        let tensors = StateTensors::new(state, &objective);
        self.write_file_by(STATE, |path| {
            let place = self.path().join(STATE);
            write_safetensors(path, &tensors, Dtype::F32).map_err(|error| at_its_name(error, path, &place))
        })
    }

    /// Reads the state back into a model, optimizer and objective of the same recipe.
    pub fn read_state(&self, state: &mut State<'_>) -> Result<(), TrainError> {
        let path = self.path().join(STATE);
        let wrong =
            |problem: String| TrainError::content(&path, format!("{problem}; start a new run folder"));
        let file = Checkpoint::open(&path)?;
        let progress = match file.read_values(PROGRESS) {
            Ok(Values::I64(numbers)) => RunProgress::from_numbers(&numbers),
            _ => None,
        };
        *state.progress = progress.ok_or_else(|| wrong("it does not say how far the run is".to_owned()))?;
        state.optimizer.steps = state.progress.applied_steps();
        let read = |kind: &str, name: &str, len: usize| -> Result<Vec<f32>, TrainError> {
            let name = format!("{kind}/{name}");
            let values = match file.shape(&name) {
                None => return Err(wrong(format!("{name} is missing"))),
                Some(shape) if shape != [len] => {
                    return Err(wrong(format!("{name}: expected ({len}), found {shape:?}")));
                }
                Some(_) => file.read_f32(&name)?,
            };
            match values.iter().find(|value| !value.is_finite()) {
                Some(value) => Err(wrong(format!("{name}: expected finite numbers, found {value}"))),
                None => Ok(values),
            }
        };
        if let Some(base) = state.base {
            let (found, expected) = (file.read_values(BASE).ok(), base_numbers(base));
            if found != Some(Values::I64(expected)) {
                return Err(wrong(
                    "its adapter is of another model than the recipe's `start.model` is now".to_owned(),
                ));
            }
        }
        let is_adapted = state.base.is_some();
        for (index, parameter) in state.model.parameters_mut().into_iter().enumerate() {
            if is_adapted && parameter.is_frozen() {
                continue;
            }
            let (name, len) = (parameter.name().to_owned(), parameter.shape().iter().product());
            let weights = TensorData::new(read("weight", &name, len)?, [len]);
            parameter.update(|value| Tensor::from_data(weights, &value.device()));
            state.optimizer.moments[index] = match state.optimizer.moments_kept() {
                _ if !file.has(&format!("first/{name}")) => None,
                0 => None,
                1 => Some([read("first", &name, len)?, Vec::new()]),
                _ => Some([read("first", &name, len)?, read("second", &name, len)?]),
            };
            if let Some(average) = state.average.as_mut().filter(|_| !parameter.is_frozen()) {
                average.values[index] = read("average", &name, len)?;
            }
        }
        state.objective.restore(&mut |name, len| read("objective", name, len))
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

/// The tensors of a state, read one at a time.
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
            if let Some(average) = state.average.as_ref().filter(|_| !parameter.is_frozen()) {
                push("average", Part::Values(&average.values[index]));
            }
            push("weight", Part::Weight(Box::new(parameter)));
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
