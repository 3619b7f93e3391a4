//! CIDEr-D, which the reference evaluator calls CIDEr, and plain CIDEr (Vedantam et al. 2015).
//!
//! Each sentence is a vector of its n-grams' counts, weighted by how rare they are among the images' references; an image's
//! score is ten times the mean similarity of its candidate to its references. Document frequencies come from the references
//! being scored against ([`cider`]), or from elsewhere ([`DocumentFrequencies`]).

use rayon::prelude::*;
use rustc_hash::FxHashMap;

use crate::corpus::{Corpus, Vocabulary, Word};
use crate::ngram::{MAX_ORDER, Ngram, NgramTable};
use crate::{Error, Scores};

/// How fast a difference in length lowers CIDEr-D's similarity: the standard deviation of a Gaussian, in words.
const SIGMA: f64 = 6.0;
/// Scores are of 0 to 10.
const SCALE: f64 = 10.0;

/// Which of the two figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CiderVariant {
    /// Counts clipped to the reference's, and a penalty on a difference in length: what everybody reports as CIDEr.
    #[default]
    CiderD,
    /// The plain cosine of the paper's first form.
    Cider,
}

/// CIDEr-D with document frequencies of the corpus's own references. A corpus of one image has only n-grams that occur in
/// every image, so its score is 0.
pub fn cider(corpus: &Corpus) -> Scores {
    score(corpus, &Documents::of(corpus), CiderVariant::CiderD)
}

/// In how many images' references each n-gram occurs.
#[derive(Debug, Clone)]
pub struct DocumentFrequencies {
    vocabulary: Vocabulary,
    documents: Documents,
}

impl DocumentFrequencies {
    /// Counts over the references of many images, tokenised: a training set's, say.
    ///
    /// # Errors
    /// [`Error::NoReferences`] for an image without any.
    pub fn of_references<R: AsRef<str>>(references: &[Vec<R>]) -> Result<Self, Error> {
        let no_candidates = vec![""; references.len()];
        let (corpus, vocabulary) = Corpus::over(&Vocabulary::default(), &no_candidates, references)?;
        Ok(Self { vocabulary, documents: Documents::of(&corpus) })
    }

    /// Frequencies as others have stored them: `counts` has n-grams (words with one space between) with the number of
    /// images that have them, among `num_documents` images. N-grams of more than four words are left out: no metric uses them.
    ///
    /// # Errors
    /// [`Error::Vocabulary`] for too many words.
    pub fn from_counts<'n>(
        num_documents: f64,
        counts: impl IntoIterator<Item = (&'n str, f64)>,
    ) -> Result<Self, Error> {
        let mut vocabulary = Vocabulary::default();
        let mut documents =
            Documents { counts: FxHashMap::default(), log_num_documents: num_documents.max(1.0).ln() };
        for (ngram, count) in counts {
            let words: Vec<Word> =
                ngram.split(' ').map(|word| vocabulary.number(word)).collect::<Result<_, _>>()?;
            if words.len() <= MAX_ORDER && count > 1.0 {
                documents.counts.insert(Ngram::new(&words), count);
            }
        }
        Ok(Self { vocabulary, documents })
    }

    /// Scores tokenised `candidates` against their `references` by these frequencies.
    ///
    /// # Errors
    /// As [`Corpus::new`].
    pub fn score<C, R>(
        &self,
        candidates: &[C],
        references: &[Vec<R>],
        variant: CiderVariant,
    ) -> Result<Scores, Error>
    where
        C: AsRef<str>,
        R: AsRef<str>,
    {
        let (corpus, _) = Corpus::over(&self.vocabulary, candidates, references)?;
        Ok(score(&corpus, &self.documents, variant))
    }
}

/// [`DocumentFrequencies`] of n-grams whose words are numbered already.
#[derive(Debug, Clone)]
struct Documents {
    /// Only those above 1.
    counts: FxHashMap<Ngram, f64>,
    log_num_documents: f64,
}

impl Documents {
    fn of(corpus: &Corpus) -> Self {
        // One map for each thread, not one for each small part: most n-grams are in every map.
        let images: Vec<usize> = (0..corpus.len()).collect();
        let part = corpus.len().div_ceil(rayon::current_num_threads()).max(1);
        let mut counts = images
            .par_chunks(part)
            .map(|images| {
                let (mut counts, mut table) = (FxHashMap::default(), NgramTable::default());
                for &image in images {
                    table.fill(corpus.references(image));
                    table.ngrams.iter().for_each(|&ngram| *counts.entry(ngram).or_insert(0.0) += 1.0);
                }
                counts
            })
            .reduce(FxHashMap::default, merge);
        // Most n-grams occur once, and weigh what absent ones do: without them the map stays near the processor.
        counts.retain(|_, count| *count > 1.0);
        counts.shrink_to_fit();
        Self { counts, log_num_documents: (corpus.len().max(1) as f64).ln() }
    }

    /// What one occurrence of `ngram` weighs.
    fn weight(&self, ngram: Ngram) -> f64 {
        let frequency = self.counts.get(&ngram).copied().unwrap_or(0.0);
        self.log_num_documents - frequency.max(1.0).ln()
    }
}

/// Adds the smaller map to the larger one; counts are whole numbers, so the order does not matter.
fn merge(a: FxHashMap<Ngram, f64>, b: FxHashMap<Ngram, f64>) -> FxHashMap<Ngram, f64> {
    let (mut into, from) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    for (ngram, count) in from {
        *into.entry(ngram).or_insert(0.0) += count;
    }
    into
}

fn score(corpus: &Corpus, documents: &Documents, variant: CiderVariant) -> Scores {
    let images = (0..corpus.len())
        .into_par_iter()
        .map_init(Scratch::default, |scratch, image| scratch.score(corpus, image, documents, variant))
        .collect();
    Scores::of_mean(images)
}

/// Memory that the images of a thread share.
#[derive(Default)]
struct Scratch {
    table: NgramTable,
    /// Of each n-gram of `table`.
    weights: Vec<f64>,
    /// The vectors of the candidate and of one reference.
    candidate: Vec<f64>,
    reference: Vec<f64>,
}

impl Scratch {
    fn score(&mut self, corpus: &Corpus, image: usize, documents: &Documents, variant: CiderVariant) -> f64 {
        let candidate = corpus.candidate(image);
        self.table.fill(std::iter::once(candidate).chain(corpus.references(image)));
        self.weights.clear();
        self.weights.extend(self.table.ngrams.iter().map(|&ngram| documents.weight(ngram)));
        weigh(self.table.counts(0), &self.weights, &mut self.candidate);

        let mut similarities = [0.0; MAX_ORDER];
        let mut num_references = 0;
        for (number, reference) in corpus.references(image).enumerate() {
            weigh(self.table.counts(number + 1), &self.weights, &mut self.reference);
            let penalty = variant.length_penalty(candidate.len(), reference.len());
            for (n, similarity) in similarities.iter_mut().enumerate() {
                let range = self.table.of_order(n + 1);
                let (candidate, reference) = (&self.candidate[range.clone()], &self.reference[range]);
                *similarity += variant.similarity(candidate, reference) * penalty;
            }
            num_references = number + 1;
        }
        let mean = similarities.iter().sum::<f64>() / MAX_ORDER as f64;
        mean / f64::from(num_references as u32) * SCALE
    }
}

/// `vector` becomes counts times weights.
fn weigh(counts: &[u32], weights: &[f64], vector: &mut Vec<f64>) {
    vector.clear();
    vector.extend(counts.iter().zip(weights).map(|(&count, weight)| f64::from(count) * weight));
}

impl CiderVariant {
    /// The cosine of two vectors over the same n-grams; not divided where one of them is zero.
    fn similarity(self, candidate: &[f64], reference: &[f64]) -> f64 {
        let (mut product, mut candidate_norm, mut reference_norm) = (0.0, 0.0, 0.0);
        for (&c, &r) in candidate.iter().zip(reference) {
            product += match self {
                // An n-gram that the candidate lacks adds nothing, whatever the sign of its weight.
                Self::CiderD => {
                    if c == 0.0 {
                        0.0
                    } else {
                        c.min(r) * r
                    }
                }
                Self::Cider => c * r,
            };
            candidate_norm += c * c;
            reference_norm += r * r;
        }
        let norms = candidate_norm.sqrt() * reference_norm.sqrt();
        if norms == 0.0 { product } else { product / norms }
    }

    /// The reference evaluator measures lengths in bigrams: one less than words, but 0 for no word as for one.
    fn length_penalty(self, candidate_len: usize, reference_len: usize) -> f64 {
        let bigrams = |len: usize| len.saturating_sub(1) as f64;
        let difference = bigrams(candidate_len) - bigrams(reference_len);
        match self {
            Self::CiderD => (-difference * difference / (2.0 * SIGMA * SIGMA)).exp(),
            Self::Cider => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(candidates: &[&str], references: &[Vec<&str>]) -> Scores {
        cider(&Corpus::new(candidates, references).unwrap())
    }

    #[test]
    fn a_perfect_short_caption_lacks_the_longer_ngrams() {
        let scores = of(&["a", "b c", "d e f g", "x"], &[vec!["a"], vec!["b c"], vec!["d e f g"], vec!["y"]]);
        let expected = [2.5, 5.0, 10.0, 0.0];
        for (score, expected) in scores.images.iter().zip(expected) {
            assert!((score - expected).abs() < 1e-12, "{score} {expected}");
        }
    }

    #[test]
    fn one_image_scores_nothing() {
        assert_eq!(of(&["a dog runs"], &[vec!["a dog runs"]]).images, [0.0]);
        assert_eq!(of(&[], &[]).corpus, 0.0);
    }

    #[test]
    fn given_frequencies_of_the_same_references_give_the_same_scores() {
        let candidates = ["a dog runs fast", "two cats sleep", "a dog"];
        let references =
            [vec!["a dog runs", "the dog is fast"], vec!["two cats", "cats sleep here"], vec!["a"]];
        let frequencies = DocumentFrequencies::of_references(&references).unwrap();
        let given = frequencies.score(&candidates, &references, CiderVariant::CiderD).unwrap();
        assert_eq!(given, of(&candidates, &references));

        let counts =
            [("a", 2.0), ("dog", 1.0), ("a dog", 1.0), ("two cats", 1.0), ("cats", 1.0), ("two", 1.0)];
        let stored = DocumentFrequencies::from_counts(3.0, counts).unwrap();
        let stored = stored.score(&candidates, &references, CiderVariant::CiderD).unwrap();
        assert_eq!(stored, given, "an n-gram that was never seen counts as seen once");
    }

    #[test]
    fn plain_cider_has_no_penalty() {
        let references = [vec!["a b c d"], vec!["x"]];
        let frequencies = DocumentFrequencies::of_references(&references).unwrap();
        let candidates = ["a b c d a b c d", "y"];
        let plain = frequencies.score(&candidates, &references, CiderVariant::Cider).unwrap();
        let clipped = frequencies.score(&candidates, &references, CiderVariant::CiderD).unwrap();
        assert!(plain.images[0] > 9.0 && clipped.images[0] < 7.0, "{plain:?} {clipped:?}");
    }
}
