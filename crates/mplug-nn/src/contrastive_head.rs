//! Picture and text as features of one projection space: a projection of token 0 of each, of length one, and the temperature of their
//! similarity (the original's `vision_proj`, `text_proj` and `temp`). Knows no loss.

use burn::tensor::{Tensor, TensorData};
use mplug::checkpoint::names;
use mplug::config::ModelConfig;

use crate::error::NnError;
use crate::linear::Linear;
use crate::parameter::{Initial, Parameter, Reader, has_parameters};
use crate::text_layer::fresh_std;

/// What vectors shorter than this are divided by instead (PyTorch's `normalize`).
const SHORTEST: f32 = 1e-12;

/// The bounds that training keeps the temperature in (the original's `clamp_`).
pub const TEMPERATURE_BOUNDS: [f32; 2] = [0.001, 0.5];

/// The two projections and the temperature.
#[derive(Clone, Debug)]
pub struct ContrastiveHead {
    vision_proj: Linear,
    text_proj: Linear,
    temperature: Parameter,
}

has_parameters!(ContrastiveHead: vision_proj, text_proj, temperature);

impl ContrastiveHead {
    /// Reads the head from the root of a checkpoint; `temperature` is that of a fresh one.
    pub(crate) fn new(
        root: &mut Reader<'_>,
        config: &ModelConfig,
        temperature: f32,
    ) -> Result<Self, NnError> {
        let (width, space, std) = (config.text.hidden_size, config.projection_size, fresh_std(&config.text));
        Ok(Self {
            vision_proj: Linear::new(root.at(names::IMAGE_FEATURES), width, space, std)?,
            text_proj: Linear::new(root.at(names::TEXT_FEATURES), width, space, std)?,
            temperature: root.parameter(names::TEMPERATURE, &[], Initial::Constant(temperature))?,
        })
    }

    /// The pictures' features: `image_embeds` `(batch, image_len, width)` -> `(batch, space)`.
    pub fn image_features(&self, image_embeds: Tensor<3>) -> Tensor<2> {
        normalized(self.vision_proj.forward(first_token(image_embeds)))
    }

    /// The texts' features: `text_embeds` `(batch, text_len, width)` -> `(batch, space)`.
    pub fn text_features(&self, text_embeds: Tensor<3>) -> Tensor<2> {
        normalized(self.text_proj.forward(first_token(text_embeds)))
    }

    /// What similarities are divided by: `(1)`.
    pub fn temperature(&self) -> Tensor<1> {
        self.temperature.vector()
    }

    /// Brings the temperature back into [`TEMPERATURE_BOUNDS`].
    ///
    /// # Panics
    /// If the device fails to give its value.
    pub fn clamp_temperature(&mut self) {
        let [low, high] = TEMPERATURE_BOUNDS;
        let value = self.temperature.to_vec()[0];
        if !(low..=high).contains(&value) {
            let inside = vec![value.clamp(low, high)];
            self.temperature.update(|old| Tensor::from_data(TensorData::new(inside, [1]), &old.device()));
        }
    }
}

/// `(batch, len, width)` -> `(batch, width)`.
pub(crate) fn first_token(states: Tensor<3>) -> Tensor<2> {
    let [batch, _, width] = states.dims();
    states.narrow(1, 0, 1).reshape([batch, width])
}

/// Rows of length one.
fn normalized(rows: Tensor<2>) -> Tensor<2> {
    let length = rows.clone().powi_scalar(2).sum_dim(1).sqrt().clamp_min(SHORTEST); // (batch, 1)
    rows / length
}
