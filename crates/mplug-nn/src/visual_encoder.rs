//! The visual encoder: OpenAI's CLIP ViT without its last projection (the original's `clip/clip.py`), and the
//! projection to the text's width that large models have. Knows nothing of text.

use burn::tensor::Tensor;
use mplug::checkpoint::names;
use mplug::config::{ModelConfig, VisionConfig};

use crate::attention::{Heads, attention};
use crate::dropout::Dropout;
use crate::error::NnError;
use crate::feed_forward::{Activation, FeedForward};
use crate::fused::linear;
use crate::layer_norm::LayerNorm;
use crate::linear::Linear;
use crate::lora::LoraPlace;
use crate::parameter::{HasParameters, Initial, Parameter, Reader, has_parameters};
use crate::product::{Precision, product};
use crate::recomputed::{Block, run_recomputed};

/// Epsilon of the layer norms inside the ViT.
const LAYER_NORM_EPS: f64 = 1e-5;
/// Epsilon of the layer norm after the projection of large models.
const PROJECTION_EPS: f64 = 1e-12;

/// Self-attention with the three projections packed in one matrix.
#[derive(Clone, Debug)]
struct SelfAttention {
    in_proj_weight: Parameter,
    in_proj_bias: Parameter,
    in_place: LoraPlace,
    out_proj: Linear,
    heads: usize,
}

has_parameters!(SelfAttention: in_proj_weight, in_proj_bias, in_place, out_proj);

impl SelfAttention {
    fn new(at: &mut Reader<'_>, config: &VisionConfig, stds: Stds) -> Result<Self, NnError> {
        let width = config.hidden_size;
        let in_proj_weight = at.parameter(
            names::block::QUERY_KEY_VALUE_WEIGHT,
            &[3 * width, width],
            Initial::Normal(stds.attention),
        )?;
        Ok(Self {
            in_place: LoraPlace::of_packed(&in_proj_weight),
            in_proj_weight,
            in_proj_bias: at.parameter(names::block::QUERY_KEY_VALUE_BIAS, &[3 * width], Initial::Zeros)?,
            out_proj: Linear::new(at.at(names::block::ATTENTION_OUTPUT), width, width, stds.projection)?,
            heads: config.num_attention_heads,
        })
    }

    /// `(batch · len, width)` -> the same shape.
    fn forward(&self, input: &Tensor<2>, batch: usize, dropout: &Dropout) -> Tensor<2> {
        let width = input.dims()[1];
        let (weight, bias) = (self.in_proj_weight.matrix(), self.in_proj_bias.vector());
        let precision = self.in_proj_weight.precision();
        // The weights are cut, not the much larger activations: a cut's backward pass fills a whole tensor.
        let is_frozen = self.in_proj_weight.is_frozen() && self.in_proj_bias.is_frozen();
        let narrowed = self.in_place.narrowed(input, dropout);
        let [query, key, value] = [0, 1, 2].map(|part| {
            let weight = weight.clone().narrow(0, part * width, width);
            let bias = bias.clone().narrow(0, part * width, width);
            let output = linear(input.clone(), weight, bias, precision, is_frozen);
            match &narrowed {
                None => output,
                Some(narrowed) => self.in_place.add_part(output, narrowed.clone(), part * width, width),
            }
        });
        let shape = Heads { batch, count: self.heads, precision };
        let drop = |probabilities| dropout.visual_attention(probabilities);
        self.out_proj.forward(attention(query, key, value, shape, None, drop))
    }
}

/// Standard deviations of fresh weights (CLIP's `initialize_parameters`).
#[derive(Clone, Copy)]
struct Stds {
    attention: f32,
    projection: f32,
    widen: f32,
}

impl Stds {
    fn new(config: &VisionConfig) -> Self {
        let attention = (config.hidden_size as f32).powf(-0.5);
        let projection = attention * (2.0 * config.num_hidden_layers as f32).powf(-0.5);
        Self { attention, projection, widen: (2.0 * config.hidden_size as f32).powf(-0.5) }
    }
}

/// A pre-norm residual block.
#[derive(Clone, Debug)]
struct ResidualBlock {
    ln_1: LayerNorm,
    attention: SelfAttention,
    ln_2: LayerNorm,
    feed_forward: FeedForward,
}

has_parameters!(ResidualBlock: ln_1, attention, ln_2, feed_forward);

impl ResidualBlock {
    fn new(mut at: Reader<'_>, config: &VisionConfig) -> Result<Self, NnError> {
        let (width, stds) = (config.hidden_size, Stds::new(config));
        Ok(Self {
            ln_1: LayerNorm::new(at.at(names::block::ATTENTION_NORM), width, LAYER_NORM_EPS)?,
            attention: SelfAttention::new(&mut at, config, stds)?,
            ln_2: LayerNorm::new(at.at(names::block::FEED_FORWARD_NORM), width, LAYER_NORM_EPS)?,
            feed_forward: FeedForward::new(
                &mut at,
                [names::block::INTERMEDIATE, names::block::OUTPUT],
                [width, config.intermediate_size],
                [stds.widen, stds.projection],
                Activation::QuickGelu,
            )?,
        })
    }

    /// `(batch · len, width)` -> the same shape.
    fn forward(&self, hidden: Tensor<2>, batch: usize, dropout: &Dropout) -> Tensor<2> {
        let hidden = hidden.clone() + self.attention.forward(&self.ln_1.forward(hidden), batch, dropout);
        hidden.clone() + self.feed_forward.forward(self.ln_2.forward(hidden), dropout)
    }
}

impl Block for ResidualBlock {
    fn run(&self, hidden: Tensor<2>, batch: usize, dropout: &Dropout) -> Tensor<2> {
        self.forward(hidden, batch, dropout)
    }
}

/// A block's input and its parameters: two norms, packed and output projection, two maps, each with its bias.
const BLOCK_INPUTS: usize = 13;

/// Runs a block without keeping what happens inside. Each of its adaptations has two more parameters.
fn recomputed(block: &ResidualBlock, hidden: Tensor<2>, batch: usize, dropout: &Dropout) -> Tensor<2> {
    let mut own = block.clone();
    let mut parameters = Vec::new();
    own.collect(&mut parameters);
    match 1 + parameters.len() - BLOCK_INPUTS {
        0 => run_recomputed::<BLOCK_INPUTS, _>(block, hidden, batch, dropout),
        2 => run_recomputed::<{ BLOCK_INPUTS + 2 }, _>(block, hidden, batch, dropout),
        4 => run_recomputed::<{ BLOCK_INPUTS + 4 }, _>(block, hidden, batch, dropout),
        _ => run_recomputed::<{ BLOCK_INPUTS + 6 }, _>(block, hidden, batch, dropout),
    }
}

/// The projection of a large model from the visual width to the text's.
#[derive(Clone, Debug)]
struct VisualProjection {
    linear: Linear,
    layer_norm: LayerNorm,
}

has_parameters!(VisualProjection: linear, layer_norm);

/// A picture in, one vector per patch (and one for the whole) out.
#[derive(Clone, Debug)]
pub struct VisualEncoder {
    conv1: Parameter,
    class_embedding: Parameter,
    positional_embedding: Parameter,
    ln_pre: LayerNorm,
    blocks: Vec<ResidualBlock>,
    ln_post: LayerNorm,
    projection: Option<VisualProjection>,
    patch_size: usize,
    /// Whether blocks keep nothing for their gradients but their input.
    recomputes: bool,
}

has_parameters!(VisualEncoder: class_embedding, positional_embedding, conv1, ln_pre, blocks, ln_post, projection);

impl VisualEncoder {
    /// Reads the encoder from the root of a checkpoint.
    pub(crate) fn new(root: &mut Reader<'_>, config: &ModelConfig) -> Result<Self, NnError> {
        let vision = &config.vision;
        let (width, patch) = (vision.hidden_size, vision.patch_size);
        let scale = Initial::Normal((width as f32).powf(-0.5));
        // Neighbouring pixels are alike, so their sum is far larger than independent inputs' would be: half of the usual
        // deviation keeps patches from drowning their positions.
        let conv_std = Initial::Normal(0.5 * ((3 * patch * patch) as f32).powf(-0.5));
        let projection =
            if config.has_visual_projection { Some(Self::projection(root, config)?) } else { None };
        let mut at = root.at(names::VISUAL_ENCODER);
        let grid = vision.image_size / patch;
        Ok(Self {
            conv1: at.parameter(names::visual::PATCHES, &[width, 3, patch, patch], conv_std)?,
            class_embedding: at.parameter(names::visual::CLASS_EMBEDDING, &[width], scale)?,
            positional_embedding: at.position_embedding(
                names::visual::POSITIONAL_EMBEDDING,
                grid,
                width,
                scale,
            )?,
            ln_pre: LayerNorm::new(at.at(names::visual::FIRST_NORM), width, LAYER_NORM_EPS)?,
            blocks: (0..vision.num_hidden_layers)
                .map(|i| ResidualBlock::new(at.at(format!("{}.{i}", names::visual::BLOCKS)), vision))
                .collect::<Result<_, _>>()?,
            ln_post: LayerNorm::new(at.at(names::visual::LAST_NORM), width, LAYER_NORM_EPS)?,
            projection,
            patch_size: patch,
            recomputes: false,
        })
    }

    fn projection(root: &mut Reader<'_>, config: &ModelConfig) -> Result<VisualProjection, NnError> {
        let (input, output) = (config.vision.hidden_size, config.text.hidden_size);
        Ok(VisualProjection {
            linear: Linear::new(root.at(names::VISUAL_PROJECTION), input, output, (input as f32).powf(-0.5))?,
            layer_norm: LayerNorm::new(root.at(names::VISUAL_PROJECTION_NORM), output, PROJECTION_EPS)?,
        })
    }

    /// Whether blocks keep nothing for their gradients but their input.
    pub(crate) fn set_recomputes(&mut self, recomputes: bool) {
        self.recomputes = recomputes;
    }

    /// What its products are rounded to.
    pub(crate) fn precision(&self) -> Precision {
        self.conv1.precision()
    }

    /// Channels of what it makes of a patch, before the projection.
    pub fn width(&self) -> usize {
        self.class_embedding.shape()[0]
    }

    /// `pixel_values` `(batch, 3, size, size)` -> `(batch, 1 + patches, vision width)`, without the projection.
    pub fn forward(&self, pixel_values: Tensor<4>, dropout: &Dropout) -> Tensor<3> {
        let batch = pixel_values.dims()[0];
        let mut hidden = self.ln_pre.forward(self.embed(pixel_values));
        for block in &self.blocks {
            hidden = if self.recomputes {
                recomputed(block, hidden, batch, dropout)
            } else {
                block.forward(hidden, batch, dropout)
            };
        }
        let [rows, width] = hidden.dims();
        let output = self.ln_post.forward(hidden).reshape([batch, rows / batch, width]);
        // Of a frozen encoder nothing stays in the graph.
        if output.is_autodiff() && !output.is_tracked() { output.detach() } else { output }
    }

    /// The projection of large models: `(batch, len, vision width)` -> `(batch, len, text width)`; without one the
    /// input.
    pub fn project(&self, visual: Tensor<3>, dropout: &Dropout) -> Tensor<3> {
        let Some(projection) = &self.projection else { return visual };
        let [batch, len, width] = visual.dims();
        let rows = projection.linear.forward(visual.reshape([batch * len, width]));
        let rows = dropout.text(projection.layer_norm.forward(rows));
        let width = rows.dims()[1];
        rows.reshape([batch, len, width])
    }

    /// Patches, the class token before them, positions added: `(batch · (1 + patches), width)`.
    fn embed(&self, pixel_values: Tensor<4>) -> Tensor<2> {
        let [batch, channels, size, _] = pixel_values.dims();
        let (patch, grid) = (self.patch_size, size / self.patch_size);
        // A convolution whose stride is its size is a product with the unfolded patches.
        let patches = pixel_values
            .reshape([batch, channels, grid, patch, grid, patch])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([batch * grid * grid, channels * patch * patch]);
        let patches = product(patches, self.conv1.matrix().transpose(), self.conv1.precision()); // (batch · patches, width)
        let width = patches.dims()[1];
        let class = self.class_embedding.vector().reshape([1, 1, width]).expand([batch, 1, width]);
        let tokens = Tensor::cat(vec![class, patches.reshape([batch, grid * grid, width])], 1);
        let tokens = tokens + self.positional_embedding.matrix().unsqueeze::<3>();
        tokens.reshape([batch * (1 + grid * grid), width])
    }
}
