//! Maps of where the decoder looks while it writes a word.

use super::reading::{Reading, Recorded};
use super::words::Word;
use super::{Found, Heads, sum_of};
use crate::generate::NotANumber;

/// What is found about the words; the maps are `(1 or heads, patches)` each.
pub(super) fn maps(
    reading: &Reading<'_>,
    grid: usize,
    words: &[Word],
    heads: Heads,
) -> Result<Vec<Found>, NotANumber> {
    let recorded = reading.recorded()?;
    let maps = maps_of(reading, &recorded, grid, words, heads);
    let found = words.iter().zip(maps).map(|(word, values)| Found {
        log_prob: sum_of(word, &recorded.log_probs),
        most_lost: None,
        values,
    });
    Ok(found.collect())
}

/// The words' maps, `(1 or heads, patches)` each: the mean of the cross-attention's probabilities over the word's tokens and all layers,
/// and over the heads where these are not wanted apart. Each layer alone finds fewer of the things that words name.
pub(super) fn maps_of(
    reading: &Reading<'_>,
    recorded: &Recorded,
    grid: usize,
    words: &[Word],
    heads: Heads,
) -> Vec<Vec<f32>> {
    let map_of = |word: &Word| -> Vec<f32> {
        let of_head = |head: usize| mean_of(reading, &recorded.probabilities, grid, word, head);
        let of_heads = (0..reading.heads()).map(of_head);
        match heads {
            Heads::Each => of_heads.flatten().collect(),
            Heads::Mean => mean(of_heads, grid * grid),
        }
    };
    words.iter().map(map_of).collect()
}

/// The mean over layers and tokens of what one head looks at, `(patches)`.
fn mean_of(reading: &Reading<'_>, probabilities: &[f32], grid: usize, word: &Word, head: usize) -> Vec<f32> {
    let (rows, keys) = (reading.rows(), reading.keys());
    let layers = probabilities.chunks(reading.heads() * rows * keys); // (heads, rows, keys) each
    let looks = layers.flat_map(|layer| {
        let of_head = &layer[head * rows * keys..][..rows * keys];
        // The first key is the class token's.
        word.tokens.clone().map(|token| of_head[reading.row_of(token) * keys..][1..keys].to_vec())
    });
    mean(looks, grid * grid)
}

/// The mean of maps of `len` values.
fn mean(maps: impl Iterator<Item = Vec<f32>>, len: usize) -> Vec<f32> {
    let (mut sum, mut count) = (vec![0.0; len], 0);
    for map in maps {
        sum.iter_mut().zip(map).for_each(|(sum, value)| *sum += value);
        count += 1;
    }
    sum.into_iter().map(|sum| sum / count as f32).collect()
}
