//! The run folder: `last/` and `best/` are model folders as the original and the engine read them; `state.safetensors` is
//! everything else that a resumed run needs. Every file appears whole or not at all. Knows no training.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use burn::tensor::{Tensor, TensorData};
use mplug::checkpoint::{WriteOptions, write_model_folder_of};
use mplug::config::ModelConfig;
use mplug_nn::CaptioningModel;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

use crate::average::WeightAverage;
use crate::error::TrainError;
use crate::optimizer::AdamW;

/// Name of the state file in a run folder.
const STATE: &str = "state.safetensors";
/// The entry of the state file with the steps done and the best evaluation.
const PROGRESS: &str = "progress";

/// What a run resumes from, beside its recipe.
pub struct State<'a> {
    /// The model as the optimizer left it.
    pub model: &'a mut CaptioningModel,
    /// The optimizer's memory.
    pub optimizer: &'a mut AdamW,
    /// The running average, if the recipe has one.
    pub average: &'a mut Option<WeightAverage>,
    /// The best evaluation so far: truth share and loss.
    pub best: &'a mut Option<[f64; 2]>,
}

/// A run folder.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// The folder at `path`, made if need be.
    pub fn create(path: &Path) -> Result<Self, TrainError> {
        std::fs::create_dir_all(path).map_err(TrainError::file(path))?;
        Ok(Self { path: path.to_owned() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a state to resume from is there.
    pub fn has_state(&self) -> bool {
        self.path.join(STATE).exists()
    }

    /// Writes the recipe beside the results.
    pub fn write_recipe(&self, recipe: &str) -> Result<(), TrainError> {
        write_whole(&self.path.join("recipe.toml"), recipe.as_bytes())
    }

    /// Writes the model folder `name`.
    pub fn write_model(
        &self,
        name: &str,
        model: &CaptioningModel,
        config: &ModelConfig,
        vocabulary: &str,
    ) -> Result<(), TrainError> {
        let folder = self.path.join(name);
        let options = WriteOptions { overwrite: true, ..WriteOptions::default() };
        Ok(write_model_folder_of(&folder, config, vocabulary, model.export().as_slice(), &options)?)
    }

    /// Writes the state.
    pub fn write_state(&self, state: &State<'_>) -> Result<(), TrainError> {
        let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
        let mut push = |kind: &str, name: &str, values: &[f32]| {
            tensors.push((format!("{kind}/{name}"), vec![values.len()], values.to_vec()));
        };
        for (place, parameter) in state.model.parameters().iter().enumerate() {
            push("weight", parameter.name(), &parameter.to_vec());
            if let Some([first, second]) = &state.optimizer.moments[place] {
                push("first", parameter.name(), first);
                push("second", parameter.name(), second);
            }
            if let Some(average) = &state.average {
                push("average", parameter.name(), &average.values[place]);
            }
        }
        let steps = state.optimizer.steps;
        let progress = match &*state.best {
            Some([truth, loss]) => format!("{steps} {truth} {loss}"),
            None => steps.to_string(),
        };
        // One entry: the order of several would be another one in each file, and equal states should be equal bytes.
        let about = HashMap::from([(PROGRESS.to_owned(), progress)]);
        let path = self.path.join(STATE);
        write_tensors(
            &path,
            tensors.iter().map(|(name, shape, values)| (name.as_str(), shape, values)),
            Some(about),
        )
    }

    /// Reads the state back into a model and optimizer of the same recipe.
    pub fn read_state(&self, state: &mut State<'_>) -> Result<(), TrainError> {
        let path = self.path.join(STATE);
        let bytes = std::fs::read(&path).map_err(TrainError::file(&path))?;
        let wrong =
            |problem: String| TrainError::content(&path, format!("{problem}; start a new run folder"));
        let file = SafeTensors::deserialize(&bytes).map_err(|error| wrong(error.to_string()))?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| wrong(error.to_string()))?;
        let about = header.metadata().clone().unwrap_or_default();
        let mut progress = about.get(PROGRESS).map(String::as_str).unwrap_or_default().split(' ');
        let steps = progress.next().and_then(|steps| steps.parse().ok());
        state.optimizer.steps = steps.ok_or_else(|| wrong("no number of steps".to_owned()))?;
        let mut number = || progress.next()?.parse::<f64>().ok();
        *state.best = number().zip(number()).map(|(truth, loss)| [truth, loss]);
        let read = |kind: &str, name: &str, len: usize| -> Result<Vec<f32>, TrainError> {
            let name = format!("{kind}/{name}");
            let view = file.tensor(&name).map_err(|_| wrong(format!("{name} is missing")))?;
            if view.dtype() != Dtype::F32 || view.shape() != [len] {
                return Err(wrong(format!(
                    "{name}: expected f32 ({len}), found {:?} {:?}",
                    view.dtype(),
                    view.shape()
                )));
            }
            let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            Ok(values.collect())
        };
        for (place, parameter) in state.model.parameters_mut().into_iter().enumerate() {
            let (name, len) = (parameter.name().to_owned(), parameter.shape().iter().product());
            let weights = TensorData::new(read("weight", &name, len)?, [len]);
            parameter.update(|value| Tensor::from_data(weights, &value.device()));
            state.optimizer.moments[place] = match file.tensor(&format!("first/{name}")) {
                Ok(_) => Some([read("first", &name, len)?, read("second", &name, len)?]),
                Err(_) => None,
            };
            if let Some(average) = state.average {
                average.values[place] = read("average", &name, len)?;
            }
        }
        Ok(())
    }
}

/// Writes a safetensors file of f32.
fn write_tensors<'a>(
    path: &Path,
    tensors: impl Iterator<Item = (&'a str, &'a Vec<usize>, &'a Vec<f32>)>,
    about: Option<HashMap<String, String>>,
) -> Result<(), TrainError> {
    let bytes: Vec<(&str, &Vec<usize>, Vec<u8>)> = tensors
        .map(|(name, shape, values)| (name, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let views = bytes
        .iter()
        .map(|(name, shape, data)| Ok((*name, TensorView::new(Dtype::F32, (*shape).clone(), data)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>();
    let file =
        views.and_then(|views| serialize(views, about)).map_err(|error| TrainError::content(path, error))?;
    write_whole(path, &file)
}

/// Writes a file under a temporary name in the same folder, then renames it.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(TrainError::file(path))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(TrainError::file(path))?;
    file.persist(path).map_err(|error| TrainError::File { path: path.to_owned(), source: error.error })?;
    Ok(())
}
