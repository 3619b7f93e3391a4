//! Writing texts with a decoder. It knows no text and no pixels.
//!
//! ```text
//! decoder --logits--> log-probabilities --beam_search | sampling--> parents, tokens --> decoder
//! ```
//!
//! [`GenerationEngine`] holds the texts that are being written and takes them through the decoder together; [`generate()`] and
//! [`generate_each()`] are the loop over it for those who have all pictures at hand. Texts finish on their own; nothing that a text becomes depends on its neighbours.

pub mod beam_search;
pub mod constraints;
mod difference;
mod engine;
pub mod key_value_cache;
mod options;
mod resolved;
mod samples;
pub mod sampling;
mod writing;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::beam_search::Hypothesis;
pub use self::engine::{GenerationEngine, Id, Update};
pub use self::options::{GenerationError, GenerationOptions};
pub use self::resolved::Resolved;
use crate::encoded_picture::EncodedPicture;
use crate::text_decoder::TextDecoder;

/// The decoder's logits for a picture are NaN or infinite, so that there is nothing to choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the model's output is not a number: its weights, though finite, lead out of range; use another checkpoint"
)]
pub struct NotANumber;

/// The hypotheses of a picture, best first, with finite scores; none where required words found no place.
pub type Hypotheses = Result<Vec<Hypothesis>, NotANumber>;

/// Writes about every picture, all together: each picture's hypotheses, best first. A picture whose logits are not finite fails alone.
///
/// # Panics
/// As [`GenerationEngine::add`].
pub fn generate(
    decoder: &Arc<TextDecoder>,
    pictures: &[EncodedPicture],
    resolved: &Arc<Resolved>,
) -> Vec<Hypotheses> {
    generate_each(decoder, pictures.iter().map(|picture| (picture, resolved)))
}

/// Writes texts, each about a picture and with options of its own, all together: each text's hypotheses, best first. A text whose logits
/// are not finite fails alone.
///
/// # Panics
/// As [`GenerationEngine::add`].
pub fn generate_each<'t>(
    decoder: &Arc<TextDecoder>,
    texts: impl IntoIterator<Item = (&'t EncodedPicture, &'t Arc<Resolved>)>,
) -> Vec<Hypotheses> {
    let mut engine = GenerationEngine::new(Arc::clone(decoder));
    for (picture, resolved) in texts {
        engine.add(picture.clone(), Arc::clone(resolved));
    }
    let mut found = BTreeMap::new();
    while !engine.is_empty() {
        found.extend(engine.step().into_iter().map(|update| (update.id, update.hypotheses)));
    }
    found.into_values().collect() // ids, and so the texts, in their order
}
