//! Weights drawn from a seed: a hash of seed, tensor name and index, so that tests and benchmarks need no weight files.
//!
//! The golden numbers in `fixtures/golden` were made with these weights; the formula is part of that contract:
//!
//! ```text
//! s = fnv1a64("SEED:NAME"),  z = s + (i + 1) · 0x9E3779B97F4A7C15,  then splitmix64's mixing of z,  u = z >> 40
//! value i = (f32(u) · 2⁻²³ − 1) · amplitude + mean        integers u64, wrapping; the rest in f32
//! ```

use std::collections::HashMap;

use rayon::prelude::*;
use serde::Deserialize;

use super::expected::{NamedShape, needed_tensors, stored_tensors};
use super::key_names::TIED;
use super::write::{TensorEntry, TensorReader, safetensors_bytes};
use super::{Checkpoint, CheckpointError, Dtype, Values};
use crate::config::ModelConfig;

/// `len` values of the tensor `name`, evenly spread over `mean ± amplitude`.
pub fn seeded_uniform(seed: u64, name: &str, len: usize, mean: f32, amplitude: f32) -> Vec<f32> {
    let start = fnv1a64(&format!("{seed}:{name}"));
    let mut out = vec![0.0; len];
    out.par_chunks_mut(1 << 14).enumerate().for_each(|(chunk, values)| {
        let first = (chunk as u64) << 14;
        for (i, value) in (first..).zip(values) {
            let z = start.wrapping_add((i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let unit = (splitmix64(z) >> 40) as f32 * (1.0 / 8_388_608.0) - 1.0;
            *value = unit * amplitude + mean;
        }
    });
    out
}

fn fnv1a64(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3))
}

fn splitmix64(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// How the values of a tensor come about.
#[derive(Clone, Debug, PartialEq)]
pub enum Draw {
    /// Evenly spread over `mean ± amplitude`, hashed under `draw_as`.
    Uniform {
        /// The name that enters the hash, usually the tensor's own.
        draw_as: String,
        /// Middle of the range.
        mean: f32,
        /// Half its width.
        amplitude: f32,
    },
    /// Given values.
    Given(Values),
    /// The tensor at this index of the recipe, under another name.
    Alias(usize),
}

/// One tensor of a recipe.
#[derive(Clone, Debug)]
pub struct DrawnTensor {
    /// Plain name.
    pub name: String,
    /// Shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// Where its values come from.
    pub draw: Draw,
}

/// All tensors of a model, to be drawn one at a time.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The seed.
    pub seed: u64,
    /// The tensors, in the order of the original's state dict where known.
    pub tensors: Vec<DrawnTensor>,
}

/// The recipe of the tensors that a model of this configuration reads, with amplitudes under which its activations stay
/// in a sensible range and its captions vary.
pub fn seeded_tensors(config: &ModelConfig, seed: u64) -> Recipe {
    recipe(needed_tensors(config), seed)
}

/// Like [`seeded_tensors`], with the tensors that the original stores for this model although the task never reads them.
pub fn seeded_stored_tensors(config: &ModelConfig, seed: u64) -> Recipe {
    recipe(stored_tensors(config), seed)
}

/// A drawn model in memory.
pub fn seeded_checkpoint(config: &ModelConfig, seed: u64) -> Result<Checkpoint, CheckpointError> {
    seeded_tensors(config, seed).to_checkpoint(Dtype::F32)
}

fn recipe(list: Vec<NamedShape>, seed: u64) -> Recipe {
    let mut index = HashMap::new();
    let mut tensors: Vec<DrawnTensor> = Vec::with_capacity(list.len());
    for (name, shape) in list {
        let tied_to = TIED.iter().find(|(later, _)| *later == name);
        let draw = match tied_to.and_then(|(_, earlier)| index.get(*earlier)) {
            Some(&earlier) => Draw::Alias(earlier),
            None => usual_draw(&name, &shape),
        };
        index.insert(name.clone(), tensors.len());
        tensors.push(DrawnTensor { name, shape, draw });
    }
    Recipe { seed, tensors }
}

/// Standard deviations by kind of tensor: those of the golden models' manifests.
fn usual_draw(name: &str, shape: &[usize]) -> Draw {
    let is_norm = ["LayerNorm.", "layer_norm.", "ln_1.", "ln_2.", "ln_pre.", "ln_post."]
        .iter()
        .any(|norm| name.contains(norm));
    let (mean, std) = match name {
        "temp" => return Draw::Given(Values::F32(vec![0.07])),
        _ if is_norm && name.ends_with(".weight") => (1.0, 0.15),
        _ if is_norm => (0.0, 0.1),
        _ if name.ends_with("bias") => (0.0, 0.05),
        _ if name.ends_with("class_embedding") => (0.0, 0.5),
        _ if name.ends_with("positional_embedding") => (0.0, 0.35),
        _ => (0.0, gain(name) / (shape.iter().skip(1).product::<usize>().max(1) as f32).sqrt()),
    };
    Draw::Uniform { draw_as: name.to_owned(), mean, amplitude: std * 3.0_f32.sqrt() }
}

/// A weight's standard deviation times the square root of its inputs.
fn gain(name: &str) -> f32 {
    const GAINS: [(&str, f32); 13] = [
        ("attn.in_proj_weight", 1.6),
        ("attn.out_proj.weight", 0.8),
        ("mlp.c_fc.weight", 1.2),
        ("mlp.c_proj.weight", 0.8),
        ("word_embeddings.weight", 3.2),
        ("position_embeddings.weight", 2.0),
        ("token_type_embeddings.weight", 0.5),
        ("crossattention.self.query.weight", 1.8),
        ("crossattention.self.key.weight", 1.8),
        ("crossattention.output.dense.weight", 2.5),
        ("self.query.weight", 1.3),
        ("self.key.weight", 1.3),
        ("self.value.weight", 1.2),
    ];
    GAINS.iter().find(|(tail, _)| name.ends_with(tail)).map_or(1.0, |(_, gain)| *gain)
}

impl Recipe {
    /// The values of tensor `index`.
    pub fn draw(&self, index: usize) -> Values {
        let tensor = &self.tensors[index];
        match &tensor.draw {
            Draw::Uniform { draw_as, mean, amplitude } => {
                let len = tensor.shape.iter().product();
                Values::F32(seeded_uniform(self.seed, draw_as, len, *mean, *amplitude))
            }
            Draw::Given(values) => values.clone(),
            Draw::Alias(of) => self.draw(*of),
        }
    }

    /// The drawn model as a checkpoint in memory, its floating-point values stored as `dtype`.
    pub fn to_checkpoint(&self, dtype: Dtype) -> Result<Checkpoint, CheckpointError> {
        Checkpoint::from_bytes(safetensors_bytes(self, dtype)?)
    }

    /// Number of values, each tied tensor counted once.
    pub fn num_parameters(&self) -> usize {
        let own = self.tensors.iter().filter(|t| !matches!(t.draw, Draw::Alias(_)));
        own.map(|t| t.shape.iter().product::<usize>()).sum()
    }
}

impl TensorReader for Recipe {
    fn entries(&self) -> Vec<TensorEntry> {
        self.tensors
            .iter()
            .map(|t| TensorEntry {
                name: t.name.clone(),
                shape: t.shape.clone(),
                fixed_dtype: matches!(&t.draw, Draw::Given(Values::I64(_))).then_some(Dtype::I64),
                same_as: if let Draw::Alias(of) = t.draw { Some(of) } else { None },
            })
            .collect()
    }

    fn read(&self, index: usize) -> Result<Values, CheckpointError> {
        Ok(self.draw(index))
    }
}

/// Reads the recipe of a golden model (`manifest.json` and, where the manifest refers to it, `explicit.safetensors`), and
/// checks the first values of every drawn tensor against those that the manifest records.
pub fn tensors_from_manifest(
    manifest_json: &str,
    explicit_safetensors: Option<Vec<u8>>,
) -> Result<Recipe, CheckpointError> {
    let config_error = |reason: String| CheckpointError::Config { file: "manifest.json".into(), reason };
    let manifest: Manifest = serde_json::from_str(manifest_json).map_err(|e| config_error(e.to_string()))?;
    let explicit = explicit_safetensors.map(Checkpoint::from_bytes).transpose()?;
    let seed = manifest.info.seed;
    let mut index = HashMap::new();
    let mut tensors = Vec::with_capacity(manifest.tensors.len());
    for entry in manifest.tensors {
        let name = entry.name.clone();
        let draw = entry
            .draw(seed, explicit.as_ref(), &index)
            .map_err(|reason| config_error(format!("tensor `{name}`: {reason}")))?;
        index.insert(name.clone(), tensors.len());
        tensors.push(DrawnTensor { name, shape: entry.shape, draw });
    }
    Ok(Recipe { seed, tensors })
}

#[derive(Deserialize)]
struct Manifest {
    info: ManifestInfo,
    tensors: Vec<ManifestEntry>,
}

#[derive(Deserialize)]
struct ManifestInfo {
    seed: u64,
}

#[derive(Deserialize)]
struct ManifestEntry {
    name: String,
    shape: Vec<usize>,
    dtype: String,
    kind: String,
    draw_as: Option<String>,
    #[serde(default)]
    mean: f64,
    amp: Option<f64>,
    #[serde(default)]
    first: Vec<f64>,
    value: Option<f64>,
    of: Option<String>,
}

impl ManifestEntry {
    fn draw(
        &self,
        seed: u64,
        explicit: Option<&Checkpoint>,
        index: &HashMap<String, usize>,
    ) -> Result<Draw, String> {
        let len = self.shape.iter().product::<usize>();
        match self.kind.as_str() {
            "uniform" => {
                let amplitude = self.amp.ok_or("it has no `amp`")? as f32;
                let draw_as = self.draw_as.clone().unwrap_or_else(|| self.name.clone());
                let mean = self.mean as f32;
                let drawn = seeded_uniform(seed, &draw_as, self.first.len().min(len), mean, amplitude);
                let first: Vec<f32> = self.first.iter().map(|&v| v as f32).collect();
                if drawn != first {
                    return Err(format!("drawn values begin with {drawn:?}, expected {first:?}"));
                }
                Ok(Draw::Uniform { draw_as, mean, amplitude })
            }
            "arange" => Ok(Draw::Given(Values::I64((0..len as i64).collect()))),
            "const" => {
                let value = self.value.ok_or("it has no `value`")?;
                Ok(Draw::Given(if self.dtype == "f32" {
                    Values::F32(vec![value as f32; len])
                } else {
                    Values::I64(vec![value as i64; len])
                }))
            }
            "explicit" => {
                let values = explicit.ok_or("its values are in explicit.safetensors, which was not given")?;
                // That file's names are used as they stand; tied names have been joined on opening.
                Ok(Draw::Given(values.read_values(&self.name).map_err(|e| e.to_string())?))
            }
            "alias" => {
                let of = self.of.as_ref().ok_or("it has no `of`")?;
                index
                    .get(of)
                    .map(|&of| Draw::Alias(of))
                    .ok_or_else(|| format!("`{of}` does not come before it"))
            }
            other => Err(format!("its kind `{other}` is unknown")),
        }
    }
}

/// The text of a `vocab.txt` of `len` tokens laid out like bert-base-chinese's: `[PAD]` first, the other special tokens
/// from 100 on, then printable ASCII and its continuations, then Chinese characters, then filler.
pub fn synthetic_vocabulary(len: usize) -> String {
    let special = ["[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned);
    let unused = (1..100).map(|i| format!("[unused{i}]"));
    let ascii = (b'!'..=b'~').filter(|b| !b.is_ascii_uppercase()).map(char::from);
    let tokens = std::iter::once("[PAD]".to_owned())
        .chain(unused)
        .chain(special)
        .chain(ascii.clone().map(String::from))
        .chain(ascii.filter(char::is_ascii_alphanumeric).map(|c| format!("##{c}")))
        .chain(('\u{4e00}'..='\u{9fa5}').map(String::from))
        .chain((100..).map(|i| format!("[unused{i}]")));
    let mut text = String::new();
    for token in tokens.take(len) {
        text.push_str(&token);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Task;

    /// Computed with the formula's reference implementation in Python (numpy), seed 20221122, amplitude 1, mean 0.
    #[test]
    fn the_formula_gives_the_reference_values() {
        let values = seeded_uniform(20_221_122, "visn_fc.weight", 100_000, 0.0, 1.0);
        assert_eq!(values[..4], [-0.472_545_4, -0.942_388_4, -0.290_111_06, -0.942_974_45]);
        assert!((values[99_999] + 0.271_624_1).abs() < 1e-7);
        assert!(values.iter().all(|v| (-1.0..1.0).contains(v)));
    }

    #[test]
    fn a_prefix_of_a_longer_draw_is_the_shorter_draw() {
        let long = seeded_uniform(7, "a.weight", 50_000, 1.0, 0.5);
        assert_eq!(long[..100], seeded_uniform(7, "a.weight", 100, 1.0, 0.5));
        assert_ne!(long[..100], seeded_uniform(8, "a.weight", 100, 1.0, 0.5));
        assert_ne!(long[..100], seeded_uniform(7, "b.weight", 100, 1.0, 0.5));
    }

    #[test]
    fn a_drawn_model_of_every_task_has_exactly_the_tensors_that_it_needs() {
        for task in [Task::ImageCaptioning, Task::VisualQuestionAnswering, Task::ImageTextRetrieval] {
            let config = ModelConfig::tiny(task);
            let checkpoint = seeded_checkpoint(&config, 1).unwrap();
            let vocabulary = synthetic_vocabulary(config.text.vocab_size);
            let model = super::super::ModelFolder::from_checkpoint(&config, checkpoint, vocabulary).unwrap();
            assert_eq!(model.config, config);
        }
    }

    #[test]
    fn the_sizes_are_the_published_ones() {
        let base = seeded_tensors(&ModelConfig::base_captioning_zh(), 0);
        // The original counts 217.1 M with the unused `visual.proj` (0.4 M); the decoder's head is tied.
        assert_eq!(base.num_parameters(), 216_748_424);
        let vocabulary = synthetic_vocabulary(21128);
        assert_eq!(vocabulary.lines().position(|t| t == "[CLS]"), Some(101));
        assert_eq!(vocabulary.lines().count(), 21128);
    }
}
