//! The captioning network of mPLUG on burn: differentiable, for training.
//!
//! The data's way, which is also the order of the modules:
//!
//! ```text
//! pixel_values (batch, 3, size, size)
//!   --visual_encoder--> image_embeds (batch, 1 + patches, hidden)
//! input_ids (batch, len), image_embeds
//!   --text_decoder--> logits (batch, len, vocab)
//! ```
//!
//! The same network exists once more, without gradients and much faster, as the engine in the crate `mplug`; tests hold
//! the two to each other. This crate knows no files, no tokens' meaning and no optimizer: [`parameter`] gives and takes
//! named arrays of numbers, and [`model::CaptioningModel`] maps tensors to tensors.

pub mod error;
pub mod parameter;

mod attention;
mod dropout;
mod embedding;
mod feed_forward;
mod fused;
mod layer_norm;
mod linear;

pub mod visual_encoder;

pub mod text_decoder;

pub mod model;

pub use error::NnError;
pub use model::CaptioningModel;
pub use parameter::{Initial, ParameterSource, RandomParameters};
