//! What a checkpoint holds, for `mplug inspect`: counts only, no values are read.

use std::collections::{BTreeMap, HashSet};

use super::expected::needed_tensors;
use super::key_names::is_momentum_model;
use super::{Checkpoint, CheckpointFormat, Dtype};
use crate::config::ModelConfig;

/// What a checkpoint holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// How the file is laid out.
    pub format: CheckpointFormat,
    /// Bytes of the file, or of several together.
    pub file_len: u64,
    /// Files: 1, or the shards of an index.
    pub num_files: usize,
    /// Named tensors, tied ones counted under each name.
    pub num_tensors: usize,
    /// Values stored, tied ones counted once.
    pub num_parameters: usize,
    /// Of these, values that the model's task reads; `None` when the configuration is unknown.
    pub num_parameters_used: Option<usize>,
    /// Values by stored type, tied ones counted once.
    pub dtypes: BTreeMap<Dtype, usize>,
    /// Whether momentum models are stored.
    pub has_momentum_models: bool,
    /// Tensors that the task does not read, grouped by the first part of their names (two parts below `visual_encoder`).
    /// All tensors when the configuration is unknown.
    pub unused: Vec<UnusedGroup>,
}

/// Some tensors of one module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusedGroup {
    /// What their names begin with.
    pub prefix: String,
    /// How many there are.
    pub num_tensors: usize,
    /// Their values, tied ones counted once.
    pub num_parameters: usize,
}

/// Counts what a checkpoint holds, and which of it a model of this configuration uses.
pub fn summarize(checkpoint: &Checkpoint, config: Option<&ModelConfig>) -> Summary {
    let needed: HashSet<String> =
        config.map(|c| needed_tensors(c).into_iter().map(|(name, _)| name).collect()).unwrap_or_default();
    let mut summary = Summary {
        format: checkpoint.format(),
        file_len: checkpoint.file_len(),
        num_files: checkpoint.num_files(),
        num_tensors: 0,
        num_parameters: 0,
        num_parameters_used: config.map(|_| 0),
        dtypes: BTreeMap::new(),
        has_momentum_models: checkpoint.names().any(is_momentum_model),
        unused: Vec::new(),
    };
    let mut unused: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut counted = HashSet::new();
    // Needed names first: a tensor that is needed under one of its names is used.
    let (used, rest): (Vec<&str>, Vec<&str>) = checkpoint.names().partition(|name| needed.contains(*name));
    for name in used.iter().chain(&rest) {
        let is_new = checkpoint.identity(name).is_some_and(|identity| counted.insert(identity));
        let values: usize = checkpoint.shape(name).map_or(0, |shape| shape.iter().product());
        let values = if is_new { values } else { 0 };
        summary.num_tensors += 1;
        summary.num_parameters += values;
        if let Some(dtype) = checkpoint.dtype(name) {
            *summary.dtypes.entry(dtype).or_default() += values;
        }
        if needed.contains(*name) {
            summary.num_parameters_used = summary.num_parameters_used.map(|n| n + values);
        } else {
            let group = unused.entry(group_prefix(name)).or_default();
            group.0 += 1;
            group.1 += values;
        }
    }
    summary.unused = unused
        .into_iter()
        .map(|(prefix, (num_tensors, num_parameters))| UnusedGroup { prefix, num_tensors, num_parameters })
        .collect();
    summary
}

fn group_prefix(name: &str) -> String {
    let mut parts = name.split('.');
    let first = parts.next().unwrap_or(name);
    match (first, parts.next()) {
        ("visual_encoder" | "visual_encoder_m", Some(second)) => format!("{first}.{second}"),
        _ => first.to_owned(),
    }
}
