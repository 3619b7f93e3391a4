//! Buffers that layers use one after the other: made once for a sequence or a decoder, so that a step allocates nothing.

/// Row-major buffers, named by what stands in them. Each grows to the largest size requested of it and keeps its memory.
#[derive(Default)]
pub struct Workspace {
    /// Output of a projection: queries, or queries, keys and values side by side.
    pub(super) projected: Vec<f32>,
    /// What the heads give, `(rows, width)`.
    pub(super) context: Vec<f32>,
    /// The wide inside of a feed-forward block.
    pub(super) inner: Vec<f32>,
}
