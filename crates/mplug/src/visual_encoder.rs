//! The visual encoder: OpenAI's CLIP vision transformer, all tokens kept.
//!
//! ```text
//! pixel_values (3, size, size) -> patches -> + class token, positions -> ln_pre -> blocks -> ln_post -> [projection, norm]
//! ```
//!
//! Radford et al., arXiv 2103.00020; the original's `models/multi_modal/mplug/clip/clip.py` (`VisualTransformer` with
//! `skip_last_layer=True`: `ln_post` of every token, `proj` unused). Large models map the width to the text side's by
//! `visn_fc` and `visn_layer_norm`.

use std::sync::{Mutex, PoisonError};

use mplug_kernels::activation::Activation;
use mplug_kernels::attention::{HeadShape, self_attention};
use mplug_kernels::gemm::{Precision, row_block};
use rayon::prelude::*;

use crate::checkpoint::{CheckpointError, Weights, names};
use crate::config::{ModelConfig, VisionConfig};
use crate::engine::{LayerNorm, Linear};

/// Epsilon of CLIP's norms (PyTorch's default).
const CLIP_EPSILON: f32 = 1e-5;
/// Of `visn_layer_norm`: fixed in the original, whatever the BERT json says of the other norms.
const PROJECTION_EPSILON: f32 = 1e-12;

/// One pre-norm residual block: `x += attention(ln_1(x)); x += mlp(ln_2(x))`.
struct Block {
    ln_1: LayerNorm,
    query_key_value: Linear,
    attention_output: Linear,
    ln_2: LayerNorm,
    intermediate: Linear,
    output: Linear,
    shape: HeadShape,
    precision: Precision,
}

/// What a block works in, between the pictures that come and go.
#[derive(Default)]
struct Workspace {
    /// `(image_len, 3 · width)`.
    query_key_value: Vec<f32>,
    /// `(image_len, width)`.
    context: Vec<f32>,
}

impl Block {
    fn load(weights: &Weights, config: &VisionConfig) -> Result<Self, CheckpointError> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let in_proj_bias = weights.tensor(names::block::QUERY_KEY_VALUE_BIAS, &[3 * width])?;
        Ok(Self {
            ln_1: LayerNorm::load(&weights.at(names::block::ATTENTION_NORM), width, CLIP_EPSILON)?,
            query_key_value: Linear::load_named(
                weights,
                names::block::QUERY_KEY_VALUE_WEIGHT,
                Some(in_proj_bias),
                width,
                3 * width,
            )?,
            attention_output: Linear::load(&weights.at(names::block::ATTENTION_OUTPUT), width, width)?,
            ln_2: LayerNorm::load(&weights.at(names::block::FEED_FORWARD_NORM), width, CLIP_EPSILON)?,
            intermediate: Linear::load(&weights.at(names::block::INTERMEDIATE), width, inner)?,
            output: Linear::load(&weights.at(names::block::OUTPUT), inner, width)?,
            shape: HeadShape {
                heads: config.num_attention_heads,
                head_dim: width / config.num_attention_heads,
            },
            precision: weights.precision(),
        })
    }

    /// `hidden_states` `(image_len, width)` of one picture, in place.
    ///
    /// All but the attention itself is each row's own affair: so a part of the rows goes through norms and products in one
    /// go, its intermediate values in the L2 cache, and a block hands work to the threads three times.
    fn forward(&self, hidden_states: &mut [f32], workspace: &mut Workspace) {
        let width = self.shape.width();
        let image_len = hidden_states.len() / width;
        let rows = row_block(image_len);
        let Workspace { query_key_value, context } = workspace;
        query_key_value.resize(image_len * 3 * width, 0.0); // (image_len, 3 · width)
        context.resize(image_len * width, 0.0); // (image_len, width)
        hidden_states
            .par_chunks(rows * width)
            .zip(query_key_value.par_chunks_mut(rows * 3 * width))
            .for_each_init(Vec::new, |normed, (hidden_states, query_key_value)| {
                self.ln_1.forward_to(hidden_states, normed);
                self.query_key_value.forward_here(normed, None, query_key_value);
            });
        self_attention(query_key_value, image_len, self.shape, self.precision, context);
        hidden_states.par_chunks_mut(rows * width).zip(context.par_chunks(rows * width)).for_each_init(
            Default::default,
            |(normed, inner): &mut (Vec<f32>, Vec<f32>), (hidden_states, context)| {
                self.attention_output.forward_add_here(context, hidden_states);
                self.ln_2.forward_to(hidden_states, normed);
                let rows = normed.len() / width;
                inner.resize(rows * self.intermediate.out_features(), 0.0); // (rows, intermediate_size)
                self.intermediate.forward_here(normed, Some(Activation::QuickGelu), inner);
                self.output.forward_add_here(inner, hidden_states);
            },
        );
    }
}

/// Pictures in, one embedding per patch (and one for the whole) out.
pub struct VisualEncoder {
    patch_embedding: Linear,
    class_embedding: Vec<f32>,
    /// `(image_len, width)`, resized to the requested image size.
    position_embedding: Vec<f32>,
    ln_pre: LayerNorm,
    blocks: Vec<Block>,
    ln_post: LayerNorm,
    /// `visual_projection` and its norm, large models only.
    projection: Option<(Linear, LayerNorm)>,
    config: VisionConfig,
    /// Those not in use: as many as pictures were ever encoded at once.
    workspaces: Mutex<Vec<Workspace>>,
}

impl VisualEncoder {
    /// Reads `visual_encoder.visual.*` and, for large models, `visn_fc.*` and `visn_layer_norm.*` from the root cursor.
    pub fn load(root: &Weights, config: &ModelConfig) -> Result<Self, CheckpointError> {
        let vision = &config.vision;
        let (width, patch) = (vision.hidden_size, vision.patch_size);
        let weights = root.at(names::VISUAL_ENCODER);
        let patch_weight = weights.tensor(names::visual::PATCHES, &[width, 3, patch, patch])?;
        let blocks = weights.at(names::visual::BLOCKS);
        let projection = if config.has_visual_projection {
            let text_width = config.text.hidden_size;
            Some((
                Linear::load(&root.at(names::VISUAL_PROJECTION), width, text_width)?,
                LayerNorm::load(&root.at(names::VISUAL_PROJECTION_NORM), text_width, PROJECTION_EPSILON)?,
            ))
        } else {
            None
        };
        Ok(Self {
            patch_embedding: Linear::exact(&patch_weight, None, 3 * patch * patch, width),
            class_embedding: weights.tensor(names::visual::CLASS_EMBEDDING, &[width])?,
            position_embedding: weights.position_embedding(
                names::visual::POSITIONAL_EMBEDDING,
                vision.image_size / patch,
                width,
            )?,
            ln_pre: LayerNorm::load(&weights.at(names::visual::FIRST_NORM), width, CLIP_EPSILON)?,
            blocks: (0..vision.num_hidden_layers)
                .map(|layer| Block::load(&blocks.at(layer), vision))
                .collect::<Result<_, _>>()?,
            ln_post: LayerNorm::load(&weights.at(names::visual::LAST_NORM), width, CLIP_EPSILON)?,
            projection,
            config: vision.clone(),
            workspaces: Mutex::default(),
        })
    }

    /// Side of the pictures that [`forward`](Self::forward) takes, in pixels.
    pub fn image_size(&self) -> usize {
        self.config.image_size
    }

    /// `pixel_values` `(3, image_size, image_size)` of a picture, normalised; returns its `image_embeds`
    /// `(image_len, hidden_size)`.
    ///
    /// Several pictures are encoded side by side, one a thread: a product over four pictures is no faster a row than over one.
    ///
    /// # Panics
    /// If the values are not those of a picture.
    pub fn forward(&self, pixel_values: &[f32]) -> Vec<f32> {
        let expected = 3 * self.config.image_size * self.config.image_size;
        assert_eq!(pixel_values.len(), expected, "the values of a picture are expected");
        let mut hidden_states = self.embed(pixel_values); // (image_len, width)
        self.ln_pre.forward(&mut hidden_states);
        let free = || self.workspaces.lock().unwrap_or_else(PoisonError::into_inner);
        let mut workspace = free().pop().unwrap_or_default();
        for block in &self.blocks {
            block.forward(&mut hidden_states, &mut workspace);
        }
        free().push(workspace);
        self.ln_post.forward(&mut hidden_states);
        match &self.projection {
            None => hidden_states,
            Some((projection, norm)) => {
                let mut projected = projection.forward(&hidden_states); // (image_len, hidden_size)
                norm.forward(&mut projected);
                projected
            }
        }
    }

    /// Class token and embedded patches, positions added.
    fn embed(&self, pixels: &[f32]) -> Vec<f32> {
        let patches = self.patch_embedding.forward(&self.unfold(pixels)); // (num_patches, width)
        let mut hidden_states = Vec::with_capacity(self.position_embedding.len());
        hidden_states.extend_from_slice(&self.class_embedding);
        hidden_states.extend_from_slice(&patches);
        hidden_states.iter_mut().zip(&self.position_embedding).for_each(|(h, p)| *h += p);
        hidden_states
    }

    /// `(3, size, size)` to `(num_patches, 3 · patch · patch)`, the order of the convolution's weight.
    fn unfold(&self, pixels: &[f32]) -> Vec<f32> {
        let (size, patch) = (self.config.image_size, self.config.patch_size);
        let mut patches = Vec::with_capacity(self.config.num_patches() * 3 * patch * patch);
        for (top, left) in grid(size / patch) {
            for channel in 0..3 {
                for y in 0..patch {
                    let start = (channel * size + top * patch + y) * size + left * patch;
                    patches.extend_from_slice(&pixels[start..start + patch]);
                }
            }
        }
        patches
    }
}

/// Row-major cells of a square grid.
fn grid(side: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..side).flat_map(move |row| (0..side).map(move |column| (row, column)))
}
