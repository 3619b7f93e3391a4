//! N-grams of one to four words as numbers, and how often each occurs in the sentences of one image.

use crate::corpus::Word;

/// The longest n-gram that any metric counts.
pub const MAX_ORDER: usize = 4;

/// One to four words in 32 bits each, the last word lowest; words are never 0, so a shorter n-gram equals no longer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ngram(u128);

impl Ngram {
    /// The n-gram of `words`, at most [`MAX_ORDER`] of them.
    pub(crate) fn new(words: &[Word]) -> Self {
        Self(words.iter().fold(0, |ngram, &word| (ngram << 32) | u128::from(word)))
    }

    /// How many words it has.
    pub(crate) fn order(self) -> usize {
        MAX_ORDER - (self.0.leading_zeros() / 32) as usize
    }
}

/// The n-grams of an image's sentences, each n-gram once, shorter ones first, with its count in each sentence.
#[derive(Debug, Default)]
pub(crate) struct NgramTable {
    /// Sorted.
    pub(crate) ngrams: Vec<Ngram>,
    /// (sentences, ngrams): the candidate's counts first, then each reference's.
    counts: Vec<u32>,
    /// The n-grams as they come, with their sentences; kept for its memory.
    found: Vec<(Ngram, u32)>,
}

impl NgramTable {
    /// Counts the n-grams of `sentences` anew.
    pub(crate) fn fill<'w>(&mut self, sentences: impl Iterator<Item = &'w [Word]>) {
        self.found.clear();
        let mut num_sentences = 0;
        for (sentence, words) in sentences.enumerate() {
            num_sentences = sentence + 1;
            for order in 1..=MAX_ORDER {
                self.found.extend(words.windows(order).map(|words| (Ngram::new(words), sentence as u32)));
            }
        }
        self.found.sort_unstable();
        self.ngrams.clear();
        self.ngrams.extend(self.found.chunk_by(|a, b| a.0 == b.0).map(|same| same[0].0));
        self.counts.clear();
        self.counts.resize(num_sentences * self.ngrams.len(), 0);
        for (column, same) in self.found.chunk_by(|a, b| a.0 == b.0).enumerate() {
            for &(_, sentence) in same {
                self.counts[sentence as usize * self.ngrams.len() + column] += 1;
            }
        }
    }

    /// The counts of one sentence, one for each of `ngrams`.
    pub(crate) fn counts(&self, sentence: usize) -> &[u32] {
        &self.counts[sentence * self.ngrams.len()..][..self.ngrams.len()]
    }

    /// Where in `ngrams` those of `order` are.
    pub(crate) fn of_order(&self, order: usize) -> std::ops::Range<usize> {
        let start = self.ngrams.partition_point(|ngram| ngram.order() < order);
        let end = self.ngrams.partition_point(|ngram| ngram.order() <= order);
        start..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_counts_each_sentence() {
        let mut table = NgramTable::default();
        table.fill([&[1, 2, 1, 2][..], &[2], &[]].into_iter());
        assert_eq!(table.of_order(1), 0..2);
        assert_eq!(table.counts(0)[table.of_order(1)], [2, 2]);
        assert_eq!(table.counts(1)[table.of_order(1)], [0, 1]);
        assert_eq!(table.counts(0)[table.of_order(2)], [2, 1], "1 2 twice, 2 1 once");
        assert_eq!(table.of_order(4).len(), 1);
        assert!(table.counts(2).iter().all(|&count| count == 0));
        table.fill([].into_iter());
        assert!(table.ngrams.is_empty());
    }

    #[test]
    fn orders_are_distinguished() {
        assert_eq!(Ngram::new(&[7]).order(), 1);
        assert_eq!(Ngram::new(&[1, 2, 3, u32::MAX]).order(), 4);
        assert_ne!(Ngram::new(&[1]), Ngram::new(&[1, 1]));
    }
}
