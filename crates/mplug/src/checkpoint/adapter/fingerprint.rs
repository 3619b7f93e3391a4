//! What identifies a model's weights: a SHA-256 of the numbers that its task reads. The same numbers in another file, or in
//! another format, are the same model.

use std::fmt::Write as _;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::checkpoint::expected::needed_tensors;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::config::ModelConfig;

/// The SHA-256, in hexadecimal digits, of the tensors that a model of `config` reads from `checkpoint`: of the SHA-256 of each, in
/// the order of their names; of each the name, the shape and the values as f32. Tensors that are not there are left out.
///
/// # Errors
/// When a tensor cannot be read.
pub fn weights_fingerprint(checkpoint: &Checkpoint, config: &ModelConfig) -> Result<String, CheckpointError> {
    let mut names: Vec<String> = needed_tensors(config).into_iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    names.retain(|name| checkpoint.has(name));
    let digests = names
        .par_iter()
        .map(|name| {
            let mut hasher = Sha256::new();
            hasher.update(name.as_bytes());
            for side in checkpoint.shape(name).unwrap_or_default() {
                hasher.update((*side as u64).to_le_bytes());
            }
            hasher.update(bytemuck::cast_slice::<f32, u8>(&checkpoint.read_f32(name)?));
            Ok(hasher.finalize())
        })
        .collect::<Result<Vec<_>, CheckpointError>>()?;
    let mut whole = Sha256::new();
    for digest in digests {
        whole.update(digest);
    }
    let mut text = String::with_capacity(64);
    for byte in whole.finalize() {
        let _infallible = write!(text, "{byte:02x}");
    }
    Ok(text)
}
