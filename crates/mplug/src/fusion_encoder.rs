//! The skip-connected fusion encoder (Li et al., arXiv 2205.12005, section 3.1; the original's `FusionModel`).
//!
//! ```text
//! image V ──────────────┬──────────────┬───(+)── ...      co-attention layer: text attends to itself, then to V
//!                       │              │    │
//! text  T ── co-attention ─ co-attention ─ connected ── ...   connected layer: one self-attention over [V; T],
//!                                                          whose image half is added to V (the skip connection)
//! ```
//!
//! Every `connected_stride`-th layer after the first is connected. The original adds in place to its caller's image
//! states; here the caller hands them over.

use mplug_kernels::attention::{CrossAttentionGroup, PackedKeyValues};

use crate::checkpoint::{CheckpointError, Weights, names};
use crate::config::{ModelConfig, TextConfig};
use crate::encoded_picture::EncodedPicture;
use crate::engine::{CrossAttention, FeedForward, SelfAttention, Workspace};

#[expect(clippy::large_enum_variant, reason = "six in all; the weights are on the heap anyway")]
enum Layer {
    CoAttention { self_attention: SelfAttention, cross_attention: CrossAttention, feed_forward: FeedForward },
    Connected { self_attention: SelfAttention, feed_forward: FeedForward },
}

impl Layer {
    fn load(weights: &Weights, is_connected: bool, config: &TextConfig) -> Result<Self, CheckpointError> {
        let self_attention = SelfAttention::load(&weights.at(names::layer::SELF_ATTENTION), config)?;
        let feed_forward = FeedForward::load(weights, config)?;
        if is_connected {
            return Ok(Self::Connected { self_attention, feed_forward });
        }
        let cross_attention = CrossAttention::load(&weights.at(names::layer::CROSS_ATTENTION), config)?;
        Ok(Self::CoAttention { self_attention, cross_attention, feed_forward })
    }
}

/// Picture and text together.
pub struct Fused {
    /// `(image_len, hidden_size)`.
    pub image: Vec<f32>,
    /// `(text_len, hidden_size)`.
    pub text: Vec<f32>,
}

/// Mixes the picture's and the text's embeddings.
pub struct FusionEncoder {
    layers: Vec<Layer>,
}

impl FusionEncoder {
    /// Reads the layers of `fusion_encoder.encoder.layer` that run, from the root cursor.
    pub fn load(root: &Weights, config: &ModelConfig) -> Result<Self, CheckpointError> {
        let text = &config.text;
        let layers = root.at(names::FUSION_LAYERS);
        let layers = (0..text.fusion_layers)
            .map(|i| Layer::load(&layers.at(text.first_fusion_layer + i), text.is_connected_layer(i), text))
            .collect::<Result<_, _>>()?;
        Ok(Self { layers })
    }

    /// Prepares a picture, `image_embeds` `(image_len, hidden_size)`, for the texts that it is fused with: the layers before the first
    /// connected one look at it as it is, whatever the text.
    pub fn attend_to(&self, image_embeds: Vec<f32>) -> EncodedPicture {
        let mut workspace = Workspace::default();
        let key_values = self
            .layers
            .iter()
            .map_while(|layer| match layer {
                Layer::CoAttention { cross_attention, feed_forward, .. } => {
                    let image_len = image_embeds.len() / feed_forward.width();
                    Some(cross_attention.key_values(&image_embeds, image_len, &mut workspace))
                }
                Layer::Connected { .. } => None,
            })
            .collect();
        EncodedPicture::new(image_embeds, key_values)
    }

    /// Fuses one picture, of [`attend_to`](Self::attend_to), with one text, `text_embeds` `(text_len, hidden_size)` of which rows from
    /// `valid_len` on are padding.
    pub fn forward(&self, picture: &EncodedPicture, text_embeds: Vec<f32>, valid_len: usize) -> Fused {
        let mut fused = Fused { image: picture.hidden_states().to_vec(), text: text_embeds };
        let mut workspace = Workspace::default();
        for (i, layer) in self.layers.iter().enumerate() {
            match layer {
                Layer::CoAttention { self_attention, cross_attention, feed_forward } => {
                    self_attention.forward(&mut fused.text, valid_len, &mut workspace);
                    let width = feed_forward.width();
                    let text_len = fused.text.len() / width;
                    let look = |key_values: &PackedKeyValues, text: &mut [f32], workspace: &mut Workspace| {
                        let mut groups = [CrossAttentionGroup::new(key_values, text_len)];
                        cross_attention.forward(text, &mut groups, workspace);
                    };
                    if let Some(key_values) = picture.key_values().get(i) {
                        look(key_values, &mut fused.text, &mut workspace);
                    } else {
                        let image_len = fused.image.len() / width;
                        let key_values = cross_attention.key_values(&fused.image, image_len, &mut workspace);
                        look(&key_values, &mut fused.text, &mut workspace);
                    }
                    feed_forward.forward(&mut fused.text, &mut workspace);
                }
                Layer::Connected { self_attention, feed_forward } => {
                    let mut joined = [&fused.image[..], &fused.text].concat(); // (image_len + text_len, width)
                    let image_len = fused.image.len() / feed_forward.width();
                    self_attention.forward(&mut joined, image_len + valid_len, &mut workspace);
                    feed_forward.forward(&mut joined, &mut workspace);
                    let (image, text) = joined.split_at(fused.image.len());
                    fused.image.iter_mut().zip(image).for_each(|(old, new)| *old += new);
                    fused.text.copy_from_slice(text);
                }
            }
        }
        fused
    }
}
