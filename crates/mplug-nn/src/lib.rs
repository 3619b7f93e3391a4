//! mPLUG on burn: the same network as the engine's, differentiable, for training.
//!
//! The data's way, which is also the order of the modules:
//!
//! ```text
//! pixel_values (batch, 3, size, size)
//!   --visual_encoder--> image_embeds (batch, 1 + patches, hidden)
//! input_ids, attention_mask (batch, len)
//!   --text_encoder--> text_embeds (batch, len, hidden)
//! both
//!   --contrastive_head--> features (batch, space) of a projection space
//!   --fusion_encoder--> fused image (batch, 1 + patches, hidden), fused text (batch, len, hidden)
//! input_ids (rows, len), image_embeds or fused image + text
//!   --text_decoder--> logits (rows, len, vocab)
//! ```
//!
//! The network exists once more, without gradients and much faster, as the engine in the crate `mplug`; tests hold
//! the two to each other. This crate knows no files, no tokens' meaning and no optimizer: [`parameter`] gives and takes
//! named arrays of numbers, and [`model::Mplug`] maps tensors to tensors.

pub mod dropout;
pub mod error;
pub mod parameter;

mod attention;
mod embedding;
mod feed_forward;
mod fused;
mod layer_norm;
mod linear;
mod lora;
mod product;
mod recomputed;
mod text_layer;

pub mod visual_encoder;

pub mod text_encoder;

pub mod fusion_encoder;

pub mod contrastive_head;

mod language_head;

pub mod text_decoder;

pub mod model;

pub mod momentum_model;

pub use dropout::{Dropout, DropoutRates};
pub use error::NnError;
pub use fusion_encoder::Fused;
pub use lora::LoraSettings;
pub use model::{Mplug, Parts, Texts};
pub use momentum_model::MomentumModel;
pub use parameter::{Initial, ParameterSource, RandomParameters};
pub use product::Precision;
pub use text_decoder::EncoderHiddenStates;
