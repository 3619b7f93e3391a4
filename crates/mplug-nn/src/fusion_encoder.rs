//! The skip-connected fusion encoder (Li et al., arXiv 2205.12005, section 3.1; the original's `FusionModel`): most layers let
//! the text look at the picture; every `connected_stride`-th attends over both together and adds its picture half to the
//! picture's stream. The original adds in place, which breaks its own training; here the sum is a new tensor. Knows nothing
//! of how picture and text were encoded.

use burn::tensor::Tensor;
use mplug::checkpoint::names;
use mplug::config::TextConfig;

use crate::dropout::Dropout;
use crate::error::NnError;
use crate::lora::LoraPlace;
use crate::parameter::{HasParameters, Parameter, Reader, has_parameters};
use crate::text_layer::{Context, CrossAttentionLayer, SelfAttentionLayer, padding_mask};

#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "six in all; the weights are on the heap anyway")]
enum Layer {
    CoAttention(CrossAttentionLayer),
    Connected(SelfAttentionLayer),
}

impl HasParameters for Layer {
    fn collect<'a>(&'a mut self, out: &mut Vec<&'a mut Parameter>) {
        match self {
            Self::CoAttention(layer) => layer.collect(out),
            Self::Connected(layer) => layer.collect(out),
        }
    }

    fn collect_places<'a>(&'a mut self, out: &mut Vec<&'a mut LoraPlace>) {
        match self {
            Self::CoAttention(layer) => layer.collect_places(out),
            Self::Connected(layer) => layer.collect_places(out),
        }
    }
}

/// Picture and text together.
#[derive(Clone, Debug)]
pub struct Fused {
    /// `(batch, image_len, width)`.
    pub image: Tensor<3>,
    /// `(batch, text_len, width)`.
    pub text: Tensor<3>,
}

/// Mixes a picture's and a text's embeddings.
#[derive(Clone, Debug)]
pub struct FusionEncoder {
    layers: Vec<Layer>,
}

has_parameters!(FusionEncoder: layers);

impl FusionEncoder {
    /// Reads the layers that run from the root of a checkpoint.
    pub(crate) fn new(root: &mut Reader<'_>, config: &TextConfig) -> Result<Self, NnError> {
        let mut at = root.at(names::FUSION_LAYERS);
        let layer = |k| {
            let at = at.at(config.first_fusion_layer + k);
            Ok(if config.is_connected_layer(k) {
                Layer::Connected(SelfAttentionLayer::new(at, config)?)
            } else {
                Layer::CoAttention(CrossAttentionLayer::new(at, config)?)
            })
        };
        Ok(Self { layers: (0..config.fusion_layers).map(layer).collect::<Result<_, NnError>>()? })
    }

    /// `image_embeds` `(batch, image_len, width)`, `text_embeds` `(batch, text_len, width)`, `text_mask`
    /// `(batch, text_len)`, 1 for tokens and 0 for padding.
    pub fn forward(
        &self,
        image_embeds: Tensor<3>,
        text_embeds: Tensor<3>,
        text_mask: Tensor<2>,
        dropout: &Dropout,
    ) -> Fused {
        let [batch, image_len, width] = image_embeds.dims();
        let text_len = text_embeds.dims()[1];
        let image_mask = Tensor::<2>::ones([batch, image_len], &text_mask.device());
        let joined_mask = padding_mask(Tensor::cat(vec![image_mask, text_mask.clone()], 1));
        let text_mask = padding_mask(text_mask);
        let (mut image, mut text) = (image_embeds, text_embeds.reshape([batch * text_len, width]));
        for layer in &self.layers {
            match layer {
                Layer::CoAttention(layer) => {
                    let rows = image.clone().reshape([batch * image_len, width]);
                    let context = Context { rows, batch, mask: None };
                    text = layer.forward(text, batch, Some(text_mask.clone()), &context, dropout);
                }
                Layer::Connected(layer) => {
                    let text_states = text.reshape([batch, text_len, width]);
                    let joined = Tensor::cat(vec![image.clone(), text_states], 1); // (batch, image_len + text_len, width)
                    let joined = joined.reshape([batch * (image_len + text_len), width]);
                    let joined = layer.forward(joined, batch, Some(joined_mask.clone()), dropout);
                    let joined = joined.reshape([batch, image_len + text_len, width]);
                    image = image + joined.clone().narrow(1, 0, image_len);
                    text = joined.narrow(1, image_len, text_len).reshape([batch * text_len, width]);
                }
            }
        }
        Fused { image, text: text.reshape([batch, text_len, width]) }
    }
}
