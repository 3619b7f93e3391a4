//! Maps of what a word loses when a part of the picture is left out.
//!
//! The parts are strips, across the picture and down it, of one, two and three eighths of its side: 42 masks in place of the
//! hundreds of rectangles in which they cross. From losses to a map there are four steps.
//!
//! 1. A patch's loss is the mean of its row's and its column's. Each of these is a mean over the strips of all widths that lie over
//!    it. Narrow strips say better where a word stands, and count more. Wide ones also find a thing that a word survives the half of.
//! 2. What all words of a caption lose in a place says little about one of them. Half of the other words' mean is subtracted, in
//!    proportion to what each word loses most.
//! 3. Losses of the size of rounding errors say nothing. A slight loss, some ten times as large, is added everywhere. It leaves a
//!    word that loses nothing else to the next step.
//! 4. What a strip cannot say, where in it the word stands, the decoder's attention does: a loss counts less where the decoder
//!    looks less.
//!
//! `docs/explain.md` has what each step brings.

use std::ops::Range;

use super::reading::{Mask, Reading, Recorded};
use super::words::Word;
use super::{Found, Heads, attention, sum_of};
use crate::generate::NotANumber;

/// Most steps a side. A strip begins at each.
const STEPS: usize = 8;
/// The widest strips, in steps. There are strips of all widths up to that.
const WIDEST: usize = 3;
/// How much of the mean of the other words' losses is subtracted.
const SHARED: f32 = 0.5;
/// Nats that are added to each loss. A probability near 1 is known to some 1e-6 nats: its logits are numbers around 10, in f32.
const SLIGHT: f32 = 2e-5;

/// A side of the picture, cut into steps.
#[derive(Clone, Copy)]
struct Side {
    /// Patches a side.
    grid: usize,
    /// Patches a step. The last may have fewer.
    step: usize,
    /// Steps a side.
    steps: usize,
}

impl Side {
    fn new(grid: usize) -> Self {
        let step = grid.div_ceil(STEPS);
        Self { grid, step, steps: grid.div_ceil(step) }
    }

    /// The strips, in steps: those of each width that lie in the picture.
    fn strips(self) -> Vec<Range<usize>> {
        let of_width =
            |width: usize| (0..(self.steps + 1).saturating_sub(width)).map(move |start| start..start + width);
        (1..=WIDEST).flat_map(of_width).collect()
    }

    /// The patches of a strip along the side.
    fn patches(self, strip: &Range<usize>) -> Range<usize> {
        strip.start * self.step..(strip.end * self.step).min(self.grid)
    }

    /// What leaves out rows of patches. The first key of a picture is the class token's, which is never left out.
    fn rows_mask(self, strip: &Range<usize>) -> Mask {
        self.patches(strip).map(|row| 1 + row * self.grid..1 + (row + 1) * self.grid).collect()
    }

    /// What leaves out columns of patches.
    fn columns_mask(self, strip: &Range<usize>) -> Mask {
        let Range { start, end } = self.patches(strip);
        (0..self.grid).map(|row| 1 + row * self.grid + start..1 + row * self.grid + end).collect()
    }

    /// Of each step the mean of the widths' losses, of which a narrower one counts more. A width's is the mean over the strips over
    /// the step; those that would reach beyond the picture end at its border.
    fn means(self, strips: &[Range<usize>], losses: &[f32]) -> Vec<f32> {
        let loss_of = |strip: &Range<usize>| {
            strips.iter().zip(losses).find(|(other, _)| *other == strip).map_or(0.0, |(_, loss)| *loss)
        };
        let of_width = |step: usize, width: usize| {
            let over = (step + 1..=step + width).map(|end| end.saturating_sub(width)..end.min(self.steps));
            over.map(|strip| loss_of(&strip)).sum::<f32>() / width as f32
        };
        let weight = |width: usize| (WIDEST + 1 - width) as f32;
        let all: f32 = (1..=WIDEST).map(weight).sum();
        let mean = |step| (1..=WIDEST).map(|width| weight(width) * of_width(step, width)).sum::<f32>() / all;
        (0..self.steps).map(mean).collect()
    }

    /// Of each patch the mean of its row's and its column's loss, `(grid, grid)`. Rows and columns are `(steps)` each.
    fn crossed(self, rows: &[f32], columns: &[f32]) -> Vec<f32> {
        let places = || (0..self.grid).map(|place| place / self.step);
        places()
            .flat_map(|row| places().map(move |column| f32::midpoint(rows[row], columns[column])))
            .collect()
    }
}

/// What is found about the words; the maps are `(patches)` each.
pub(super) fn maps(
    reading: &Reading<'_>,
    grid: usize,
    words: &[Word],
    rows_at_once: usize,
) -> Result<Vec<Found>, NotANumber> {
    let recorded = reading.recorded()?;
    let side = Side::new(grid);
    let strips = side.strips();
    let rows = strips.iter().map(|strip| side.rows_mask(strip));
    let masks: Vec<Mask> = rows.chain(strips.iter().map(|strip| side.columns_mask(strip))).collect();
    let without = reading.log_probs(&masks, rows_at_once)?; // (masks, tokens)
    let Recorded { log_probs: whole, .. } = &recorded;
    let losses: Vec<Vec<f32>> = words.iter().map(|word| losses_of(word, whole, &without)).collect(); // (words, masks)
    let map_of = |losses: &Vec<f32>| {
        let (rows, columns) = losses.split_at(strips.len());
        side.crossed(&side.means(&strips, rows), &side.means(&strips, columns))
    };
    let maps = less_what_is_shared(&losses.iter().map(map_of).collect::<Vec<_>>()); // (words, patches)
    let looks = attention::maps_of(reading, &recorded, grid, words, Heads::Mean); // (words, patches)
    let found =
        words.iter().zip(&losses).zip(maps.iter().zip(&looks)).map(|((word, losses), (map, looks))| Found {
            log_prob: sum_of(word, whole),
            most_lost: losses.iter().copied().reduce(f32::max),
            values: damped(map, looks),
        });
    Ok(found.collect())
}

/// What a word loses by each mask, `(masks)`. Log-probabilities with the whole picture are `(tokens)`, those without `(masks, tokens)`.
fn losses_of(word: &Word, whole: &[f32], without: &[f32]) -> Vec<f32> {
    without.chunks(whole.len()).map(|without| sum_of(word, whole) - sum_of(word, without)).collect()
}

/// The largest value of a map, 0 where none is above.
fn most_of(map: &[f32]) -> f32 {
    map.iter().copied().fold(0.0, f32::max)
}

/// Maps less half the mean of what the other words lose in each patch. A word's losses count beside its largest, and are subtracted
/// in units of the other's largest.
fn less_what_is_shared(maps: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let shares: Vec<Vec<f32>> = maps.iter().map(|map| shares_of(map)).collect(); // (words, patches), from 0 to 1
    let patches = maps.first().map_or(0, Vec::len);
    let sums: Vec<f32> = (0..patches).map(|patch| shares.iter().map(|shares| shares[patch]).sum()).collect();
    let others = maps.len().saturating_sub(1).max(1) as f32;
    let less = |(map, shares): (&Vec<f32>, &Vec<f32>)| {
        let unit = SHARED * most_of(map) / others;
        let patches = map.iter().zip(shares).zip(&sums);
        patches.map(|((loss, own), sum)| loss - unit * (sum - own)).collect()
    };
    maps.iter().zip(&shares).map(less).collect()
}

/// Losses beside the largest; 0 where nothing is lost.
fn shares_of(map: &[f32]) -> Vec<f32> {
    let most = most_of(map).max(f32::MIN_POSITIVE);
    map.iter().map(|loss| loss.max(0.0) / most).collect()
}

/// Losses, and a slight one everywhere, times the root of how much the decoder looks there, beside where it looks most.
fn damped(losses: &[f32], looks: &[f32]) -> Vec<f32> {
    let most = most_of(looks).max(f32::MIN_POSITIVE);
    losses.iter().zip(looks).map(|(loss, look)| (loss + SLIGHT) * (look / most).sqrt()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_of_all_widths_lie_in_the_picture() {
        for grid in 1..40 {
            let side = Side::new(grid);
            let strips = side.strips();
            assert!(strips.len() <= 21 && side.steps <= STEPS, "{grid}");
            let narrow: Vec<usize> =
                strips[..side.steps].iter().flat_map(|strip| side.patches(strip)).collect();
            assert_eq!(narrow, (0..grid).collect::<Vec<_>>(), "narrow strips lie side by side");
            assert!(strips.iter().all(|strip| !side.patches(strip).is_empty()), "{grid}: {strips:?}");
        }
        let side = Side::new(24);
        assert_eq!(side.strips().len(), 21);
        assert_eq!(side.patches(&side.strips()[8]), 0..6);
        assert_eq!(Side::new(2).strips(), [0..1, 1..2, 0..2]);
    }

    #[test]
    fn the_class_token_stays() {
        let side = Side::new(4);
        assert_eq!(side.rows_mask(&(0..2)), vec![1..5, 5..9]);
        assert_eq!(side.columns_mask(&(2..4)), [3..5, 7..9, 11..13, 15..17]);
    }

    #[test]
    fn narrow_strips_count_more_and_wide_ones_end_at_the_border() {
        let side = Side { grid: 4, step: 2, steps: 2 };
        // Strips 0..1, 1..2 and 0..2. Widths 1, 2 and 3 count 3, 2 and 1.
        let means = side.means(&side.strips(), &[6.0, 0.0, 12.0]);
        let expected = [
            (3.0 * 6.0 + 2.0 * (6.0 + 12.0) / 2.0 + (6.0 + 12.0 + 12.0) / 3.0) / 6.0,
            (3.0 * 0.0 + 2.0 * (12.0 + 0.0) / 2.0 + (12.0 + 12.0 + 0.0) / 3.0) / 6.0,
        ];
        for (mean, expected) in means.iter().zip(expected) {
            assert!((mean - expected).abs() < 1e-6, "{means:?}");
        }
        assert_eq!(side.means(&side.strips(), &[2.0; 3]), [2.0; 2], "a loss by all strips stays what it is");
        let crossed = side.crossed(&[1.0, 2.0], &[0.0, -4.0]);
        assert_eq!(crossed[..8], [0.5, 0.5, -1.5, -1.5, 0.5, 0.5, -1.5, -1.5]);
        assert_eq!(crossed[12..], [1.0, 1.0, -1.0, -1.0]);
    }

    #[test]
    fn what_other_words_lose_is_subtracted_in_units_of_the_word() {
        let maps = [vec![4.0, 2.0, -1.0], vec![0.0, 0.5, 0.25], vec![-1.0, -2.0, 0.0]];
        // The others' means beside their largest: (0, 1/2, 1/4), (1/2, 1/4, 0), (1/2, 3/4, 1/4); the last word loses nothing.
        let expected = [vec![4.0, 1.0, -1.5], vec![-0.125, 0.4375, 0.25], vec![-1.0, -2.0, 0.0]];
        assert_eq!(less_what_is_shared(&maps), expected);
        assert_eq!(less_what_is_shared(&maps[..1]), maps[..1], "a single word shares nothing");
        assert!(less_what_is_shared(&[]).is_empty());
    }

    #[test]
    fn losses_are_damped_where_nobody_looks_and_none_is_nothing() {
        let damped = damped(&[1.0, -1.0, 0.75, 0.0], &[0.25, 0.0, 1.0, 0.25]);
        assert_eq!(damped, [f32::midpoint(1.0, SLIGHT), 0.0, 0.75 + SLIGHT, SLIGHT / 2.0]);
    }
}
