//! The bricks that all stages are built from: each exists once, over plain row-major f32 buffers; only
//! products know the precision.
//!
//! A brick loads itself from a [`Weights`](crate::checkpoint::Weights) cursor by the checkpoint's own names and knows
//! nothing of the stage around it. Letters in shape comments: `len` rows (tokens) of one picture or text, `rows` rows of
//! several sequences together, `width` the hidden size.

pub mod attention;
pub mod embedding;
pub mod feed_forward;
pub mod layer_norm;
pub mod linear;
pub mod workspace;

pub use attention::{CrossAttention, SelfAttention};
pub use embedding::TextEmbedding;
pub use feed_forward::FeedForward;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use workspace::Workspace;
