//! The captioning model: visual encoder and text decoder (captioning runs nothing else). Knows no files,
//! no loss and no optimizer.

use burn::tensor::{Device, Int, Tensor};
use mplug::config::ModelConfig;

use crate::error::NnError;
use crate::parameter::{Parameter, ParameterSource, Reader, detach_all, has_parameters};
use crate::text_decoder::TextDecoder;
use crate::visual_encoder::VisualEncoder;

/// mPLUG for captioning, trainable.
#[derive(Clone, Debug)]
pub struct CaptioningModel {
    /// From pixels to one vector per patch.
    pub visual_encoder: VisualEncoder,
    /// From token ids and a picture's vectors to logits.
    pub text_decoder: TextDecoder,
    dropout: f32,
}

has_parameters!(CaptioningModel: visual_encoder, text_decoder);

impl CaptioningModel {
    /// Builds the network of `config` on `device` with values from `source`. On an autodiff device the parameters are
    /// leaves that require gradients. Dropout is off until [`Self::set_dropout`].
    pub fn new(
        config: &ModelConfig,
        source: &mut dyn ParameterSource,
        device: &Device,
    ) -> Result<Self, NnError> {
        let mut root = Reader::new(source, device);
        Ok(Self {
            visual_encoder: VisualEncoder::new(&mut root, config)?,
            text_decoder: TextDecoder::new(&mut root, &config.text)?,
            dropout: 0.0,
        })
    }

    /// Sets the dropout rate of the text side (0.1 in the original's training, 0 in evaluation).
    pub fn set_dropout(&mut self, rate: f32) {
        self.dropout = rate;
    }

    /// The picture's embeddings as the decoder sees them: `(batch, 3, size, size)` -> `(batch, 1 + patches, hidden)`.
    pub fn encode_image(&self, pixel_values: Tensor<4>) -> Tensor<3> {
        self.visual_encoder.project(self.visual_encoder.forward(pixel_values), self.dropout)
    }

    /// Scores of the tokens after `input_ids` given the picture's embeddings; shapes as in [`TextDecoder::forward`].
    pub fn decode(
        &self,
        input_ids: Tensor<2, Int>,
        attention_mask: Tensor<2>,
        image_embeds: Tensor<3>,
    ) -> Tensor<3> {
        self.text_decoder.forward(input_ids, attention_mask, image_embeds, self.dropout)
    }

    /// `pixel_values` `(batch, 3, size, size)`, `input_ids` and `attention_mask` `(batch, len)` -> logits
    /// `(batch, len, vocab)` of the token after each.
    pub fn forward(
        &self,
        pixel_values: Tensor<4>,
        input_ids: Tensor<2, Int>,
        attention_mask: Tensor<2>,
    ) -> Tensor<3> {
        self.decode(input_ids, attention_mask, self.encode_image(pixel_values))
    }

    /// Every parameter once, in the order of the data's way.
    pub fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        let mut parameters = Vec::new();
        crate::parameter::HasParameters::collect(self, &mut parameters);
        parameters
    }

    /// Copies of the parameters' handles (the values are shared, not copied), in the same order.
    pub fn parameters(&self) -> Vec<Parameter> {
        self.clone().parameters_mut().into_iter().map(|parameter| parameter.clone()).collect()
    }

    /// The same model for evaluation: no gradient graph, no dropout.
    #[must_use]
    pub fn without_autodiff(&self) -> Self {
        let mut model = self.clone();
        detach_all(&mut model);
        model.dropout = 0.0;
        model
    }

    /// The checkpoint of this model by the original's names: name, shape, values. Tied tensors come once, under the name
    /// of their first use.
    pub fn export(&self) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        let tensor = |parameter: &Parameter| {
            (parameter.name().to_owned(), parameter.shape().to_vec(), parameter.to_vec())
        };
        self.parameters().iter().map(tensor).collect()
    }
}
