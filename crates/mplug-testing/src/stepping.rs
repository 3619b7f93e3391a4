//! A decoder taken step by step, for tests that look at its logits.

use mplug::EncodedPicture;
use mplug::generate::key_value_cache::KeyValueCache;
use mplug::text_decoder::{StepBuffers, StepRows, TextDecoder};

/// One row for each picture, each with a past of its own.
pub struct Stepping<'a> {
    decoder: &'a TextDecoder,
    pictures: &'a [EncodedPicture],
    caches: Vec<KeyValueCache>,
    buffers: StepBuffers,
}

impl<'a> Stepping<'a> {
    /// Rows without a past.
    pub fn new(decoder: &'a TextDecoder, pictures: &'a [EncodedPicture]) -> Self {
        let caches = pictures.iter().map(|_| decoder.new_cache()).collect();
        Self { decoder, pictures, caches, buffers: StepBuffers::default() }
    }

    /// Appends a token to each row; the logits of the next ones, `(pictures, vocab_size)`.
    pub fn step(&mut self, token_ids: &[u32]) -> &[f32] {
        assert_eq!(token_ids.len(), self.pictures.len(), "a token for each picture");
        self.caches.iter_mut().for_each(KeyValueCache::begin_step);
        let mut rows: Vec<StepRows<'_>> = self
            .pictures
            .iter()
            .zip(&mut self.caches)
            .zip(token_ids)
            .map(|((picture, cache), token)| StepRows::new(picture, cache, std::slice::from_ref(token)))
            .collect();
        self.decoder.step(&mut rows, &mut self.buffers);
        &self.buffers.logits
    }
}
