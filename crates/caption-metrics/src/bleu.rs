//! BLEU-1 to BLEU-4 (Papineni et al. 2002) as the reference evaluator computes them: with tiny constants in place of
//! smoothing, and the closest reference's length for the brevity penalty.

use rayon::prelude::*;

use crate::corpus::Corpus;
use crate::ngram::{MAX_ORDER, NgramTable};

/// Added to counts of matches and to lengths, so that their logarithms exist.
const TINY: f64 = 1e-15;
/// Added to denominators.
const SMALL: f64 = 1e-9;

/// BLEU-1 to BLEU-4, in this order.
#[derive(Debug, Clone, PartialEq)]
pub struct Bleu {
    /// Over the sums of all images' counts; not a mean.
    pub corpus: [f64; MAX_ORDER],
    /// Of each image on its own.
    pub images: Vec<[f64; MAX_ORDER]>,
}

/// Scores every image's candidate against its references.
pub fn bleu(corpus: &Corpus) -> Bleu {
    let counts = counts(corpus);
    let total = counts.iter().fold(Counts::default(), Counts::plus);
    Bleu { corpus: total.bleu(), images: counts.iter().map(Counts::bleu).collect() }
}

/// What BLEU is computed from, of every image: the figure of some of the images is that of their sum.
pub fn counts(corpus: &Corpus) -> Vec<Counts> {
    let of_image = |table: &mut NgramTable, image| Counts::of_image(corpus, image, table);
    (0..corpus.len()).into_par_iter().map_init(NgramTable::default, of_image).collect()
}

/// What BLEU needs to know of an image, or of many: it adds up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// N-grams of the candidate that a reference has, each at most as often as the reference that has it most often.
    correct: [u64; MAX_ORDER],
    /// N-grams of the candidate.
    guessed: [u64; MAX_ORDER],
    candidate_len: u64,
    /// The length of the reference closest in length, the shorter one of two.
    reference_len: u64,
}

impl Counts {
    fn of_image(corpus: &Corpus, image: usize, table: &mut NgramTable) -> Self {
        let candidate = corpus.candidate(image);
        table.fill(std::iter::once(candidate).chain(corpus.references(image)));
        let num_references = corpus.references(image).len();
        let matches = |column: usize| {
            let most = (1..=num_references).map(|reference| table.counts(reference)[column]).max();
            u64::from(most.unwrap_or(0).min(table.counts(0)[column]))
        };
        let lengths = corpus.references(image).map(<[_]>::len);
        let closest = lengths.min_by_key(|&len| (len.abs_diff(candidate.len()), len));
        Self {
            correct: std::array::from_fn(|n| table.of_order(n + 1).map(matches).sum()),
            guessed: std::array::from_fn(|n| candidate.len().saturating_sub(n) as u64),
            candidate_len: candidate.len() as u64,
            reference_len: closest.unwrap_or(0) as u64,
        }
    }

    /// The counts of the images of both.
    #[must_use]
    pub fn plus(self, other: &Self) -> Self {
        Self {
            correct: std::array::from_fn(|n| self.correct[n] + other.correct[n]),
            guessed: std::array::from_fn(|n| self.guessed[n] + other.guessed[n]),
            candidate_len: self.candidate_len + other.candidate_len,
            reference_len: self.reference_len + other.reference_len,
        }
    }

    /// BLEU-1 to BLEU-4, in this order.
    pub fn bleu(&self) -> [f64; MAX_ORDER] {
        let ratio = (self.candidate_len as f64 + TINY) / (self.reference_len as f64 + SMALL);
        let brevity_penalty = if ratio < 1.0 { (1.0 - 1.0 / ratio).exp() } else { 1.0 };
        let mut product = 1.0;
        std::array::from_fn(|n| {
            product *= (self.correct[n] as f64 + TINY) / (self.guessed[n] as f64 + SMALL);
            product.powf(1.0 / (n + 1) as f64) * brevity_penalty
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(candidate: &str, references: &[&str]) -> [f64; MAX_ORDER] {
        bleu(&Corpus::new(&[candidate], &[references.to_vec()]).unwrap()).images[0]
    }

    #[test]
    fn short_captions_have_the_reference_evaluators_odd_scores() {
        assert!((of("dog", &["dog"])[3] - 3.16e-5).abs() < 1e-7);
        assert!((of("a dog runs", &["a dog runs"])[3] - 0.0316).abs() < 1e-4);
        assert_eq!(of("", &["a dog"]), [0.0; 4]);
    }

    #[test]
    fn counts_of_some_images_give_their_figure() {
        let (candidates, references) = (["a b c", "a d", "e"], [vec!["a b d"], vec!["a d"], vec!["f"]]);
        let counts = counts(&Corpus::new(&candidates, &references).unwrap());
        let two = bleu(&Corpus::new(&candidates[..2], &references[..2]).unwrap());
        assert_eq!(counts[0].plus(&counts[1]).bleu(), two.corpus);
    }

    #[test]
    fn matches_are_clipped_and_the_closest_length_counts() {
        assert!((of("the the the", &["the cat"])[0] - 1.0 / 3.0).abs() < 1e-9);
        // Both references are one word away: the shorter one's length is taken, so there is no penalty.
        assert!((of("a b c", &["a b c d", "a b"])[0] - 1.0).abs() < 1e-9);
    }
}
