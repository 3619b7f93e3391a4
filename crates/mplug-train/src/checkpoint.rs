//! The run folder: `last/` and `best/` are model folders as the original and the engine read them; `state.safetensors` is
//! everything else that a resumed run needs. Every file appears whole or not at all. Knows no training.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use mplug::checkpoint::{
    Checkpoint, CheckpointError, Dtype, TensorEntry, TensorReader, Values, WriteOptions,
    write_model_folder_of, write_safetensors,
};
use mplug::config::ModelConfig;
use mplug_nn::Mplug;
use mplug_nn::parameter::Parameter;

use crate::average::WeightAverage;
use crate::error::TrainError;
use crate::loss_scale::LossScale;
use crate::objective::{NamedTensor, Objective};
use crate::optimizer::AdamW;

/// Name of the state file in a run folder.
const STATE: &str = "state.safetensors";
/// Name of the recipe in a run folder.
const RECIPE: &str = "recipe.toml";
/// The file that a training process locks.
const LOCK: &str = "run.lock";
/// How names of unfinished files and folders begin.
const TEMPORARY: [&str; 2] = [".mplug-", ".tmp"];
/// The entry of the state file with everything that is no tensor.
const PROGRESS: &str = "progress";

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RunProgress {
    /// Optimizer steps done.
    pub steps: u64,
    /// The best evaluation so far: its score and its loss.
    pub best: Option<[f64; 2]>,
    /// Evaluations since then.
    pub evaluations_since_best: u64,
    /// What losses are multiplied with.
    pub loss_scale: LossScale,
}

impl RunProgress {
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
        numbers
    }

    pub(crate) fn from_numbers(numbers: &[i64]) -> Option<Self> {
        let [steps, has_best, score, loss, since, ref scale @ ..] = *numbers else { return None };
        // Runs from before there was mixed precision have no scale.
        let loss_scale = <[i64; 3]>::try_from(scale).map(LossScale::from_numbers).unwrap_or_default();
        let best = [score, loss].map(|bits| f64::from_bits(bits as u64));
        Some(Self {
            steps: steps as u64,
            best: (has_best != 0).then_some(best),
            evaluations_since_best: since as u64,
            loss_scale,
        })
    }
}

/// What a run resumes from, beside its recipe.
pub struct State<'a> {
    /// The model as the optimizer left it.
    pub model: &'a mut Mplug,
    /// The optimizer's memory.
    pub optimizer: &'a mut AdamW,
    /// The running average, if the recipe has one.
    pub average: &'a mut Option<WeightAverage>,
    /// The objective's memory.
    pub objective: &'a mut dyn Objective,
    /// How far the run is.
    pub progress: &'a mut RunProgress,
}

/// A run folder.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Held while a process trains here.
    lock: Option<Arc<File>>,
}

impl RunFolder {
    /// The folder at `path`, made if need be.
    pub fn create(path: &Path) -> Result<Self, TrainError> {
        std::fs::create_dir_all(path).map_err(TrainError::file(path))?;
        Ok(Self { path: path.to_owned(), lock: None })
    }

    /// Keeps other processes from training here, and removes what one that was killed in the middle of a write left.
    ///
    /// # Errors
    /// [`TrainError::Content`] if another process trains here. On file systems without locks nothing is kept off.
    pub fn claim(&mut self) -> Result<(), TrainError> {
        let path = self.path.join(LOCK);
        let file = File::create(&path).map_err(TrainError::file(&path))?;
        if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            return Err(TrainError::content(&self.path, "another process trains in this folder"));
        }
        self.lock = Some(Arc::new(file));
        self.remove_leftovers()
    }

    fn remove_leftovers(&self) -> Result<(), TrainError> {
        for entry in std::fs::read_dir(&self.path).map_err(TrainError::file(&self.path))? {
            let entry = entry.map_err(TrainError::file(&self.path))?;
            let (name, path) = (entry.file_name(), entry.path());
            let name = name.to_string_lossy();
            if !TEMPORARY.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let removed =
                if is_folder { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            removed.map_err(TrainError::file(&path))?;
        }
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a state to resume from is there.
    pub fn has_state(&self) -> bool {
        self.path.join(STATE).exists()
    }

    /// The recipe of the run in the folder, if there is one.
    pub fn recipe(&self) -> Result<Option<String>, TrainError> {
        let path = self.path.join(RECIPE);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(TrainError::file(path)(error)),
        }
    }

    /// Writes the recipe beside the results.
    pub fn write_recipe(&self, recipe: &str) -> Result<(), TrainError> {
        write_whole(&self.path.join(RECIPE), recipe.as_bytes())
    }

    /// Writes the model folder `name`.
    pub fn write_model(
        &self,
        name: &str,
        model: &Mplug,
        config: &ModelConfig,
        vocabulary: &str,
    ) -> Result<(), TrainError> {
        let folder = self.path.join(name);
        let options = WriteOptions { overwrite: true, ..WriteOptions::default() };
        Ok(write_model_folder_of(&folder, config, vocabulary, model.export().as_slice(), &options)?)
    }

    /// Writes the model folder of a step, and removes those of all but the last `keep` steps.
    pub fn write_step(
        &self,
        step: u64,
        keep: usize,
        model: &Mplug,
        config: &ModelConfig,
        vocabulary: &str,
    ) -> Result<(), TrainError> {
        self.write_model(&step_folder(step), model, config, vocabulary)?;
        let entries = std::fs::read_dir(&self.path).map_err(TrainError::file(&self.path))?;
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
        let mut steps: Vec<u64> =
            entries.filter_map(name).filter_map(|name| name.strip_prefix("step-")?.parse().ok()).collect();
        steps.sort_unstable();
        for old in steps.iter().rev().skip(keep) {
            let path = self.path.join(step_folder(*old));
            std::fs::remove_dir_all(&path).map_err(TrainError::file(path))?;
        }
        Ok(())
    }

    /// Writes the state.
    pub fn write_state(&self, state: &State<'_>) -> Result<(), TrainError> {
        let objective = state.objective.state();
        let tensors = StateTensors::new(state, &objective);
        Ok(write_safetensors(&self.path.join(STATE), &tensors, Dtype::F32)?)
    }

    /// Reads the state back into a model, optimizer and objective of the same recipe.
    pub fn read_state(&self, state: &mut State<'_>) -> Result<(), TrainError> {
        let path = self.path.join(STATE);
        let wrong =
            |problem: String| TrainError::content(&path, format!("{problem}; start a new run folder"));
        let file = Checkpoint::open(&path)?;
        let progress = match file.read_values(PROGRESS) {
            Ok(Values::I64(numbers)) => RunProgress::from_numbers(&numbers),
            _ => None,
        };
        *state.progress = progress.ok_or_else(|| wrong("it does not say how far the run is".to_owned()))?;
        state.optimizer.steps = state.progress.steps;
        let read = |kind: &str, name: &str, len: usize| -> Result<Vec<f32>, TrainError> {
            let name = format!("{kind}/{name}");
            match file.shape(&name) {
                None => Err(wrong(format!("{name} is missing"))),
                Some(shape) if shape != [len] => {
                    Err(wrong(format!("{name}: expected ({len}), found {shape:?}")))
                }
                Some(_) => Ok(file.read_f32(&name)?),
            }
        };
        for (place, parameter) in state.model.parameters_mut().into_iter().enumerate() {
            let (name, len) = (parameter.name().to_owned(), parameter.shape().iter().product());
            let weights = TensorData::new(read("weight", &name, len)?, [len]);
            parameter.update(|value| Tensor::from_data(weights, &value.device()));
            state.optimizer.moments[place] = if file.has(&format!("first/{name}")) {
                Some([read("first", &name, len)?, read("second", &name, len)?])
            } else {
                None
            };
            if let Some(average) = state.average {
                average.values[place] = read("average", &name, len)?;
            }
        }
        state.objective.restore(&mut |name, len| read("objective", name, len))
    }
}

/// The folder of a step's model.
fn step_folder(step: u64) -> String {
    format!("step-{step:08}")
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
        for (place, parameter) in state.model.parameters().into_iter().enumerate() {
            let (name, len) = (parameter.name().to_owned(), parameter.shape().iter().product());
            let mut push = |kind: &str, part| parts.push((format!("{kind}/{name}"), len, part));
            if let Some([first, second]) = &state.optimizer.moments[place] {
                push("first", Part::Values(first));
                push("second", Part::Values(second));
            }
            if let Some(average) = &*state.average {
                push("average", Part::Values(&average.values[place]));
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

/// Writes a file under a temporary name in the same folder, then renames it.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(TrainError::file(path))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(TrainError::file(path))?;
    file.persist(path).map_err(|error| TrainError::File { path: path.to_owned(), source: error.error })?;
    Ok(())
}
