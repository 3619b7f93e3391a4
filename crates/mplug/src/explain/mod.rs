//! What a caption stands on: for every word, which part of the picture.
//!
//! Two methods, both over the decoder's cross-attention, so that the picture is encoded once:
//!
//! - [`Method::Ablation`] leaves strips of the picture out and reads the finished caption again: what a word loses in probability,
//!   it owes to the strip. It is the occlusion of Zeiler and Fergus (arXiv 1311.2901), of the decoder's keys in place of the pixels;
//!   the decoder's attention says where in a strip.
//! - [`Method::Attention`] is where the decoder looks while it writes a word (Xu et al., arXiv 1502.03044), which costs a step.
//!   What is looked at is not always what decides (Jain and Wallace, arXiv 1902.10186).
//!
//! `docs/explain.md` has how well each of them finds the things that words name.

mod ablation;
mod attention;
mod reading;
mod words;

use std::ops::Range;

use self::reading::Reading;
use self::words::words;
use crate::encoded_picture::EncodedPicture;
use crate::generate::{NotANumber, Resolved};
use crate::preprocess::text::Tokenizer;
use crate::text_decoder::TextDecoder;

/// How maps are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// What a word loses when a part of the picture is left out, in nats.
    #[default]
    Ablation,
    /// How much the decoder looks at a part, as a probability.
    Attention(Heads),
}

/// The attention of which heads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Heads {
    /// Their mean: a map for each word.
    #[default]
    Mean,
    /// Each head's own: as many maps for each word as the decoder has heads.
    Each,
}

/// How a caption is explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExplainOptions {
    /// How maps are made.
    pub method: Method,
    /// Most rows of tokens that go through the decoder at once, at least one text's. Changes memory and speed, never a value.
    pub rows_at_once: usize,
}

impl Default for ExplainOptions {
    /// Ablation, 256 rows at once: 25 MB of a base model's logits.
    fn default() -> Self {
        Self { method: Method::default(), rows_at_once: 256 }
    }
}

/// The maps of a caption's words.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Patches a side: a map has `grid · grid` values, row by row from the top left.
    pub grid: usize,
    /// The words in their order. Punctuation has no map.
    pub words: Vec<WordMap>,
}

/// A word and the part of the picture that it stands on.
#[derive(Clone, Debug, PartialEq)]
pub struct WordMap {
    /// The word as the vocabulary writes it, its pieces joined.
    pub text: String,
    /// Its tokens: indices into [`Resolved::begun`] followed by the caption's `token_ids`.
    pub tokens: Range<usize>,
    /// The word's log-probability with the whole picture: the sum over its tokens.
    pub log_prob: f32,
    /// By ablation, in nats: the largest loss of the word's log-probability by leaving one strip out. Below zero where the word is
    /// likelier without each of them. By attention `None`.
    pub most_lost: Option<f32>,
    /// `(maps, patches)`: one map, or one a head. By ablation in nats: how much of the log-probability is lost without the strips of the
    /// picture that cross in the patch, less half of what the other words lose there in proportion, times a factor from 0 to 1 that
    /// is less where the decoder looks less; below zero where the word is likelier without them or the others need them more. By
    /// attention the probability that falls on the patch; what is missing to 1 falls on the class token.
    pub values: Vec<f32>,
}

/// What a method finds about a word: the fields of [`WordMap`] of these names.
struct Found {
    log_prob: f32,
    most_lost: Option<f32>,
    values: Vec<f32>,
}

/// Explains a text that continues what `resolved` begins with.
pub(crate) fn explain(
    decoder: &TextDecoder,
    tokenizer: &Tokenizer,
    picture: &EncodedPicture,
    token_ids: &[u32],
    resolved: &Resolved,
    options: &ExplainOptions,
) -> Result<Explanation, NotANumber> {
    decoder.check(picture);
    let text = [resolved.begun(), token_ids].concat();
    let words = words(tokenizer, &text);
    let grid = grid_of(picture);
    // What follows the last word is not read.
    let Some(len) = words.last().map(|word| word.tokens.end) else {
        return Ok(Explanation { grid, words: Vec::new() });
    };
    let reading = Reading::new(decoder, picture, resolved, &text[..len]);
    let found = match options.method {
        Method::Ablation => ablation::maps(&reading, grid, &words, options.rows_at_once)?,
        Method::Attention(heads) => attention::maps(&reading, grid, &words, heads)?,
    };
    let word_maps = words.into_iter().zip(found).map(|(word, Found { log_prob, most_lost, values })| {
        WordMap { text: word.text, tokens: word.tokens, log_prob, most_lost, values }
    });
    Ok(Explanation { grid, words: word_maps.collect() })
}

/// Patches a side of a picture, whose first key is the class token's.
fn grid_of(picture: &EncodedPicture) -> usize {
    let keys = picture.key_values().first().map_or(1, mplug_kernels::attention::PackedKeyValues::key_len);
    let grid = (keys - 1).isqrt();
    assert_eq!(grid * grid + 1, keys, "a picture of {keys} keys is no class token and a square of patches");
    grid
}

/// The sum over a word's tokens of what each has.
fn sum_of(word: &words::Word, of_tokens: &[f32]) -> f32 {
    of_tokens[word.tokens.clone()].iter().sum()
}
