//! A picture as the layers that look at it need it: computed once, shared by everything that is asked about it.

use std::sync::Arc;

use mplug_kernels::attention::PackedKeyValues;

/// What a model's encoder made of a picture (or of a picture and a question), with the keys and values of every layer that attends to
/// it. A clone shares the memory: several languages, prompts, questions and maps, and the texts of a
/// [`GenerationEngine`](crate::generate::GenerationEngine), stand on one encoding.
///
/// It belongs to the model that made it: the numbers mean nothing to another one.
#[derive(Clone)]
pub struct EncodedPicture(Arc<Encoded>);

struct Encoded {
    hidden_states: Vec<f32>,
    key_values: Vec<PackedKeyValues>,
}

impl EncodedPicture {
    /// `hidden_states` `(len, hidden_size)`, and the keys and values of the layers that attend to them.
    pub(crate) fn new(hidden_states: Vec<f32>, key_values: Vec<PackedKeyValues>) -> Self {
        Self(Arc::new(Encoded { hidden_states, key_values }))
    }

    /// The encoder's last hidden states, `(len, hidden_size)`: the class token's, then a patch's each, row by row; then, after a
    /// question was read, a token's each.
    pub fn hidden_states(&self) -> &[f32] {
        &self.0.hidden_states
    }

    /// Keys and values of the layers that attend to the picture, the first layer's first.
    pub(crate) fn key_values(&self) -> &[PackedKeyValues] {
        &self.0.key_values
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        let panels: usize = self.0.key_values.iter().map(PackedKeyValues::bytes).sum();
        panels + size_of_val(self.hidden_states())
    }
}
