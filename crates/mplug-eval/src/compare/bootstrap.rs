//! The paired bootstrap: how far the difference of two systems' figures could be an accident of which pictures were taken.
//!
//! Pictures are drawn with replacement, as many as there are, the same ones for both systems and for every figure; the difference of each figure is
//! computed anew from what was drawn. This is done many times (Koehn 2004, "Statistical significance tests for machine translation
//! evaluation"). The 95 % confidence interval is between the 2.5th and the 97.5th percentile of the differences. The p-value is that
//! of Berg-Kirkpatrick et al. 2012 ("An empirical investigation of statistical significance in NLP"), for both sides: the share of
//! the resamples whose difference is at least |d| away from d, the difference of all pictures; one is added to both counts, so
//! that no p-value is 0.
//!
//! BLEU and METEOR are computed from the sums of the drawn pictures' counts, as over all pictures. CIDEr's document frequencies stay those
//! of all references.

use caption_metrics::bleu::Counts;
use caption_metrics::meteor::Statistics;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use rayon::prelude::*;
use serde::Serialize;

/// The resamples where no number is given.
pub const RESAMPLES: usize = 10_000;
/// Odd, so that seeds of neighbouring resamples have nothing in common.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// What the resamples found about one figure. Differences are the second system's figure less the first one's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bootstrap {
    /// The lower end of the 95 % confidence interval of the difference.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// Two-sided p-value of the hypothesis that there is no difference.
    pub p_value: f64,
    /// The share of resamples in which the second is better; equal ones count half.
    pub b_is_better: f64,
}

/// What figures of both systems are computed from, picture by picture.
#[derive(Debug)]
pub(super) enum Paired {
    /// A mean: the differences of each picture's scores.
    Mean(Vec<f64>),
    /// BLEU-1 to BLEU-4, of which `orders` (from 0) are wanted.
    Bleu { counts: [Vec<Counts>; 2], orders: Vec<usize> },
    /// METEOR.
    Meteor([Vec<Statistics>; 2]),
}

impl Paired {
    /// The differences of its figures over some of the pictures, which may repeat.
    fn differences(&self, pictures: &[usize], into: &mut Vec<f64>) {
        match self {
            Self::Mean(differences) => {
                let sum: f64 = pictures.iter().map(|picture| differences[*picture]).sum();
                into.push(sum / pictures.len().max(1) as f64);
            }
            Self::Bleu { counts, orders } => {
                let [a, b] = counts.each_ref().map(|counts| {
                    pictures.iter().fold(Counts::default(), |sum, picture| sum.plus(&counts[*picture])).bleu()
                });
                into.extend(orders.iter().map(|order| b[*order] - a[*order]));
            }
            Self::Meteor(statistics) => {
                let [a, b] = statistics.each_ref().map(|statistics| {
                    let mut sum = Statistics::default();
                    for picture in pictures {
                        sum.add(&statistics[*picture]);
                    }
                    sum.score()
                });
                into.push(b - a);
            }
        }
    }
}

/// Resamples `pictures` pictures; one result for each figure of `paired`, in order. The same seed gives the same numbers, whatever the
/// number of threads.
pub(super) fn bootstrap(paired: &[Paired], pictures: usize, resamples: usize, seed: u64) -> Vec<Bootstrap> {
    let mut whole = Vec::new();
    let all: Vec<usize> = (0..pictures).collect();
    for one in paired {
        one.differences(&all, &mut whole);
    }
    let resampled: Vec<Vec<f64>> = (0..resamples as u64)
        .into_par_iter()
        .map_init(Vec::new, |drawn, resample| {
            let mut random = Pcg64::seed_from_u64(seed ^ (resample + 1).wrapping_mul(GOLDEN));
            drawn.clear();
            drawn.extend((0..pictures).map(|_| random.random_range(0..pictures)));
            let mut differences = Vec::with_capacity(whole.len());
            for one in paired {
                one.differences(drawn, &mut differences);
            }
            differences
        })
        .collect();
    let of_figure = |(figure, whole): (usize, &f64)| {
        summary(*whole, resampled.iter().map(|differences| differences[figure]).collect())
    };
    whole.iter().enumerate().map(of_figure).collect()
}

/// The interval and the p-value, from the difference of all pictures and those of the resamples.
fn summary(whole: f64, mut differences: Vec<f64>) -> Bootstrap {
    differences.sort_by(f64::total_cmp);
    let count = differences.len();
    let at = |share: f64| {
        // Linear between the two nearest, as NumPy's percentiles.
        let place = share * count.saturating_sub(1) as f64;
        let (below, above) = (place.floor() as usize, place.ceil() as usize);
        differences[below] + (differences[above] - differences[below]) * place.fract()
    };
    // Sums in another order differ in their last digits.
    let least = whole.abs() * (1.0 - 1e-9);
    let as_far = differences.iter().filter(|found| (*found - whole).abs() >= least).count();
    let better = |found: &f64| {
        if *found > 0.0 {
            1.0
        } else if *found < 0.0 {
            0.0
        } else {
            0.5
        }
    };
    Bootstrap {
        low: at(0.025),
        high: at(0.975),
        p_value: (as_far + 1) as f64 / (count + 1) as f64,
        b_is_better: differences.iter().map(better).sum::<f64>() / count.max(1) as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Differences with the mean 0.1 and the standard deviation 1, of 400 pictures: their mean has the deviation 0.05.
    fn noisy(mean: f64) -> Vec<f64> {
        let mut random = Pcg64::seed_from_u64(7);
        let mut normal = || (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
        let raw: Vec<f64> = (0..400).map(|_| normal()).collect();
        let found = raw.iter().sum::<f64>() / 400.0;
        raw.into_iter().map(|value| value - found + mean).collect()
    }

    #[test]
    fn intervals_and_p_values_are_those_of_the_normal_approximation() {
        let found = bootstrap(&[Paired::Mean(noisy(0.1)), Paired::Mean(noisy(0.0))], 400, 10_000, 1);
        // 0.1 is 2 deviations away: p = 0.0455, interval 0.1 ± 1.96 deviations.
        let [shifted, none] = found[..] else { panic!("{found:?}") };
        assert!((shifted.p_value - 0.0455).abs() < 0.02, "{shifted:?}");
        assert!((shifted.low - 0.002).abs() < 0.01 && (shifted.high - 0.198).abs() < 0.01, "{shifted:?}");
        assert!(shifted.b_is_better > 0.95, "{shifted:?}");
        assert!(none.p_value > 0.9 && (none.b_is_better - 0.5).abs() < 0.03, "{none:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers_on_any_number_of_threads() {
        let run = |threads: usize, seed: u64| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| bootstrap(&[Paired::Mean(noisy(0.1))], 400, 500, seed))
        };
        assert_eq!(run(1, 3), run(3, 3));
        assert_ne!(run(1, 3), run(1, 4));
    }

    #[test]
    fn equal_systems_do_not_differ_and_a_clear_difference_has_the_least_p_value() {
        let found = bootstrap(&[Paired::Mean(vec![0.0; 50]), Paired::Mean(vec![0.5; 50])], 50, 999, 0);
        assert_eq!(found[0], Bootstrap { low: 0.0, high: 0.0, p_value: 1.0, b_is_better: 0.5 });
        assert_eq!(found[1], Bootstrap { low: 0.5, high: 0.5, p_value: 0.001, b_is_better: 1.0 });
    }

    #[test]
    fn bleu_is_that_of_the_sums() {
        use caption_metrics::bleu::{bleu, counts};
        use caption_metrics::corpus::Corpus;

        let references = [vec!["a b c d e"], vec!["f g h i j"]];
        let corpus = |candidates: [&str; 2]| Corpus::new(&candidates, &references).unwrap();
        let (a, b) = (corpus(["a b c d", "f g h"]), corpus(["a b c d e", "f x h i"]));
        let paired = Paired::Bleu { counts: [counts(&a), counts(&b)], orders: vec![3, 0] };
        let mut found = Vec::new();
        paired.differences(&[0, 1], &mut found);
        let expected = |order: usize| bleu(&b).corpus[order] - bleu(&a).corpus[order];
        assert_eq!(found, [expected(3), expected(0)]);
    }
}
