//! Adapters: low-rank additions to some weights of a model (LoRA: Hu et al., arXiv 2106.09685), in a folder of a few megabytes
//! as PEFT writes it: `adapter_config.json` and `adapter_model.safetensors`. Beside them `base_model.json` says which model
//! they were trained on; PEFT does not look at it, and an adapter without it is checked by shapes alone. Knows no layer.
//!
//! A module `M` with the weight `W` `(out, in)` has `base_model.model.M.lora_A.weight` `(rank, in)` and
//! `base_model.model.M.lora_B.weight` `(out, rank)`: `W + scale · B A` takes the place of `W`, where `scale` is `alpha / rank`.
//! PyTorch's attention is one module, whose packed queries, keys and values have the module's name. PEFT has its output
//! projection too, as `M.base_layer.out_proj`, and counts what is added there twice (0.21 does): such numbers are refused.

mod fingerprint;
mod settings;
mod write;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::fingerprint::weights_fingerprint;
use self::settings::{BaseRecord, ConfigFile};
pub use self::write::{AdapterSettings, write_adapter_files};
use super::key_names::TIED;
use super::names::{self, below, block};
use super::{Checkpoint, CheckpointError, ModelFolder, VOCABULARY};

/// The adapter's settings.
pub const ADAPTER_CONFIG: &str = "adapter_config.json";
/// The adapter's matrices.
pub const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";
/// Which model the adapter was trained on.
pub const BASE_MODEL: &str = "base_model.json";

/// The end of the name of a matrix that narrows, `(rank, in)`.
pub const LORA_A: &str = "lora_A.weight";
/// The end of the name of a matrix that widens, `(out, rank)`.
pub const LORA_B: &str = "lora_B.weight";
/// What PEFT calls the output projection in a module that is one of PyTorch's attentions.
const OUTPUT_IN_ATTENTION: &str = "base_layer.out_proj";

/// What PEFT puts before every module's name.
const PREFIX: &str = "base_model.model.";
/// [`PREFIX`] after names have got their plain form, which takes `model.` off.
const PLAIN_PREFIX: &str = "base_model.";
/// Largest file of settings.
const MAX_SETTINGS_BYTES: u64 = 4 << 20;
/// Largest rank: beyond it an adaptation is no smaller than the weights of the models that we know.
const MAX_RANK: usize = 1024;

/// What is added to a weight.
#[derive(Clone, Debug)]
pub(crate) struct Addition {
    /// `(rank, in)`.
    a: Vec<f32>,
    /// `(out, rank)`.
    b: Vec<f32>,
    rank: usize,
    scale: f32,
    /// `[out, in]`.
    shape: [usize; 2],
}

impl Addition {
    /// Adds itself to a weight's values, `(out, in)`.
    pub(crate) fn add_to(&self, weight: &mut [f32]) {
        let sum = low_rank_product(&self.a, &self.b, self.rank, self.scale);
        weight.iter_mut().zip(sum).for_each(|(weight, sum)| *weight += sum);
    }
}

/// `scale · b a`, `(out, in)`, of `a` `(rank, in)` and `b` `(out, rank)`, row-major.
pub fn low_rank_product(a: &[f32], b: &[f32], rank: usize, scale: f32) -> Vec<f32> {
    let input = a.len() / rank.max(1);
    let mut product = vec![0.0; b.len() / rank.max(1) * input];
    for (row, widen) in product.chunks_exact_mut(input.max(1)).zip(b.chunks_exact(rank.max(1))) {
        for (factor, narrow) in widen.iter().zip(a.chunks_exact(input.max(1))) {
            let factor = scale * factor;
            row.iter_mut().zip(narrow).for_each(|(sum, value)| *sum += factor * value);
        }
    }
    product
}

/// An opened adapter.
#[derive(Clone, Debug)]
pub struct Adapter {
    path: PathBuf,
    /// By the weight's name.
    additions: BTreeMap<String, Arc<Addition>>,
    base: Option<BaseRecord>,
    /// What PEFT's settings call the base.
    base_in_settings: Option<String>,
    rank: usize,
    alpha: f32,
}

/// Whether a folder is that of an adapter and of no model.
pub fn is_adapter(folder: &Path) -> bool {
    folder.join(ADAPTER_CONFIG).is_file() && !folder.join(VOCABULARY).is_file()
}

impl Adapter {
    /// Opens an adapter's folder.
    ///
    /// # Errors
    /// [`CheckpointError::Adapter`] for a folder that is none, or settings that are not LoRA's plain ones; what a weight file may have
    /// wrong.
    pub fn open(folder: &Path) -> Result<Self, CheckpointError> {
        let config = ConfigFile::read(folder)?;
        let base = BaseRecord::read(folder)?;
        let weights = Checkpoint::open(&folder.join(ADAPTER_WEIGHTS))?;
        let mut additions = BTreeMap::new();
        for name in weights.names() {
            let Some(module) = name.strip_suffix(&format!(".{LORA_A}")) else {
                let partner = name.strip_suffix(LORA_B).map(|module| format!("{module}{LORA_A}"));
                if partner.is_some_and(|partner| weights.has(&partner)) {
                    continue;
                }
                return Err(unfit(
                    folder,
                    format!(
                        "expected pairs of tensors whose names end in `{LORA_A}` and `{LORA_B}`, found `{name}`: other kinds of \
                         adapters, trained biases and whole modules are not known here"
                    ),
                ));
            };
            let addition = read_pair(folder, &weights, module, &config)?;
            if module.ends_with(OUTPUT_IN_ATTENTION) {
                if addition.b.iter().all(|value| *value == 0.0) {
                    continue;
                }
                let reason = format!(
                    "expected nothing at `{module}`, the output projection of PyTorch's attention, found numbers: PEFT counts them \
                     twice, and what was meant is not known"
                );
                return Err(unfit(folder, reason));
            }
            additions.insert(weight_of(module), Arc::new(addition));
        }
        if additions.is_empty() {
            return Err(unfit(folder, format!("{ADAPTER_WEIGHTS} holds no tensors")));
        }
        let rank = additions.values().map(|addition| addition.rank).max().unwrap_or_default();
        let (alpha, base_in_settings) = (config.alpha(), config.base_name().map(str::to_owned));
        Ok(Self { path: folder.to_owned(), additions, base, base_in_settings, rank, alpha })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The largest rank of its matrices.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// The number of weights that it changes.
    pub fn len(&self) -> usize {
        self.additions.len()
    }

    /// Whether it changes none. An opened adapter changes some.
    pub fn is_empty(&self) -> bool {
        self.additions.is_empty()
    }

    /// What the products of its matrices are multiplied with, times their rank.
    pub fn alpha(&self) -> f32 {
        self.alpha
    }

    /// The number of values of its matrices.
    pub fn num_parameters(&self) -> usize {
        self.additions.values().map(|addition| addition.a.len() + addition.b.len()).sum()
    }

    /// The weights that it changes, with `*` in the place of a layer's number, and how many there are of each.
    pub fn targets(&self) -> BTreeMap<String, usize> {
        let mut targets = BTreeMap::new();
        for name in self.additions.keys() {
            let is_number = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit());
            let parts: Vec<&str> =
                name.split('.').map(|part| if is_number(&part) { "*" } else { part }).collect();
            *targets.entry(parts.join(".")).or_default() += 1;
        }
        targets
    }

    /// The name of the model that it was trained on, where that is recorded.
    pub fn base_name(&self) -> Option<&str> {
        self.base.as_ref().map(|base| &base.name[..]).or(self.base_in_settings.as_deref())
    }

    /// The fingerprint of the weights of the model that it was trained on, where that is recorded.
    pub fn base_fingerprint(&self) -> Option<&str> {
        self.base.as_ref().map(|base| &base.weights_sha256[..])
    }

    /// Checks that it is for the model of `folder`.
    fn check(&self, folder: &ModelFolder) -> Result<(), CheckpointError> {
        let checkpoint = folder.checkpoint();
        if let Some(base) = &self.base {
            let found = weights_fingerprint(checkpoint, &folder.config)?;
            if found != base.weights_sha256 {
                let reason = format!(
                    "it was trained on `{}`, whose weights have the SHA-256 {}…, and {} has {}…; give it the model that it was \
                     trained on, in the type that it had",
                    base.name,
                    shown(&base.weights_sha256),
                    checkpoint.label(),
                    shown(&found)
                );
                return Err(unfit(&self.path, reason));
            }
        }
        let needed: BTreeMap<String, Vec<usize>> =
            super::expected::needed_tensors(&folder.config).into_iter().collect();
        for (weight, addition) in &self.additions {
            let problem = match needed.get(weight) {
                _ if TIED.iter().any(|(later, earlier)| later == weight || earlier == weight) => {
                    format!("it changes `{weight}`, which the model has under two names")
                }
                None => {
                    format!("it changes `{weight}`, which the model of {} does not have", checkpoint.label())
                }
                Some(shape) if *shape != addition.shape => format!(
                    "`{weight}` of {} has shape {shape:?}, expected {:?}",
                    checkpoint.label(),
                    addition.shape
                ),
                Some(_) => continue,
            };
            return Err(unfit(&self.path, problem));
        }
        Ok(())
    }
}

impl ModelFolder {
    /// The model with the adapter in `folder`: every weight that it changes is read with the addition. The model's own files stay
    /// as they are. Weights stored as int8 that it changes are read as numbers of full precision.
    ///
    /// # Errors
    /// [`CheckpointError::Adapter`] where the adapter is for another model; what [`Adapter::open`] says.
    pub fn with_adapter(mut self, folder: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        let adapter = Adapter::open(folder.as_ref())?;
        if self.checkpoint().is_adapted() {
            return Err(unfit(
                &adapter.path,
                "the model has an adapter already: merge that one first".to_owned(),
            ));
        }
        adapter.check(&self)?;
        self.checkpoint_mut().adapt(adapter.additions);
        Ok(self)
    }
}

/// The two matrices of a module.
fn read_pair(
    folder: &Path,
    weights: &Checkpoint,
    module: &str,
    config: &ConfigFile,
) -> Result<Addition, CheckpointError> {
    let [a_name, b_name] = [LORA_A, LORA_B].map(|end| format!("{module}.{end}"));
    let shapes = [weights.shape(&a_name), weights.shape(&b_name)];
    let ([Some(&[rank, input]), Some(&[output, inner])], module) = (shapes, plain_module(module)) else {
        let reason = format!("expected matrices `{a_name}` and `{b_name}`, found the shapes {shapes:?}");
        return Err(unfit(folder, reason));
    };
    if rank != inner || rank == 0 || rank > MAX_RANK {
        let reason = format!(
            "expected a rank from 1 to {MAX_RANK} that `{a_name}` and `{b_name}` share, found {rank} and {inner}"
        );
        return Err(unfit(folder, reason));
    }
    let scale = config.scale(folder, module, rank)?;
    let (a, b) = (weights.read_f32(&a_name)?, weights.read_f32(&b_name)?);
    Ok(Addition { a, b, rank, scale, shape: [output, input] })
}

/// A module's name without what PEFT puts before it.
fn plain_module(module: &str) -> &str {
    module.strip_prefix(PREFIX).or_else(|| module.strip_prefix(PLAIN_PREFIX)).unwrap_or(module)
}

/// The name of a module's weight.
fn weight_of(module: &str) -> String {
    let module = plain_module(module);
    if module.starts_with(names::VISUAL_ENCODER) && module.ends_with(ATTENTION) {
        let (block, _) = module.rsplit_once('.').unwrap_or_default();
        return below(block, block::QUERY_KEY_VALUE_WEIGHT);
    }
    below(module, names::WEIGHT)
}

/// The attention of a block of the visual encoder.
const ATTENTION: &str = ".attn";

/// As much of a fingerprint as a message shows.
fn shown(fingerprint: &str) -> &str {
    fingerprint.get(..12).unwrap_or(fingerprint)
}

fn unfit(path: &Path, reason: String) -> CheckpointError {
    CheckpointError::Adapter { path: path.to_owned(), reason }
}

/// The text of a small file; none if it is not there.
fn read_small(path: &Path) -> Result<Option<String>, CheckpointError> {
    let io = |source| CheckpointError::Io { action: "read", path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let mut text = String::new();
    file.take(MAX_SETTINGS_BYTES + 1).read_to_string(&mut text).map_err(io)?;
    if text.len() as u64 > MAX_SETTINGS_BYTES {
        let reason = format!("expected at most {MAX_SETTINGS_BYTES} bytes, found more");
        return Err(CheckpointError::Config { file: path.display().to_string(), reason });
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_is_that_of_the_matrices() {
        // b (3, 2), a (2, 2), scale 0.5.
        let product = low_rank_product(&[1.0, 2.0, 3.0, 4.0], &[1.0, 0.0, 0.0, 2.0, 1.0, -1.0], 2, 0.5);
        assert_eq!(product, [0.5, 1.0, 3.0, 4.0, -1.0, -1.0]);
        assert!(low_rank_product(&[], &[], 0, 1.0).is_empty());
    }

    #[test]
    fn modules_lead_to_weights() {
        let block = "visual_encoder.visual.transformer.resblocks.3";
        for (module, weight) in [
            ("base_model.model.text_decoder.bert.encoder.layer.0.attention.self.query".to_owned(), None),
            (format!("base_model.{block}.attn"), Some(format!("{block}.attn.in_proj_weight"))),
            (format!("{PREFIX}{block}.mlp.c_fc"), Some(format!("{block}.mlp.c_fc.weight"))),
        ] {
            let plain = "text_decoder.bert.encoder.layer.0.attention.self.query.weight".to_owned();
            assert_eq!(weight_of(&module), weight.unwrap_or(plain), "{module}");
        }
    }
}
