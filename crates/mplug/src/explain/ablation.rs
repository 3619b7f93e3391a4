//! Maps of what a word loses when a part of the picture is left out.
//!
//! The parts are strips, across the picture and down it: `2 · 9` of them say nearly as much as the 81 squares in which they cross. A
//! patch's loss is the mean of the strips through it. What a strip cannot say, where in it the word stands, the decoder's attention
//! does: a loss counts less where the decoder looks less.

use std::ops::Range;

use super::reading::{Mask, Reading, Recorded};
use super::words::Word;
use super::{Heads, attention, sum_of};
use crate::generate::NotANumber;

/// Strips begin this many times a side; each is twice as wide.
const STEPS: usize = 8;

/// The strips of a picture: where each begins and ends across the side, cut off at the border. Two lie over each patch.
fn stretches(grid: usize) -> Vec<Range<usize>> {
    let step = grid.div_ceil(STEPS);
    let ends = (1..).map(|number| number * step);
    let stretch = |end: usize| end.saturating_sub(2 * step)..end.min(grid);
    ends.map(stretch).take_while(|stretch| stretch.start < grid).collect()
}

/// Keys of the rows of patches in `rows`. The first key of a picture is the class token's, which is never left out.
fn rows_mask(rows: &Range<usize>, grid: usize) -> Mask {
    rows.clone().map(|row| 1 + row * grid..1 + (row + 1) * grid).collect()
}

/// Keys of the columns of patches in `columns`.
fn columns_mask(columns: &Range<usize>, grid: usize) -> Mask {
    (0..grid).map(|row| 1 + row * grid + columns.start..1 + row * grid + columns.end).collect()
}

/// The words' log-probabilities and maps, `(patches)` each.
pub(super) fn maps(
    reading: &Reading<'_>,
    grid: usize,
    words: &[Word],
    rows_at_once: usize,
) -> Result<(Vec<f32>, Vec<Vec<f32>>), NotANumber> {
    let recorded = reading.recorded()?;
    let stretches = stretches(grid);
    let rows = stretches.iter().map(|rows| rows_mask(rows, grid));
    let columns = stretches.iter().map(|columns| columns_mask(columns, grid));
    let masks: Vec<Mask> = rows.chain(columns).collect();
    let without = reading.log_probs(&masks, rows_at_once)?; // (masks, tokens)
    let Recorded { log_probs: whole, .. } = &recorded;
    let looks = attention::maps_of(reading, &recorded, grid, words, Heads::Mean);
    let log_probs: Vec<f32> = words.iter().map(|word| sum_of(word, whole)).collect();
    let map_of = |((word, log_prob), looks): ((&Word, &f32), Vec<f32>)| {
        let losses: Vec<f32> =
            without.chunks(whole.len()).map(|without| log_prob - sum_of(word, without)).collect();
        let (rows, columns) = losses.split_at(stretches.len());
        let [rows, columns] = [rows, columns].map(|losses| means(grid, &stretches, losses));
        damped(&crossed(&rows, &columns), &looks)
    };
    let maps = words.iter().zip(&log_probs).zip(looks).map(map_of).collect();
    Ok((log_probs, maps))
}

/// Of each place along a side the mean over the strips that it lies in.
fn means(grid: usize, stretches: &[Range<usize>], losses: &[f32]) -> Vec<f32> {
    let mean = |place: usize| {
        let over = || stretches.iter().zip(losses).filter(|(stretch, _)| stretch.contains(&place));
        over().map(|(_, loss)| loss).sum::<f32>() / over().count() as f32
    };
    (0..grid).map(mean).collect()
}

/// Of each patch the mean of its row's and its column's loss.
fn crossed(rows: &[f32], columns: &[f32]) -> Vec<f32> {
    rows.iter().flat_map(|row| columns.iter().map(move |column| f32::midpoint(*row, *column))).collect()
}

/// Losses times the root of how much the decoder looks there, beside where it looks most.
fn damped(losses: &[f32], looks: &[f32]) -> Vec<f32> {
    let most = looks.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    losses.iter().zip(looks).map(|(loss, look)| loss * (look / most).sqrt()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_strips_lie_over_each_patch() {
        for grid in 1..40 {
            let stretches = stretches(grid);
            assert!(stretches.len() <= STEPS + 1, "{grid}");
            for place in 0..grid {
                let over = stretches.iter().filter(|stretch| stretch.contains(&place)).count();
                assert_eq!(over, 2, "{grid}: {stretches:?}");
            }
        }
        assert_eq!(stretches(24).len(), 9);
        assert_eq!(stretches(24)[..3], [0..3, 0..6, 3..9]);
        assert_eq!(stretches(6)[..2], [0..1, 0..2]);
    }

    #[test]
    fn the_class_token_stays() {
        assert_eq!(rows_mask(&(0..2), 4), vec![1..5, 5..9]);
        assert_eq!(columns_mask(&(2..4), 4), [3..5, 7..9, 11..13, 15..17]);
    }

    #[test]
    fn losses_cross_and_are_damped_where_nobody_looks() {
        let rows = means(3, &[0..1, 0..2, 1..3, 2..3], &[1.0, 3.0, 0.0, 2.0]);
        assert_eq!(rows, [2.0, 1.5, 1.0]);
        let losses = crossed(&rows[..2], &[0.0, -4.0]);
        assert_eq!(losses, [1.0, -1.0, 0.75, -1.25]);
        assert_eq!(damped(&losses, &[0.25, 0.0, 1.0, 0.25]), [0.5, 0.0, 0.75, -0.625]);
    }
}
