//! The pictures that were encoded last: who looks at a caption's maps after the caption pays for the encoder once.

use std::collections::VecDeque;
use std::sync::Arc;

use mplug::{EncodedPicture, RgbImage};

use crate::models::ModelIndex;

/// Pictures that are kept. One of a base model takes some 25 MB.
const KEPT: usize = 4;

/// A few pictures, the newest last.
#[derive(Default)]
pub(crate) struct Recent(VecDeque<Entry>);

struct Entry {
    model: ModelIndex,
    image: Arc<RgbImage>,
    encoded: EncodedPicture,
}

impl Recent {
    /// A picture as `model` encoded it, or as `encode` does now. Pictures are equal where all of their pixels are.
    pub(crate) fn get_or(
        &mut self,
        model: ModelIndex,
        image: &Arc<RgbImage>,
        encode: impl FnOnce() -> EncodedPicture,
    ) -> EncodedPicture {
        let is_it = |entry: &Entry| entry.model == model && entry.image == *image;
        let entry = match self.0.iter().position(is_it).and_then(|index| self.0.remove(index)) {
            Some(entry) => entry,
            None => Entry { model, image: Arc::clone(image), encoded: encode() },
        };
        let encoded = entry.encoded.clone();
        self.0.push_back(entry);
        if self.0.len() > KEPT {
            self.0.pop_front();
        }
        encoded
    }
}
