//! Picture and text as features of one projection space, the more similar the nearer (the original's `vision_proj` and `text_proj`): a
//! projection of token 0 of each, of length one. Knows no temperature: only losses divide by it.

use crate::checkpoint::{CheckpointError, Weights, names};
use crate::config::ModelConfig;
use crate::engine::Linear;

/// What vectors shorter than this are divided by instead (PyTorch's `normalize`).
const SHORTEST: f32 = 1e-12;

/// The two projections of a retrieval model.
pub struct ContrastiveHead {
    vision_proj: Linear,
    text_proj: Linear,
}

impl ContrastiveHead {
    /// Reads `vision_proj.*` and `text_proj.*` from the root cursor.
    pub(crate) fn load(root: &Weights, config: &ModelConfig) -> Result<Self, CheckpointError> {
        let (width, space) = (config.text.hidden_size, config.projection_size);
        // One row a picture or text: nothing to gain from fewer bits.
        let projection = |name: &str| {
            let weights = root.at(name);
            let (weight, bias) =
                (weights.tensor(names::WEIGHT, &[space, width])?, weights.tensor(names::BIAS, &[space])?);
            Ok::<Linear, CheckpointError>(Linear::exact(&weight, Some(bias), width, space))
        };
        Ok(Self {
            vision_proj: projection(names::IMAGE_FEATURES)?,
            text_proj: projection(names::TEXT_FEATURES)?,
        })
    }

    /// The feature of a picture: `image_embeds` `(image_len, hidden_size)` -> `(projection_size)`.
    pub fn image_features(&self, image_embeds: &[f32]) -> Vec<f32> {
        feature(&self.vision_proj, image_embeds)
    }

    /// The feature of a text: `text_embeds` `(text_len, hidden_size)`, before fusion -> `(projection_size)`.
    pub fn text_features(&self, text_embeds: &[f32]) -> Vec<f32> {
        feature(&self.text_proj, text_embeds)
    }
}

/// Token 0, projected, at length one.
fn feature(projection: &Linear, embeds: &[f32]) -> Vec<f32> {
    let mut features = projection.forward(&embeds[..projection.in_features()]);
    let length = features.iter().map(|x| x * x).sum::<f32>().sqrt().max(SHORTEST);
    for x in &mut features {
        *x /= length;
    }
    features
}
